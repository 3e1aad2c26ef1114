// The aggregators that share the store, if there are several.

import { $, ago, element, foreign, number, time } from "./dom.js";

// An aggregator gives a sign of life every ten seconds; after this time without one it probably ended.
const SILENT_MS = 25000;

let shown = "";

// With the time of the sample, which is by the database's clock as all times here.
export function showAggregators(aggregators, at) {
  const all = aggregators.map(({ name, since, last_seen, this: isThis }) => {
    const silence = at - Date.parse(last_seen) > SILENT_MS ? `, last seen ${ago(last_seen, at)}` : "";
    return { name, since, text: `${isThis ? " (this one)" : ""}${silence}` };
  });
  const now = JSON.stringify(all);
  if (now === shown) return;
  shown = now;
  $("aggregators").hidden = all.length < 2;
  const each = all.flatMap(({ name, since, text }, index) => [
    index === 0 ? "" : "; ",
    element("span", {}, foreign(name), " since ", time(since), text),
  ]);
  $("aggregators").replaceChildren(`${number(all.length)} aggregators share the store: `, ...each, ".");
}
