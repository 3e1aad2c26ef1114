// The row of an event in a list: one line, which opens to all of the event.

import { element, foreign, time } from "./dom.js";
import { addressOf, following } from "./address.js";
import { members, readable, value } from "./json.js";
import { payloadView } from "./payload.js";

// Length of the preview, in UTF-16 code units: more than fits into the widest line.
const PREVIEW = 160;

// `text` is the event as JSON. `opened` is called when the row is opened. What it opens to is made then: most rows never are.
export function row(text, opened) {
  const event = members(text);
  const identity = [value(event.topic), value(event.event_id)];
  const link = element("a", { click: following({ event: identity }) }, "Show duplicates, conflicts and place in the stream");
  const body = element("div");
  const details = element(
    "details",
    {
      toggle: () => {
        if (!details.open) return;
        opened();
        link.href = addressOf({ event: identity });
        if (body.firstChild) return;
        body.append(element("p", { class: "note" }, link), element("dl", { class: "pairs" }, ...pairs(event)), ...payloadView(event.payload));
      },
    },
    element(
      "summary",
      {},
      time(value(event.processed_at)),
      foreign(identity[0], { class: "topic" }),
      foreign(identity[1]),
      foreign(value(event.source), { class: "quiet" }),
      foreign(preview(event.payload), { class: "preview" }),
    ),
    body,
  );
  const item = element("li", {}, details);
  item.identity = `${event.topic} ${event.event_id}`;
  return item;
}

// The members of an event except its payload, for a list of definitions.
export const pairs = (event) => [
  ...pair("topic", value(event.topic)),
  ...pair("event_id", value(event.event_id)),
  ...pair("source", value(event.source)),
  ...pair("timestamp", value(event.timestamp) + (event.timestamp_filled ? " (filled in on arrival)" : "")),
  ...pair("processed_at", `${value(event.processed_at)} (UTC)`),
];

export const pair = (name, text) => [element("dt", {}, name), element("dd", {}, foreign(text))];

// The beginning of a payload in one line. A line break in JSON is between two tokens.
function preview(payload) {
  const beginning = payload.slice(0, PREVIEW).replace(/[\uD800-\uDBFF]$/, "");
  return readable(beginning).replace(/[\t\r\n]+/g, " ") + (payload.length > PREVIEW ? " …" : "");
}

// A row that is being read stays although others push it out of the list.
export const isRead = (item) => item.firstChild.open || item.contains(document.activeElement);
