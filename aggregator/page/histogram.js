// How many events were stored, dropped as duplicates or rejected, over the selected time. A part of it is selected by dragging,
// clicking, or with the arrow keys, Shift and Enter.

import { $, ask, element, number, say, svg, timeText } from "./dom.js";
import { go, parameters, whenChanged } from "./address.js";

const [WIDTH, HEIGHT] = [1200, 100];

// The height of the smallest bar, so that a single event is seen next to many.
const LEAST = 3;

// The part of its place that a bar takes.
const BAR = 0.85;

// At least this much time is shown if no time is selected.
const MIN_SPAN_MS = 30 * 60000;

const REFRESH_MS = 10000;

// Maximum number of topics that the API adds up.
const MAX_TOPICS = 10;

// A pointer that moves less, in pixels, selects nothing.
const MIN_DRAG = 5;

// From the bottom up.
const PARTS = ["stored", "duplicates", "rejected"];

let shown = "";
// { from, to, step, buckets: [{ at, …counts }] }, with times in milliseconds since 1970.
let data = null;
// When the first event of a selection was stored: { query, at }.
let oldest = null;
// The index of the bucket under the crosshair, and of the one where the selection began; or null.
let at = null;
let anchor = null;
let drag = null;
// Responses to requests of an earlier turn are dropped.
let turn = 0;

const bars = PARTS.map((part) => svg("path", { class: part }));
const band = svg("rect", { class: "band", y: 0, width: 0, height: HEIGHT });
const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
const slider = element("div", { class: "slider", role: "slider", tabindex: "0", "aria-label": "Time in the histogram", "aria-describedby": "histogram-help" });
const moment = element("span", { class: "note" });
const values = PARTS.map(() => element("b", {}, "–"));
const most = element("span", { class: "most", "aria-hidden": "true" });
const axis = [element("span"), element("span")];
const note = element("p", { class: "note", role: "status" });

const iso = (ms) => new Date(ms).toISOString();
const isKnown = (part) => data.buckets.every((bucket) => part in bucket);

async function load() {
  const { topics, since, until } = parameters();
  const mine = (turn += 1);
  if (topics.length > MAX_TOPICS) {
    show(null, `Select at most ${MAX_TOPICS} topics to see counts over time.`);
    return;
  }
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  if (until) query.set("until", until);
  try {
    if (since) query.set("since", since);
    else query.set("since", await beginning(topics, until));
    const found = JSON.parse(await ask(`histogram?${query}`));
    if (mine === turn) show(found, isPartial(found) ? `Counted since ${timeText(found.counted_since)}.` : "");
  } catch (error) {
    // The bar says what is wrong with a query.
    if (mine === turn) show(null, error.status === 422 ? "" : `Cannot load the histogram: ${error.message}`);
  }
}

// An older version of the store did not count over time.
const isPartial = ({ since, counted_since }) => counted_since !== null && Date.parse(counted_since) > Date.parse(since);

// Where the histogram begins if no time is selected: at the first event, which never changes.
async function beginning(topics, until) {
  const query = new URLSearchParams([...topics.map((topic) => ["topic", topic]), ["order", "asc"], ["limit", 1]]);
  const end = Date.parse(until);
  const latest = (Number.isNaN(end) ? Date.now() : end) - MIN_SPAN_MS;
  if (oldest?.query !== `${query}`) {
    const { events } = JSON.parse(await ask(`events?${query}`));
    if (events.length === 0) return iso(latest);
    oldest = { query: `${query}`, at: Date.parse(events[0].processed_at) };
  }
  return iso(Math.min(oldest.at, latest));
}

function show(found, text) {
  say(note, text);
  for (const one of [$("histogram-plot"), moment.parentElement]) one.hidden = found === null;
  data = null;
  if (found === null) return;
  const buckets = found.buckets.map((bucket) => ({ ...bucket, at: Date.parse(bucket.at) }));
  data = { from: Date.parse(found.since), to: Date.parse(found.until), step: found.step_seconds * 1000, buckets };
  draw();
}

// Where the time that is shown begins; null if that is not known.
export const shownSince = () => data && iso(data.from);

const x = (time) => ((time - data.from) / (data.to - data.from)) * WIDTH;

function draw() {
  const highest = Math.max(1, ...data.buckets.map(total));
  const paths = PARTS.map(() => "");
  const width = (x(data.from + data.step) * BAR).toFixed(2);
  for (const bucket of data.buckets) {
    let top = HEIGHT;
    PARTS.forEach((part, index) => {
      if (!bucket[part]) return;
      const height = Math.max(LEAST, (bucket[part] / highest) * (HEIGHT - LEAST * PARTS.length));
      top -= height;
      paths[index] += `M${x(bucket.at).toFixed(2)} ${top.toFixed(2)}h${width}v${height.toFixed(2)}h-${width}z`;
    });
  }
  bars.forEach((bar, index) => bar.setAttribute("d", paths[index]));
  say(most, `${number(Math.max(0, ...data.buckets.map(total)))} in ${span(data.step)}`);
  say(axis[0], timeText(iso(data.from)));
  say(axis[1], timeText(iso(data.to)));
  PARTS.forEach((part, index) => {
    values[index].parentElement.hidden = !isKnown(part);
  });
  const sums = PARTS.filter(isKnown).map((part) => `${number(sum(part))} ${part}`);
  drawing.setAttribute("aria-label", `Events from ${timeText(iso(data.from))} to ${timeText(iso(data.to))}: ${sums.join(", ")}. At most ${number(highest)} in ${span(data.step)}.`);
  slider.setAttribute("aria-valuemin", 0);
  slider.setAttribute("aria-valuemax", Math.max(0, data.buckets.length - 1));
  if ($("histogram-table").open) showTable();
  read(at);
}

const total = (bucket) => PARTS.reduce((sum, part) => sum + (bucket[part] ?? 0), 0);
const sum = (part) => data.buckets.reduce((sum, bucket) => sum + bucket[part], 0);

function span(ms) {
  const minutes = ms / 60000;
  if (minutes < 60) return `${minutes} min`;
  return minutes < 1440 ? `${minutes / 60} h` : `${minutes / 1440} d`;
}

// What the sums count: whole buckets, so they begin before a range such as the last five minutes.
function inAll() {
  const { q, since, until } = parameters();
  const [first, last] = [data.buckets[0], data.buckets.at(-1)];
  const end = last && Math.min(last.at + data.step, Math.max(data.to, last.at));
  const range = first && (since || until) ? ` from ${timeText(iso(first.at))} to ${timeText(iso(end))}` : "";
  const all = q ? " of all events, not only those found" : "";
  return `Totals${all}${all && range && ","}${range}; each bar is ${span(data.step)}`;
}

// Shows the counts of a bucket, or of all.
function read(index) {
  const isOne = index !== null && data !== null && data.buckets[index] !== undefined;
  at = isOne ? index : null;
  if (data === null) return;
  const bucket = isOne ? data.buckets[index] : null;
  PARTS.forEach((part, index) => say(values[index], number(isOne ? bucket[part] : isKnown(part) ? sum(part) : null)));
  const range = selection();
  const text = range ? `${timeText(iso(range[0]))} to ${timeText(iso(range[1]))}` : isOne ? `${timeText(iso(bucket.at))}, ${span(data.step)}` : inAll();
  say(moment, text);
  if (range) {
    band.setAttribute("x", x(range[0]));
    band.setAttribute("width", x(range[1]) - x(range[0]));
  } else if (isOne) {
    band.setAttribute("x", x(bucket.at));
    band.setAttribute("width", x(data.from + data.step));
  } else band.setAttribute("width", 0);
  const counts = PARTS.filter(isKnown).map((part, index) => `${values[index].textContent} ${part}`);
  slider.setAttribute("aria-valuenow", at ?? Math.max(0, data.buckets.length - 1));
  slider.setAttribute("aria-valuetext", `${range ? "selected " : ""}${text}: ${counts.join(", ")}`);
}

// The selected time, in whole buckets; null if none is.
function selection() {
  if (anchor === null || at === null) return null;
  const [first, last] = [Math.min(anchor, at), Math.max(anchor, at)].map((index) => data.buckets[index]);
  return first && last ? [first.at, last.at + data.step] : null;
}

// Shows the events of the selected time. What includes the present has no end, so it stays live.
function choose() {
  const range = selection() ?? (at === null ? null : [data.buckets[at].at, data.buckets[at].at + data.step]);
  forget();
  if (range === null) return;
  const isOpen = parameters().until === "" && range[1] >= data.to;
  go({ since: iso(range[0]), until: isOpen ? "" : iso(range[1]) });
}

function forget() {
  anchor = null;
  drag = null;
  read(null);
}

// The index of the bucket at a horizontal position; the nearest if there is none.
function indexAt(clientX) {
  if (data.buckets.length === 0) return null;
  const { left, width } = slider.getBoundingClientRect();
  const time = data.from + ((clientX - left) / width) * (data.to - data.from);
  const index = Math.floor((time - data.buckets[0].at) / data.step);
  return Math.min(Math.max(index, 0), data.buckets.length - 1);
}

function pointerDown(event) {
  if (data === null || event.button !== 0) return;
  slider.setPointerCapture(event.pointerId);
  drag = { from: event.clientX, index: indexAt(event.clientX) };
  read(drag.index);
}

function pointerMove(event) {
  if (data === null) return;
  if (drag !== null && Math.abs(event.clientX - drag.from) >= MIN_DRAG) anchor = drag.index;
  read(indexAt(event.clientX));
}

// A click selects the bucket under the pointer.
function pointerUp(event) {
  if (data === null || drag === null) return;
  if (anchor === null) read(indexAt(event.clientX));
  choose();
}

function keyDown(event) {
  if (data === null || event.ctrlKey || event.altKey || event.metaKey) return;
  const last = data.buckets.length - 1;
  const from = at ?? last;
  const to = { ArrowLeft: at === null ? last : from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
  if (event.key === "Escape" && at !== null) forget();
  else if (event.key === "Enter" && at !== null) choose();
  else if (to !== undefined) {
    if (!event.shiftKey) anchor = null;
    else anchor ??= from;
    read(Math.min(Math.max(to, 0), last));
  } else return;
  event.preventDefault();
}

function showTable() {
  const parts = PARTS.filter(isKnown);
  const cells = (bucket) => parts.map((part) => element("td", { class: "number" }, number(bucket[part])));
  const rows = data.buckets.map((bucket) => element("tr", {}, element("th", { scope: "row" }, timeText(iso(bucket.at))), ...cells(bucket)));
  const heads = parts.map((part) => element("th", { scope: "col", class: "number" }, part));
  $("histogram-rows").replaceChildren(
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, `From (${span(data.step)} each)`), ...heads)),
    element("tbody", {}, ...rows.reverse()),
  );
}

// Follows the address, and the present while the time has no end.
function follow() {
  const { topics, q, since, until, isUtc } = parameters();
  const now = JSON.stringify([topics, q, since, until, isUtc]);
  if (now === shown) return;
  shown = now;
  forget();
  if (!document.hidden) load();
}

function refresh() {
  if (!document.hidden && drag === null && anchor === null && parameters().until === "") load();
}

const resume = () => document.hidden || load();

export function start() {
  drawing.append(band, ...bars);
  const legend = PARTS.map((part, index) => element("li", {}, element("span", { class: `swatch ${part}`, "aria-hidden": "true" }), `${part} `, values[index]));
  $("histogram").prepend(element("figcaption", {}, moment, element("ul", {}, ...legend)), note);
  $("histogram-plot").prepend(element("div", { class: "drawing" }, drawing, most, slider), element("p", { class: "axis", "aria-hidden": "true" }, ...axis));
  slider.addEventListener("pointerdown", pointerDown);
  slider.addEventListener("pointermove", pointerMove);
  slider.addEventListener("pointerup", pointerUp);
  slider.addEventListener("pointercancel", forget);
  slider.addEventListener("pointerleave", () => drag === null && forget());
  slider.addEventListener("blur", () => drag === null && forget());
  slider.addEventListener("keydown", keyDown);
  $("histogram-table").addEventListener("toggle", () => data !== null && showTable());
  document.addEventListener("visibilitychange", resume);
  setInterval(refresh, REFRESH_MS);
  whenChanged(follow);
  follow();
}
