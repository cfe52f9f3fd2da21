// The page of a validation: thresholds in, everything that hangs on them anew.

const own = set.rule; // { ng, ask }: thresholds by class, as the model stores them
let ng = [...own.ng], ask = [...own.ask], list = "";
const limits = { ...set.limits };
const firstBox = boxes && starts(boxes.image, PARTS), firstTruth = boxes && starts(truths.image, PARTS);
const nameOf = (image) => set.images[image] || `picture ${image + 1}`;
const at = (rects, row) => Array.from(rects.subarray(4 * row, 4 * row + 4), (value) => value / set.evidence.unit);
const kindsOf = new Map();
shows.part.forEach((part, row) => kindsOf.set(part, (kindsOf.get(part) || new Set()).add(shows.label[row])));
const sameAll = (values) => values.every((value) => value === values[0]);

// ---- the gallery

function boxesOf(image, upper, chosen) {
  const lines = [];
  if (!boxes) return lines;
  for (let row = firstTruth[image]; row < firstTruth[image + 1]; row++) {
    if (truths.finder[row] >= upper[truths.label[row]]) continue;
    lines.push({ box: at(truths.rect, row), state: "missed", on: chosen.truth === row, text: `${set.names[truths.label[row]]}: not found` });
  }
  for (let row = firstBox[image]; row < firstBox[image + 1]; row++) {
    if (boxes.score[row] < upper[boxes.label[row]]) continue;
    const state = boxes.found[row] < 0 ? "false" : "true", says = state === "true" ? "found" : "false alarm";
    lines.push({ box: at(boxes.rect, row), state, on: chosen.box === row, text: `${set.names[boxes.label[row]]}: ${says}, score ${boxes.score[row].toFixed(3)}` });
  }
  return lines;
}

const partsBy = (keep, sign) => Array.from({ length: PARTS }, (_, part) => part).filter(keep).sort((a, b) => sign * (best[a] - best[b]) || a - b);
const area = (row) => (truths.rect[4 * row + 2] - truths.rect[4 * row]) * (truths.rect[4 * row + 3] - truths.rect[4 * row + 1]);
const rows = (table) => Array.from({ length: table.label.length }, (_, row) => row);
const orders = {
  passed: { name: "Defective parts that pass", kind: "part", all: partsBy((part) => defective[part], 1), on: (part, now) => now.found[part] === OK },
  rejected: { name: "Good parts that are rejected", kind: "part", all: partsBy((part) => !defective[part], -1), on: (part, now) => now.found[part] === NG },
};
if (boxes) {
  orders.missed = { name: "Defects not found", kind: "truth", all: rows(truths).sort((a, b) => (truths.finder[a] === truths.finder[b] ? area(b) - area(a) : truths.finder[a] - truths.finder[b])), on: (row, now) => truths.finder[row] < now.upper[truths.label[row]] };
  orders.extra = { name: "False alarms", kind: "box", all: rows(boxes).filter((row) => boxes.found[row] < 0).sort((a, b) => boxes.score[b] - boxes.score[a]), on: (row, now) => boxes.score[row] >= now.upper[boxes.label[row]] };
}

function titleOf(kind, row) {
  if (kind === "truth") return `${set.names[truths.label[row]]}, ${truths.finder[row] > 0 ? `best score ${truths.finder[row].toFixed(2)}` : "never found"}`;
  if (kind === "box") return `${set.names[boxes.label[row]]}, score ${boxes.score[row].toFixed(2)}`;
  const kinds = [...(kindsOf.get(row) || [])].map((label) => set.names[label]).join(", ");
  return [kinds, best[row] > 0 ? `best score ${best[row].toFixed(2)}` : "nothing suspected"].filter(Boolean).join(", ");
}

function entryOf(kind, row, now) {
  const image = kind === "truth" ? truths.image[row] : kind === "box" ? boxes.image[row] : row;
  return { picture: set.pictures[kind][row], name: nameOf(image), title: titleOf(kind, row), boxes: boxesOf(image, now.upper, { [kind]: row }) };
}

const gallery = set.pictures && galleryIn("gallery");

function fillGallery(now) {
  if (!gallery) return;
  const counts = {};
  for (const [key, order] of Object.entries(orders)) {
    const chosen = order.all.filter((row) => order.on(row, now));
    counts[key] = chosen.length;
    byId(`tab-${key}`).textContent = `${order.name} (${chosen.length})`;
    if (key !== list) continue;
    gallery.show(chosen.length, (index) => entryOf(order.kind, chosen[index], now));
  }
}

function buildTabs() {
  if (!set.pictures) return;
  for (const [key, order] of Object.entries(orders)) {
    const label = make("label"), input = make("input"), text = make("span");
    Object.assign(input, { type: "radio", name: "tab", value: key });
    text.id = `tab-${key}`;
    input.addEventListener("change", () => { list = key; gallery.reset(); update(); });
    label.hidden = !order.all.length;
    label.append(input, text);
    byId("tabs").append(label);
  }
}

function firstList(now) {
  if (!set.pictures) return;
  const busy = Object.keys(orders).filter((key) => orders[key].all.some((row) => orders[key].on(row, now)));
  list = busy[0] || "passed";
  document.querySelector(`[name="tab"][value="${list}"]`).checked = true;
}

function fillSuspects() {
  if (!set.pictures || !byId("suspects")) return;
  galleryIn("suspects").show(set.suspects.length, (index) => {
    const { image, box, kind, title, words } = set.suspects[index];
    const state = kind === "unfound" ? "missed" : "false";
    return { picture: set.pictures.suspect[index], name: nameOf(image), title, words, boxes: [{ box, state, on: true, text: `${title}: ${words}` }] };
  });
}

// ---- figures

function scaleOf(name, found, limit) {
  const scale = byId(`${name}-scale`), [span, mark, dot] = scale.querySelectorAll("i");
  scale.hidden = !found.of;
  if (!found.of) return;
  const end = Math.min(1, Math.max(0.02, 1.15 * Math.max(found.high, limit || 0)));
  span.style.left = `${(100 * found.low) / end}%`;
  span.style.width = `${(100 * (found.high - found.low)) / end}%`;
  dot.style.left = `${(100 * found.value) / end}%`;
  scale.lastElementChild.textContent = percent(end);
  mark.hidden = limit === null;
  if (limit !== null) mark.style.left = `${Math.min(100, (100 * limit) / end)}%`;
}

function setRange(cell, found, limit) {
  const [low, value, high] = endsOf(found, limit);
  cell.textContent = found.of ? value : "–";
  if (found.of) cell.append(make("small", "", `${low} to ${high}`));
}

function fillRow(row, rates, counts) {
  for (const cell of row.querySelectorAll("[data-cell]")) {
    const name = cell.dataset.cell;
    if (name in rates) setRange(cell, rates[name], limits[name]);
    else if (boxes) cell.textContent = counts[name];
  }
}

function fillTables(now) {
  const rows = [...byId("class-table").tBodies[0].rows];
  rows.forEach((row, label) => fillRow(row, ratesOfClass(label, now.found, ng, ask), now.counts[label]));
  fillRow(byId("class-table").tFoot.rows[0], now.rates, now.total);
  if (!set.lots) return;
  [...byId("lot-table").tBodies[0].rows].forEach((row, lot) => fillRow(row, ratesOf(now.found, (part) => lotOf[part] === lot), {}));
}

const lotOf = set.lots && column(set.lots.of, Uint16Array);

function liveText({ rates, total }) {
  const pieces = [];
  if (rates.escape.of) pieces.push(`${rates.escape.count} of ${rates.escape.of} defective parts pass`);
  if (rates.overkill.of) pieces.push(`${rates.overkill.count} of ${rates.overkill.of} good parts are rejected`);
  if (rates.unsure.count) pieces.push(`${rates.unsure.count} left to a person`);
  if (boxes) pieces.push(`${counted(total.missed, "defect")} not found`, counted(total.extra, "false alarm"));
  return pieces.join(" · ");
}

function state() {
  const found = verdicts(ng, ask), counts = countBoxes(ng);
  const total = { found: 0, missed: 0, extra: 0 };
  counts.forEach((row) => Object.keys(total).forEach((name) => { total[name] += row[name]; }));
  const same = (values) => set.chosen.every((labels) => sameAll(labels.map((label) => values[label])));
  const fitted = set.chosen.length > 1 || !(same(ng) && same(ask));
  const doubt = set.grouped ? "grouped" : fitted ? "chose" : null;
  return { found, counts, total, doubt, upper: Float32Array.from(ng), rates: ratesOf(found) };
}

function update() {
  const now = state();
  for (const [id, text] of Object.entries(factsOf(now.rates, limits, now.doubt))) byId(id).textContent = text;
  byId("verdict").dataset.tone = toneOf(now.rates, limits, now.doubt);
  for (const name of ["escape", "overkill", "unsure"]) {
    byId(`card-${name}`).dataset.tone = name === "unsure" ? "free" : stateOf(now.rates[name], limits[name], now.doubt);
    scaleOf(name, now.rates[name], name === "unsure" ? null : limits[name]);
  }
  byId("card-unsure").hidden = ask.every((value, label) => value === ng[label]);
  byId("live").textContent = liveText(now);
  if (boxes) for (const name of ["found", "missed", "extra"]) byId(`${name}-count`).textContent = now.total[name].toLocaleString("en-US");
  fillTables(now);
  fillControls();
  fillGallery(now);
  moveCursor();
  return now;
}

// ---- controls

const labels = () => (byId("scope").value === "" ? set.names.map((_, label) => label) : [Number(byId("scope").value)]);
const tidy = (value) => Number(value.toFixed(4));

function fillControls() {
  const upper = labels().map((label) => ng[label]), lower = labels().map((label) => ask[label]);
  if (document.activeElement !== byId("slider")) byId("slider").value = Math.min(...upper);
  if (document.activeElement !== byId("number")) byId("number").value = sameAll(upper) ? tidy(upper[0]) : "";
  byId("number").placeholder = sameAll(upper) ? "" : "by kind";
  byId("ask").value = Math.min(...lower);
  byId("ask-value").textContent = lower.every((value, i) => value === upper[i]) ? "off" : sameAll(lower) ? tidy(lower[0]) : "by kind";
  const still = ng.every((value, label) => value === own.ng[label] && ask[label] === own.ask[label]);
  byId("reset").disabled = still;
  byId("moved").hidden = still;
}

function move(value) {
  if (!Number.isFinite(value)) return;
  const score = Math.max(value, set.evidence.floor);
  for (const label of labels()) {
    const off = ask[label] === ng[label];
    ng[label] = score;
    ask[label] = off ? score : Math.min(ask[label], score);
  }
  update();
}

function moveAsk(value) {
  for (const label of labels()) ask[label] = Math.min(Math.max(value, set.evidence.floor), ng[label]);
  update();
}

function moveCursor() {
  const svg = document.querySelector("#setting svg"), same = sameAll(ng);
  let line = svg.querySelector(".cursor");
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "cursor");
    svg.append(line);
  }
  const { left, right, top, bottom } = svg.dataset;
  const x = Number(left) + Math.min(1, ng[0]) * (right - left);
  line.setAttribute("d", same ? `M${x} ${top}V${bottom}` : "");
}

function limitFrom(id, name) {
  const input = byId(id);
  if (limits[name] !== null) input.value = tidy(100 * limits[name]);
  input.addEventListener("input", () => {
    const value = input.value === "" ? NaN : input.valueAsNumber / 100;
    limits[name] = value >= 0 && value <= 1 ? value : null;
    update();
  });
}

set.names.forEach((name, label) => byId("scope").append(new Option(name, label)));
for (const id of ["slider", "ask", "number"]) byId(id).min = Math.floor(1000 * set.evidence.floor) / 1000; // steps of 0.001 begin there
byId("slider").addEventListener("input", () => move(byId("slider").valueAsNumber));
byId("number").addEventListener("change", () => move(byId("number").valueAsNumber));
byId("ask").addEventListener("input", () => moveAsk(byId("ask").valueAsNumber));
byId("scope").addEventListener("change", fillControls);
byId("reset").addEventListener("click", () => { ng = [...own.ng]; ask = [...own.ask]; update(); });
byId("limits").addEventListener("submit", (event) => event.preventDefault());
limitFrom("limit-escape", "escape");
limitFrom("limit-overkill", "overkill");
buildTabs();
firstList(state());
fillSuspects();
update();
