// Elements, numbers and times. Whatever came with an event gets into the page as text, and in no other way.

export const $ = (id) => document.getElementById(id);

// element("a", { href }, "text", other): attributes that are true have no value, those that are false are not set.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// A text of an event: whatever direction it forces, it ends with it.
export const foreign = (text, attributes = {}) => element("bdi", attributes, text);

// Changes an element's text only where it differs, so that a screen reader is not told the same again.
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

// A moment in the reader's time zone, with the day where it is not today.
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

// Longer than the aggregator takes for any answer: a connection that is dead without saying so is given up.
const PATIENCE_MS = 30000;

// What a request is answered with, as text. An error has the words of the problem document.
export async function ask(path, options) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  if (!answer.ok) throw await refused(answer);
  return answer.text();
}

async function refused(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Not of this service.
  }
  const errors = (problem.errors ?? []).map((error) => `${error.field ?? "body"} ${error.message}`);
  const told = [problem.detail ?? `it is answered with ${answer.status}`, ...errors].join("; ");
  return Object.assign(new Error(told), { status: answer.status });
}

// Why a stream was refused, which a browser does not tell; none where it is not refused any more.
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

// At most one call of `work` at a time, and one after it where it was asked for meanwhile, with a pause between.
export function paced(work, pause) {
  let isBusy = false;
  let isAsked = false;
  return async function go() {
    isAsked = true;
    if (isBusy) return;
    isBusy = true;
    while (isAsked) {
      isAsked = false;
      await work();
      await new Promise((done) => setTimeout(done, pause));
    }
    isBusy = false;
  };
}
