// The scale of all charts, as chosen by the reader for the session: automatic, linear or logarithmic.

import { $ } from "./dom.js";

const KEY = "scale";

let scale = read();

// Storage can be forbidden; the choice then lasts until the page is left.
function read() {
  try {
    return sessionStorage.getItem(KEY) ?? "automatic";
  } catch {
    return "automatic";
  }
}

function choose(chosen) {
  scale = chosen;
  try {
    sessionStorage.setItem(KEY, chosen);
  } catch {
    // As above.
  }
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
