// The bar over the events: search, time range and time zone. The address has all of its values.

import { $, say, useZone } from "./dom.js";
import { addressOf, go, parameters, whenChanged } from "./address.js";
import { shownSince } from "./histogram.js";
import { absolute, completed, EMPTY_RANGE, fieldOf } from "./moments.js";
import { asked, QueryError } from "./query.js";

const OWN = "own";

const SECOND_MS = 1000;

// What is wrong with the query. The service's messages begin with a small letter and speak of the API. An empty text removes it.
export function problem(text) {
  const shown = text.replace(/^the query parameter /, "");
  say($("search-problem"), `${shown.slice(0, 1).toUpperCase()}${shown.slice(1)}`);
}

function submit(event) {
  event.preventDefault();
  const { isUtc } = parameters();
  try {
    const change = asked($("query").value.trim(), (time) => completed(time, isUtc));
    problem("");
    // The same search again gives the events stored meanwhile.
    if (addressOf({ ...change, cursor: "" }) === location.search && !$("refresh").hidden) $("refresh").click();
    else go({ ...change, cursor: "" });
    reveal();
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    problem(error.message);
  }
}

// At least this much of the results is in sight after a search, in pixels.
const REVEALED = 200;

function reveal() {
  if ($("event-rows").getBoundingClientRect().top > innerHeight - REVEALED) $("events").scrollIntoView();
}

function chooseRange() {
  const { value } = $("range");
  $("own-range").hidden = value !== OWN;
  if (value !== OWN) {
    go({ since: value, until: "" });
    return;
  }
  // It begins as the range that is shown, to its last second.
  const { since, until } = parameters();
  const end = new Date(Date.now() + SECOND_MS - 1).toISOString();
  fillOwn(since || (shownSince() ?? ""), until || end);
  $("own-since").focus();
}

function fillOwn(since, until) {
  const { isUtc } = parameters();
  $("own-since").value = fieldOf(since, isUtc);
  $("own-until").value = fieldOf(until, isUtc);
}

function applyOwn(event) {
  event.preventDefault();
  const { isUtc } = parameters();
  const [since, until] = [$("own-since").value, $("own-until").value].map((text) => absolute(text, isUtc));
  if (since && until && since >= until) problem(EMPTY_RANGE);
  else go({ since, until });
}

function follow() {
  const { q, matchesCase, since, until, isUtc } = parameters();
  useZone(isUtc ? "UTC" : undefined);
  if (document.activeElement !== $("query") || $("query").value.trim() !== q) $("query").value = q;
  $("match-case").checked = matchesCase;
  $("time-zone").value = isUtc ? "utc" : "";
  const isListed = until === "" && [...$("range").options].some((option) => option.value === since);
  $("range").value = isListed ? since : OWN;
  $("own-range").hidden = isListed;
  fillOwn(since, until);
}

export function start() {
  $("search").addEventListener("submit", submit);
  // Escape would empty it: it leaves the field, and the search stays.
  $("query").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.preventDefault();
    $("query").blur();
  });
  // The field's own button empties it.
  $("query").addEventListener("search", () => {
    if ($("query").value === "" && parameters().q !== "") go({ q: "" });
  });
  $("match-case").addEventListener("change", () => go({ matchesCase: $("match-case").checked }));
  $("range").addEventListener("change", chooseRange);
  $("own-range").addEventListener("submit", applyOwn);
  $("time-zone").addEventListener("change", () => go({ isUtc: $("time-zone").value === "utc" }));
  const zone = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts().find(({ type }) => type === "timeZoneName");
  $("time-zone").options[0].textContent = `local (${zone.value})`;
  whenChanged(follow);
  follow();
}
