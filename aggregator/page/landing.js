// Arriving at a section. What is above it grows as data arrives, so the page keeps it in sight until it has settled or the
// reader moves.

const SETTLED_MS = 5000;

const MOVES = ["wheel", "touchmove", "pointerdown", "keydown"];

export function landOn(section) {
  if (!section) return;
  const watching = new ResizeObserver(() => section.scrollIntoView());
  const stop = () => {
    watching.disconnect();
    for (const move of MOVES) removeEventListener(move, stop);
  };
  for (const move of MOVES) addEventListener(move, stop, { passive: true });
  setTimeout(stop, SETTLED_MS);
  watching.observe(document.body);
}
