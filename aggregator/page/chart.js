// Line charts of a span of time up to now. The label of a chart gives its current and maximum values as text; a crosshair,
// moved with the pointer or the arrow keys, gives those of any moment.

import { clockTime, element, minute, say, svg } from "./dom.js";
import { chosenScale } from "./scale-switch.js";
import { scaleOf } from "./scale.js";

const LIVE = { span: "the last five minutes", seconds: 300, every: 60, moment: (sample) => `at ${clockTime(sample.at)}` };

// The lines are drawn again when they have moved on by this part of the span, which is two or three pixels.
const MOVE = 1 / 160;

// No time is named so close to an end of the axis that its text would reach beyond it, in per cent.
const MARGIN = 7;

export class Chart {
  // lines: [{ name, kind, of: (sample, before) => number or null }]. range: what is drawn: span in words, its seconds, every
  // how many of them the axis has a time, and the moment of a sample in words.
  constructor(figure, title, show, lines, range = LIVE) {
    Object.assign(this, { title, show, range, samples: [], now: 0, isCurrent: false });
    // The sample under the crosshair, by its time; null for the latest.
    this.at = null;
    this.lines = lines.map((line) => {
      const now = element("b", {}, "–");
      const key = element("span", { class: `key ${line.kind}`, "aria-hidden": "true" });
      const drawn = svg("path", { class: line.kind, "vector-effect": "non-scaling-stroke" });
      // The part that leads to a value that still grows.
      const soFar = svg("path", { class: `${line.kind} so-far`, "vector-effect": "non-scaling-stroke" });
      return { ...line, now, drawn, soFar, legend: element("li", {}, key, `${line.name} `, now), values: [] };
    });
    this.moment = element("span", { class: "note" });
    this.grid = svg("path", { class: "grid", "vector-effect": "non-scaling-stroke" });
    this.hair = svg("path", { class: "hair", "vector-effect": "non-scaling-stroke" });
    this.drawing = svg("svg", { viewBox: `0 0 ${range.seconds} 100`, preserveAspectRatio: "none", role: "img" });
    this.drawing.append(this.grid, this.hair, ...this.lines.flatMap((line) => [line.drawn, line.soFar]));
    this.ticks = element("div", { class: "ticks", "aria-hidden": "true" });
    this.axis = element("p", { class: "axis", "aria-hidden": "true" });
    this.slider = element("div", {
      class: "slider",
      role: "slider",
      tabindex: "0",
      "aria-label": `Moment in the chart ${title}`,
      "aria-valuemin": -range.seconds,
      "aria-valuemax": 0,
      pointermove: (event) => this.point(event),
      pointerdown: (event) => this.point(event),
      pointerleave: () => this.read(null),
      blur: () => this.read(null),
      keydown: (event) => this.step(event),
    });
    figure.classList.add("chart");
    figure.append(
      element(
        "figcaption",
        {},
        element("span", { class: "title" }, title),
        " ",
        this.moment,
        element("ul", {}, ...this.lines.map((line) => line.legend)),
      ),
      element("div", { class: "drawing" }, this.drawing, this.ticks, this.slider),
      this.axis,
    );
    this.read(null);
  }

  // Draws the span before `now`. Without a current sample, no current values are shown.
  draw(samples, now, isCurrent) {
    this.now = now;
    this.take(samples, isCurrent);
    const values = this.lines.flatMap((line) => line.values).filter((value) => typeof value === "number");
    this.scale = scaleOf(values, this.show, chosenScale());
    for (const line of this.lines) {
      const points = line.values.map((value, index) => ({ x: this.x(samples[index]), y: value }));
      const isGrowing = samples.at(-1)?.isGrowing ?? false;
      line.drawn.setAttribute("d", path(isGrowing ? points.slice(0, -1) : points, this.scale.height));
      line.soFar.setAttribute("d", isGrowing ? path(points.slice(-2), this.scale.height) : "");
    }
    const times = this.times();
    const upright = times.map((at) => `M${this.x({ at }).toFixed(1)} 0V100`);
    this.grid.setAttribute("d", [...this.scale.ticks.map((tick) => `M0 ${tick.height}H${this.range.seconds}`), ...upright].join(""));
    const labels = this.scale.ticks.map(({ text, height }) => label(text, "top", height));
    if (this.ticks.textContent !== labels.map((label) => label.textContent).join("")) this.ticks.replaceChildren(...labels);
    const named = times.map((at) => ({ at, place: (100 * this.x({ at })) / this.range.seconds }));
    const within = named.filter(({ place }) => place >= MARGIN && place <= 100 - MARGIN);
    this.axis.replaceChildren(...within.map(({ at, place }) => this.timeLabel(at, place)));
    this.read(this.at);
    const latest = this.lines.map((line) => `${line.name} ${this.show(isCurrent ? line.values.at(-1) : null)}`).join(", ");
    const most = this.show(Math.max(0, ...values));
    this.drawing.setAttribute("aria-label", `${this.title} over ${this.range.span}. Now: ${latest}. Maximum: ${most}.`);
  }

  // The same, but the lines stay until they have moved on visibly: drawing them is what a live chart costs.
  follow(samples, now, isCurrent) {
    const isStill = now >= this.now && now - this.now < MOVE * 1000 * this.range.seconds;
    if (!isStill || isCurrent !== this.isCurrent) this.draw(samples, now, isCurrent);
    else if (samples !== this.samples) {
      this.take(samples, isCurrent);
      this.read(this.at);
    }
  }

  take(samples, isCurrent) {
    Object.assign(this, { samples, isCurrent });
    for (const line of this.lines) {
      line.values = samples.map((sample, index) =>
        this.x(sample) < 0 || (index === 0 && line.of.length > 1) ? null : line.of(sample, samples[index - 1]),
      );
    }
  }

  // After a change of the scale.
  redraw() {
    this.draw(this.samples, this.now, this.isCurrent);
  }

  x(sample) {
    return this.range.seconds - Math.max(0, this.now - sample.at) / 1000;
  }

  // The times on the axis: round ones in the reader's time zone.
  times() {
    const step = this.range.every * 1000;
    const offset = new Date(this.now).getTimezoneOffset() * 60_000;
    const found = [];
    for (let at = this.now - ((this.now - offset) % step); this.x({ at }) >= 0; at -= step) found.unshift(at);
    return found;
  }

  // Every other one is left out where there is little room.
  timeLabel(at, place) {
    const made = label(minute(at), "left", place);
    made.classList.toggle("odd", Math.round(at / (this.range.every * 1000)) % 2 === 1);
    return made;
  }

  // The index of the sample that is closest to a moment.
  closest(moment) {
    let found = 0;
    this.samples.forEach((sample, index) => {
      if (Math.abs(sample.at - moment) < Math.abs(this.samples[found].at - moment)) found = index;
    });
    return found;
  }

  point({ clientX }) {
    const { left, width } = this.slider.getBoundingClientRect();
    this.read(this.now - (1 - (clientX - left) / width) * this.range.seconds * 1000);
  }

  step(event) {
    const last = this.samples.length - 1;
    const index = this.at === null ? last : this.closest(this.at);
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") this.read(null);
    else if (to !== undefined) this.read(this.samples[Math.min(Math.max(to, 0), last)]?.at ?? null);
    else return;
    event.preventDefault();
  }

  // Shows the values at a moment in the legend, or the current ones.
  read(moment) {
    const isRead = moment !== null && this.samples.length > 0;
    const index = isRead ? this.closest(moment) : this.samples.length - 1;
    const sample = this.samples[index];
    const isSeen = isRead && this.x(sample) >= 0;
    this.at = isSeen ? sample.at : null;
    for (const line of this.lines) say(line.now, this.show(isSeen || this.isCurrent ? line.values[index] : null));
    const scale = this.scale?.isLogarithmic ? "logarithmic scale" : "";
    say(this.moment, isSeen ? this.range.moment(sample) : scale);
    this.hair.setAttribute("d", isSeen ? `M${this.x(sample).toFixed(1)} 0V100` : "");
    const text = isSeen ? this.lines.map((line) => `${line.name} ${line.now.textContent}`).join(", ") : "";
    this.slider.setAttribute("aria-valuenow", isSeen ? Math.round(this.x(sample)) - this.range.seconds : 0);
    this.slider.setAttribute("aria-valuetext", isSeen ? `${this.range.moment(sample)}: ${text}` : "now");
  }
}

function label(text, side, place) {
  const made = element("span", {}, text);
  // Not as an attribute, which the policy of the page forbids.
  made.style[side] = `${place}%`;
  return made;
}

// The path of a line, with a gap where there is no value.
function path(points, height) {
  const isValue = (point) => typeof point?.y === "number";
  let drawn = "";
  points.forEach(({ x, y }, index) => {
    if (!isValue(points[index])) return;
    const isOn = isValue(points[index - 1]);
    // A single value is a point.
    const isAlone = !isOn && !isValue(points[index + 1]);
    drawn += `${isOn ? "L" : "M"}${x.toFixed(1)} ${height(y).toFixed(1)}${isAlone ? "h4" : ""}`;
  });
  return drawn;
}
