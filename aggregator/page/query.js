// What is typed into the search bar, and the parameters of GET /events that it means.

// A word that is a filter: a name, =, and a value, which may be in quotes. JSON pasted into the bar is not one.
const NAME = /[^\s="'{}[\]:,]+(?==)/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"(?=\s|$)/y;
const BARE = /\S*/y;

// Names that the API knows; every other name is a path in the payload.
const KNOWN = ["source", "event_id", "time_since", "time_until", "contains"];

// Names that the page has controls for.
const CONTROLLED = ["topic", "since", "until"];

const MAX_NAME_BYTES = 255;

// The message of an error is shown next to the bar.
export class QueryError extends Error {}

// The parts of a text, in order: { name, value, isQuoted } of a filter, with the name of the API, or { words } between filters.
function partsOf(q) {
  const found = [];
  let at = 0;
  const match = (pattern) => {
    pattern.lastIndex = at;
    const matched = pattern.exec(q);
    if (matched) at = pattern.lastIndex;
    return matched;
  };
  for (;;) {
    match(/\s*/y);
    if (at >= q.length) return found;
    const name = match(NAME)?.[0];
    if (name !== undefined) {
      at += 1;
      const isQuoted = q[at] === '"';
      found.push({ name: parameter(name), value: valueOf(name, isQuoted), isQuoted });
      continue;
    }
    const [word] = match(BARE);
    if (found.at(-1)?.words === undefined) found.push({ words: word });
    else found.at(-1).words += ` ${word}`;
  }

  function valueOf(name, isQuoted) {
    if (!isQuoted) return match(BARE)[0];
    const inQuotes = match(QUOTED);
    if (!inQuotes) throw new QueryError(`The value of ${name} begins with a quote: end it with a quote, followed by a space. Write \\" for a quote in it.`);
    return inQuotes[1].replace(/\\(.)/gs, "$1");
  }
}

const isContained = ({ words, name }) => words !== undefined || name === "contains";

// Splits a text into { text, filters: [[name, value]] }. Names are those of the API. The words that are no filters are one text.
export function parsed(q) {
  const parts = partsOf(q);
  const texts = parts.filter(isContained).map(({ words, value }) => words ?? value);
  if (texts.length > 1) {
    const together = quoted(q);
    const other = together === null ? "" : `. Or put a value with spaces in quotes: ${together}`;
    throw new QueryError(`Only one text can be searched for. Write the words next to each other, without a filter between them: ${texts.join(" ")}${other}`);
  }
  return { text: texts[0] ?? "", filters: parts.filter((part) => !isContained(part)).map(({ name, value }) => [name, value]) };
}

// The same search with the words that follow a value as a part of it, in quotes; null if there are none.
export function quoted(q) {
  const joined = [];
  for (const part of partsOf(q)) {
    const before = joined.at(-1);
    const isPartOf = part.words !== undefined && before?.name !== undefined && !before.isQuoted && before.value !== "";
    if (isPartOf) joined.splice(-1, 1, { ...before, value: `${before.value} ${part.words}`, isQuoted: true });
    else joined.push(part);
  }
  if (joined.length === partsOf(q).length) return null;
  return joined.map(({ words, name, value, isQuoted }) => words ?? `${shortened(name)}=${typed(value, isQuoted)}`).join(" ");
}

function parameter(name) {
  if (KNOWN.includes(name) || CONTROLLED.includes(name) || name.startsWith("payload.")) return name;
  if (name === "id") return "event_id";
  if (name === "text") return "contains";
  return `payload.${name}`;
}

// The value of a filter as it is typed.
export const typed = (value, isQuoted = false) => (isQuoted || value === "" || /[\s"]/.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : value);

// What the page has controls for moves there: the change of the address for a typed text. Typed topics replace the selected
// ones. `time` completes a typed time.
export function asked(q, time) {
  const timed = withTimes(q, time);
  const { text, filters } = parsed(timed);
  const given = (name) => filters.filter(([other]) => other === name).map(([, value]) => value);
  if (!filters.some(([name]) => CONTROLLED.includes(name))) return { q: timed };
  return {
    q: joined(text, filters.filter(([name]) => !CONTROLLED.includes(name))),
    ...(given("topic").length > 0 && { topics: [...new Set(given("topic"))] }),
    ...(given("since").length > 0 && { since: given("since").at(-1) }),
    ...(given("until").length > 0 && { until: given("until").at(-1) }),
  };
}

const TIMES = ["since", "until", "time_since", "time_until"];

// The same search with its times changed by `time`. It stays as it is typed if they do not change.
export function withTimes(q, time) {
  const { text, filters } = parsed(q);
  const changed = filters.map(([name, value]) => [name, TIMES.includes(name) ? time(value) : value]);
  return changed.some(([, value], index) => value !== filters[index][1]) ? joined(text, changed) : q;
}

function joined(text, filters) {
  const words = filters.map(([name, value]) => `${shortened(name)}=${typed(value)}`);
  return [text === "" ? "" : searchable(text), ...words].filter((word) => word !== "").join(" ");
}

const shortened = (name) => {
  const path = name.replace(/^payload\./, "");
  return path !== name && parameter(path) === name ? path : name;
};

// A text as it is typed: with its name if it would be taken for a filter otherwise.
function searchable(text) {
  const isPlain = parsed(text).filters.length === 0 && parsed(text).text === text;
  return isPlain ? text : `contains=${typed(text)}`;
}

// The parameters of GET /events and its tail for a text.
export const containing = (text, matchesCase) =>
  text === "" ? [] : [["contains", text], ...(matchesCase ? [] : [["ignore_case", "true"]])];

// The parameters of GET /events for what the address selects.
export function eventsQuery({ topics, q, matchesCase, since, until, cursor }) {
  const { text, filters } = parsed(q);
  const query = new URLSearchParams(topics.map((topic) => ["topic", topic]));
  for (const [name, value] of [...filters, ...containing(text, matchesCase)]) query.append(name, value);
  if (since) query.set("since", since);
  if (until) query.set("until", until);
  if (cursor) query.set("cursor", cursor);
  return query;
}

// At most this many places where a text is split into a topic and an id.
const MAX_SPLITS = 3;

// Whether all of what is typed may be an id that looks like a field and its value, such as QUJDRA== or a=b.
export const mayBeId = (filters) => filters.length > 0 && filters.every(([name]) => name.startsWith("payload."));

// Queries for events that a text names: by its id, or by topic,id as in the address of an event.
function namedBy(state) {
  const { text, filters } = parsed(state.q);
  if (state.cursor || filters.some(([name]) => name === "event_id")) return [];
  const isName = (name) => name !== "" && new TextEncoder().encode(name).length <= MAX_NAME_BYTES;
  const whole = state.q.trim();
  const query = (event_id, topics) => {
    const query = eventsQuery({ ...state, topics, q: event_id === whole ? "" : state.q });
    for (const [name] of containing(text, false)) query.delete(name);
    query.set("event_id", event_id);
    return query;
  };
  const found = isName(text) ? [query(text, state.topics)] : [];
  if (mayBeId(filters) && isName(whole)) found.push(query(whole, state.topics));
  const commas = [...text.matchAll(/,/g)].slice(0, MAX_SPLITS);
  for (const { index } of commas) {
    const [topic, event_id] = [text.slice(0, index), text.slice(index + 1).trim()];
    if (isName(topic) && isName(event_id)) found.push(query(event_id, [topic]));
  }
  return found;
}

// Maximum number of events in a page of a search, and of events that a text names, which are listed in addition.
const SHOWN = 50;
const SHOWN_NAMED = 20;

// The queries of what the address selects, each with the number of events that a page shows of it. The first has the pages.
export const queriesOf = (state) => [
  { query: eventsQuery(state), most: SHOWN },
  ...namedBy(state).map((query) => ({ query, most: SHOWN_NAMED })),
];
