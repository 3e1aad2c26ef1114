// Conflicts: duplicates that differ from the stored event, each with both versions next to each other.

import { $, element, foreign, foreignLines, number, time } from "./dom.js";
import { addressOf, following } from "./address.js";
import { layout, members, value } from "./json.js";
import { List } from "./kept.js";

// Maximum number of lines, from the first to the last that differ, which are compared by longest common subsequence. Of more
// lines, this many are shown.
const COMPARED = 1000;

// Number of equal lines shown before the first and after the last differing line.
const AROUND = 3;

// Of a line that differs, in characters: what is shown before the difference, and the most that is shown in all.
const EQUAL = 10;
const LONGEST = 80;

// Of longer payloads, a row does not show the first difference.
const MAX_PREVIEWED = 20_000;

// With a link to the stored event, unless it is shown there.
export function conflictRow(one, isLinked = true) {
  const stored = members(one.stored);
  const sides = element("div", { class: "sides" });
  const event = [value(stored.topic), value(stored.event_id)];
  const link = element("a", { click: following({ event }) }, "Show the stored event");
  const details = element(
    "details",
    {
      toggle: () => {
        link.href = addressOf({ event });
        if (details.open && !sides.firstChild) compare(sides, stored, one);
      },
    },
    element(
      "summary",
      {},
      element(
        "span",
        { class: "line" },
        time(value(one.processed_at)),
        foreign(value(stored.topic), { class: "topic" }),
        foreign(value(stored.event_id)),
        element("span", { class: "reason" }, `differs: ${differing(stored, one).join(", ")}`),
      ),
      ...difference(stored, one),
    ),
    element("div", {}, ...(isLinked ? [element("p", { class: "note" }, link)] : []), sides),
  );
  return { item: element("li", {}, details) };
}

const differing = (stored, later) => ["timestamp", "source", "payload"].filter((name) => stored[name] !== later[name]);

// The first line that differs, in both versions.
function difference(stored, later) {
  if (Math.max(stored.payload.length, later.payload.length) > MAX_PREVIEWED) return [];
  const [left, right] = [lines(stored), lines(later)];
  const at = left.findIndex((line, index) => line !== right[index]);
  if (at < 0) return [];
  const [before, after] = around(...[left, right].map((lines) => (lines[at] ?? "nothing").trim().replace(/,$/, "")));
  return [element("bdi", { class: "detail" }, foreign(before), " → ", foreign(after))];
}

// Both texts from their names to a little after where they begin to differ.
function around(...texts) {
  const [one, other] = texts.map((text) => [...text]);
  const first = one.findIndex((letter, index) => letter !== other[index]);
  const name = /^[^:]*: /.exec(texts[0])?.[0] ?? "";
  const from = (first < 0 ? one.length : first) - EQUAL;
  return [one, other].map((letters) => {
    const shown = from <= [...name].length + EQUAL ? letters.join("") : `${name}… ${letters.slice(from).join("")}`;
    const all = [...shown];
    return all.length > LONGEST ? `${all.slice(0, LONGEST).join("")} …` : shown;
  });
}

function compare(sides, stored, later) {
  const [left, right] = [lines(stored), lines(later)];
  const least = Math.min(left.length, right.length);
  let head = 0;
  while (head < least && left[head] === right[head]) head += 1;
  let tail = 0;
  while (tail < least - head && left.at(-1 - tail) === right.at(-1 - tail)) tail += 1;
  const middle = (texts) => texts.slice(head, texts.length - tail);
  const [isLeft, isRight] = unlike(middle(left), middle(right));
  const side = (title, moment, texts, marks) => {
    const body = element("pre", { tabindex: "0", role: "group", "aria-label": title });
    const equal = (texts) => body.append(...texts.flatMap((text) => [...foreignLines(text), "\n"]));
    const leftOut = (n, what) => n > 0 && body.append(element("i", {}, `… ${number(n)} ${what} ${n === 1 ? "line" : "lines"}\n`));
    // A single line is as short as the note that it is left out.
    const before = head === AROUND + 1 ? 0 : Math.max(0, head - AROUND);
    const after = tail === AROUND + 1 ? tail : Math.min(tail, AROUND);
    leftOut(before, "equal");
    equal(texts.slice(before, head));
    const between = middle(texts);
    between.slice(0, COMPARED).forEach((text, index) => body.append(...(marks[index] ? [element("mark", {}, ...foreignLines(text))] : foreignLines(text)), "\n"));
    leftOut(between.length - COMPARED, "more");
    equal(texts.slice(texts.length - tail, texts.length - tail + after));
    leftOut(tail - after, "equal");
    return element("div", {}, element("h3", {}, `${title}, `, time(value(moment))), body);
  };
  sides.append(
    side("Stored first", stored.processed_at, left, isLeft),
    side("Received later", later.processed_at, right, isRight),
  );
  if (head === left.length && head === right.length) {
    sides.append(element("p", { class: "note" }, "They differ only in white space between the tokens of the payload."));
  }
}

const lines = (one) => [
  `timestamp: ${value(one.timestamp)}`,
  `source: ${value(one.source)}`,
  ..."payload: ".concat(layout(one.payload)).split("\n"),
];

// For each side, whether each line is absent from the other side. If there are too many lines, all are marked.
function unlike(left, right) {
  const isLeft = left.map(() => true);
  const isRight = right.map(() => true);
  if (left.length > COMPARED || right.length > COMPARED) return [isLeft, isRight];
  const width = right.length + 1;
  const longest = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] =
        left[i] === right[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    if (left[i] === right[j]) {
      isLeft[i] = isRight[j] = false;
      i += 1;
      j += 1;
    } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [isLeft, isRight];
}

export const conflicts = new List("conflicts", $("conflict-rows"), conflictRow, "None: no duplicate differs from its stored event.");
