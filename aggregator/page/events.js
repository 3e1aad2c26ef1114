// The events of the page: the live tail, or the results of a search or of a time range in the past.

import { $, element, foreign, spelled } from "./dom.js";
import { addressOf, following, go, parameters, whenChanged } from "./address.js";
import * as bar from "./bar.js";
import * as event from "./event.js";
import * as histogram from "./histogram.js";
import * as keys from "./keys.js";
import { landOn } from "./landing.js";
import * as newer from "./newer.js";
import * as results from "./results.js";
import * as share from "./share.js";
import * as tail from "./tail.js";

let shown = null;

// Whether new events are shown as they are stored: the tail selects by topic only, and every new event is in a time range that
// has no end.
const isLive = ({ q, until, cursor }) => q.trim() === "" && until === "" && cursor === "";

// Shows what the address selects. Links and Back change it.
function follow() {
  const state = parameters();
  const { topics, q, matchesCase, since, until, cursor } = state;
  const now = JSON.stringify([topics, q, q !== "" && matchesCase, since, until, cursor]);
  showFilter(topics);
  if (now === shown) return;
  shown = now;
  const live = isLive(state);
  $("events-title").textContent = live ? "Newest events" : "Found events";
  // Screen readers announce what a search finds, but not the numbers of new events.
  $("events-note").ariaLive = live ? "off" : "polite";
  $("pause").hidden = !live;
  $("refresh").hidden = live;
  $("go-on").hidden = true;
  $("all-times").hidden = true;
  $("newest").hidden = cursor === "";
  $("event-rows").scrollTop = 0;
  results.stop();
  stop();
  if (live) tail.restart();
  else {
    $("events-bar").classList.remove("paused");
    search();
  }
}

// New events are counted from before the search, so that none is missed in between.
async function search() {
  newer.restart();
  await results.load();
  newer.show();
}

function showFilter(topics) {
  const chips = topics.map((topic) => {
    const rest = topics.filter((other) => other !== topic);
    const remove = element("button", { type: "button", click: () => show(rest) }, foreign(topic), " ×");
    remove.setAttribute("aria-label", `Stop showing ${spelled(topic)}`);
    return element("span", { class: "chip" }, remove);
  });
  const all = { href: addressOf({ topics: [] }), click: following({ topics: [] }, focus) };
  if (chips.length === 0) $("filter").replaceChildren("All topics. Select a topic to show only its events.");
  else $("filter").replaceChildren("Only ", ...chips, element("a", all, "show all topics"));
}

const focus = () => $("events").focus();

function show(topics) {
  go({ topics });
  focus();
}

// Continues after an interruption. Results stay as they are.
export function resume() {
  if (isLive(parameters())) tail.resume();
  else newer.resume();
}

export function stop() {
  tail.stop();
  newer.stop();
}

export const tick = tail.tick;

// Begins again, as with another store.
export function begin() {
  if (isLive(parameters())) tail.begin();
  else search();
}

export function start() {
  $("first-command").textContent =
    `curl -s ${new URL("publish", location)} -H 'Content-Type: application/json' \\\n` +
    `  -d '{"topic":"readme","event_id":"1","timestamp":"${new Date().toISOString()}","source":"curl","payload":{"amount":1.50}}'`;
  // A phone shows the events first.
  const wide = matchMedia("(min-width: 40.01rem)");
  const unfold = () => {
    $("share").open = wide.matches;
    // It counts all events: what a search finds comes first.
    $("over-time").open = wide.matches && parameters().q === "";
  };
  wide.addEventListener("change", unfold);
  let isFound = null;
  const unfoldFor = () => {
    const isSearch = parameters().q !== "";
    if (isSearch !== isFound) unfold();
    isFound = isSearch;
  };
  whenChanged(unfoldFor);
  unfoldFor();
  $("pause").addEventListener("click", tail.toggle);
  $("refresh").addEventListener("click", search);
  $("go-on").addEventListener("click", () => results.goOn());
  $("older").addEventListener("click", () => (isLive(parameters()) ? tail.older() : results.older()));
  $("newest").addEventListener("click", () => go({ cursor: "" }));
  $("all-times").addEventListener("click", () => go({ since: "", until: "" }));
  const list = $("event-rows");
  list.addEventListener("scroll", () => {
    if (list.scrollTop > 0 && isLive(parameters())) tail.pause();
  });
  document.addEventListener("selectionchange", () => {
    const selection = getSelection();
    if (!selection.isCollapsed && list.contains(selection.anchorNode) && isLive(parameters())) tail.pause();
  });
  bar.start();
  share.start();
  whenChanged(follow);
  follow();
  histogram.start();
  event.start();
  keys.start();
  // A link to found events leads to them.
  const state = parameters();
  if (!isLive(state) && state.event === null && location.hash === "") landOn($("events"));
}
