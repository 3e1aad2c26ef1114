// What could not be stored, and what differs from what is stored: for people to see to.

import { $, ask, element, foreign, number, paced, say, time } from "./dom.js";
import { elements, layout, members, value } from "./json.js";

const SHOWN = 20;

// Lines that are compared by their longest common subsequence; more are compared one by one.
const COMPARED = 1000;

class List {
  constructor(path, member, rows, note, row, none) {
    Object.assign(this, { path, member, rows, note, row, none });
    this.known = new Map();
    this.changed = paced(() => this.load(), 2000);
  }

  async load() {
    try {
      const page = members(await ask(`${this.path}?limit=${SHOWN}`));
      this.show(elements(page[this.member]));
      const [total, evicted] = [value(page.total), value(page.evicted)];
      const kept = evicted > 0 ? `; ${number(evicted)} are not kept any more` : "";
      const latest = total - evicted > SHOWN ? ` The latest ${SHOWN} are here` : "";
      say(this.note, total === 0 ? this.none : `${number(total)} in all${kept}.${latest && `${latest}, all at ${this.path}.`}`);
    } catch (error) {
      say(this.note, `They cannot be read: ${error.message}`);
    }
  }

  // Rows that are there stay, with what somebody has typed into them.
  show(texts) {
    const shown = new Map();
    for (const text of texts) {
      const one = members(text);
      const made = this.known.get(one.id) ?? this.row(one);
      if (made.requeued) made.requeued(value(one.requeued_at));
      shown.set(one.id, made);
    }
    for (const [id, made] of this.known) if (!shown.has(id)) made.item.remove();
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
  const said = element("p", { class: "note", role: "status" });
  const label = element("label", { for: `body-${id}` }, body === undefined ? "Body, in base64" : "Body, as it came");
  const text = element("textarea", { id: `body-${id}`, spellcheck: "false", readonly: body === undefined });
  text.value = body ?? value(one.body_base64);
  // A text area makes CRLF a single LF: only what somebody changed is sent from it.
  const before = text.value;
  const again = element("button", { type: "button" }, "Send again");
  again.addEventListener("click", async () => {
    again.disabled = true;
    const isMended = text.value !== before;
    try {
      await ask(`/rejected/${id}/requeue`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: isMended ? text.value : "",
      });
      say(said, isMended ? "Sent, as mended. It is counted as a new arrival." : "Sent again, as it was. It is counted as a new arrival.");
      rejected.changed();
    } catch (error) {
      say(said, `Not sent: ${error.message}`);
    }
    again.disabled = false;
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
    element("div", {}, element("p", { class: "note" }, foreign(value(one.detail))), label, text, again, said),
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

const differing = (stored, came) => ["timestamp", "source", "payload"].filter((name) => stored[name] !== came[name]);

function compare(sides, stored, came) {
  const [left, right] = [lines(stored), lines(came)];
  const [isLeft, isRight] = unlike(left, right);
  const side = (title, moment, texts, marks) => {
    const body = element("pre", { tabindex: "0", role: "group", "aria-label": title });
    texts.forEach((text, index) => body.append(marks[index] ? element("mark", {}, text) : text, "\n"));
    return element("div", {}, element("h3", {}, `${title}, `, time(value(moment))), body);
  };
  sides.append(
    side("Stored first", stored.processed_at, left, isLeft),
    side("Came later", came.processed_at, right, isRight),
  );
  if (!isLeft.includes(true) && !isRight.includes(true)) {
    sides.append(element("p", { class: "note" }, "They differ only in the white space between the payload’s tokens."));
  }
}

const lines = (one) => [
  `timestamp: ${value(one.timestamp)}`,
  `source: ${value(one.source)}`,
  ..."payload: ".concat(layout(one.payload)).split("\n"),
];

// Of each side, which lines the other one does not have in its place.
function unlike(left, right) {
  const isLeft = left.map(() => true);
  const isRight = right.map(() => true);
  if (left.length > COMPARED || right.length > COMPARED) {
    left.forEach((text, index) => {
      if (text === right[index]) isLeft[index] = isRight[index] = false;
    });
    return [isLeft, isRight];
  }
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

export const rejected = new List("/rejected", "rejected", $("rejected-rows"), $("rejected-note"), rejectedRow, "None: everything that came could be stored.");
export const conflicts = new List("/conflicts", "conflicts", $("conflict-rows"), $("conflicts-note"), conflictRow, "None: no event came again with other content.");
