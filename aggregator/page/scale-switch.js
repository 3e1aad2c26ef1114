// The scale of all charts, as chosen by the reader for the session: automatic, linear or logarithmic.

import { $ } from "./dom.js";
import { keep, kept } from "./storage.js";

const KEY = ["sessionStorage", "scale"];

let scale = kept(...KEY) ?? "automatic";

function choose(chosen) {
  scale = chosen;
  keep(...KEY, chosen);
}

export const chosenScale = () => scale;

export function start(whenChanged) {
  const buttons = [...$("scale").querySelectorAll("button")];
  const show = () => buttons.forEach((button) => button.setAttribute("aria-pressed", button.value === scale));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      choose(button.value);
      show();
      whenChanged();
    });
  }
  show();
}
