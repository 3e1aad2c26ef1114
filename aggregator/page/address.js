// The address of the page holds the selected topics and the sort order, so that a link shows the same.

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
  };
}

export function addressOf(change) {
  const { topics, find, sort, order, after } = { ...parameters(), ...change };
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  if (find) query.set("find", find);
  if (sort !== "topic" || order !== "asc") {
    query.set("sort", sort);
    query.set("order", order);
  }
  if (after) query.set("after", after);
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
