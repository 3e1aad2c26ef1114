// The topics. The aggregator sorts and searches them, because it has all of them.

import { $, ago, ask, element, foreign, number, paced, say, spelled, time } from "./dom.js";
import { addressOf, parameters, go, whenChanged } from "./address.js";
import { Sparkline } from "./sparkline.js";

const SHOWN = 100;
const rows = new Map();

// A response to an earlier request is dropped.
const key = () => {
  const { find, sort, order, after } = parameters();
  return JSON.stringify([find, sort, order, after]);
};

// The name to continue after; null if there are no more pages.
let next = null;

// The page to show with the next sample, and what it answers.
let loaded = null;

// Loads the topics, to show them at once or with the next sample, so that the page is drawn once.
async function load(isAwaited = true) {
  const { find, sort, order, after } = parameters();
  const query = new URLSearchParams({ sort, order, limit: SHOWN, recent: true });
  if (find) query.set("contains", find);
  if (after) query.set("cursor", after);
  const mine = key();
  try {
    loaded = { page: JSON.parse(await ask(`topics?${query}`)), key: mine };
    if (isAwaited) showLoaded();
  } catch (error) {
    say($("topics-note"), `Cannot load the topics: ${error.message}`);
  }
}

function showLoaded() {
  if (loaded?.key === key()) showPage(loaded.page);
  loaded = null;
}

function showPage(page) {
  const { find, after } = parameters();
  show(page.topics);
  say($("topics-note"), note(page, find));
  next = page.next_cursor;
  $("topics-next").disabled = next === null;
  $("topics-first").disabled = after === "";
  $("topics-pages").hidden = next === null && after === "";
}

function note({ topics, total, partial, next_cursor }, find) {
  if (total === 0) return "No topics yet.";
  if (total === null) return "Not all topics could be counted in time; there may be others.";
  if (partial) return `Not all ${number(total)} topics could be scanned in time; there may be others.`;
  if (topics.length === SHOWN && next_cursor === null && total > SHOWN) {
    return `The first ${SHOWN} of ${number(total)} topics. To see the others, sort by topic, or find them by name.`;
  }
  return find || total > topics.length ? `${topics.length} of ${number(total)} topics.` : "";
}

// Existing rows are kept, so that the focus stays where it is.
function show(topics) {
  const body = $("topic-rows");
  const focused = document.activeElement;
  const names = new Set(topics.map((topic) => topic.topic));
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.made.remove();
    rows.delete(name);
  }
  topics.forEach((topic, index) => {
    const row = rows.get(topic.topic) ?? add(topic.topic);
    fill(row, topic);
    if (body.children[index] !== row.made) body.insertBefore(row.made, body.children[index] ?? null);
  });
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

function add(name) {
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go({ topics: [name] });
    $("topic").focus();
  };
  const link = element("a", { click: open, title: spelled(name), "aria-label": spelled(name) }, nameOf(name));
  const cells = ["received", "duplicates", "share", "last"].map((name) => element("td", { class: `number ${name}` }));
  const sparkline = new Sparkline();
  const recent = element("td", { class: "recent" }, sparkline.drawing);
  const made = element("tr", {}, element("th", { scope: "row" }, link), ...cells, recent);
  const row = { name, made, link, cells, sparkline, last_at: null };
  rows.set(name, row);
  return row;
}

// Of a longer name, in characters, the beginning and the end are shown: names often begin alike. All of it is its title.
const MOST = 48;
const KEPT = 23;

// It breaks into lines after the parts of the name where it can.
function nameOf(topic) {
  const letters = [...topic];
  const shown = letters.length > MOST ? `${letters.slice(0, KEPT).join("")}…${letters.slice(-KEPT).join("")}` : topic;
  const made = foreign(shown);
  for (const part of [...made.childNodes]) {
    if (part.nodeType !== Node.TEXT_NODE) continue;
    part.replaceWith(...part.data.split(/(?<=[.\-_/:])/).flatMap((text) => [element("wbr"), text]));
  }
  return made;
}

function fill(row, topic) {
  const [received, duplicates, share, last] = row.cells;
  const href = addressOf({ topics: [row.name] });
  if (row.link.getAttribute("href") !== href) row.link.setAttribute("href", href);
  say(received, number(topic.received));
  say(duplicates, number(topic.duplicate_dropped));
  say(share, `${((100 * topic.duplicate_dropped) / Math.max(1, topic.received)).toFixed(1)} %`);
  if (row.last_at !== topic.last_at) last.replaceChildren(time(topic.last_at));
  row.last_at = topic.last_at;
  say(last.firstChild, ago(topic.last_at, now));
  row.sparkline.show(topic.recent);
}

// The time of the last sample, by its clock.
let now = Date.now();

export function tick(at) {
  now = at;
  showLoaded();
  for (const { cells, last_at } of rows.values()) say(cells.at(-1).firstChild, ago(last_at, now));
}

const loadPaced = paced(() => load(false), 2000);
const TYPING_MS = 150;

function showSort() {
  const { sort, order } = parameters();
  for (const head of document.querySelectorAll("th[data-sort]")) {
    if (head.dataset.sort === sort) head.setAttribute("aria-sort", order === "asc" ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

function turn(after) {
  go({ after });
  $("topic-rows").closest(".scroll").scrollTop = 0;
}

export function start() {
  for (const head of document.querySelectorAll("th[data-sort]")) {
    const by = head.dataset.sort;
    head.firstElementChild.addEventListener("click", () => {
      const { sort, order } = parameters();
      const first = by === "topic" ? "asc" : "desc";
      const other = first === "asc" ? "desc" : "asc";
      go({ sort: by, order: sort === by && order === first ? other : first, after: "" });
    });
  }
  $("topics-next").addEventListener("click", () => next !== null && turn(next));
  $("topics-first").addEventListener("click", () => turn(""));
  $("find").value = parameters().find;
  let typing = null;
  $("find").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => go({ find: $("find").value, after: "" }, true), TYPING_MS);
  });
  let before = "";
  const follow = () => {
    const { find } = parameters();
    if ($("find").value !== find) $("find").value = find;
    showSort();
    if (key() !== before) load();
    before = key();
  };
  whenChanged(follow);
  follow();
}

// The number of events received, and the minute, for which the list was last loaded: the last minutes move on by themselves.
let loadedFor = "";

// Called with each sample, and in any case loads the list if isForced.
export function changed(sample, isForced) {
  const state = `${sample?.received} ${Math.floor(sample?.at / 60_000)}`;
  if (state === loadedFor && !isForced) return;
  loadedFor = state;
  loadPaced();
}
