// The newest events of some topics or of all, as they are stored.

import { $, ask, element, foreign, foreignLines, number, refusal, say, spelled, time } from "./dom.js";
import { addressOf, parameters, go, whenChanged } from "./address.js";
import { elements, layout, members, value } from "./json.js";

const SHOWN = 50;
let source = null;
let shownTopics = null;
let isPaused = false;
let waiting = [];
let skipped = 0;
// Whether the tail is open but silent, as behind a proxy that buffers it.
let isHeld = false;
// Whether topics are selected that have no events.
let isEmpty = false;
let hiding = null;
// Responses to requests of an earlier turn are dropped.
let turn = 0;

function row(text) {
  const event = members(text);
  const payload = element("pre", { tabindex: "0", role: "group", "aria-label": "Payload" });
  const details = element(
    "details",
    {
      toggle: () => {
        if (!details.open) return;
        pause();
        if (!payload.firstChild) payload.append(...foreignLines(layout(event.payload)));
      },
    },
    element(
      "summary",
      {},
      time(value(event.processed_at)),
      foreign(value(event.topic), { class: "topic" }),
      foreign(value(event.event_id)),
      foreign(value(event.source), { class: "quiet" }),
    ),
    element(
      "div",
      {},
      element(
        "dl",
        { class: "pairs" },
        ...pair("topic", value(event.topic)),
        ...pair("event_id", value(event.event_id)),
        ...pair("source", value(event.source)),
        ...pair("timestamp", value(event.timestamp) + (event.timestamp_filled ? " (filled in on arrival)" : "")),
        ...pair("processed_at", `${value(event.processed_at)} (UTC)`),
      ),
      payload,
    ),
  );
  return element("li", {}, details);
}

const pair = (name, text) => [element("dt", {}, name), element("dd", {}, foreign(text))];

function add(texts) {
  const list = $("event-rows");
  list.prepend(...texts.slice(-SHOWN).reverse().map(row));
  // An event that is being read stays.
  const isRead = (item) => item.firstChild.open || item.contains(document.activeElement);
  for (const item of [...list.children].slice(SHOWN)) if (!isRead(item)) item.remove();
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
  else if (isEmpty) parts.push(nothing(parameters().topics.length));
  else if (skipped > 0) parts.push(`Too many to show: ${number(skipped)} skipped. They are stored.`);
  say($("events-note"), parts.join(" "));
}

const nothing = (topics) =>
  topics === 1
    ? "No event of this topic is stored. If the name is right, its events appear here when they arrive."
    : "No event of these topics is stored. If the names are right, their events appear here when they arrive.";

const newEvents = (n) => (n === 0 ? "Paused." : n === 1 ? "Paused; 1 new event" : `Paused; ${number(n)} new events`);

function showPause() {
  say($("pause"), isPaused ? "Resume" : "Pause");
  $("events-bar").classList.toggle("paused", isPaused);
  showNote();
}

// Opening, selecting and scrolling show that an event is being read: the list stays as it is until it is resumed.
function pause() {
  if (isPaused) return;
  isPaused = true;
  showPause();
}

function unpause() {
  isPaused = false;
  if (source === null) begin();
  add(waiting.splice(0));
  skipped = 0;
  $("event-rows").scrollTop = 0;
  showPause();
}

function showFilter(topics) {
  const chips = topics.map((topic) => {
    const rest = topics.filter((other) => other !== topic);
    const remove = element("button", { type: "button", click: () => show(rest) }, foreign(topic), " ×");
    remove.setAttribute("aria-label", `Stop showing ${spelled(topic)}`);
    return element("span", { class: "chip" }, remove);
  });
  if (chips.length === 0) $("filter").replaceChildren("All topics. Select a topic to show only its events.");
  else $("filter").replaceChildren("Only ", ...chips, element("a", { href: addressOf({ topics: [] }), click: all }, "show all topics"));
}

function all(event) {
  event.preventDefault();
  show([]);
}

function show(topics) {
  go({ topics });
  $("events").focus();
}

// Continues after an interruption, unless paused: a paused list stays as it is.
export function resume() {
  if (!isPaused) begin();
}

export function stop() {
  source?.close();
  source = null;
  turn += 1;
}

const RETRY_MS = 5000;

// After this time without the tail's first event, the stored events are loaded without it.
const START_MS = 4000;
const SKIPPED_NOTE_MS = 2000;

// Opens the tail before it loads the stored events, so that no event is missed in between.
export function begin() {
  stop();
  const mine = turn;
  const { topics } = parameters();
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  const tail = new URLSearchParams(query);
  tail.set("latest", SHOWN);
  query.set("limit", SHOWN);
  let received = [];
  let isLoading = false;
  let isLoaded = false;
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
    const newest = old.length > 0 ? value(members(old[0]).processed_at) : "";
    $("event-rows").replaceChildren();
    add(old.reverse());
    // Events committed by then are in the page, or older than all events in it.
    add(received.filter((text) => value(members(text).processed_at) > newest));
    received = [];
    isEmpty = topics.length > 0 && $("event-rows").children.length === 0;
    $("first-steps").hidden = topics.length > 0 || $("event-rows").children.length > 0;
    showNote();
  }

  // A request refused with a 4xx status is not retried.
  function failed(error) {
    if (mine !== turn) return;
    stop();
    const isRetried = !isPaused && !(error?.status >= 400 && error?.status < 500);
    say($("events-note"), `Cannot follow events${error ? `: ${error.message}` : ""}.${isRetried ? " Retrying." : ""}`);
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
    if (isPaused) {
      waiting.push(data);
      if (waiting.length > SHOWN) skipped += waiting.splice(0, waiting.length - SHOWN).length;
    } else if (isLoaded) add([data]);
    else received = [...received, data].slice(-SHOWN);
    if (isPaused) showNote();
  });
  // A browser does not retry a stream that was refused.
  source.addEventListener("error", async () => {
    if (mine === turn && source.readyState === EventSource.CLOSED) failed(await refusal(`events/tail?${tail}`));
  });
  source.addEventListener("missed", ({ data }) => {
    const { missed } = JSON.parse(data);
    skipped = isPaused ? skipped + missed : missed;
    showNote();
    clearTimeout(hiding);
    hiding = setTimeout(() => {
      if (isPaused) return;
      skipped = 0;
      showNote();
    }, SKIPPED_NOTE_MS);
  });
  showNote();
}

export function start() {
  $("first-command").textContent =
    `curl -s ${new URL("publish", location)} -H 'Content-Type: application/json' \\\n` +
    `  -d '{"topic":"readme","event_id":"1","timestamp":"${new Date().toISOString()}","source":"curl","payload":{"amount":1.50}}'`;
  $("pause").addEventListener("click", () => (isPaused ? unpause() : pause()));
  const list = $("event-rows");
  list.addEventListener("scroll", () => {
    if (list.scrollTop > 0) pause();
  });
  document.addEventListener("selectionchange", () => {
    const selection = getSelection();
    if (!selection.isCollapsed && list.contains(selection.anchorNode)) pause();
  });
  const follow = () => {
    const { topics } = parameters();
    const now = JSON.stringify(topics);
    if (now === shownTopics) return;
    shownTopics = now;
    showFilter(topics);
    isPaused = false;
    showPause();
    $("event-rows").replaceChildren();
    if (!document.hidden) begin();
  };
  whenChanged(follow);
  follow();
}
