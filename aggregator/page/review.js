// What needs no immediate action but a review: rejected arrivals and conflicts that are not marked as seen, except those that
// were sent again. The store keeps the marks, so that everyone sees them.

import { $, ask, number, say } from "./dom.js";
import { conflicts } from "./conflicts.js";
import { rejected } from "./rejected.js";

// marked: up to which id this page has marked rows as seen, until a sample has it.
const KINDS = [
  { name: "rejected", list: rejected, noun: () => "rejected", marked: 0 },
  { name: "conflicts", list: conflicts, noun: (n) => (n === 1 ? "conflict" : "conflicts"), marked: 0 },
];

export const isToReview = () => !$("review").hidden;

// While the store cannot be read, what was shown stays.
export function showReview(sample) {
  if (sample.received === undefined) return;
  for (const kind of KINDS) {
    const { name, list, noun } = kind;
    if (sample[`${name}_seen`] >= kind.marked) kind.marked = 0;
    const seen = Math.max(sample[`${name}_seen`], kind.marked);
    // Of those that are marked meanwhile, some may be among the requeued ones.
    const requeued = kind.marked > 0 ? 0 : (sample[`${name}_requeued`] ?? 0);
    // Ids are consecutive from 1, so the number of all is the latest id.
    const count = Math.max(0, sample[name] - seen - requeued);
    $(`review-${name}`).hidden = count === 0;
    say($(`review-${name}`), `${number(count)} ${noun(count)}`);
    list.mark(seen, requeued);
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
    kind.marked = JSON.parse(answer).seen;
    list.mark(kind.marked, 0);
    say($(`${name}-status`), "Marked as seen for everyone.");
  } catch (error) {
    say($(`${name}-status`), `Not marked: ${error.message}`);
  }
  button.disabled = false;
}

export function start() {
  for (const kind of KINDS) $(`${kind.name}-seen`).addEventListener("click", () => see(kind));
}
