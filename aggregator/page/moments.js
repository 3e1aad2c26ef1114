// Times as they are typed, in fields and in the search bar, and as the API takes them.

const UNITS_MS = { s: 1000, m: 60000, h: 3600000, d: 86400000 };

// The moment of a relative time such as -1h, in milliseconds since 1970; null if the text is not one.
export function relative(time) {
  const [, number, unit] = /^-(\d{1,9})([smhd])$/.exec(time) ?? [];
  return number === undefined ? null : Date.now() - number * UNITS_MS[unit];
}

// The moment of a time of either kind; NaN if it is not a time.
export const momentOf = (time) => relative(time) ?? Date.parse(time);

// The same time, if it is relative, as the time that it is now: a relative one is another one tomorrow.
export function fixed(time) {
  const moment = relative(time);
  return moment === null ? time : new Date(moment).toISOString();
}

// Whether a range has an end that is not later than its beginning.
export const isEmptyRange = (since, until) => since !== "" && until !== "" && momentOf(since) >= momentOf(until);

export const EMPTY_RANGE = "The time range is empty: its end must be later than its beginning.";

// The offset of the time zone that is shown, at a moment.
const offset = (moment, isUtc) => (isUtc ? 0 : new Date(moment).getTimezoneOffset() * 60000);

// A date and time without a zone, as fields have it, of the zone that is shown.
export const absolute = (text, isUtc) => (text === "" ? "" : new Date(isUtc ? `${text}Z` : text).toISOString());

// The opposite: what a field shows.
export function fieldOf(time, isUtc) {
  const moment = momentOf(time);
  return Number.isNaN(moment) ? "" : new Date(moment - offset(moment, isUtc)).toISOString().slice(0, 19);
}

// A time of day, of today, or a date with or without a time of day, of the zone that is shown. Any other text stays as it is.
export function completed(text, isUtc) {
  const [, date, clock] = /^(\d{4}-\d\d-\d\d)?[ T]?(\d\d:\d\d(?::\d\d)?)?$/.exec(text) ?? [];
  if (date === undefined && clock === undefined) return text;
  const day = date ?? fieldOf(new Date().toISOString(), isUtc).slice(0, "yyyy-mm-dd".length);
  const full = `${day}T${clock ?? "00:00"}`;
  return Number.isNaN(Date.parse(full)) ? text : absolute(full, isUtc);
}
