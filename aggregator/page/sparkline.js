// A small line of the events received in each of the last minutes, with its values as text. The present minute is not over, so
// its part is drawn lighter: it would look like a drop.

import { number, svg } from "./dom.js";

const [TOP, ZERO] = [1, 19];

export class Sparkline {
  constructor() {
    this.line = svg("path", { "vector-effect": "non-scaling-stroke" });
    this.drawing = svg("svg", { class: "sparkline", role: "img", preserveAspectRatio: "none" });
    this.soFar = svg("path", { class: "so-far", "vector-effect": "non-scaling-stroke" });
    this.drawing.append(this.line, this.soFar);
    this.drawn = "";
  }

  // recent: events received in each minute, oldest first; the last is the present minute so far. Absent if they are not counted.
  show(recent) {
    const values = recent?.join(" ");
    if (values === this.drawn) return;
    this.drawn = values;
    this.drawing.toggleAttribute("hidden", recent === undefined);
    if (recent === undefined) return;
    const most = Math.max(1, ...recent);
    const points = recent.map((value, index) => `${index} ${(ZERO - (value / most) * (ZERO - TOP)).toFixed(1)}`);
    this.drawing.setAttribute("viewBox", `0 0 ${recent.length - 1} 20`);
    this.line.setAttribute("d", `M${points.slice(0, -1).join("L")}`);
    this.soFar.setAttribute("d", `M${points.slice(-2).join("L")}`);
    this.drawing.setAttribute("aria-label", label(recent));
  }
}

function label(recent) {
  const all = recent.reduce((sum, value) => sum + value, 0);
  const text = `${number(all)} events in the last ${recent.length} minutes`;
  return all === 0 ? `${text}.` : `${text}, at most ${number(Math.max(...recent))} per minute, ${number(recent.at(-2))} in the last full one, ${number(recent.at(-1))} in this one so far.`;
}
