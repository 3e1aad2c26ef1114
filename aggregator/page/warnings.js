// Problems, in plain words and since when. A warning disappears when its condition ends.

import { $, ask, element, lasting, number, say, time } from "./dom.js";
import * as disk from "./disk.js";

export const isExact = (sample) =>
  sample.received === sample.unique_processed + sample.duplicate_dropped + sample.rejected;

// The reasons from the service are sentences without a capital letter and a full stop.
export const sentence = (reason) => `${reason.slice(0, 1).toUpperCase()}${reason.slice(1)}.`;

// What to do while the broker is lost. The reason names an address if the connection failed at one.
function advice(reason) {
  const address = /\b(?:nats|tls):\/\/[^\s,;]*[^\s,;:.]|\b[\w.-]+:\d{1,5}\b|\[[0-9a-f:]+\]:\d{1,5}/i.exec(reason)?.[0];
  if (address !== undefined) return `Check that nats-server is running and reachable at ${address}.`;
  return "Check nats-server and the network between it and the aggregator.";
}

// The reason is not a sentence, and some libraries begin it with a capital letter.
function noConnection(reason) {
  if (reason === "not connected") return "There is no connection to the broker.";
  return `No connection to the broker: ${reason.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())}.`;
}

// The problems in a sample, most serious first: { key, title, text, more: () => element? }.
function problems(sample) {
  const found = [];
  const add = (key, title, text, more) => found.push({ key, title, text, more });
  const { broker, store, progress, consumer, publish, stream, reading } = sample.checks;
  if (broker !== undefined) {
    add("broker", "Broker lost.", `${noConnection(broker)} ${advice(broker)} Until it is reachable again, publishing is refused with 503. No accepted event is lost.`);
  }
  if (store !== undefined) {
    const title = /\bfull\b/i.test(store) ? "Disk full." : "The store is failing.";
    add("store", title, `${sentence(store)} Nothing is acked in the meantime, so nothing is lost.`);
  } else {
    const low = disk.problem(sample.disk);
    if (low) add("disk", low.title, low.text);
  }
  if (progress !== undefined) add("progress", "Stalled.", sentence(progress));
  if (consumer !== undefined && broker === undefined) add("consumer", "No events are consumed from the stream.", sentence(consumer));
  if (publish !== undefined) add("publish", "Publishing is refused.", sentence(publish));
  if (stream !== undefined && consumer === undefined) add("stream", "The stream cannot be queried.", sentence(stream));
  if (sample.stream_bytes >= 0.99 * sample.stream_max_bytes) {
    add("full", "The stream is full.", "Publishing is refused with 503 until messages are applied, or --stream-max-bytes is increased.");
  }
  if (reading !== undefined) add("reading", "Reading is slow.", `${sentence(reading)} The counts are out of date.`);
  if (sample.missing > 0) {
    const were = sample.missing === 1 ? "message was" : "messages were";
    add("missing", "Messages are missing.", `${number(sample.missing)} ${were} lost from the stream before being applied.`, acknowledgement);
  }
  if (sample.clock) add("clock", sample.aggregators ? "This machine's clock is wrong." : "The clock went back.", sentence(sample.clock));
  if (sample.received !== undefined && !isExact(sample)) {
    add("sum", "The counters do not add up.", "Run aggregator verify, and restore a backup if it finds a difference.");
  }
  return found;
}

// The problems of the latest sample, with since: when each began. The aggregator says so for its checks. For the others it is
// the first of consecutive samples with the problem; isEarlier if the problem is as old as the oldest sample.
export function warnings(samples) {
  const latest = samples.at(-1);
  return problems(latest).map((problem) => {
    const known = latest.failing_since?.[problem.key] ?? shown.get(problem.key)?.since;
    if (known !== undefined) return { ...problem, since: known, isEarlier: shown.get(problem.key)?.isEarlier };
    let first = samples.length - 1;
    while (first > 0 && problems(samples[first - 1]).some(({ key }) => key === problem.key)) first -= 1;
    return { ...problem, since: samples[first].at, isEarlier: first === 0 && samples.length > 1 };
  });
}

function acknowledgement() {
  const status = element("span", { role: "status" });
  const button = element("button", { type: "button" }, "Acknowledge");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await ask("missing/acknowledge", { method: "POST", headers: { "Content-Type": "application/json" }, body: "" });
    } catch (error) {
      say(status, error.message);
      button.disabled = false;
    }
  });
  return element("span", {}, element("a", { href: "missing" }, "Show them"), " ", button, " ", status);
}

// The warnings shown, by key.
const shown = new Map();

function add({ key, since, isEarlier, more }) {
  const [title, text, age] = [element("strong"), element("span"), element("span")];
  const began = since === undefined ? [] : [isEarlier ? "Since before " : "Since ", time(new Date(since).toISOString()), age];
  const made = element("p", { class: "warning", "data-key": key }, title, text, element("span", { class: "since" }, ...began), ...(more ? [more()] : []));
  $("warnings").append(made);
  const warning = { made, title, text, age, since, isEarlier };
  shown.set(key, warning);
  return warning;
}

// Existing warnings stay in place, so that the focus stays on a button in one.
export function showWarnings(found, now) {
  for (const [key, { made, since }] of shown) {
    if (found.some((one) => one.key === key && one.since === since)) continue;
    made.remove();
    shown.delete(key);
  }
  for (const one of found) {
    const warning = shown.get(one.key) ?? add(one);
    say(warning.title, one.title);
    say(warning.text, one.text);
  }
  $("warnings").hidden = found.length === 0;
  tick(now);
}

export function tick(now) {
  for (const { since, isEarlier, age } of shown.values()) {
    if (since !== undefined) say(age, `, for ${isEarlier ? "more than " : ""}${lasting(Math.max(0, (now - since) / 1000))}.`);
  }
}
