"use strict";
const byId = (id) => document.getElementById(id);
const set = JSON.parse(byId("data").textContent);
const thumbnails = JSON.parse(byId("thumbnails").textContent);
const GOOD = "good parts", ANY = "any finding";
const RANK = ["error", "warning"]; // other severities come after these

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const counted = (count, one, many) => `${count || "no"} ${count === 1 ? one : many}`;

// Of an image that cannot be read nobody knows whether it shows a good part.
const isGood = (image, index) => !image.boxes.length && Boolean(thumbnails[index]);

// What each image answers to, by filter.
const keys = set.images.map((image, index) => ({
  split: [set.splits[image.split]],
  class: isGood(image, index) ? [GOOD] : [...new Set(image.boxes.map((box) => set.names[box[0]]))],
  finding: image.findings.length ? [ANY, ...new Set(image.findings.map((line) => line[0]))] : [],
}));
const chosen = { split: new Set(), class: new Set(), finding: new Set() };
const choices = { split: new Map(), class: new Map(), finding: new Map() };
let shown = [], open = -1;

function worst(lines) {
  const rank = (line) => (RANK.indexOf(line[1]) + RANK.length + 1) % (RANK.length + 1);
  return [...lines].sort((a, b) => rank(a) - rank(b))[0][1];
}

// ---- filters

function matches(index, without) {
  const filters = Object.keys(chosen);
  if (!filters.every((name) => name === without || !chosen[name].size ||
    keys[index][name].some((key) => chosen[name].has(key)))) return false;
  return set.images[index].name.toLowerCase().includes(byId("search").value.trim().toLowerCase());
}

function addChoice(filter, key, mark) {
  const label = make("label", "choice");
  const box = make("input");
  box.type = "checkbox";
  const text = make("span", "text");
  if (mark) text.append(mark);
  text.append(key);
  text.title = key;
  const figure = make("span", "figure");
  label.append(box, text, figure);
  box.addEventListener("change", () => {
    chosen[filter][box.checked ? "add" : "delete"](key);
    update();
  });
  document.querySelector(`[data-filter="${filter}"]`).append(label);
  choices[filter].set(key, { label, box, figure });
}

function buildFilters() {
  set.splits.forEach((split) => addChoice("split", split));
  set.names.forEach((name, label) => {
    const mark = make("span", "mark");
    mark.style.background = set.colors[label];
    addChoice("class", name, mark);
  });
  if (set.images.some(isGood)) addChoice("class", GOOD, make("span", "mark"));
  const lines = set.images.flatMap((image) => image.findings);
  if (set.checks.length) addChoice("finding", ANY);
  set.checks.forEach((check) =>
    addChoice("finding", check, make("span", "dot " + worst(lines.filter((line) => line[0] === check)))));
  document.querySelector('[data-filter="finding"]').hidden = !set.checks.length;
}

function countChoices() {
  for (const [filter, map] of Object.entries(choices)) {
    const counts = new Map();
    keys.forEach((key, index) => {
      if (matches(index, filter)) key[filter].forEach((name) => counts.set(name, (counts.get(name) || 0) + 1));
    });
    for (const [key, { label, box, figure }] of map) {
      figure.textContent = counts.get(key) || 0;
      label.classList.toggle("none", !counts.has(key));
      box.checked = chosen[filter].has(key);
    }
  }
}

const area = (box) => (box[3] - box[1]) * (box[4] - box[2]);
const orders = {
  name: (a, b) => a - b,
  boxes: (a, b) => set.images[b].boxes.length - set.images[a].boxes.length || a - b,
  small: (a, b) => Math.min(...set.images[a].boxes.map(area)) - Math.min(...set.images[b].boxes.map(area)) || a - b,
  large: (a, b) => Math.max(0, ...set.images[b].boxes.map(area)) - Math.max(0, ...set.images[a].boxes.map(area)) || a - b,
};

function update() {
  shown = keys.map((_, index) => index).filter((index) => matches(index)).sort(orders[byId("order").value]);
  const boxes = shown.reduce((sum, index) => sum + set.images[index].boxes.length, 0);
  const part = shown.length === keys.length ? "" : `${shown.length} of `;
  byId("count").textContent = `${part}${counted(keys.length, "image", "images")}, ${counted(boxes, "box", "boxes")}`;
  byId("nothing").hidden = shown.length > 0;
  byId("clear").hidden = shown.length === keys.length;
  byId("grid").replaceChildren(...shown.map((index) => cards[index]));
  document.body.classList.toggle("bare", !byId("boxes").checked);
  countChoices();
  cards.forEach((card) => card.querySelectorAll("g").forEach(dim));
  remember();
}

function clearFilters() {
  Object.values(chosen).forEach((names) => names.clear());
  byId("search").value = "";
  update();
}

// Boxes of classes that were not asked for step back.
function dim(group) {
  group.classList.toggle("dim", chosen.class.size > 0 && !chosen.class.has(group.dataset.name));
}

// ---- pictures

function overlay(image) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${image.size[1]} ${image.size[0]}`);
  for (const [number, [label, x1, y1, x2, y2]] of image.boxes.entries()) {
    const group = document.createElementNS(space, "g");
    group.dataset.name = set.names[label];
    if (image.outlines[number]?.length) {
      const outline = document.createElementNS(space, "polygon");
      outline.setAttribute("points", image.outlines[number].join(" "));
      outline.style.fill = set.colors[label];
      group.append(outline);
    }
    for (const kind of ["rim", "line"]) {
      const rect = document.createElementNS(space, "rect");
      const shape = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind };
      for (const [name, value] of Object.entries(shape)) rect.setAttribute(name, value);
      if (kind === "line") rect.style.stroke = set.colors[label];
      group.append(rect);
    }
    dim(group);
    svg.append(group);
  }
  return svg;
}

function picture(index) {
  if (!thumbnails[index]) return make("span", "lost", "cannot be read");
  const img = make("img");
  img.alt = "";
  img.src = "data:image/jpeg;base64," + thumbnails[index];
  return img;
}

function makeCard(image, index) {
  const card = make("button", "card");
  card.type = "button";
  card.dataset.index = index;
  card.title = image.name;
  const caption = make("span", "caption");
  if (image.findings.length) caption.append(make("span", "dot " + worst(image.findings)));
  const name = make("span", "text");
  name.append(make("bdi", "", image.name.split("/").pop()));
  caption.append(name);
  caption.append(make("span", "figure", isGood(image, index) ? "good" : image.boxes.length || ""));
  card.append(make("span", "picture"), caption);
  card.addEventListener("click", () => show(index));
  return card;
}

function fill(card) {
  const index = Number(card.dataset.index), place = card.firstChild;
  if (!place.firstChild) place.replaceChildren(picture(index), overlay(set.images[index]));
}

// Only what is near the window holds a decoded picture; paper takes all.
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) fill(target);
    else target.firstChild.replaceChildren();
  }
}, { root: document.querySelector("main"), rootMargin: "800px" });

{% include "large.js" %}

// ---- the address holds what is chosen, so that a view can be linked

function remember() {
  const state = new URLSearchParams();
  for (const [name, names] of Object.entries(chosen)) names.forEach((key) => state.append(name, key));
  if (byId("search").value) state.set("name", byId("search").value);
  if (byId("order").value !== "name") state.set("order", byId("order").value);
  if (!byId("boxes").checked) state.set("boxes", "off");
  if (open >= 0) state.set("image", set.images[open].name);
  try { history.replaceState(null, "", "#" + state); } catch { /* some viewers forbid it */ }
}

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(chosen)) {
    chosen[name] = new Set(state.getAll(name).filter((key) => choices[name].has(key)));
  }
  byId("search").value = state.get("name") || "";
  byId("order").value = state.get("order") in orders ? state.get("order") : "name";
  byId("boxes").checked = state.get("boxes") !== "off";
  const image = set.images.findIndex(({ name }) => name === state.get("image"));
  update();
  if (image >= 0) show(image);
}

function nextTheme() {
  const themes = ["", "light", "dark"], root = document.documentElement;
  const next = themes[(themes.indexOf(root.dataset.theme || "") + 1) % themes.length];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  byId("theme").textContent = next ? `Theme: ${next}` : "Theme";
}

function toggleBoxes() {
  byId("boxes").checked = !byId("boxes").checked;
  update();
}

const cards = set.images.map(makeCard);
cards.forEach((card) => watcher.observe(card));
buildFilters();
if (set.general.length) {
  byId("general").hidden = false;
  byId("general").open = set.general.length < 8;
  byId("general").firstElementChild.textContent = `About the whole set (${set.general.length})`;
  byId("general").lastElementChild.replaceChildren(...set.general.map(findingLine));
}
byId("clear").addEventListener("click", clearFilters);
byId("search").addEventListener("input", update);
byId("order").addEventListener("change", update);
byId("boxes").addEventListener("change", update);
byId("zoom").addEventListener("input", () => document.documentElement.style.setProperty("--cell", byId("zoom").value + "px"));
byId("theme").addEventListener("click", nextTheme);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("close").addEventListener("click", () => byId("large").close());
byId("large").addEventListener("close", closed);
document.querySelector(".frame").addEventListener("click", (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  zoom((event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
});
addEventListener("beforeprint", () => { if (open < 0) shown.forEach((index) => fill(cards[index])); });
addEventListener("resize", () => { if (open >= 0) fit(byId("large").classList.contains("near") ? 3 : 1); });
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.type === "search") return;
  const acts = { b: toggleBoxes, B: toggleBoxes, "/": () => byId("search").focus() };
  const large = { ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), z: () => zoom(), Z: () => zoom(), ...acts };
  const act = (open >= 0 ? large : acts)[event.key];
  if (act) { event.preventDefault(); act(); }
});
recall();
document.documentElement.dataset.ready = "yes";
