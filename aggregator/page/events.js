// The newest events, of some topics or of all, as they are stored.

import { $, ask, element, foreign, number, say, time } from "./dom.js";
import { addressOf, asked, go, whenChanged } from "./address.js";
import { elements, layout, members, value } from "./json.js";

const SHOWN = 50;
let source = null;
let shownTopics = null;
let isPaused = false;
let waiting = [];
let passed = 0;
// Answers to what was asked for before are not shown.
let turn = 0;

function row(text) {
  const event = members(text);
  const payload = element("pre", { tabindex: "0", role: "group", "aria-label": "Payload" });
  const details = element(
    "details",
    {
      toggle: () => {
        if (details.open && !payload.textContent) payload.textContent = layout(event.payload);
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
        ...pair("timestamp", value(event.timestamp) + (event.timestamp_filled ? " (of its arrival)" : "")),
        ...pair("processed_at", value(event.processed_at)),
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
  // What somebody reads stays.
  const closed = [...list.children].slice(SHOWN).filter((item) => !item.firstChild.open);
  closed.forEach((item) => item.remove());
  if (list.children.length > 0) $("first-steps").hidden = true;
}

function tell() {
  const parts = [];
  if (isPaused) parts.push(`Paused; ${number(waiting.length + passed)} came since.`);
  else if (passed > 0) parts.push(`More come than can be read: ${number(passed)} were passed over. They are stored.`);
  say($("events-note"), parts.join(" "));
}

function showFilter(topics) {
  const chips = topics.map((topic) => {
    const rest = topics.filter((other) => other !== topic);
    const remove = element("button", { type: "button", click: () => go({ topics: rest }) }, foreign(topic), " ×");
    remove.setAttribute("aria-label", `Show ${topic} no longer`);
    return element("span", { class: "chip" }, remove);
  });
  if (chips.length === 0) $("filter").replaceChildren("Of all topics; a click on a topic shows its events.");
  else $("filter").replaceChildren("Of ", ...chips, element("a", { href: addressOf({ topics: [] }), click: all }, "all topics"));
}

function all(event) {
  event.preventDefault();
  go({ topics: [] });
}

// Goes on after a while without: what somebody has stopped to read stays.
export function resume() {
  if (!isPaused) begin();
}

export function stop() {
  source?.close();
  source = null;
  turn += 1;
}

const AGAIN_MS = 5000;

// Follows first and asks then what there is, so that no event is missed between the two.
function begin() {
  stop();
  const mine = turn;
  const { topics } = asked();
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  let came = [];
  let isLoaded = false;
  waiting = [];
  passed = 0;
  const flush = () => {
    add(came);
    came = [];
  };
  const tail = new URLSearchParams(query);
  tail.set("latest", SHOWN);
  source = new EventSource(`/events/tail?${tail}`);
  source.addEventListener("start", async () => {
    if (isLoaded) return;
    query.set("limit", SHOWN);
    try {
      const page = members(await ask(`/events?${query}`));
      if (mine !== turn) return;
      isLoaded = true;
      const old = elements(page.events);
      const keys = new Set(old.map(identity));
      came = came.filter((text) => !keys.has(identity(text)));
      $("event-rows").replaceChildren();
      add(old.reverse());
      flush();
      $("first-steps").hidden = topics.length > 0 || $("event-rows").children.length > 0;
      tell();
    } catch (error) {
      say($("events-note"), `The events cannot be read: ${error.message}`);
    }
  });
  source.addEventListener("message", ({ data }) => {
    if (isPaused) {
      waiting.push(data);
      if (waiting.length > SHOWN) passed += waiting.splice(0, waiting.length - SHOWN).length;
    } else {
      came.push(data);
      if (isLoaded) flush();
    }
    tell();
  });
  // A browser does not try again where it was refused.
  source.addEventListener("error", () => {
    if (mine !== turn || source.readyState !== EventSource.CLOSED) return;
    stop();
    say($("events-note"), "The events cannot be followed now; trying again.");
    setTimeout(() => {
      if (source === null && !document.hidden) resume();
    }, AGAIN_MS);
  });
  source.addEventListener("missed", ({ data }) => {
    passed = (isPaused ? passed : 0) + JSON.parse(data).missed;
    tell();
  });
  tell();
}

function identity(text) {
  const event = members(text);
  return `${event.topic} ${event.event_id}`;
}

export function start() {
  $("first-command").textContent =
    `curl -s ${location.origin}/publish -H 'Content-Type: application/json' \\\n` +
    `  -d '{"topic":"readme","event_id":"1","timestamp":"${new Date().toISOString()}","source":"curl","payload":{"amount":1.50}}'`;
  $("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    $("pause").setAttribute("aria-pressed", isPaused);
    if (!isPaused && source === null) begin();
    if (!isPaused) add(waiting.splice(0));
    passed = 0;
    tell();
  });
  const follow = () => {
    const { topics } = asked();
    const now = JSON.stringify(topics);
    if (now === shownTopics) return;
    shownTopics = now;
    showFilter(topics);
    $("event-rows").replaceChildren();
    if (!document.hidden) begin();
  };
  whenChanged(follow);
  follow();
}
