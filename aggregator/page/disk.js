// Free disk space, and how long it lasts.

import { $, bytes, say } from "./dom.js";

// Warn if the free space lasts less than this, as aggregator doctor does: a weekend, with a day to act.
const MIN_SECONDS = 3 * 86_400;

// Warn if less than this is free, at any rate, as aggregator doctor does: a few minutes of heavy traffic, or one merge of the
// dedup index.
const MIN_BYTES = 1024 ** 3;

function duration(seconds) {
  const units = [
    [2 * 365 * 86_400, 365 * 86_400, "years"],
    [2 * 86_400, 86_400, "days"],
    [2 * 3600, 3600, "hours"],
  ];
  const [, unit, name] = units.find(([least]) => seconds >= least) ?? [0, 60, "minutes"];
  return `${Math.floor(seconds / unit)} ${name}`;
}

export function showDisk(disk) {
  say($("count-disk"), bytes(disk?.free_bytes));
  say($("disk-left"), disk ? left(disk) : "");
  say($("disk-total"), disk ? `of ${bytes(disk.total_bytes)}` : "");
  say($("disk-store"), disk ? `the store uses ${bytes(disk.store_bytes)}` : "cannot be read");
}

const left = ({ seconds_left }) =>
  seconds_left === null ? "not filled by the store at today’s rate" : `the store fills it in ${duration(seconds_left)} at today’s rate`;

// { title, text } if there is too little; nothing is known of a disk that cannot be read.
export function problem(disk) {
  if (!disk) return null;
  const { free_bytes, seconds_left } = disk;
  const isShort = seconds_left !== null && seconds_left < MIN_SECONDS;
  if (!isShort && free_bytes >= MIN_BYTES) return null;
  const rate = seconds_left === null ? "" : `, which lasts ${duration(seconds_left)} at the average rate of the last 24 hours`;
  return {
    title: isShort ? "Disk space is running out." : "Little disk space is left.",
    text: `${bytes(free_bytes)} is free${rate}. When it is full, nothing is applied until there is space; nothing is lost.`,
  };
}
