// The events of a topic with the most duplicates, and what is known of others.

import { $, element, foreign, number, time } from "./dom.js";
import { addressOf, following } from "./address.js";

// Maximum number of events.
export const SHOWN = 5;

// Why the number of an event's duplicates is not exact: there were more than memory has room for, or those of a COMMIT that was
// reported as failed are not in it. The response does not tell which.
const INCOMPLETE = "not all duplicates since then are in memory, so";

// What is shown stays unless it changes, so that it can be selected.
let shown = "";

export function hide() {
  shown = "";
  $("topic-repeated").replaceChildren();
  $("topic-repeated-note").replaceChildren();
}

// duplicates: as in the API.
export function show(topic, duplicates) {
  const text = JSON.stringify([topic, duplicates]);
  if (text === shown) return;
  shown = text;
  const { often } = duplicates;
  const rows = often.map(({ event_id, at_least, at_most }) => {
    const times = at_least === at_most ? number(at_least) : `${number(at_least)} to ${number(at_most)}`;
    const event = { event: [topic, event_id] };
    const link = element("a", { href: addressOf(event), click: following(event) }, foreign(event_id));
    return element("li", {}, link, " ", element("span", { class: "number" }, times));
  });
  $("topic-repeated").replaceChildren(...rows);
  $("topic-repeated-note").replaceChildren(...note(duplicates));
}

function note({ often, since, total }) {
  if (total === 0) return ["None."];
  const start = ["since ", time(since)];
  const isExact = often.every(({ at_least, at_most }) => at_least === at_most);
  if (often.length > 0) return ["Counted ", ...start, isExact ? ". An event’s own page counts earlier ones too." : `; ${INCOMPLETE} these are estimates. An event’s own page counts all of its duplicates.`];
  const [which, are] = total === 1 ? ["The event of the 1 duplicate is not known: it was", "is"] : [`The events of the ${number(total)} duplicates are not known: these were`, "are"];
  return [`${which} received before `, time(since), `, or ${are} not in memory. An event’s own page counts all of its duplicates.`];
}
