// ---- the large view

function show(index) {
  open = index;
  const image = set.images[index], frame = document.querySelector(".frame");
  const [height, width] = image.size;
  frame.replaceChildren(picture(index), overlay(image));
  image.boxes.forEach(([label, x1, y1, x2], row) => {
    const tag = make("span", "tag", set.names[label]);
    const side = x1 + x2 > width ? `right:${100 - (100 * x2) / width}%` : `left:${(100 * x1) / width}%`;
    tag.style.cssText = `${side};top:${(100 * y1) / height}%`; // grows towards the middle
    tag.style.background = set.colors[label];
    tag.style.color = darkText(set.colors[label]) ? "#000" : "#fff";
    tag.classList.toggle("inside", y1 / height < 0.03);
    tag.dataset.row = row;
    frame.append(tag);
  });
  sharpen(image, frame.firstChild);
  const place = shown.indexOf(index);
  byId("place").textContent = place < 0 ? "" : `${place + 1} of ${shown.length}`;
  byId("name").textContent = image.name;
  byId("facts").textContent = `${set.splits[image.split]} · ${width} × ${height} px · ${counted(image.boxes.length, "box", "boxes")}`;
  byId("found").replaceChildren(...image.findings.map(findingLine));
  fillRows(image);
  const dialog = byId("large");
  dialog.classList.remove("near");
  if (!dialog.open) dialog.showModal();
  fit(1);
  remember();
}

// The page carries a smaller picture; where the dataset is at hand, its own file takes the place.
function sharpen(image, img) {
  if (!image.original) return;
  const file = new Image();
  file.onload = () => { if (img.isConnected) img.src = file.src; };
  file.src = image.original;
}

function darkText(color) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(color.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
}

function findingLine([check, severity, message]) {
  const line = make("li");
  line.append(make("span", "dot " + severity), make("b", "", check), ` ${message}`);
  return line;
}

function fillRows(image) {
  byId("rows").hidden = !image.boxes.length;
  byId("rows").tBodies[0].replaceChildren(...image.boxes.map(([label, x1, y1, x2, y2], row) => {
    const line = make("tr"), name = make("td"), mark = make("span", "mark");
    mark.style.background = set.colors[label];
    name.append(mark, set.names[label]);
    const center = `${Math.round((x1 + x2) / 2)}, ${Math.round((y1 + y2) / 2)}`;
    line.append(name, make("td", "", (x2 - x1).toFixed(0)), make("td", "", (y2 - y1).toFixed(0)), make("td", "", center));
    const group = () => document.querySelectorAll(".frame g")[row];
    line.addEventListener("mouseenter", () => group().classList.add("on"));
    line.addEventListener("mouseleave", () => group().classList.remove("on"));
    return line;
  }));
}

function fit(nearer) {
  const stage = document.querySelector(".stage"), frame = document.querySelector(".frame");
  const [height, width] = set.images[open].size;
  const scale = nearer * Math.min((stage.clientWidth - 32) / width, (stage.clientHeight - 32) / height);
  frame.style.width = `${width * scale}px`;
  frame.style.height = `${height * scale}px`;
  frame.style.setProperty("--ratio", width / height); // paper has its own scale
  frame.classList.toggle("smooth", scale < 2);
}

// Three times nearer, the point (x, y), shares of the picture, in the middle.
function zoom(x = 0.5, y = 0.5) {
  const near = byId("large").classList.toggle("near"), stage = document.querySelector(".stage");
  fit(near ? 3 : 1);
  const frame = document.querySelector(".frame");
  stage.scrollTo(frame.offsetWidth * x - stage.clientWidth / 2, frame.offsetHeight * y - stage.clientHeight / 2);
}

function turn(step) {
  const place = shown.indexOf(open) + step;
  if (place >= 0 && place < shown.length) show(shown[place]);
}

function closed() {
  const card = cards[open];
  open = -1;
  remember();
  if (card && card.isConnected) card.focus();
}
