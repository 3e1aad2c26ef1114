// What needs no immediate action but a review: rejected arrivals and conflicts that are not marked as seen, except those that
// were sent again. The store keeps the marks, so that everyone sees them.

import { $, ask, number, say } from "./dom.js";
import { conflicts } from "./conflicts.js";
import { rejected } from "./rejected.js";

// marked: what this page has marked as seen, until a sample has it: the id up to which rows are, and how many these are. all: how many
// there are by the last sample.
const KINDS = [
  { name: "rejected", list: rejected, noun: () => "rejected", marked: null, all: 0 },
  { name: "conflicts", list: conflicts, noun: (n) => (n === 1 ? "conflict" : "conflicts"), marked: null, all: 0 },
];

export const isToReview = () => !$("review").hidden;

// While the store cannot be read, what was shown stays.
export function showReview(sample) {
  if (sample.received === undefined) return;
  for (const kind of KINDS) {
    const { name, list, noun } = kind;
    kind.all = sample[name];
    const known = { seen: sample[`${name}_seen_up_to`], count: sample[`${name}_seen`] };
    if (known.seen >= kind.marked?.seen) kind.marked = null;
    const { seen, count: seenCount } = kind.marked ?? known;
    // Of those that are marked meanwhile, some may be among the requeued ones.
    const requeued = kind.marked === null ? (sample[`${name}_requeued`] ?? 0) : 0;
    const count = Math.max(0, kind.all - seenCount - requeued);
    $(`review-${name}`).hidden = count === 0;
    say($(`review-${name}`), `${number(count)} ${noun(count)}`);
    list.mark(seen, count);
  }
  $("review").hidden = KINDS.every(({ name }) => $(`review-${name}`).hidden);
  $("review-comma").hidden = KINDS.some(({ name }) => $(`review-${name}`).hidden);
}

// Marks the rows shown and all before them. What arrived since then remains to be reviewed.
async function see(kind) {
  const { name, list } = kind;
  const button = $(`${name}-seen`);
  button.disabled = true;
  try {
    const answer = await ask(`${name}/seen?up_to=${list.latest}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "",
    });
    // The button disappears, and the focus would be lost with it.
    if (document.activeElement === button) $(name).focus({ preventScroll: true });
    kind.marked = JSON.parse(answer);
    const { seen, count } = kind.marked;
    list.mark(seen, Math.max(0, kind.all - count));
    // Several aggregators share the store, and one of them has not applied an earlier message yet.
    const isWhole = seen >= list.latest;
    say($(`${name}-status`), isWhole ? "Marked as seen for everyone." : "Marked as seen for everyone, except the latest: earlier ones may still come. Try again in a moment.");
  } catch (error) {
    say($(`${name}-status`), `Not marked: ${error.message}`);
  }
  button.disabled = false;
}

export function start() {
  for (const kind of KINDS) $(`${kind.name}-seen`).addEventListener("click", () => see(kind));
}
