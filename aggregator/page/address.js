// The address of the page holds the selected topics and the sort order, so that a link shows the same.

const listeners = [];

export function parameters() {
  const query = new URLSearchParams(location.search);
  return {
    topics: [...new Set(query.getAll("topic").filter((topic) => topic !== ""))],
    find: query.get("find") ?? "",
    sort: query.get("sort") ?? "received",
    order: query.get("order") === "asc" ? "asc" : "desc",
  };
}

export function addressOf(change) {
  const { topics, find, sort, order } = { ...parameters(), ...change };
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  if (find) query.set("find", find);
  if (sort !== "received" || order !== "desc") {
    query.set("sort", sort);
    query.set("order", order);
  }
  const text = query.toString();
  return text ? `?${text}` : location.pathname;
}

// Navigates. Typing replaces the address; all other changes can be undone with Back.
export function go(change, isTyped = false) {
  const address = addressOf(change);
  if (isTyped) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  notify();
}

export function whenChanged(listener) {
  listeners.push(listener);
}

const notify = () => listeners.forEach((listener) => listener());
addEventListener("popstate", notify);
