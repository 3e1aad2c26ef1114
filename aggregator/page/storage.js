// What the browser keeps for the reader, in "localStorage" or, until the tab is closed, in "sessionStorage". Storage can be
// forbidden; then nothing is kept.

export function kept(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

export function keep(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {
    // As above.
  }
}
