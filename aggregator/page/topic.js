// The view of a topic, shown when exactly one is selected: its counts, its rate, its last hour, and the identities with the
// most duplicates.

import { $, ago, ask, clockTime, foreign, number, paced, say, time } from "./dom.js";
import { parameters, whenChanged } from "./address.js";
import { Chart } from "./chart.js";
import { needed, rateOf } from "./rate.js";
import * as repeated from "./repeated.js";

const HOUR = {
  span: "the last hour",
  seconds: 3600,
  every: 600,
  moment: ({ at, isGrowing }) => `minute from ${clockTime(at)}${isGrowing ? ", so far" : ""}`,
};

export const chart = new Chart($("chart-topic"), "Events per minute", number, [
  { name: "stored", kind: "two", of: ({ stored }) => stored },
  { name: "duplicates", kind: "three", of: ({ duplicates }) => duplicates },
], HOUR);

// The selected topic, or null.
let shown = null;
// How many events were received by when: [{ at, received }], oldest first.
let readings = [];
let counts = null;
let buckets = [];
let now = Date.now();

async function load() {
  const name = shown;
  if (name === null) return;
  const query = new URLSearchParams({ topic: name });
  try {
    const answers = await Promise.all([
      ask(`topics?${query}&recent=true`),
      // Not every topic has one.
      ask(`histogram?${query}&since=-1h`).catch(() => '{"buckets":[]}'),
      // Not every store can list them.
      ask(`duplicates?${query}&limit=${repeated.SHOWN}`).catch(() => "null"),
    ]);
    if (name !== shown) return;
    const [{ topics }, history, duplicates] = answers.map((answer) => JSON.parse(answer));
    say($("topic-note"), "");
    showCounts(topics[0] ?? null);
    showHistory(history);
    if (duplicates !== null) repeated.show(name, duplicates);
  } catch (error) {
    if (name === shown) say($("topic-note"), `Cannot load the topic: ${error.message}`);
  }
}

function showCounts(topic) {
  counts = topic;
  $("topic-facts").hidden = topic === null;
  if (topic === null) {
    readings = [];
    say($("topic-note"), "No event of this topic has been received.");
    return;
  }
  read(topic.received);
  say($("topic-minute"), topic.recent ? number(topic.recent.at(-2)) : "–");
  say($("topic-received"), number(topic.received));
  say($("topic-unique"), number(topic.unique_processed));
  say($("topic-duplicates"), number(topic.duplicate_dropped));
  say($("topic-share"), `${((100 * topic.duplicate_dropped) / Math.max(1, topic.received)).toFixed(1)} %`);
  for (const [id, at] of [["topic-first", topic.first_at], ["topic-last", topic.last_at]]) {
    if ($(id).firstChild?.dateTime !== at) $(id).replaceChildren(time(at));
  }
  showAges();
}

function read(received) {
  readings = needed([...readings, { at: now, received }], now);
  const { text, note } = rateOf(readings, counts);
  say($("topic-rate"), text);
  say($("topic-rate-note"), note);
}

function showHistory(history) {
  buckets = history.buckets.map(({ at, stored, duplicates }) => ({ at: Date.parse(at), stored, duplicates }));
  if (buckets.length > 0) buckets.at(-1).isGrowing = true;
  chart.draw(buckets, now, true);
}

function showAges() {
  if (counts === null) return;
  say($("topic-first-age"), ago(counts.first_at, now));
  say($("topic-last-age"), ago(counts.last_at, now));
}

const loadPaced = paced(load, 2000);

// The number of events received in all topics, and the minute, for which the topic was last loaded.
let loadedFor = "";

// Called with each sample, and in any case loads the topic if isForced. Nothing is loaded while nothing arrives, but for the
// minutes, which move on.
export function changed(sample, isForced) {
  if (shown === null) return;
  const state = `${sample?.received} ${Math.floor(sample?.at / 60_000)}`;
  if (state !== loadedFor || isForced) {
    loadedFor = state;
    loadPaced();
  } else if (readings.length > 0) read(readings.at(-1).received);
}

export function tick(at, isCurrent) {
  now = at;
  if (shown === null) return;
  showAges();
  if (!isCurrent) say($("topic-rate"), "–");
  chart.follow(buckets, now, isCurrent);
}

function follow() {
  const { topics } = parameters();
  const selected = topics.length === 1 ? topics[0] : null;
  $("topic").hidden = selected === null;
  if (selected === shown) return;
  shown = selected;
  [readings, counts, buckets] = [[], null, []];
  $("topic-facts").hidden = true;
  repeated.hide();
  if (selected === null) return;
  $("topic-name").replaceChildren(foreign(selected));
  say($("topic-note"), "Loading …");
  chart.draw([], now, false);
  load();
}

export function start() {
  whenChanged(follow);
  follow();
}
