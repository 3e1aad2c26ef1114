// The live page. A stream of samples, one a second, carries the counters and the problems; a list is loaded when its count
// has changed.

import { $, bytes, clockTime, milliseconds, number, refusal, say, zone } from "./dom.js";
import { showAggregators } from "./aggregators.js";
import { Chart } from "./chart.js";
import { conflicts } from "./conflicts.js";
import { showDisk } from "./disk.js";
import * as events from "./events.js";
import { showState } from "./headline.js";
import { landOn } from "./landing.js";
import { showRecovery } from "./recovery.js";
import { rejected } from "./rejected.js";
import * as review from "./review.js";
import * as scaleSwitch from "./scale-switch.js";
import * as topic from "./topic.js";
import * as topics from "./topics.js";
import * as warnings from "./warnings.js";

const KEPT = 300;

// After this time without a sample, the page is out of date.
const MAX_SILENCE_MS = 4000;

// At least this many pending messages in five consecutive samples are a backlog, not just messages in transit.
const BACKLOG = 100;

// Between two loads of the lists, with a token for some topics.
const REFRESH_MS = 5000;

// The aggregator says which kind of token it is.
const isNarrow = document.body.dataset.scope === "some";

let samples = [];
let seen = null;
let source = null;
let watching = null;
let refreshing = null;
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

const charts = [
  new Chart($("chart-events"), "Events per second", perSecond, [
    { name: "in", kind: "one", of: rate("received") },
    { name: "stored", kind: "two", of: rate("unique_processed") },
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
  showDisk(sample.disk);
  // While the store cannot be read, the previous counts stay.
  if (sample.received === undefined) return;
  showAggregators(sample.aggregators ?? [], sample.at);
  say($("count-received"), number(sample.received));
  say($("count-unique"), number(sample.unique_processed));
  say($("count-duplicates"), number(sample.duplicate_dropped));
  say($("count-rejected"), number(sample.rejected));
  say($("count-conflicts"), number(sample.conflicts));
  say($("count-redelivered"), number(sample.redelivered));
  say($("sum"), warnings.isExact(sample) ? "The sum is exact: each event is counted once, as one of the three." : "");
}

// The present time by the clock of the samples, or by this computer's while there is no sample.
const now = () => (samples.length > 0 ? samples.at(-1).at - receivedAt : 0) + Date.now();

function showAges() {
  for (const one of document.querySelectorAll(".zone")) say(one, zone());
  charts.forEach((chart) => chart.follow(samples, now(), !isLost));
  events.tick();
  topics.tick(now());
  topic.tick(now(), !isLost);
  warnings.tick(now());
}

// Without samples, the old values are greyed, and their ages go on counting.
function outOfDate(found) {
  isLost = true;
  document.body.dataset.stale = "";
  ageing ??= setInterval(showAges, 1000);
  showAges();
  showProblems(found);
}

function showProblems(found) {
  warnings.showWarnings(found, now());
  const isBehind = samples.length > 4 && samples.slice(-5).every((one) => one.pending >= BACKLOG);
  showState(found, { isBehind, isToReview: review.isToReview() });
  showRecovery(found, samples.at(-1));
}

function lost(reason) {
  const since = samples.length > 0 ? `The data shown is from ${clockTime(samples.at(-1).at)}. ` : "";
  const why = reason ? `${warnings.sentence(reason)} ` : "";
  const title = "The aggregator does not respond.";
  outOfDate([{ key: "aggregator", title, text: `${why}${since}Retrying.`, since: samples.at(-1)?.at }]);
}

// A connection can be dead without an error, for example after the computer slept; or a proxy can hold back the stream.
async function silent() {
  const [mine, latest] = [source, receivedAt];
  const isAnswering = await answers();
  // Meanwhile a sample arrived, or the page was hidden.
  if (mine !== source || latest !== receivedAt) return;
  if (isAnswering) {
    outOfDate([{ key: "held", title: "Live updates do not arrive.", text: HELD, since: samples.at(-1)?.at }]);
    for (const list of [topics, topic]) list.changed(samples.at(-1), true);
    for (const list of [rejected, conflicts]) list.changed();
  } else lost();
  reopen();
}

const HELD =
  "The aggregator responds to requests, but its event stream is silent: a proxy probably buffers it. " +
  "Turn off buffering in the proxy for /live and /events/tail (nginx: proxy_buffering off). Retrying.";

const PROBE_MS = 3000;

// Whether the aggregator responds: a proxy in front of a dead one responds too, but not with JSON.
const answers = async () => (await probe()) !== null;

// What the aggregator says about its health; null if it does not respond.
async function probe() {
  try {
    const answer = await fetch("health", { signal: AbortSignal.timeout(PROBE_MS) });
    return await answer.json();
  } catch {
    return null;
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
  review.showReview(sample);
  showProblems(warnings.warnings(samples));
  topics.changed(sample, isHistory);
  topic.changed(sample, isHistory);
  const isOther = (...names) => isHistory || names.some((name) => seen?.[name] !== sample[name]);
  // Rejected arrivals can be sent again elsewhere.
  if (isOther("rejected", "rejected_requeued")) rejected.changed();
  if (isOther("conflicts")) conflicts.changed();
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
  if (isNarrow) {
    refresh();
    return;
  }
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
    // The token ended, or the person signed out in another tab.
    if (reason?.status === 401) location.reload();
    if (mine === source && reason) lost(reason.message);
  });
  watch();
}

// With a token for some topics there are no counters, which are about all of them. The lists are loaded again from time to time.
async function refresh() {
  clearTimeout(refreshing);
  refreshing = setTimeout(refresh, REFRESH_MS);
  const health = await probe();
  // While it starts, it says no more than that.
  if (health === null || health.status === "starting") {
    lost(health === null ? undefined : "It is starting.");
    return;
  }
  // The session is over: without one there is only a status.
  if (health.access === undefined) location.reload();
  isLost = false;
  delete document.body.dataset.stale;
  showAges();
  const failing = Object.entries(health.checks ?? {});
  showProblems(failing.map(([key, text]) => ({ key, title: `The ${key} does not work.`, text: warnings.sentence(text) })));
  topics.changed(undefined, true);
  topic.changed(undefined, true);
  for (const list of [rejected, conflicts]) list.changed();
}

function close() {
  clearTimeout(refreshing);
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

scaleSwitch.start(() => [...charts, topic.chart].forEach((chart) => chart.redraw()));
review.start();
topics.start();
topic.start();
events.start();
if (location.hash !== "") landOn($(location.hash.slice(1)));
reopen();
