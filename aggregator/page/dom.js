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

// Text from an event, isolated so that its writing direction does not affect the text around it.
export const foreign = (text, attributes = {}) => element("bdi", attributes, text);

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

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

// A time in the reader's time zone, with the date unless it is today.
export function time(iso) {
  const moment = new Date(iso);
  const isToday = day.format(moment) === day.format(Date.now());
  const text = isToday ? clock.format(moment) : `${day.format(moment)}, ${clock.format(moment)}`;
  return element("time", { datetime: iso, title: iso }, text);
}

export function ago(iso, now) {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

// Longer than the aggregator takes for any response: a dead connection that was never closed is given up.
const TIMEOUT_MS = 30000;

// The body of the response, as text. An error has the message of the problem document.
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
  const errors = (problem.errors ?? []).map((error) => `${error.field ?? "body"} ${error.message}`);
  const text = [problem.detail ?? `the response has the status ${answer.status}`, ...errors].join("; ");
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
