// Line charts of the last five minutes. The label of a chart gives its current and maximum values as text; a crosshair, moved
// with the pointer or the arrow keys, gives those of any moment.

import { clockTime, element, say } from "./dom.js";
import { scaleOf } from "./scale.js";

const SPACE = "http://www.w3.org/2000/svg";
const SECONDS = 300;

function svg(name, attributes) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Chart {
  // lines: [{ name, kind, of: (sample, before) => number or null }]
  constructor(figure, title, show, lines) {
    Object.assign(this, { title, show, samples: [], now: 0, isCurrent: false });
    // The sample under the crosshair, by its time; null for the latest.
    this.at = null;
    this.lines = lines.map((line) => {
      const now = element("b", {}, "–");
      const key = element("span", { class: `key ${line.kind}`, "aria-hidden": "true" });
      const drawn = svg("path", { class: line.kind, "vector-effect": "non-scaling-stroke" });
      return { ...line, now, drawn, legend: element("li", {}, key, `${line.name} `, now), values: [] };
    });
    this.moment = element("span", { class: "note" });
    this.grid = svg("path", { class: "grid", "vector-effect": "non-scaling-stroke" });
    this.hair = svg("path", { class: "hair", "vector-effect": "non-scaling-stroke" });
    this.drawing = svg("svg", { viewBox: `0 0 ${SECONDS} 100`, preserveAspectRatio: "none", role: "img" });
    this.drawing.append(this.grid, this.hair, ...this.lines.map((line) => line.drawn));
    this.ticks = element("div", { class: "ticks", "aria-hidden": "true" });
    this.slider = element("div", {
      class: "slider",
      role: "slider",
      tabindex: "0",
      "aria-label": `Moment in the chart ${title}`,
      "aria-valuemin": -SECONDS,
      "aria-valuemax": 0,
      pointermove: (event) => this.point(event),
      pointerdown: (event) => this.point(event),
      pointerleave: () => this.read(null),
      blur: () => this.read(null),
      keydown: (event) => this.step(event),
    });
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
      element("p", { class: "axis", "aria-hidden": "true" }, element("span", {}, "5 min ago"), element("span", {}, "now")),
    );
    this.read(null);
  }

  // Draws the five minutes before `now`. Without a current sample, no current values are shown.
  draw(samples, now, isCurrent) {
    Object.assign(this, { samples, now, isCurrent });
    for (const line of this.lines) {
      line.values = samples.map((sample, index) =>
        this.x(sample) < 0 || (index === 0 && line.of.length > 1) ? null : line.of(sample, samples[index - 1]),
      );
    }
    const values = this.lines.flatMap((line) => line.values).filter((value) => typeof value === "number");
    this.scale = scaleOf(values, this.show);
    for (const line of this.lines) {
      const points = line.values.map((value, index) => ({ x: this.x(samples[index]), y: value }));
      line.drawn.setAttribute("d", path(points, this.scale.height));
    }
    this.grid.setAttribute("d", this.scale.ticks.map((tick) => `M0 ${tick.height}H${SECONDS}`).join(""));
    const labels = this.scale.ticks.map((tick) => label(tick));
    if (this.ticks.textContent !== labels.map((label) => label.textContent).join("")) this.ticks.replaceChildren(...labels);
    this.read(this.at);
    const latest = this.lines.map((line) => `${line.name} ${this.show(isCurrent ? line.values.at(-1) : null)}`).join(", ");
    const most = this.show(Math.max(0, ...values));
    this.drawing.setAttribute("aria-label", `${this.title} over the last five minutes. Now: ${latest}. Maximum: ${most}.`);
  }

  x(sample) {
    return SECONDS - (this.now - sample.at) / 1000;
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
    this.read(this.now - (1 - (clientX - left) / width) * SECONDS * 1000);
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
    say(this.moment, isSeen ? `at ${clockTime(sample.at)}` : scale);
    this.hair.setAttribute("d", isSeen ? `M${this.x(sample).toFixed(1)} 0V100` : "");
    const text = isSeen ? this.lines.map((line) => `${line.name} ${line.now.textContent}`).join(", ") : "";
    this.slider.setAttribute("aria-valuenow", isSeen ? Math.round(this.x(sample)) - SECONDS : 0);
    this.slider.setAttribute("aria-valuetext", isSeen ? `${clockTime(sample.at)}: ${text}` : "now");
  }
}

function label({ text, height }) {
  const made = element("span", {}, text);
  // Not as an attribute, which the policy of the page forbids.
  made.style.top = `${height}%`;
  return made;
}

// The path of a line, with a gap where there is no value.
function path(points, height) {
  let isOn = false;
  let drawn = "";
  for (const { x, y } of points) {
    if (y === null || y === undefined) {
      isOn = false;
      continue;
    }
    // A single point is drawn as a dot.
    drawn += `${isOn ? "L" : "M"}${x.toFixed(1)} ${height(y).toFixed(1)}${isOn ? "" : "h0"}`;
    isOn = true;
  }
  return drawn;
}
