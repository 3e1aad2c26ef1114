// Rejected arrivals and conflicts, for the operator to review.

import { $, ask, element, foreign, foreignLines, number, paced, say, time, unseenIn } from "./dom.js";
import { elements, layout, members, value } from "./json.js";

const SHOWN = 20;

// Maximum number of lines, from the first to the last that differ, which are compared by longest common subsequence. Of more
// lines, this many are shown.
const COMPARED = 1000;

// Number of equal lines shown before the first and after the last differing line.
const AROUND = 3;

class List {
  constructor(path, member, rows, note, row, none) {
    Object.assign(this, { path, member, rows, note, row, none });
    this.known = new Map();
    this.changed = paced(() => this.load(), 2000);
  }

  async load() {
    try {
      const page = members(await ask(`${this.path}?limit=${SHOWN}`));
      const latest = elements(page[this.member]);
      this.show(latest);
      const [total, evicted] = [value(page.total), value(page.evicted)];
      const kept = evicted > 0 ? `; ${number(evicted)} are no longer kept` : "";
      const rest = value(page.next_cursor) === null ? "" : ` The latest ${latest.length} are shown; all are at /${this.path}.`;
      say(this.note, total === 0 ? this.none : `${number(total)} in all${kept}.${rest}`);
    } catch (error) {
      say(this.note, `Cannot load the list: ${error.message}`);
    }
  }

  // Existing rows stay, with the text typed into them. A row that is being read stays, after the latest rows. After a restart
  // with another store the same ids can mean other rows.
  show(texts) {
    const shown = new Map();
    for (const text of texts) {
      const one = members(text);
      const key = `${one.id} ${one.processed_at}`;
      const made = this.known.get(key) ?? this.row(one);
      if (made.requeued) made.requeued(value(one.requeued_at));
      shown.set(key, made);
    }
    for (const [key, made] of this.known) {
      if (shown.has(key)) continue;
      if (isRead(made.item)) shown.set(key, made);
      else made.item.remove();
    }
    let at = 0;
    for (const { item } of shown.values()) {
      if (this.rows.children[at] !== item) this.rows.insertBefore(item, this.rows.children[at] ?? null);
      at += 1;
    }
    this.known = shown;
  }
}

function rejectedRow(one) {
  const id = value(one.id);
  const body = value(one.body);
  const marked = element("span", { class: "quiet" });
  const status = element("p", { class: "note", role: "status" });
  const label = element("label", { for: `body-${id}` }, body === undefined ? "Body in base64" : "Body as received");
  const text = element("textarea", { id: `body-${id}`, spellcheck: "false", readonly: body === undefined });
  text.value = body ?? value(one.body_base64);
  const hidden = unseenIn(text.value);
  const warning = element("p", { class: "note" }, hidden ? `Contains characters that are not visible: ${hidden}.` : "");
  // A text area turns CRLF into LF, so its text is sent only if it was changed.
  const before = text.value;
  const send = element("button", { type: "button" }, "Send again");
  send.addEventListener("click", async () => {
    send.disabled = true;
    const isChanged = text.value !== before;
    if (isChanged && text.value.trim() === "") {
      say(status, "The body is empty. Reload the page to restore the body as received.");
      send.disabled = false;
      return;
    }
    try {
      await ask(`rejected/${id}/requeue`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: isChanged ? text.value : "",
      });
      say(status, isChanged ? "Sent with your changes. It counts as a new arrival." : "Sent again unchanged. It counts as a new arrival.");
      rejected.changed();
    } catch (error) {
      say(status, `Not sent: ${error.message}`);
    }
    send.disabled = false;
  });
  const details = element(
    "details",
    {},
    element(
      "summary",
      {},
      time(value(one.processed_at)),
      foreign(value(one.reason), { class: "reason" }),
      foreign(value(one.subject)),
      marked,
    ),
    element("div", {}, element("p", { class: "note" }, foreign(value(one.detail))), label, text, warning, send, status),
  );
  const requeued = (at) => {
    if (at && !marked.firstChild) marked.append("sent again ", time(at));
  };
  return { item: element("li", {}, details), requeued };
}

function conflictRow(one) {
  const stored = members(one.stored);
  const sides = element("div", { class: "sides" });
  const details = element(
    "details",
    {
      toggle: () => {
        if (details.open && !sides.firstChild) compare(sides, stored, one);
      },
    },
    element(
      "summary",
      {},
      time(value(one.processed_at)),
      foreign(value(stored.topic), { class: "topic" }),
      foreign(value(stored.event_id)),
      element("span", { class: "reason" }, `differs: ${differing(stored, one).join(", ")}`),
    ),
    element("div", {}, sides),
  );
  return { item: element("li", {}, details) };
}

const isRead = (item) => item.firstChild.open || item.contains(document.activeElement);

const differing = (stored, later) => ["timestamp", "source", "payload"].filter((name) => stored[name] !== later[name]);

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
    const leftOut = (n, what) => n > 0 && body.append(element("i", {}, `… ${number(n)} ${what} lines\n`));
    leftOut(Math.max(0, head - AROUND), "equal");
    equal(texts.slice(Math.max(0, head - AROUND), head));
    const between = middle(texts);
    between.slice(0, COMPARED).forEach((text, index) => body.append(...(marks[index] ? [element("mark", {}, ...foreignLines(text))] : foreignLines(text)), "\n"));
    leftOut(between.length - COMPARED, "more");
    equal(texts.slice(texts.length - tail, texts.length - tail + AROUND));
    leftOut(tail - AROUND, "equal");
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

export const rejected = new List("rejected", "rejected", $("rejected-rows"), $("rejected-note"), rejectedRow, "None: every arrival could be stored.");
export const conflicts = new List("conflicts", "conflicts", $("conflict-rows"), $("conflicts-note"), conflictRow, "None: no duplicate differs from its stored event.");
