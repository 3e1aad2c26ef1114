// The headline says whether all is well, and what there is to review. Trouble is also in the title and the icon of the tab.

import { $, say } from "./dom.js";

const TITLE = document.title;
const ICON = $("icon").getAttribute("href");
const TROUBLE_ICON = "page/icon-trouble.svg";

// Loaded while the aggregator responds: the browser takes it from its cache when the aggregator does not.
new Image().src = TROUBLE_ICON;

// Screen readers announce each change, so the state contains no numbers.
export function showState(found, { isBehind, isToReview }) {
  const isHealthy = found.length === 0;
  const state = $("state");
  state.dataset.state = isHealthy ? "well" : "warning";
  const titles = found.map(({ title }) => title);
  say(state, isHealthy ? healthy(isBehind, isToReview) : titles.join(" "));
  const trouble = titles.map((title) => title.replace(/\.$/, "")).join(", ");
  const title = isHealthy ? TITLE : `${trouble} · ${TITLE}`;
  if (document.title !== title) document.title = title;
  const icon = isHealthy ? ICON : TROUBLE_ICON;
  if ($("icon").getAttribute("href") !== icon) $("icon").setAttribute("href", icon);
}

function healthy(isBehind, isToReview) {
  if (isToReview) return isBehind ? "Healthy, catching up" : "Healthy";
  return isBehind ? "All is well. Catching up." : "All is well.";
}
