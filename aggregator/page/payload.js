// A payload in lines, with a choice of how its escapes are shown.

import { element, foreignLines } from "./dom.js";
import { decoded, layout, readable } from "./json.js";

const FORMS = [
  ["readable", readable],
  ["all escapes decoded", decoded],
  ["as it came", (text) => text],
];

// [the choice, the payload]. Without escapes there is no choice.
export function payloadView(payload) {
  const text = layout(payload);
  const shown = element("pre", { tabindex: "0", role: "group", "aria-label": "Payload" });
  const select = element("select", {}, ...FORMS.map(([name]) => element("option", {}, name)));
  const show = () => shown.replaceChildren(...foreignLines(FORMS[select.selectedIndex][1](text)));
  select.addEventListener("change", show);
  show();
  const choice = element("label", { class: "form" }, "Shown ", select);
  choice.hidden = !text.includes("\\");
  return [choice, shown];
}
