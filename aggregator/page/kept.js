// A list of rows kept for the operator to review, latest first. Rows marked as seen are shown as such.

import { $, ask, element, number, paced, say, withoutZone } from "./dom.js";
import { elements, members, value } from "./json.js";

const SHOWN = 20;

export class List {
  // name: the path, the member of the response, and the id of the section. rows: the element for the rows. row: makes
  // { item, requeued? } of a row's members. none: what an empty list means.
  constructor(name, rows, row, none) {
    Object.assign(this, { name, rows, row, none });
    this.known = new Map();
    this.changed = paced(() => this.load(), 2000);
    // The latest id among the rows, and the latest id marked as seen.
    this.latest = 0;
    this.seen = 0;
    // How many are to be reviewed.
    this.count = 0;
  }

  async load() {
    const note = $(`${this.name}-note`);
    try {
      const page = members(await ask(`${this.name}?limit=${SHOWN}`));
      const latest = elements(page[this.name]);
      this.show(latest);
      const [total, evicted] = [value(page.total), value(page.evicted)];
      const kept = evicted > 0 ? `; ${number(evicted)} are no longer kept` : "";
      const rest = value(page.next_cursor) === null ? "" : ` The latest ${latest.length} are shown; all are at /${this.name}.`;
      say(note, total === 0 ? this.none : `${number(total)} in all${kept}.${rest}`);
    } catch (error) {
      say(note, `Cannot load the list: ${error.message}`);
    }
  }

  // Existing rows stay, with the text typed into them. A row that is being read stays, after the latest rows. After a restart
  // with another store the same ids can mean other rows.
  show(texts) {
    const shown = new Map();
    for (const text of texts) {
      const one = members(text);
      const key = `${one.id} ${one.processed_at}`;
      const made = this.known.get(key) ?? this.make(one);
      if (made.requeued) made.requeued(value(one.requeued_at));
      shown.set(key, made);
    }
    const latest = Math.max(0, ...[...shown.values()].map(({ id }) => id));
    // What was said about marking is about the rows before.
    if (latest > this.latest) say($(`${this.name}-status`), "");
    this.latest = latest;
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
    this.mark(this.seen, this.count);
  }

  make(one) {
    const made = { ...this.row(one), id: value(one.id), seen: element("span", { class: "quiet" }) };
    const line = made.item.querySelector("summary .line");
    line.querySelectorAll("time").forEach(withoutZone);
    line.append(made.seen);
    return made;
  }

  // Marks the rows up to an id as seen, and offers to mark the others, which are as many as are to be reviewed.
  mark(seen, count) {
    Object.assign(this, { seen, count });
    for (const { id, item, seen: mark } of this.known.values()) {
      const isSeen = id <= seen;
      item.classList.toggle("seen", isSeen);
      say(mark, isSeen ? "seen" : "");
    }
    const button = $(`${this.name}-seen`);
    button.hidden = count === 0 || this.latest <= seen;
    say(button, `Mark ${count === 1 ? "it" : `all ${number(count)}`} as seen for everyone`);
  }
}

const isRead = (item) => item.firstChild.open || item.contains(document.activeElement);
