// Keys for readers who use the keyboard. They do nothing while a text is typed, or with a modifier key.

import { $ } from "./dom.js";
import { go, parameters } from "./address.js";
import { keep, kept } from "./storage.js";
import { pause } from "./tail.js";

// Whether the keys of one character are on. Speech input can press them by mistake (WCAG 2.1.4).
const SWITCH = ["localStorage", "keys"];
let isOn = kept(...SWITCH) !== "off";

const isTyping = (where) => where.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");

const summaries = () => [...document.querySelectorAll("#event-rows > li > details > summary")];

// Moves the focus by a number of rows, or to the first. Newer events must not push away what is read.
function move(by) {
  if (!$("pause").hidden) pause();
  const rows = summaries();
  const at = rows.findIndex((row) => row.closest("li").contains(document.activeElement));
  const row = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
  row?.focus();
  row?.scrollIntoView({ block: "nearest" });
}

const ACTIONS = {
  "/": () => {
    $("query").focus();
    $("query").select();
  },
  j: () => move(1),
  k: () => move(-1),
  p: () => $("pause").hidden || $("pause").click(),
  "?": () => $("keys").showModal(),
};

// Closes the row that has the focus, or else the event, or else a row that is open.
function leave() {
  const open = [...document.querySelectorAll(".rows details[open]")];
  const focused = open.find((row) => row.contains(document.activeElement));
  if (!focused && parameters().event) {
    go({ event: null });
    $("events").focus();
    return;
  }
  const row = focused ?? open.find((row) => row.closest("#event-rows"));
  if (!row) return;
  row.open = false;
  row.querySelector("summary").focus();
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  if ($("keys").open || isTyping(event.target)) return;
  if (event.key === "Escape") {
    leave();
    return;
  }
  if (!isOn || !Object.hasOwn(ACTIONS, event.key)) return;
  event.preventDefault();
  ACTIONS[event.key]();
}

export function start() {
  document.addEventListener("keydown", pressed);
  $("show-keys").addEventListener("click", () => $("keys").showModal());
  $("keys-on").checked = isOn;
  $("keys-on").addEventListener("change", () => {
    isOn = $("keys-on").checked;
    keep(...SWITCH, isOn ? "on" : "off");
  });
  $("close-keys").addEventListener("click", () => $("keys").close());
}
