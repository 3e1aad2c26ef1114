// Buttons that copy a text, and commands for a shell.

import { $, element, say } from "./dom.js";
import { whenChanged } from "./address.js";

const SHOWN_MS = 2000;

let hiding = null;

// One message for all buttons, over the page, so that it moves nothing.
function tell(text) {
  clearTimeout(hiding);
  say($("copied"), text);
  if (text !== "") hiding = setTimeout(() => tell(""), SHOWN_MS);
}

// `text` is called when the button is pressed.
export function copyButton(label, text) {
  const click = async () => {
    tell("");
    tell((await isCopied(text())) ? "Copied." : "The browser does not allow copying.");
  };
  return element("button", { type: "button", click }, label);
}

whenChanged(() => tell(""));

async function isCopied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers have a clipboard for pages only if these are loaded over HTTPS or from this computer.
    return isCopiedFromField(text);
  }
}

function isCopiedFromField(text) {
  const focused = document.activeElement;
  const field = element("textarea", { class: "unseen", readonly: true, "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  return isCopied;
}

// The command that requests paths of the API. A quote in a query is percent-encoded, so the shell takes the address as it is.
export const curl = (...paths) =>
  ["curl -sS", ...paths.map((path) => `'${new URL(path, location).href.replaceAll("'", "%27")}'`)].join(" ");
