// The newest events, of some topics or of all, as they are stored.

import { $, ask, element, foreign, number, refusal, say, time } from "./dom.js";
import { addressOf, asked, go, whenChanged } from "./address.js";
import { elements, layout, members, value } from "./json.js";

const SHOWN = 50;
let source = null;
let shownTopics = null;
let isPaused = false;
let waiting = [];
let passed = 0;
let forgetting = null;
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
  const isRead = (item) => item.firstChild.open || item.contains(document.activeElement);
  for (const item of [...list.children].slice(SHOWN)) if (!isRead(item)) item.remove();
  if (list.children.length > 0) $("first-steps").hidden = true;
}

function tell() {
  const parts = [];
  if (isPaused && source === null) parts.push("Paused.");
  else if (isPaused) parts.push(`Paused; ${number(waiting.length + passed)} came since.`);
  else if (passed > 0) parts.push(`More come than can be read: ${number(passed)} were passed over. They are stored.`);
  say($("events-note"), parts.join(" "));
}

function showFilter(topics) {
  const chips = topics.map((topic) => {
    const rest = topics.filter((other) => other !== topic);
    const remove = element("button", { type: "button", click: () => show(rest) }, foreign(topic), " ×");
    remove.setAttribute("aria-label", `Show ${topic} no longer`);
    return element("span", { class: "chip" }, remove);
  });
  if (chips.length === 0) $("filter").replaceChildren("Of all topics; a click on a topic shows its events.");
  else $("filter").replaceChildren("Of ", ...chips, element("a", { href: addressOf({ topics: [] }), click: all }, "all topics"));
}

function all(event) {
  event.preventDefault();
  show([]);
}

function show(topics) {
  go({ topics });
  $("events").focus();
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
const FORGET_MS = 2000;

// Follows first and asks then what there is, so that no event is missed between the two.
export function begin() {
  stop();
  const mine = turn;
  const { topics } = asked();
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  const tail = new URLSearchParams(query);
  tail.set("latest", SHOWN);
  query.set("limit", SHOWN);
  let came = [];
  let isLoading = false;
  let isLoaded = false;
  waiting = [];
  passed = 0;

  async function load() {
    const page = members(await ask(`/events?${query}`));
    if (mine !== turn) return;
    isLoaded = true;
    const old = elements(page.events);
    const newest = old.length > 0 ? value(members(old[0]).processed_at) : "";
    $("event-rows").replaceChildren();
    add(old.reverse());
    // What was committed up to then is among them, or older than all of them.
    add(came.filter((text) => value(members(text).processed_at) > newest));
    came = [];
    $("first-steps").hidden = topics.length > 0 || $("event-rows").children.length > 0;
    tell();
  }

  // What is refused for what it asks for stays refused; after a pause it is asked anew.
  function failed(error) {
    if (mine !== turn) return;
    stop();
    const isAgain = !isPaused && !(error?.status >= 400 && error?.status < 500);
    say($("events-note"), `The events cannot be followed${error ? `: ${error.message}` : ""}.${isAgain ? " Trying again." : ""}`);
    if (isAgain) setTimeout(() => source === null && !document.hidden && resume(), AGAIN_MS);
  }

  source = new EventSource(`/events/tail?${tail}`);
  source.addEventListener("start", () => {
    if (isLoading) return;
    isLoading = true;
    load().catch(failed);
  });
  source.addEventListener("message", ({ data }) => {
    if (isPaused) {
      waiting.push(data);
      if (waiting.length > SHOWN) passed += waiting.splice(0, waiting.length - SHOWN).length;
    } else if (isLoaded) add([data]);
    else came = [...came, data].slice(-SHOWN);
    if (isPaused) tell();
  });
  // A browser does not try again where it was refused.
  source.addEventListener("error", async () => {
    if (mine === turn && source.readyState === EventSource.CLOSED) failed(await refusal(`/events/tail?${tail}`));
  });
  source.addEventListener("missed", ({ data }) => {
    const { missed } = JSON.parse(data);
    passed = isPaused ? passed + missed : missed;
    tell();
    clearTimeout(forgetting);
    forgetting = setTimeout(() => {
      if (isPaused) return;
      passed = 0;
      tell();
    }, FORGET_MS);
  });
  tell();
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
