// Since when there is no problem, and what the latest was. The aggregator keeps the latest of most kinds since it started; of the
// others, such as short disk space or no response, this page knows those that it showed.

import { $, element, lasting, time } from "./dom.js";

// Problems by their keys.
const WAS = {
  aggregator: "the aggregator did not respond",
  held: "live updates did not arrive",
  broker: "the broker was lost",
  store: "the store was failing",
  disk: "disk space was short",
  progress: "nothing was applied",
  consumer: "no events were consumed from the stream",
  publish: "publishing was refused",
  stream: "the stream could not be queried",
  full: "the stream was full",
  reading: "reading was slow",
  missing: "messages were missing",
  clock: "the clock was off",
  sum: "the counters did not add up",
};

// Those of them that only the page knows.
const OWN = ["aggregator", "held", "disk"];

// What follows from another problem, and need not be said with it.
const EFFECTS = {
  aggregator: ["held", "broker", "progress", "consumer", "stream", "reading"],
  broker: ["progress", "consumer", "stream"],
};

// The problems that this page shows, and the latest that it no longer shows: { keys, since, until }.
let current = null;
let ended = null;

// Called with the problems shown, and the latest sample if there is one.
export function showRecovery(found, sample) {
  if (found.length > 0) {
    const began = found.map(({ since }) => since ?? sample?.at ?? Date.now());
    current ??= { keys: new Set(), since: Math.min(...began) };
    found.forEach(({ key }) => current.keys.add(key));
  } else if (current !== null && sample) {
    ended = { ...current, until: sample.at };
    current = null;
  }
  $("recovery").hidden = found.length > 0 || sample?.started === undefined;
  if (!$("recovery").hidden) say(latest(sample.recovered), sample.started);
}

// The later of the two. One that both know is known better together, if the page has to add to it. Otherwise the aggregator is
// right: the page may have been hidden when the problem ended.
function latest(recovered) {
  const known = recovered && { keys: new Set(recovered.problems), since: recovered.since, until: recovered.until };
  if (!known || !ended) return known ?? ended;
  const isSame = known.since <= ended.until && ended.since <= known.until;
  if (!isSame) return known.until > ended.until ? known : ended;
  if (!OWN.some((key) => ended.keys.has(key))) return known;
  return { keys: new Set([...known.keys, ...ended.keys]), since: Math.min(known.since, ended.since), until: Math.max(known.until, ended.until) };
}

let shown = "";

function say(trouble, started) {
  const at = Math.max(started, trouble?.until ?? 0);
  const text = trouble ? before(trouble) : "when the aggregator started.";
  if (shown === `${at} ${text}`) return;
  shown = `${at} ${text}`;
  $("recovery").classList.toggle("calm", !trouble);
  $("recovery").replaceChildren("No problem since ", time(new Date(at).toISOString()), trouble ? "; " : ", ", text);
}

function before({ keys, since, until }) {
  const effects = Object.entries(EFFECTS).flatMap(([cause, effects]) => (keys.has(cause) ? effects : []));
  const named = [...keys].filter((key) => !effects.includes(key));
  const was = named.map((key) => WAS[key] ?? `${key} was failing`).join(", ");
  return `before, ${was} for ${lasting(Math.max(1, (until - since) / 1000))}.`;
}
