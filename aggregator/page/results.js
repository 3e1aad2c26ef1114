// The events that a search or a time range in the past selects, one page at a time. They are not live.

import { $, ask, number, say, timeText } from "./dom.js";
import { go, parameters } from "./address.js";
import { problem } from "./bar.js";
import { EMPTY_RANGE, isEmptyRange } from "./moments.js";
import * as nothing from "./nothing.js";
import { parsed, queriesOf, QueryError } from "./query.js";
import { elements, members, value } from "./json.js";
import { row } from "./rows.js";

// The searches of this page: [{ query, most, found, next, searchedTo, isAnswered }], of which the first gives the next page.
let searches = [];
const listeners = [];
let isSearching = false;
// Responses to requests of an earlier turn are dropped.
let turn = 0;

export function stop() {
  $("event-rows").style.minHeight = "";
  turn += 1;
  isSearching = false;
}

// Loads the page that the address selects.
export function load() {
  stop();
  // The buttons below stay where they are while a page is loaded.
  const list = $("event-rows");
  list.style.minHeight = `${list.offsetHeight}px`;
  list.replaceChildren();
  $("first-steps").hidden = true;
  nothing.hide();
  const state = parameters();
  problem("");
  if (isEmptyRange(state.since, state.until)) {
    problem(EMPTY_RANGE);
    searches = [];
    showNote();
    say($("events-note"), "No event matches.");
    return;
  }
  try {
    searches = queriesOf(state).map((one) => ({ ...one, found: 0, next: undefined, searchedTo: null, isAnswered: false }));
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    searches = [];
    problem(error.message);
    say($("events-note"), "");
  }
  return advance((search) => !search.isAnswered);
}

const isUnfinished = (search) => search.searchedTo !== null && search.found < search.most;

// Continues the searches that ended early, until the page is full, all is searched, or the reader stops it.
export async function goOn() {
  if (isSearching) {
    stop();
    $("events-note").ariaLive = "polite";
    showNote();
    return;
  }
  await advance(isUnfinished);
}

const shown = () => $("event-rows").children.length;

// Makes requests for these searches until there are none.
async function advance(which) {
  const mine = (turn += 1);
  isSearching = true;
  showNote();
  let failure = null;
  try {
    await request(which, () => mine === turn);
  } catch (error) {
    failure = error;
  }
  if (mine !== turn) return;
  $("event-rows").style.minHeight = "";
  isSearching = false;
  $("events-note").ariaLive = "polite";
  if (failure) searches = [];
  showNote();
  if (failure?.status === 422) problem(failure.message);
  if (failure) say($("events-note"), failure.status === 422 ? "" : `Cannot load events: ${failure.message}`);
}

async function request(which, isWanted) {
  for (;;) {
    const asked = searches.filter(which);
    const pages = await Promise.all(asked.map(page));
    if (!isWanted()) return;
    asked.forEach((search, index) => take(search, pages[index]));
    if (!searches.some(which)) return;
    // Screen readers announce the beginning and the end, but not each step.
    $("events-note").ariaLive = "off";
    showNote();
    await visible();
    if (!isWanted()) return;
  }
}

// Waits while the page is hidden.
async function visible() {
  while (document.hidden) {
    await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

async function page({ query, most, found, next }) {
  const asked = new URLSearchParams(query);
  asked.set("limit", most - found);
  if (next) asked.set("cursor", next);
  return members(await ask(`events?${asked}`));
}

// Events that the text names come first, and only once.
function take(search, page) {
  const list = $("event-rows");
  const known = new Set([...list.children].map((item) => item.identity));
  const rows = elements(page.events).map((text) => row(text, () => {}));
  const others = rows.filter((item) => !known.has(item.identity));
  search.found += rows.length;
  search.next = value(page.next_cursor);
  search.searchedTo = value(page.searched_to) ?? null;
  search.isAnswered = true;
  if (search === searches[0]) {
    list.append(...others);
    return;
  }
  const named = [...list.children].filter((item) => item.classList.contains("named")).length;
  for (const item of rows) item.classList.add("named");
  const again = new Set(rows.map((item) => item.identity));
  for (const item of [...list.children]) if (again.has(item.identity)) item.remove();
  list.insertBefore(fragment(rows), list.children[named] ?? null);
}

function fragment(items) {
  const made = document.createDocumentFragment();
  made.append(...items);
  return made;
}

export function whenSearched(listener) {
  listeners.push(listener);
}

// The queries that find the events of the list, in its order. `state` is what the address selects, or the same with other times
// or without a page. Queries that found nothing are left out, unless all did.
export function needed(state) {
  // On a later page, only the first query was made.
  const made = parameters().cursor === "" ? searches : [];
  const isVain = (search) => search?.isAnswered && search.found === 0 && search.searchedTo === null;
  const [main, ...named] = queriesOf(state).map((one, index) => ({ ...one, isVain: isVain(made[index]) }));
  const found = [...named, main].filter((one) => !one.isVain);
  return found.length > 0 ? found : [main];
}

function showNote() {
  const [main] = searches;
  listeners.forEach((listener) => listener());
  const unfinished = searches.filter(isUnfinished);
  const isPartial = unfinished.length > 0;
  say($("go-on"), isSearching ? "Stop" : "Go on");
  $("go-on").hidden = !isPartial;
  // On the last page it stays, so that the others do not take its place.
  $("older").hidden = isPartial || (!main?.next && parameters().cursor === "");
  $("older").disabled = !isSearching && !main?.next;
  $("all-times").hidden = true;
  if (main === undefined) return;
  const parts = [];
  if (isSearching) parts.push(shown() === 0 ? "Searching …" : `Searching … ${events(shown())} so far.`);
  else parts.push(summary());
  // The search that is furthest behind.
  const to = unfinished.map((search) => search.searchedTo).sort().at(-1);
  if (to) parts.push(`Searched back to ${timeText(to)}.`);
  say($("events-note"), parts.join(" "));
  const { since, until } = parameters();
  const isNothing = !isSearching && !isPartial && shown() === 0;
  $("all-times").hidden = !isNothing || !(since || until);
  if (isNothing) nothing.explain();
  else nothing.hide();
}

const events = (n) => (n === 1 ? "1 event" : `${number(n)} events`);

function summary() {
  const list = $("event-rows");
  const named = list.querySelectorAll(".named").length;
  const others = list.children.length - named;
  if (list.children.length === 0) return searches.some(isUnfinished) ? "Nothing found yet." : "No event matches.";
  const { cursor } = parameters();
  if (cursor) return `${others === 1 ? "1 older event" : `${number(others)} older events`}, not live.`;
  const newest = searches[0].next ? "the newest " : "";
  if (named === 0) return `${newest && "The newest "}${events(others)}, not live.`;
  const id = `${events(named)} with this id`;
  return others === 0 ? `${id}, not live.` : `${id}, and ${newest}${events(others)} ${isText() ? "whose payload contains the text" : "with this field"}, not live.`;
}

const isText = () => parsed(parameters().q).text !== "";

export function older() {
  const [main] = searches;
  if (main?.next) go({ cursor: main.next });
}
