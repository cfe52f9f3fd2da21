// Counting: verdicts on parts and boxes at any thresholds. Python says the same (report/pages/answer.py).

const column = (text, Kind) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
};
const columns = (table, kinds) => table && Object.fromEntries(
  Object.entries(kinds).map(([name, Kind]) => [name, column(table[name], Kind)]));

const scores = columns(set.evidence.scores, { part: Uint32Array, label: Uint16Array, score: Float32Array });
const shows = columns(set.evidence.shows, { part: Uint32Array, label: Uint16Array });
const boxes = columns(set.evidence.boxes,
  { image: Uint32Array, label: Uint16Array, score: Float32Array, found: Int32Array, rect: Uint16Array });
const truths = columns(set.evidence.truths,
  { image: Uint32Array, label: Uint16Array, finder: Float32Array, rect: Uint16Array });
const intervals = Object.fromEntries(Object.entries(set.intervals).map(
  ([size, table]) => [size, columns(table, { count: Uint32Array, low: Float64Array, high: Float64Array })]));
// Where the rows of each image begin; the last entry is where they end.
function starts(of, count) {
  const first = new Uint32Array(count + 1);
  of.forEach((image) => { first[image + 1]++; });
  for (let i = 0; i < count; i++) first[i + 1] += first[i];
  return first;
}
const PARTS = set.evidence.parts;

const defective = new Uint8Array(PARTS);
shows.part.forEach((part) => { defective[part] = 1; });
const best = new Float32Array(PARTS).fill(-Infinity);
scores.part.forEach((part, row) => { best[part] = Math.max(best[part], scores.score[row]); });

const OK = 0, UNSURE = 1, NG = 2;

// `ng` and `ask` hold a threshold for each class; scores and thresholds meet in 32 bits.
function verdicts(ng, ask, only) {
  const found = new Uint8Array(PARTS), upper = Float32Array.from(ng), lower = Float32Array.from(ask);
  for (let row = 0; row < scores.part.length; row++) {
    const label = scores.label[row], score = scores.score[row];
    if (only !== undefined && label !== only) continue;
    const says = score >= upper[label] ? NG : score >= lower[label] ? UNSURE : OK;
    if (says > found[scores.part[row]]) found[scores.part[row]] = says;
  }
  return found;
}

// The last row of a rising column with at most `value`.
function rowOf(rising, value) {
  let low = 0, high = rising.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (rising[middle] <= value) low = middle; else high = middle - 1;
  }
  return low;
}

function rate(count, of) {
  const found = { count, of, value: of ? count / of : null, low: 0, high: 1 }, table = intervals[of];
  if (!table) return found;
  const row = rowOf(table.count, count), next = Math.min(row + 1, table.count.length - 1);
  const share = next > row ? (count - table.count[row]) / (table.count[next] - table.count[row]) : 0;
  for (const end of ["low", "high"]) found[end] = table[end][row] + share * (table[end][next] - table[end][row]);
  return found;
}

function ratesOf(found, kept = () => true) {
  let bad = 0, good = 0, passed = 0, rejected = 0, asked = 0;
  for (let part = 0; part < PARTS; part++) {
    if (!kept(part)) continue;
    if (defective[part]) { bad++; passed += found[part] === OK; }
    else { good++; rejected += found[part] === NG; }
    asked += found[part] === UNSURE;
  }
  return { escape: rate(passed, bad), overkill: rate(rejected, good), unsure: rate(asked, bad + good) };
}

// Parts that show a class escape whatever would have caught them; good ones count where it alone asks.
function ratesOfClass(label, found, ng, ask) {
  const own = new Set();
  shows.label.forEach((shown, row) => { if (shown === label) own.add(shows.part[row]); });
  let passed = 0, asked = 0, good = 0, rejected = 0;
  own.forEach((part) => { passed += found[part] === OK; asked += found[part] === UNSURE; });
  const alone = verdicts(ng, ask, label);
  for (let part = 0; part < PARTS; part++) if (!defective[part]) { good++; rejected += alone[part] === NG; }
  return { escape: rate(passed, own.size), overkill: rate(rejected, good) };
}

function countBoxes(ng) {
  const rows = set.names.map(() => ({ found: 0, missed: 0, extra: 0 }));
  if (!boxes) return rows;
  const upper = Float32Array.from(ng);
  for (let row = 0; row < boxes.label.length; row++) {
    const label = boxes.label[row];
    if (boxes.score[row] >= upper[label] && boxes.found[row] < 0) rows[label].extra++;
  }
  for (let row = 0; row < truths.label.length; row++) {
    const label = truths.label[row];
    rows[label][truths.finder[row] >= upper[label] ? "found" : "missed"]++;
  }
  return rows;
}

// ---- words

const percent = (share, digits = 1) =>
  share === null ? "–" : `${(Math.floor(share * 10 ** (digits + 2) + 0.5) / 10 ** digits).toFixed(digits)} %`;
// As many as `limit` has, more where they tell one of `shares` from it.
function digitsOf(limit, ...shares) {
  let digits = Math.max(1, (100 * limit).toFixed(4).replace(/0+$/, "").split(".")[1].length);
  const apart = shares.filter((share) => Math.abs(share - limit) > 1e-9);
  while (digits < 6 && apart.some((share) => percent(share, digits) === percent(limit, digits))) digits++;
  return digits;
}
// Low end, share and high end with the digits that tell them from the limit, and the share from 0 and 1.
function endsOf(found, limit) {
  const value = found.value || 0, shares = [found.low, value, found.high];
  const digits = Math.max(digitsOf(0, value || found.high), digitsOf(1, value), limit === null ? 1 : digitsOf(limit, ...shares));
  return shares.map((share) => percent(share, digits));
}
const counted = (count, one, many = one + "s") =>
  count === 1 ? `1 ${one}` : `${count ? count.toLocaleString("en-US") : "no"} ${many}`;
const THINGS = { escape: "defective parts", overkill: "good parts", unsure: "parts" };
const HAPPENS = {
  escape: "of the defective parts pass",
  overkill: "of the good parts are rejected",
  unsure: "of all parts are left to a person",
};
const WITHOUT = {
  escape: "This set has no defective part, so nobody can know how many would pass.",
  overkill: "This set has no good part, so nobody can know how many would be rejected.",
  unsure: "This set has no part.",
};

// Why intervals prove that no limit is met: these parts chose several thresholds, or pictures share a part.
const BUT = {
  chose: "the scores were chosen on these parts: ask others",
  grouped: "several pictures show one part, and prove less than they count",
};
const RANGE = {
  chose: "but these parts chose the scores: expect worse on the line",
  grouped: "too narrow, since several pictures show one part",
};

function stateOf(found, limit, doubt) {
  if (limit === null) return "free";
  if (!found.of) return "unknown";
  return found.high <= limit ? (doubt ? "open" : "met") : found.low > limit ? "broken" : "open";
}

// One limit alone says nothing: a model that rejects everything lets no defect pass.
const halfOf = (limits) => (limits.escape === null) !== (limits.overkill === null);

function toneOf(rates, limits, doubt) {
  const states = ["escape", "overkill"].map((name) => stateOf(rates[name], limits[name], doubt));
  if (states.includes("broken")) return "broken";
  if (states.includes("open") || states.includes("unknown")) return "open";
  if (!states.includes("met")) return "free";
  return halfOf(limits) ? "open" : "met";
}

function reason(name, found, limit, doubt) {
  const happens = HAPPENS[name];
  if (!found.of) return WITHOUT[name];
  if (limit === null) return `No limit was given for how many ${happens}.`;
  const [low, value, high] = endsOf(found, limit), allowed = `your limit is ${percent(limit, digitsOf(limit))}`;
  if (found.high <= limit && !doubt) return `At most ${high} ${happens}; ${allowed}.`;
  if (found.low > limit) return `At least ${low} ${happens}; ${allowed}.`;
  const but = found.high <= limit
    ? BUT[doubt]
    : `so few parts leave room for up to ${high}`;
  return `${value} ${happens} here, but ${but}; ${allowed}.`;
}

function factsOf(rates, limits, doubt) {
  const none = limits.escape === null && limits.overkill === null;
  const answers = { broken: "No", open: "Not proven", met: "Yes", free: "That depends on your limits" };
  const kept = ["escape", "overkill"].some((name) => stateOf(rates[name], limits[name], doubt) === "met");
  const texts = {
    answer: halfOf(limits) && kept ? "Not yet: one limit is missing" : answers[toneOf(rates, limits, doubt)],
    why: none
      ? "Enter how many defective parts may pass and how many good parts may be rejected, and this page answers yes or no."
      : ["escape", "overkill"].map((name) => reason(name, rates[name], limits[name], doubt)).join(" "),
  };
  for (const [name, found] of Object.entries(rates)) {
    const [low, value, high] = endsOf(found, limits[name] ?? null);
    const range = doubt
      ? `${low} to ${high}, ${RANGE[doubt]}`
      : `expect ${low} to ${high} on the line (95 % sure)`;
    texts[`${name}-value`] = found.of ? value : "not known";
    texts[`${name}-count`] = `${found.count} of ${found.of} ${THINGS[name]}`;
    texts[`${name}-range`] = found.of ? range : WITHOUT[name];
  }
  return texts;
}
