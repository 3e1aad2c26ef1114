// Events that a search would find if it were made again: they are counted, and the found events stay where they are.

import { $, number, say } from "./dom.js";
import { parameters } from "./address.js";
import { containing, parsed, QueryError } from "./query.js";
import { members } from "./json.js";

// More are not counted, so that a search that finds every event costs little.
const MAX_COUNTED = 1000;

let source = null;
let counted = new Set();

export function stop() {
  source?.close();
  source = null;
}

// Forgets what was counted, and counts what is stored from now on.
export function restart() {
  counted = new Set();
  show();
  resume();
}

// Continues after an interruption.
export function resume() {
  stop();
  const query = tailQuery(parameters());
  if (query === null || document.hidden || counted.size >= MAX_COUNTED) return;
  source = new EventSource(`events/tail?${query}`);
  source.addEventListener("message", ({ data }) => {
    const { topic, event_id } = members(data);
    counted.add(`${topic} ${event_id}`);
    if (counted.size >= MAX_COUNTED) stop();
    show();
  });
}

// The tail has the filters of a search except the times of events; null if there is nothing to follow.
function tailQuery({ topics, q, matchesCase, until, cursor }) {
  if (q.trim() === "" || until !== "" || cursor !== "") return null;
  try {
    const { text, filters } = parsed(q);
    if (filters.some(([name]) => name === "time_since" || name === "time_until")) return null;
    return new URLSearchParams([...topics.map((topic) => ["topic", topic]), ...filters, ...containing(text, matchesCase)]);
  } catch (error) {
    if (error instanceof QueryError) return null;
    throw error;
  }
}

// Those stored while the search was made are listed already.
export function show() {
  const listed = new Set([...$("event-rows").children].map((item) => item.identity));
  const n = [...counted].filter((identity) => !listed.has(identity)).length;
  const count = counted.size >= MAX_COUNTED ? `${number(MAX_COUNTED)} or more` : number(n);
  say($("refresh"), n === 0 ? "Refresh" : `Show ${count} new ${n === 1 ? "event" : "events"}`);
}
