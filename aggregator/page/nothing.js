// Why a search or a time range finds no event: how it was understood, and what may be meant instead.

import { $, element, foreign } from "./dom.js";
import { addressOf, following, parameters } from "./address.js";
import { isEmptyRange } from "./moments.js";
import { mayBeId, parsed, quoted, typed } from "./query.js";

export function hide() {
  $("nothing").hidden = true;
}

// Says it for what the address selects.
export function explain() {
  const state = parameters();
  const { text, filters } = parsed(state.q);
  const note = (...texts) => element("p", { class: "note" }, ...texts);
  const lines = [];
  if (state.q.trim() !== "") {
    lines.push(note("Searched for: ", ...understood(text, filters), "."));
    lines.push(note("Values and ids are exact, with upper and lower case; 1.5 does not find 1.50."));
  }
  if (isRange(state)) lines.push(note("A time range selects by the time at which events were stored, not by their own timestamps."));
  const offers = offered(state, text, filters);
  if (offers.length > 0) lines.push(element("ul", { class: "offers" }, ...offers.map((offer) => element("li", {}, offer))));
  $("nothing").replaceChildren(...lines);
  $("nothing").hidden = lines.length === 0;
}

// The bar says that a range is empty.
const isRange = ({ since, until }) => (since !== "" || until !== "") && !isEmptyRange(since, until);

const code = (text) => element("code", {}, foreign(text));

// How the text of the search bar is understood.
function understood(text, filters) {
  const parts = filters.map(([name, value]) => {
    const field = name.replace(/^payload\./, "");
    return field === name ? [name, " ", code(value)] : ["the field ", code(field), " with the value ", code(value)];
  });
  if (text !== "") parts.push(["the text ", code(text), " in the payload, or as an id"]);
  if (mayBeId(filters)) parts.push(["or all of it as an id"]);
  return parts.flatMap((part, index) => (index === 0 ? part : [part[0].startsWith("or ") ? ", " : " and ", ...part]));
}

function offered(state, text, filters) {
  const link = (change, ...label) => element("a", { href: addressOf(change), click: following(change, () => $("events").focus()) }, ...label);
  const offers = [];
  const together = quoted(state.q);
  if (together !== null) offers.push(link({ q: together }, "Values with spaces need quotes: search for ", code(together)));
  if (text !== "" && state.matchesCase) offers.push(link({ matchesCase: false }, "Search the text in upper and lower case"));
  if (state.topics.length > 0) offers.push(link({ topics: [] }, "Search all topics"));
  const isByTimestamp = filters.some(([name]) => name === "time_since" || name === "time_until");
  if (isRange(state) && !isByTimestamp) {
    const range = [["time_since", state.since], ["time_until", state.until]].filter(([, time]) => time !== "").map(([name, time]) => `${name}=${time}`);
    const q = [state.q.trim(), ...range].filter((word) => word !== "").join(" ");
    offers.push(link({ q, since: "", until: "" }, "Search this range by the events’ own timestamps"));
  }
  if (mayBeId(filters)) {
    offers.push(link({ q: `contains=${typed(state.q.trim(), true)}` }, "Search payloads for all of it as a text"));
  }
  return offers;
}
