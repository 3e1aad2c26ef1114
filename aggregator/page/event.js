// One event with its address: its members, its places in the stream and in the store, its duplicates and its conflicts.

import { $, ask, bytes, element, foreign, number, say, time } from "./dom.js";
import { addressOf, following, parameters, whenChanged } from "./address.js";
import { elements, members, value } from "./json.js";
import { copyButton, curl } from "./copy.js";
import { conflictRow } from "./conflicts.js";
import { payloadView } from "./payload.js";
import { pair, pairs } from "./rows.js";
import { typed } from "./query.js";

// Maximum number of conflicts that are shown.
const SHOWN = 20;

let shown = null;
// Responses to requests for an earlier event are dropped.
let turn = 0;

const identity = ([topic, event_id]) => new URLSearchParams({ topic, event_id });

function follow() {
  const { event } = parameters();
  const key = JSON.stringify(event);
  if (key === shown) return;
  shown = key;
  $("event").hidden = event === null;
  if (event === null) turn += 1;
  else open(event);
}

// When the event is opened from the page, and not with it.
function moveTo() {
  if (parameters().event === null) return;
  $("event").focus({ preventScroll: true });
  $("event").scrollIntoView();
}

async function open(event) {
  const mine = (turn += 1);
  const body = $("event-body");
  body.replaceChildren();
  $("event-close").href = addressOf({ event: null });
  if (event.includes("")) {
    say($("event-title"), "No event");
    say($("event-note"), "The address names no event: write event=TOPIC,ID, each percent-encoded.");
    return;
  }
  $("event-title").replaceChildren("Event ", foreign(event[1]), " of ", foreign(event[0]));
  say($("event-note"), "Loading …");
  try {
    const text = await ask(`event?${identity(event)}`);
    if (mine !== turn) return;
    say($("event-note"), "");
    const found = members(text);
    body.append(facts(found), ...payload(found), copies(event, found));
  } catch (error) {
    if (mine === turn) notShown(event, error);
    return;
  }
  const conflicts = element("div");
  body.append(conflicts);
  await showConflicts(conflicts, event, () => mine === turn);
}

function notShown(event, error) {
  if (error.status !== 404) {
    say($("event-note"), `Cannot load the event: ${error.message}`);
    return;
  }
  say($("event-note"), "No event with this id is stored in this topic.");
  const change = { topics: [], q: `event_id=${typed(event[1])}`, since: "", until: "" };
  const search = element("a", { href: addressOf(change), click: following(change, () => $("events").focus()) });
  search.append("Search for this id in all topics");
  $("event-body").append(element("p", {}, search));
}

function facts(found) {
  const event = members(found.event);
  const [topic, size] = [value(event.topic), value(found.bytes)];
  const only = { topics: [topic] };
  const link = element("a", { href: addressOf(only), click: following(only, () => $("events").focus()) }, "its newest events");
  const place = `${number(value(found.stream_sequence))}, at position ${number(value(found.position))} of its message`;
  const known = pairs(event);
  known[1].append(" (", link, ")");
  return element(
    "dl",
    { class: "pairs" },
    ...known,
    ...pair("lag", lag(event)),
    ...pair("stream sequence", place),
    ...pair("store sequence", number(value(found.sequence))),
    ...pair("size", size < 1024 ? bytes(size) : `${bytes(size)} (${number(size)} B)`),
    element("dt", {}, "duplicates"),
    element("dd", {}, duplicates(members(found.duplicates))),
  );
}

// From the event's own time to the time at which it was stored.
function lag(event) {
  if (event.timestamp_filled) return "unknown: the timestamp was filled in on arrival";
  const ms = Date.parse(value(event.processed_at)) - Date.parse(value(event.timestamp).toUpperCase());
  if (Number.isNaN(ms)) return "unknown: the timestamp is in a leap second";
  return ms < 0 ? `none: the timestamp is ${duration(-ms)} later than processed_at` : `${duration(ms)} from timestamp to processed_at`;
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

function duration(ms) {
  const seconds = ms / 1000;
  for (const [unit, length] of UNITS) {
    if (seconds >= 2 * length) return `${number(Math.round(seconds / length))} ${unit}`;
  }
  return `${seconds < 10 ? seconds.toFixed(3) : Math.round(seconds)} s`;
}

function duplicates(counts) {
  const [least, most] = [value(counts.at_least), value(counts.at_most)];
  if (least === most) return most === 0 ? "none" : number(most);
  return `${number(least)} to ${number(most)}: which events the other duplicates repeat is not known`;
}

function payload(found) {
  const [choice, shown] = payloadView(members(found.event).payload);
  return [element("div", { class: "bar" }, element("h3", {}, "Payload"), choice), shown];
}

function copies(event, found) {
  const link = () => new URL(addressOf({ event }), location).href;
  return element(
    "p",
    { class: "copies" },
    copyButton("Copy payload", () => members(found.event).payload),
    copyButton("Copy event as JSON", () => found.event),
    copyButton("Copy link", link),
    copyButton("Copy as curl", () => curl(`event?${identity(event)}`)),
  );
}

async function showConflicts(where, event, isCurrent) {
  const query = identity(event);
  query.set("limit", SHOWN);
  const title = element("h3", {}, "Conflicts");
  try {
    const page = members(await ask(`conflicts?${query}`));
    if (!isCurrent()) return;
    const rows = elements(page.conflicts).map((text) => conflictRow(members(text), false).item);
    const more = value(page.next_cursor) === null ? "" : `The latest ${SHOWN} are shown; all are at /conflicts.`;
    const none = "No conflict of this event is recorded.";
    where.append(title, element("p", { class: "note" }, rows.length === 0 ? none : more), element("ol", { class: "rows" }, ...rows));
    if (rows.length > 0) rows[0].firstChild.open = true;
  } catch (error) {
    if (isCurrent()) where.append(title, element("p", { class: "note" }, `Cannot load the conflicts: ${error.message}`));
  }
}

export function start() {
  $("event-close").addEventListener("click", following({ event: null }, () => $("events").focus()));
  whenChanged(() => {
    const before = shown;
    follow();
    if (shown !== before) moveTo();
  });
  follow();
}
