// The newest events of some topics or of all, as they are stored.

import { $, ask, number, refusal, say } from "./dom.js";
import { go, parameters } from "./address.js";
import { problem } from "./bar.js";
import * as nothing from "./nothing.js";
import { eventsQuery } from "./query.js";
import { elements, members, value } from "./json.js";
import { isRead, row } from "./rows.js";

const SHOWN = 50;
let source = null;
let isPaused = false;
// Events that arrived and are not listed: the list is being loaded or is paused, or it is not yet time to draw it.
let waiting = [];
let isLoaded = false;
let isDrawing = false;
let skipped = 0;
// Whether events were skipped since the latest sample. Then this is said, and the others are listed, with the next one: nobody
// reads more, and the page is drawn once.
let isSkipping = false;
// Whether the tail is open but silent, as behind a proxy that buffers it.
let isHeld = false;
// Whether no event is stored of the topics or in the time range that are selected.
let isEmpty = false;
let hiding = null;
// Responses to requests of an earlier turn are dropped.
let turn = 0;

// Events that arrive within a frame are listed together.
function drawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    showWaiting();
  });
}

function showWaiting() {
  // The list may show other events.
  if (source === null) return;
  if (isPaused) showNote();
  else if (isLoaded && waiting.length > 0) add(waiting.splice(0));
}

// Called once a second.
export function tick() {
  if (isSkipping) showNote();
  isSkipping = false;
  showWaiting();
}

// Puts events, oldest first, on top of the list. Those that are listed already are left out: the first list of a store that several
// aggregators share has events that the tail sends later.
function add(texts) {
  const list = $("event-rows");
  const listed = new Set([...list.children].map((item) => item.identity));
  const rows = texts.slice(-SHOWN).map((text) => row(text, pause));
  list.prepend(...rows.filter(({ identity }) => !listed.has(identity)).reverse());
  for (const item of [...list.children].slice(SHOWN)) if (!isRead(item)) item.remove();
  if (list.children.length >= SHOWN) $("older").hidden = false;
  if (list.children.length === 0) return;
  $("first-steps").hidden = true;
  if (isEmpty) {
    isEmpty = false;
    showNote();
  }
}

function showNote() {
  const parts = [];
  if (isPaused && source === null) parts.push("Paused.");
  else if (isPaused) parts.push(newEvents(waiting.length + skipped));
  else if (isHeld) parts.push("New events do not arrive: the event stream is silent. These are the events stored when it was opened.");
  else if (isEmpty) parts.push(whyEmpty(parameters()));
  else if (skipped > 0) parts.push(`Too many to show: ${count(skipped)} skipped. They are stored.`);
  say($("events-note"), parts.join(" "));
  const isInRange = isEmpty && !isPaused && parameters().since !== "";
  if (isInRange && $("nothing").hidden) nothing.explain();
  else if (!isInRange) nothing.hide();
}

function whyEmpty({ topics, since }) {
  if (since) return "No event is stored in this time range. Those that are stored from now on appear here.";
  return topics.length === 1
    ? "No event of this topic is stored. If the name is right, its events appear here when they arrive."
    : "No event of these topics is stored. If the names are right, their events appear here when they arrive.";
}

const count = (n) => (n === Infinity ? "some" : number(n));

const newEvents = (n) => (n === 0 ? "Paused." : n === 1 ? "Paused; 1 new event" : `Paused; ${count(n)} new events`);

function showPause() {
  say($("pause"), isPaused ? "Resume" : "Pause");
  $("events-bar").classList.toggle("paused", isPaused);
  showNote();
}

// Opening, selecting and scrolling show that an event is being read: the list stays as it is until it is resumed.
export function pause() {
  if (isPaused) return;
  isPaused = true;
  showPause();
}

function unpause() {
  isPaused = false;
  if (source === null) begin();
  showWaiting();
  skipped = 0;
  $("event-rows").scrollTop = 0;
  showPause();
}

export const toggle = () => (isPaused ? unpause() : pause());

// Continues after an interruption, unless paused: a paused list stays as it is.
export function resume() {
  if (!isPaused) begin();
}

export function stop() {
  source?.close();
  source = null;
  // It would replace what a search says.
  clearTimeout(hiding);
  isLoaded = false;
  turn += 1;
}

// Follows what the address selects from now on, with an empty list.
export function restart() {
  isPaused = false;
  showPause();
  $("event-rows").replaceChildren();
  $("older").hidden = true;
  $("older").disabled = false;
  if (!document.hidden) begin();
}

// A time range such as the last five minutes moves on, and events leave it.
const RANGE_MS = 60000;

setInterval(() => {
  const isMoving = source !== null && parameters().since.startsWith("-");
  if (isMoving && !isPaused && !$("event-rows").contains(document.activeElement)) begin();
}, RANGE_MS);

const RETRY_MS = 5000;

// After this time without the tail's first event, the stored events are loaded without it.
const START_MS = 4000;
// While events are skipped, it is said again every two seconds.
const SKIPPED_NOTE_MS = 4000;

// Opens the tail before it loads the stored events, so that no event is missed in between.
export function begin() {
  stop();
  const mine = turn;
  const { topics, since } = parameters();
  const query = eventsQuery({ topics, since, q: "" });
  query.set("limit", SHOWN);
  const tail = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  tail.set("latest", SHOWN);
  let isLoading = false;
  waiting = [];
  skipped = 0;
  isHeld = false;
  isEmpty = false;
  const hold = () => {
    if (mine !== turn || isLoading) return;
    isHeld = true;
    load().catch(failed);
  };
  setTimeout(hold, START_MS);

  async function load() {
    const page = members(await ask(`events?${query}`));
    if (mine !== turn) return;
    isLoaded = true;
    const old = elements(page.events);
    $("event-rows").replaceChildren();
    $("older").hidden = value(page.next_cursor) === null;
    // Events that were stored by then are in the page, or are older than all events in it if it has no room for them.
    const oldest = old.length < SHOWN ? "" : value(members(old[old.length - 1]).processed_at);
    add(old.reverse());
    waiting = waiting.filter((text) => value(members(text).processed_at) > oldest);
    showWaiting();
    const isNone = $("event-rows").children.length === 0;
    isEmpty = isNone && (topics.length > 0 || since !== "");
    $("first-steps").hidden = !isNone || isEmpty;
    problem("");
    showNote();
  }

  // A request refused with a 4xx status is not retried.
  function failed(error) {
    if (mine !== turn) return;
    stop();
    // There is nothing to pause.
    if (error?.status === 422) $("pause").hidden = true;
    const isRetried = !isPaused && !(error?.status >= 400 && error?.status < 500);
    if (error?.status === 422) problem(error.message);
    else say($("events-note"), `Cannot follow events${error ? `: ${error.message}` : ""}.${isRetried ? " Retrying." : ""}`);
    if (isRetried) setTimeout(() => source === null && !document.hidden && resume(), RETRY_MS);
  }

  source = new EventSource(`events/tail?${tail}`);
  source.addEventListener("start", () => {
    if (isLoading) return;
    isLoading = true;
    isHeld = false;
    load().catch(failed);
  });
  source.addEventListener("message", ({ data }) => {
    waiting.push(data);
    if (waiting.length > SHOWN) {
      waiting.shift();
      if (isPaused) skipped += 1;
    }
    if (!isSkipping) drawSoon();
  });
  // A browser does not retry a stream that was refused.
  source.addEventListener("error", async () => {
    if (mine === turn && source.readyState === EventSource.CLOSED) failed(await refusal(`events/tail?${tail}`));
  });
  source.addEventListener("missed", ({ data }) => {
    // The number is null if the token may read too many topics to count the events.
    const missed = JSON.parse(data).missed ?? Infinity;
    isSkipping = true;
    skipped = isPaused ? skipped + missed : missed;
    clearTimeout(hiding);
    hiding = setTimeout(() => {
      if (isPaused) return;
      skipped = 0;
      showNote();
    }, SKIPPED_NOTE_MS);
  });
  showNote();
}

// Maximum number of events in a page of the API.
const MAX_LIMIT = 1000;

// The page of events that are older than those in the list. It may begin with events of the list if others are stored meanwhile.
export async function older() {
  const { topics, since } = parameters();
  const newer = $("event-rows").children.length + (isPaused ? waiting.length + skipped : 0);
  const query = eventsQuery({ topics, since, q: "" });
  query.set("limit", Math.min(Math.max(newer, 1), MAX_LIMIT));
  const mine = turn;
  try {
    const cursor = value(members(await ask(`events?${query}`)).next_cursor);
    if (mine !== turn) return;
    if (cursor === null) say($("events-note"), "There are no older events.");
    else go({ cursor });
  } catch (error) {
    say($("events-note"), `Cannot load older events: ${error.message}`);
  }
}
