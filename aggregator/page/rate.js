// The current rate of a topic.

import { number } from "./dom.js";

// It is the average over this time.
const SPAN_MS = 10_000;
const AVERAGE = "average of ten seconds";

// readings: how many events were received by when: [{ at, received }], oldest first. topic: as in the API, with `recent`: events
// received in each of the last minutes, of which the last is the present minute so far. Returns { text, note }. The rate of a
// topic without an event in the time is known at once. Until the readings of another span enough time, the last full minute is
// shown. If it has no events, the first may have arrived only now, so no rate is shown.
export function rateOf(readings, { recent = [], last_at }) {
  const [first, last] = [readings[0], readings.at(-1)];
  const isQuiet = last.at - Date.parse(last_at) >= SPAN_MS;
  const span = last.at - first.at;
  if (isQuiet) return { text: text(0), note: AVERAGE };
  if (span >= SPAN_MS) return { text: text((1000 * (last.received - first.received)) / span), note: AVERAGE };
  const before = recent.at(-2);
  return before > 0 ? { text: text(before / 60), note: "average of the last full minute" } : { text: "–", note: "being measured" };
}

// With `at` as the present time, leaves out readings that are no longer needed.
export function needed(readings, at) {
  // One from before remains, to measure from.
  const from = readings.findLastIndex((reading) => reading.at <= at - SPAN_MS);
  return readings.slice(Math.max(0, from));
}

// With a decimal where rounding would hide a difference.
function text(rate) {
  if (rate === 0) return "0/s";
  if (rate < 0.05) return "below 0.1/s";
  return rate < 9.95 ? `${rate.toFixed(1)}/s` : `${number(Math.round(rate))}/s`;
}
