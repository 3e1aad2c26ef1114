// What is shown, for others: as a file of all its pages, as a link and as a command.

import { $, say } from "./dom.js";
import { addressOf, parameters, whenChanged } from "./address.js";
import { problem } from "./bar.js";
import { copyButton, curl } from "./copy.js";
import { members } from "./json.js";
import { fixed } from "./moments.js";
import { QueryError, withTimes } from "./query.js";
import { needed, whenSearched } from "./results.js";

// The address of a file in memory is valid this long after its download began.
const KEPT_MS = 60_000;

// Stops the running export if something else is selected; null if none is running.
let stopIfOther = null;

function safely(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof QueryError) return null;
    throw error;
  }
}

// The requests that export all pages of what is shown, in the order of the list; null if the query is wrong.
const exports = () => safely(() => needed({ ...parameters(), cursor: "" }))?.map(({ query }) => {
  query.set("format", "ndjson");
  return `events?${query}`;
});

function showExport() {
  const paths = exports() ?? [];
  $("export").hidden = paths.length === 0;
  // Of several, the last exports most.
  if (paths.length > 0) $("export").href = paths.at(-1);
}

// What selects the exported events, whichever page of them is shown.
function selection() {
  const { topics, q, matchesCase, since, until } = parameters();
  return JSON.stringify([topics, q, matchesCase, since, until]);
}

// A single request is a download of its own. The responses to several become one file, with each event once. It takes a while, and
// ends early if something else is selected.
async function download(event) {
  const paths = exports() ?? [];
  if (paths.length < 2) return;
  event.preventDefault();
  if (stopIfOther) return;
  const anchor = $("export");
  const [label, selected] = [anchor.textContent, selection()];
  const stop = new AbortController();
  stopIfOther = () => selection() !== selected && stop.abort();
  say(anchor, "Exporting …");
  try {
    const file = URL.createObjectURL(await combined(paths, stop.signal));
    Object.assign(document.createElement("a"), { href: file, download: anchor.download }).click();
    setTimeout(() => URL.revokeObjectURL(file), KEPT_MS);
  } catch (error) {
    if (!stop.signal.aborted) problem(`Cannot export: ${error.message}`);
  } finally {
    stopIfOther = null;
    say(anchor, label);
  }
}

// The events that a text names come first. There is one of each topic at most, so their names fit into memory.
async function combined(paths, signal) {
  const known = new Set();
  const parts = [];
  for (const [index, path] of paths.entries()) {
    const answer = await fetch(path, { signal });
    if (!answer.ok) throw new Error(`the response has the status ${answer.status}`);
    const others = lines((line) => {
      const { topic, event_id } = members(line);
      const isNew = !known.has(`${topic} ${event_id}`);
      if (index < paths.length - 1) known.add(`${topic} ${event_id}`);
      return isNew;
    });
    const text = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(others).pipeThrough(new TextEncoderStream());
    parts.push(await new Response(text).blob());
  }
  return new Blob(parts, { type: "application/x-ndjson" });
}

// Passes on the lines that are kept.
function lines(isKept) {
  let rest = "";
  const kept = (line) => line !== "" && isKept(line);
  return new TransformStream({
    transform(text, out) {
      const whole = (rest + text).split("\n");
      rest = whole.pop();
      const passed = whole.filter(kept);
      if (passed.length > 0) out.enqueue(`${passed.join("\n")}\n`);
    },
    flush: (out) => kept(rest) && out.enqueue(`${rest}\n`),
  });
}

// What is shown, with times that mean the same tomorrow. The cursor of a page with relative times is valid only with these.
function lasting() {
  const state = parameters();
  if (state.cursor !== "") return state;
  const q = safely(() => withTimes(state.q, fixed)) ?? state.q;
  return { ...state, q, since: fixed(state.since), until: fixed(state.until) };
}

// With one address for each query; curl requests one after the other.
function command() {
  const queries = safely(() => needed(lasting())) ?? [];
  for (const { query, most } of queries) query.set("limit", most);
  return curl(...(queries.length > 0 ? queries.map(({ query }) => `events?${query}`) : ["events"]));
}

// The address of what is shown.
const link = () => new URL(addressOf(lasting()), location).href;

export function start() {
  $("copies").append(copyButton("Copy link", link), copyButton("Copy as curl", command));
  $("export").addEventListener("click", download);
  whenChanged(showExport);
  whenChanged(() => stopIfOther?.());
  whenSearched(showExport);
  showExport();
}
