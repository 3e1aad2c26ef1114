// The bar over the events: search, time range, time zone, export and copies. The address has all of its values.

import { $, say, useZone } from "./dom.js";
import { addressOf, go, parameters, whenChanged } from "./address.js";
import { asked, eventsQuery, QueryError } from "./query.js";
import { copyButton, curl } from "./copy.js";

const OWN = "own";

// What is wrong with the query; the service's messages begin with a small letter. An empty text removes it.
export const problem = (text) => say($("search-problem"), `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`);

function submit(event) {
  event.preventDefault();
  const { topics } = parameters();
  try {
    const change = asked($("query").value.trim(), topics);
    problem("");
    // The same search again gives the events stored meanwhile.
    if (addressOf({ ...change, cursor: "" }) === location.search && !$("refresh").hidden) $("refresh").click();
    else go({ ...change, cursor: "" });
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    problem(error.message);
  }
}

function chooseRange() {
  const { value } = $("range");
  $("own-range").hidden = value !== OWN;
  if (value === OWN) $("own-since").focus();
  else go({ since: value, until: "" });
}

function applyOwn(event) {
  event.preventDefault();
  const [since, until] = [$("own-since").value, $("own-until").value].map(momentOf);
  if (since && until && since >= until) problem("The range is empty: its end must be later than its beginning.");
  else go({ since, until });
}

// A date and time without a zone, as fields have it, of the zone that is shown.
function momentOf(text) {
  if (text === "") return "";
  return new Date(parameters().isUtc ? `${text}Z` : text).toISOString();
}

function fieldOf(time) {
  const moment = relative(time) ?? Date.parse(time);
  if (Number.isNaN(moment)) return "";
  const offset = parameters().isUtc ? 0 : new Date(moment).getTimezoneOffset() * 60000;
  return new Date(moment - offset).toISOString().slice(0, 19);
}

const UNITS_MS = { s: 1000, m: 60000, h: 3600000, d: 86400000 };

// The moment of a relative time such as -1h, in milliseconds since 1970.
function relative(time) {
  const [, number, unit] = /^-(\d{1,9})([smhd])$/.exec(time) ?? [];
  return number === undefined ? null : Date.now() - number * UNITS_MS[unit];
}

function follow() {
  const { q, since, until, isUtc } = parameters();
  useZone(isUtc ? "UTC" : undefined);
  if (document.activeElement !== $("query") || $("query").value.trim() !== q) $("query").value = q;
  $("time-zone").value = isUtc ? "utc" : "";
  const isListed = until === "" && [...$("range").options].some((option) => option.value === since);
  $("range").value = isListed ? since : OWN;
  $("own-range").hidden = isListed;
  $("own-since").value = fieldOf(since);
  $("own-until").value = fieldOf(until);
  showExport();
}

// The export has all pages.
function showExport() {
  const query = safely(() => eventsQuery({ ...parameters(), cursor: "" }));
  $("export").hidden = query === null;
  if (query === null) return;
  query.set("format", "ndjson");
  $("export").href = `events?${query}`;
}

function safely(work) {
  try {
    return work();
  } catch (error) {
    if (error instanceof QueryError) return null;
    throw error;
  }
}

function command() {
  const query = safely(() => eventsQuery(parameters()));
  query?.set("limit", 50);
  return curl(`events?${query ?? ""}`);
}

// The address of what is shown. A time range that ends now is another one tomorrow, so the link has its beginning as a time.
function link() {
  const { since, until, cursor, event } = parameters();
  const fixed = (time) => {
    const moment = relative(time);
    return moment === null ? time : new Date(moment).toISOString();
  };
  // The cursor of a page with relative times is valid only with these.
  const change = cursor === "" ? { since: fixed(since), until: fixed(until), event } : {};
  return new URL(addressOf(change), location).href;
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
  $("range").addEventListener("change", chooseRange);
  $("own-range").addEventListener("submit", applyOwn);
  $("time-zone").addEventListener("change", () => go({ isUtc: $("time-zone").value === "utc" }));
  const zone = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts().find(({ type }) => type === "timeZoneName");
  $("time-zone").options[0].textContent = `local time (${zone.value})`;
  $("copies").append(copyButton("Copy link", link), copyButton("Copy as curl", command));
  whenChanged(follow);
  follow();
}
