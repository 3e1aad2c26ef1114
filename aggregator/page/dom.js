// Elements, numbers and times. The content of events is inserted only as text, never as markup.

export const $ = (id) => document.getElementById(id);

// element("a", { href }, "text", other): an attribute that is true is set without a value, one that is false is not set.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Characters without a shape of their own: they reorder, break or hide the text around them. An emoji may contain some, so it
// is matched first.
const PICTURE = String.raw`\p{Extended_Pictographic}(?:\uFE0F|\p{Emoji_Modifier})?`;
const EMOJI = String.raw`(?<emoji>[0-9#*]\uFE0F|${PICTURE}(?:\u200D${PICTURE})*)`;
const unseen = (but) => new RegExp(String.raw`${EMOJI}|(?:(?!${but})[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}])+`, "gu");
const UNSEEN = unseen("[]");
const UNSEEN_IN_LINES = unseen(String.raw`\n`);
const UNSEEN_IN_FIELDS = unseen(String.raw`[\t\r\n]`);

// At most this many adjacent ones are named.
const NAMED = 8;

const codePoint = (c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

function names(run) {
  const all = [...run];
  const rest = all.length > NAMED ? ` and ${number(all.length - NAMED)} more` : "";
  return all.slice(0, NAMED).map(codePoint).join(" ") + rest;
}

// The text in parts: those without a shape are replaced by their names.
function parts(text, pattern, other = (text) => [text]) {
  const found = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.groups.emoji) continue;
    found.push(...other(text.slice(from, match.index)), element("span", { class: "code-point" }, names(match[0])));
    from = match.index + match[0].length;
  }
  return [...found, ...other(text.slice(from))];
}

// From the first to the last letter that is written from right to left, within a JSON string.
const LEFTWARD = "[\\u0590-\\u08FF\\uFB1D-\\uFDFF\\uFE70-\\uFEFC\\u{10800}-\\u{10FFF}\\u{1E800}-\\u{1EFFF}]";
const LEFTWARD_RUN = new RegExp(`(${LEFTWARD}(?:[^"\\n]*${LEFTWARD})?)`, "u");
const isolated = (text) => text.split(LEFTWARD_RUN).map((part, index) => (index % 2 === 1 ? element("bdi", {}, part) : part));

// Text from an event, isolated so that its writing direction does not affect the text around it.
export const foreign = (text, attributes = {}) => element("bdi", attributes, ...named(`${text}`));

// A text of white space only would look like none.
const named = (text) => (/^\s+$/.test(text) ? [element("span", { class: "code-point" }, names(text))] : parts(text, UNSEEN));

// JSON from an event, in lines. Each string is isolated, so that names and values keep their order.
export const foreignLines = (text) => parts(text, UNSEEN_IN_LINES, isolated);

// For attributes, which consist of text only.
export const spelled = (text) => text.replace(UNSEEN, (found, ...rest) => (rest.at(-1).emoji ? found : ` ${names(found)} `));

// The names of all characters without a shape in a text field, which cannot show them.
export function unseenIn(text) {
  const found = [...text.matchAll(UNSEEN_IN_FIELDS)].filter((match) => !match.groups.emoji);
  return names(new Set(found.flatMap((match) => [...match[0]])));
}

// Changes the text of an element only if it differs, so that a screen reader does not repeat it.
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

const whole = new Intl.NumberFormat("en-US");
export const number = (n) => (n === null || n === undefined ? "–" : whole.format(n));

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit += 1;
  }
  return `${n < 10 && unit > 0 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
const DAY = { day: "numeric", month: "short", year: "numeric" };
let clock = new Intl.DateTimeFormat("en-GB", CLOCK);
let day = new Intl.DateTimeFormat("en-GB", DAY);

// Shows all times in a time zone, or in the reader's if it is undefined.
export function useZone(timeZone) {
  // Ages and the like are not times of day: they stay.
  const shown = [...document.querySelectorAll("time")].filter((one) => one.textContent === textOf(one));
  clock = new Intl.DateTimeFormat("en-GB", { ...CLOCK, timeZone });
  day = new Intl.DateTimeFormat("en-GB", { ...DAY, timeZone });
  for (const one of shown) one.textContent = textOf(one);
}

// A time of day, from milliseconds since 1970.
export const clockTime = (at) => clock.format(at);

// The same without seconds and time zone.
export const minute = (at) => clockTime(at).slice(0, "hh:mm".length);

// The name of the time zone, which depends on the season.
export const zone = (moment = Date.now()) => clock.formatToParts(moment).find(({ type }) => type === "timeZoneName").value;

// A time with its zone, and with the date unless it is today.
export function timeText(iso) {
  const moment = new Date(iso);
  const isToday = day.format(moment) === day.format(Date.now());
  return isToday ? clock.format(moment) : `${day.format(moment)}, ${clock.format(moment)}`;
}

// The same without the zone, for a list whose heading names it.
export function withoutZone(time) {
  time.classList.add("zoneless");
  time.textContent = textOf(time);
}

function textOf(time) {
  const text = timeText(time.dateTime);
  return time.classList.contains("zoneless") ? text.slice(0, -` ${zone(new Date(time.dateTime))}`.length) : text;
}

export const time = (iso) => element("time", { datetime: iso, title: iso }, timeText(iso));

// A duration in milliseconds, given in seconds if it is long.
export function milliseconds(n) {
  if (n === null || n === undefined) return "–";
  if (n >= 999.5) return `${Number((n / 1000).toFixed(2))} s`;
  return n >= 99.95 ? `${Math.round(n)} ms` : `${n.toFixed(1)} ms`;
}

// A duration in its largest whole unit.
export function lasting(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export const ago = (iso, now) => `${lasting(Math.max(0, Math.round((now - Date.parse(iso)) / 1000)))} ago`;

// Longer than the aggregator takes for any response: a dead connection that was never closed is given up.
const TIMEOUT_MS = 30000;

// The body of the response, as text. Every path is relative, so that the page works below a path of a proxy. An error has the message of the problem document.
export async function ask(path, options) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  if (!answer.ok) throw await refused(answer);
  return answer.text();
}

async function refused(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Not a response of this service.
  }
  const detail = problem.detail ?? `the response has the status ${answer.status}`;
  // The detail of a single error has its message.
  const errors = (problem.errors ?? []).filter((error) => !detail.endsWith(error.message));
  const text = [detail, ...errors.map((error) => `${error.field ?? "body"} ${error.message}`)].join("; ");
  return Object.assign(new Error(text), { status: answer.status });
}

// The reason why a stream was refused, which browsers do not expose; null if it is no longer refused.
export async function refusal(path) {
  const stop = new AbortController();
  try {
    const answer = await fetch(path, { signal: stop.signal });
    return answer.ok ? null : await refused(answer);
  } catch (error) {
    return error;
  } finally {
    stop.abort();
  }
}

// Runs `work` at most once at a time. Calls made meanwhile cause one more run, after a pause.
export function paced(work, pause) {
  let isBusy = false;
  let isRequested = false;
  return async function go() {
    isRequested = true;
    if (isBusy) return;
    isBusy = true;
    while (isRequested) {
      isRequested = false;
      await work();
      await new Promise((done) => setTimeout(done, pause));
    }
    isBusy = false;
  };
}
