// The address of the page holds what is shown (topics, search, time range, page, event, sort order), so that a link shows the
// same and Back undoes a step.

const listeners = [];

// Names ascend unless asked otherwise, and all other values descend.
const usual = (sort) => (sort === "topic" ? "asc" : "desc");

export function parameters() {
  const query = new URLSearchParams(location.search);
  const sort = query.get("sort") ?? "topic";
  const order = query.get("order");
  return {
    topics: [...new Set(query.getAll("topic").filter((topic) => topic !== ""))],
    find: query.get("find") ?? "",
    sort,
    order: order === "asc" || order === "desc" ? order : usual(sort),
    // The topic before the first of this page of topics.
    after: query.get("after") ?? "",
    // The text of the search bar.
    q: query.get("q") ?? "",
    // The time range, as the API takes it: RFC 3339, or relative such as -1h.
    since: query.get("since") ?? "",
    until: query.get("until") ?? "",
    // Where this page of events begins; empty for the newest.
    cursor: query.get("cursor") ?? "",
    // Whether a text is searched for in the case in which it is typed.
    matchesCase: query.get("case") === "match",
    isUtc: query.get("zone") === "utc",
    // The topic and the id of the event that is open, or null.
    event: eventIn(location.search),
  };
}

// What selects events. Another selection starts at its newest event, and closes the event that is open.
const SELECTION = ["topics", "q", "matchesCase", "since", "until", "cursor"];

export function addressOf(change) {
  const isOther = SELECTION.some((name) => name in change);
  const { topics, find, sort, order, after, q, matchesCase, since, until, cursor, isUtc, event } = {
    ...parameters(),
    ...(isOther && { cursor: "", event: null }),
    ...change,
  };
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  const given = { q, case: matchesCase ? "match" : "", since, until, cursor, zone: isUtc ? "utc" : "", find };
  for (const [name, value] of Object.entries(given)) if (value) query.set(name, value);
  if (sort !== "topic" || order !== "asc") {
    query.set("sort", sort);
    query.set("order", order);
  }
  if (after) query.set("after", after);
  const text = [query.toString(), ...(event ? [`event=${named(event)}`] : [])].filter((part) => part !== "").join("&");
  return text ? `?${text}` : location.pathname;
}

// The topic and the id of an event in an address: each percent-encoded, with a comma between them. A comma within a name is
// encoded as %2C.
const named = (event) => event.map(encodeURIComponent).join(",");

// The event that an address names; null if there is none. Programs that pass links on may encode the comma between the names
// as well; then the first comma separates them.
function eventIn(search) {
  const given = search.slice(1).split("&").find((pair) => pair.startsWith("event="));
  if (given === undefined) return null;
  const text = given.slice("event=".length).replaceAll("+", "%20");
  const halves = (text) => [text.slice(0, text.indexOf(",")), text.slice(text.indexOf(",") + 1)];
  try {
    if (text.includes(",")) return halves(text).map(decodeURIComponent);
    const decoded = decodeURIComponent(text);
    return decoded.includes(",") ? halves(decoded) : [decoded, ""];
  } catch {
    // Not percent-encoded UTF-8: it is taken literally, and names no event.
    return [text, ""];
  }
}

// Navigates. Typing replaces the address; all other changes can be undone with Back.
export function go(change, isTyped = false) {
  const address = addressOf(change);
  if (isTyped) history.replaceState(null, "", address);
  else if (address !== (location.search || location.pathname)) history.pushState(null, "", address);
  notify();
}

// A link within the page, which is followed without loading the page again. It opens elsewhere if the reader asks for that.
export function following(change, then = () => {}) {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(change);
    then();
  };
}

export function whenChanged(listener) {
  listeners.push(listener);
}

const notify = () => listeners.forEach((listener) => listener());
addEventListener("popstate", notify);
