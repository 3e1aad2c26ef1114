// Line charts of the last five minutes. The label of a chart gives its current and maximum values as text.

import { element, say } from "./dom.js";

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
    this.show = show;
    this.lines = lines.map((line) => {
      const now = element("b", {}, "–");
      const key = element("span", { class: `key ${line.kind}`, "aria-hidden": "true" });
      const drawn = svg("path", { class: line.kind, "vector-effect": "non-scaling-stroke" });
      return { ...line, now, drawn, legend: element("li", {}, key, `${line.name} `, now) };
    });
    this.title = title;
    this.most = element("span", { class: "most", "aria-hidden": "true" });
    this.drawing = svg("svg", { viewBox: `0 0 ${SECONDS} 100`, preserveAspectRatio: "none", role: "img" });
    this.drawing.append(...this.lines.map((line) => line.drawn));
    figure.append(
      element(
        "figcaption",
        {},
        element("span", { class: "title" }, title),
        element("ul", {}, ...this.lines.map((line) => line.legend)),
      ),
      element("div", { class: "drawing" }, this.drawing, this.most),
      element("p", { class: "axis", "aria-hidden": "true" }, element("span", {}, "5 min ago"), element("span", {}, "now")),
    );
  }

  // Draws the five minutes before `now`. Without a current sample, no current values are shown.
  draw(samples, now, isCurrent) {
    const series = this.lines.map((line) =>
      samples.map((sample, index) => ({
        x: SECONDS - (now - sample.at) / 1000,
        y: index === 0 && line.of.length > 1 ? null : line.of(sample, samples[index - 1]),
      })),
    );
    const most = Math.max(0, ...series.flat().map((point) => point.y ?? 0));
    this.lines.forEach((line, index) => {
      const points = series[index].filter((point) => point.x >= 0);
      line.drawn.setAttribute("d", path(points, most));
      say(line.now, this.show(isCurrent ? points.at(-1)?.y : null));
    });
    say(this.most, most > 0 ? this.show(most) : "");
    const values = this.lines.map((line) => `${line.name} ${line.now.textContent}`).join(", ");
    const label = `${this.title} over the last five minutes. Now: ${values}. Maximum: ${this.show(most)}.`;
    this.drawing.setAttribute("aria-label", label);
  }
}

// The path of a line, with a gap where there is no value.
function path(points, most) {
  let isOn = false;
  let drawn = "";
  for (const { x, y } of points) {
    if (y === null || y === undefined) {
      isOn = false;
      continue;
    }
    const height = most > 0 ? 97 - (y / most) * 92 : 97;
    // A single point is drawn as a dot.
    drawn += `${isOn ? "L" : "M"}${x.toFixed(1)} ${height.toFixed(1)}${isOn ? "" : "h0"}`;
    isOn = true;
  }
  return drawn;
}
