// The live page. A stream of samples, one a second, carries the counters and the problems; a list is loaded when its count
// has changed.

import { $, ask, bytes, clockTime, element, number, refusal, say } from "./dom.js";
import { Chart } from "./chart.js";
import * as topics from "./topics.js";
import * as events from "./events.js";
import { conflicts, rejected } from "./kept.js";

const KEPT = 300;
const TITLE = document.title;

// After this time without a sample, the page is out of date.
const MAX_SILENCE_MS = 4000;

// At least this many pending messages in five consecutive samples are a backlog, not just messages in transit.
const BACKLOG = 100;

let samples = [];
let seen = null;
let source = null;
let watching = null;
let isLost = false;
// When the latest sample was received, by this computer's clock.
let receivedAt = 0;
let ageing = null;
// When the aggregator started, according to its samples.
let started = null;

const rate = (name) => (sample, before) => {
  const [now, then] = [sample[name], before?.[name]];
  const seconds = (sample.at - before?.at) / 1000;
  return now === undefined || then === undefined || seconds <= 0 || now < then ? null : (now - then) / seconds;
};
const perSecond = (n) => (n === null || n === undefined ? "–" : `${number(Math.round(n))}/s`);
const milliseconds = (n) => (n === null || n === undefined ? "–" : `${n.toFixed(1)} ms`);

const charts = [
  new Chart($("chart-events"), "Events per second", perSecond, [
    { name: "in", kind: "one", of: rate("received") },
    { name: "unique", kind: "two", of: rate("unique_processed") },
    { name: "duplicates", kind: "three", of: rate("duplicate_dropped") },
  ]),
  new Chart($("chart-commits"), "Commit time", milliseconds, [
    { name: "mean", kind: "one", of: (sample) => sample.commit_ms },
    { name: "slowest", kind: "three", of: (sample) => sample.commit_slowest_ms },
  ]),
  new Chart($("chart-pending"), "Messages not yet applied", (n) => number(n === null || n === undefined ? n : Math.round(n)), [
    { name: "pending", kind: "one", of: (sample) => sample.pending },
  ]),
];

function showCounts(sample) {
  say($("count-stream"), bytes(sample.stream_bytes));
  say($("count-pending"), number(sample.pending));
  // While the store cannot be read, the previous counts stay.
  if (sample.received === undefined) return;
  say($("count-received"), number(sample.received));
  say($("count-unique"), number(sample.unique_processed));
  say($("count-duplicates"), number(sample.duplicate_dropped));
  say($("count-rejected"), number(sample.rejected));
  say($("count-conflicts"), number(sample.conflicts));
  say($("count-redelivered"), number(sample.redelivered));
  say($("sum"), isExact(sample) ? "The sum is exact: each event is counted once, as one of the three." : "");
}

const isExact = (sample) => sample.received === sample.unique_processed + sample.duplicate_dropped + sample.rejected;

// The reasons from the service are sentences without a capital letter and a full stop.
const sentence = (reason) => `${reason.slice(0, 1).toUpperCase()}${reason.slice(1)}.`;

// The problems to show, most serious first: [key, title, text, element?].
function warnings(sample) {
  const found = [];
  const { broker, store, progress, consumer, stream, reading } = sample.checks;
  if (broker !== undefined) {
    found.push(["broker", "Broker lost.", `${sentence(broker)} Until it is reachable again, publishing is refused with 503. No accepted event is lost.`]);
  }
  if (store !== undefined) {
    const title = /\bfull\b/i.test(store) ? "Disk full." : "The store is failing.";
    found.push(["store", title, `${sentence(store)} Nothing is acked in the meantime, so nothing is lost.`]);
  }
  if (progress !== undefined) found.push(["progress", "Stalled.", sentence(progress)]);
  if (consumer !== undefined && broker === undefined) found.push(["consumer", "No events are consumed from the stream.", sentence(consumer)]);
  if (stream !== undefined && consumer === undefined) found.push(["stream", "The stream cannot be queried.", sentence(stream)]);
  if (sample.stream_bytes >= 0.99 * sample.stream_max_bytes) {
    found.push(["full", "The stream is full.", "Publishing is refused with 503 until messages are applied, or --stream-max-bytes is increased."]);
  }
  if (reading !== undefined) found.push(["reading", "Reading is slow.", `${sentence(reading)} The counts are out of date.`]);
  if (sample.missing > 0) {
    const were = sample.missing === 1 ? "message was" : "messages were";
    const text = `${number(sample.missing)} ${were} lost from the stream before being applied.`;
    found.push(["missing", "Messages are missing.", text, acknowledgement]);
  }
  if (sample.clock) found.push(["clock", "The clock went back.", sentence(sample.clock)]);
  if (sample.received !== undefined && !isExact(sample)) {
    found.push(["sum", "The counters do not add up.", "Run aggregator verify, and restore a backup if it finds a difference."]);
  }
  return found;
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

function showWarnings(found) {
  const box = $("warnings");
  for (const shown of [...box.children]) {
    if (!found.some(([key]) => key === shown.dataset.key)) shown.remove();
  }
  for (const [key, title, text, more] of found) {
    let shown = [...box.children].find((child) => child.dataset.key === key);
    if (!shown) {
      shown = element("p", { class: "warning", "data-key": key }, element("strong", {}, title), element("span"), ...(more ? [more()] : []));
      box.append(shown);
    }
    say(shown.children[0], title);
    say(shown.children[1], text);
  }
}

// Screen readers announce each change, so it contains no numbers.
function showState(found) {
  const state = $("state");
  const isHealthy = found.length === 0;
  const isBehind = isHealthy && samples.length > 4 && samples.slice(-5).every((one) => one.pending >= BACKLOG);
  state.dataset.state = isHealthy ? "well" : "warning";
  const well = $("review").hidden ? "All is well." : "Healthy.";
  say(state, isHealthy ? `${well}${isBehind ? " Catching up." : ""}` : found.map(([, title]) => title).join(" "));
  const trouble = found.map(([, title]) => title.replace(/\.$/, "")).join(", ");
  const title = isHealthy ? TITLE : `${trouble} · ${TITLE}`;
  if (document.title !== title) document.title = title;
}

// What needs no immediate action but a look, next to the state.
function showReview({ rejected, conflicts }) {
  if (rejected === undefined) return;
  const counts = [
    [rejected, "rejected", "rejected"],
    [conflicts, conflicts === 1 ? "conflict" : "conflicts", "conflicts"],
  ];
  for (const [count, noun, section] of counts) {
    const link = $(`review-${section}`);
    link.hidden = count === 0;
    say(link, `${number(count)} ${noun}`);
  }
  $("review").hidden = rejected + conflicts === 0;
}

// The present time by the aggregator's clock, or by this computer's while there is no sample.
const now = () => (samples.length > 0 ? samples.at(-1).at - receivedAt : 0) + Date.now();

function showAges() {
  charts.forEach((chart) => chart.draw(samples, now(), !isLost));
  topics.tick(now());
}

// Without samples, the old values are greyed, and their ages go on counting.
function outOfDate(found) {
  isLost = true;
  document.body.dataset.stale = "";
  ageing ??= setInterval(showAges, 1000);
  showAges();
  showWarnings(found);
  showState(found);
}

function lost(reason) {
  const since = samples.length > 0 ? `The data shown is from ${clockTime(samples.at(-1).at)}. ` : "";
  const why = reason ? `${sentence(reason)} ` : "";
  outOfDate([["aggregator", "The aggregator does not respond.", `${why}${since}Retrying.`]]);
}

// A connection can be dead without an error, for example after the computer slept; or a proxy can hold back the stream.
async function silent() {
  const [mine, latest] = [source, receivedAt];
  const isAnswering = await answers();
  // Meanwhile a sample arrived, or the page was hidden.
  if (mine !== source || latest !== receivedAt) return;
  if (isAnswering) {
    outOfDate([["held", "Live updates do not arrive.", HELD]]);
    for (const list of [topics, rejected, conflicts]) list.changed();
  } else lost();
  reopen();
}

const HELD =
  "The aggregator responds to requests, but its event stream is silent: a proxy probably buffers it. " +
  "Turn off buffering in the proxy for /live and /events/tail (nginx: proxy_buffering off). Retrying.";

const PROBE_MS = 3000;

// Whether the aggregator responds: a proxy in front of a dead one responds too, but not with JSON.
async function answers() {
  try {
    const answer = await fetch("health", { signal: AbortSignal.timeout(PROBE_MS) });
    return answer.headers.get("Content-Type")?.includes("json") ?? false;
  } catch {
    return false;
  }
}

function show(isHistory) {
  const sample = samples.at(-1);
  watch();
  receivedAt = Date.now();
  const wasLost = isLost;
  isLost = false;
  delete document.body.dataset.stale;
  clearInterval(ageing);
  ageing = null;
  showCounts(sample);
  showAges();
  showReview(sample);
  const found = warnings(sample);
  showWarnings(found);
  showState(found);
  if (isHistory || seen?.received !== sample.received) topics.changed();
  if (isHistory || seen?.rejected !== sample.rejected) rejected.changed();
  if (isHistory || seen?.conflicts !== sample.conflicts) conflicts.changed();
  if (sample.received !== undefined) seen = sample;
  // A new process may have another store, so the events are loaded again even if paused.
  const since = sample.at - sample.uptime_seconds * 1000;
  if (started !== null && since - started > 3000) events.begin();
  else if (wasLost) events.resume();
  started = since;
}

function watch() {
  clearTimeout(watching);
  watching = setTimeout(silent, MAX_SILENCE_MS);
}

function open() {
  close();
  source = new EventSource("live");
  source.addEventListener("history", ({ data }) => {
    samples = JSON.parse(data);
    if (samples.length > 0) show(true);
  });
  source.addEventListener("sample", ({ data }) => {
    samples.push(JSON.parse(data));
    samples = samples.slice(-KEPT);
    show(false);
  });
  // A browser does not retry a stream that was refused.
  const mine = source;
  source.addEventListener("error", async () => {
    if (mine.readyState !== EventSource.CLOSED) return;
    const reason = await refusal("live");
    if (mine === source && reason) lost(reason.message);
  });
  watch();
}

function close() {
  source?.close();
  source = null;
  clearTimeout(watching);
}

function reopen() {
  if (!document.hidden) open();
}

// A browser opens at most six connections to one site for all its tabs, so a hidden tab holds none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    close();
    events.stop();
  } else {
    open();
    events.resume();
  }
});

topics.start();
events.start();
reopen();
