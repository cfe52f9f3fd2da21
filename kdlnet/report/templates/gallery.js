// Grids of small pictures with boxes, and one of them large.
// An entry is { picture, name, title, boxes: [{ box, state, on, text }], words }.

const STEP = 36;
let large = null; // the gallery and the index that are shown large

function rect(svg, [x1, y1, x2, y2], kinds) {
  const space = "http://www.w3.org/2000/svg";
  for (const kind of ["rim", kinds]) {
    const node = document.createElementNS(space, "rect");
    const shape = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    for (const [name, value] of Object.entries(shape)) node.setAttribute(name, value);
    node.setAttribute("class", kind === "rim" ? "rim" : `line ${kind}`);
    svg.append(node);
  }
}

function fillFrame(frame, entry) {
  if (entry.picture === undefined) return frame.replaceChildren(make("span", "lost", "no picture: the page would be too large"));
  const img = make("img");
  img.alt = "";
  img.src = "data:image/jpeg;base64," + set.pictures.jpegs[entry.picture];
  const [, x, y, width, height] = set.pictures.regions[entry.picture];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  entry.boxes.forEach(({ box, state, on }) => rect(svg, box, on ? `${state} on` : state));
  frame.replaceChildren(img, svg);
}

// A grid that shows `count` entries; `maker` gives the one at an index.
function galleryIn(id) {
  const grid = byId(id), more = byId(`${id}-more`);
  const gallery = { grid, count: 0, shown: STEP, entryAt: null, show, reset };

  function shot(index) {
    const entry = gallery.entryAt(index), card = make("button", "shot"), frame = make("span", "frame");
    card.type = "button";
    fillFrame(frame, entry);
    const name = make("span", "name");
    name.append(make("bdi", "", entry.name));
    name.title = entry.name;
    card.append(frame, make("b", "", entry.title), name);
    if (entry.words) card.append(make("span", "words", entry.words));
    card.addEventListener("click", () => enlarge(gallery, index));
    return card;
  }

  function show(count, maker) {
    Object.assign(gallery, { count, entryAt: maker });
    const shots = Array.from({ length: Math.min(gallery.shown, count) }, (_, index) => shot(index));
    grid.replaceChildren(...(count ? shots : [make("p", "empty", "None at this setting.")]));
    more.hidden = count <= gallery.shown;
    more.textContent = `Show ${Math.min(STEP, count - gallery.shown)} more`;
    byId(`${id}-shown`).textContent = more.hidden ? "" : `${gallery.shown} of ${count} are shown.`;
  }

  function reset() { gallery.shown = STEP; }

  more.addEventListener("click", () => {
    const first = gallery.shown;
    gallery.shown += STEP;
    show(gallery.count, gallery.entryAt);
    grid.children[first]?.focus();
  });
  return gallery;
}

function enlarge(gallery, index) {
  if (index < 0 || index >= gallery.count) return;
  const entry = gallery.entryAt(index);
  large = { gallery, index };
  fillFrame(byId("large-frame"), entry);
  byId("place").textContent = `${index + 1} of ${gallery.count}`;
  byId("large-title").textContent = entry.title;
  byId("large-name").textContent = entry.name;
  byId("large-boxes").replaceChildren(...entry.boxes.map((box) => make("li", "", box.text)));
  if (!byId("large").open) byId("large").showModal();
}

function turn(step) { if (large) enlarge(large.gallery, large.index + step); }

byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("close").addEventListener("click", () => byId("large").close());
byId("large").addEventListener("close", () => { large?.gallery.grid.children[large.index]?.focus(); large = null; });
byId("large").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) { event.preventDefault(); turn(step); }
});
