// The vertical scale of a chart, which is 100 high: linear from zero, or logarithmic if most values would be a flat line.

const TOP = 5;
const ZERO = 97;
// The smallest power of ten of a logarithmic scale, with room for a label of zero, which has its place below.
const LOWEST = 80;

// A logarithmic scale is used if the largest value is more than this many times the median.
const MAX_RATIO = 20;

const STEPS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];

// Whether a label gives the value exactly, in its unit or in thousands of it: 2000 ms are shown as 2 s.
const isExact = (value, show) => [value, value / 1000].includes(Number(show(value).replace(/[^0-9.]/g, "")));

// values: numbers. show: a value as text. chosen: "linear", "logarithmic", or anything else for the one that fits the values.
// Returns { isLogarithmic, height(value), ticks: [{ text, height }] }.
export function scaleOf(values, show, chosen) {
  const positive = values.filter((value) => value > 0).sort((a, b) => a - b);
  if (positive.length === 0) return { isLogarithmic: false, height: () => ZERO, ticks: [] };
  const most = positive.at(-1);
  const median = positive[Math.floor(positive.length / 2)];
  const isLogarithmic = chosen === "logarithmic" || (chosen !== "linear" && most > MAX_RATIO * median);
  return isLogarithmic ? logarithmic(positive[0], most, values.includes(0), show) : linear(most, show);
}

function linear(most, show) {
  const power = 10 ** Math.floor(Math.log10(most));
  const tops = [power, 10 * power, 100 * power].flatMap((power) => STEPS.map((step) => Number((step * power).toPrecision(2))));
  const top = tops.find((top) => top >= most && isExact(top, show)) ?? most;
  const height = (value) => ZERO - (value / top) * (ZERO - TOP);
  const ticks = [top, top / 2].filter((value) => value === top || isExact(value, show));
  return { isLogarithmic: false, height, ticks: ticks.map((value) => ({ text: show(value), height: height(value) })) };
}

// Zero has a label of its own: by the others alone, it would look like a part of the smallest power of ten.
function logarithmic(least, most, hasZero, show) {
  const high = Math.ceil(Math.log10(most));
  const low = Math.min(Math.floor(Math.log10(least)), high - 1);
  const height = (value) =>
    value > 0 ? LOWEST - ((Math.log10(value) - low) / (high - low)) * (LOWEST - TOP) : ZERO;
  const step = Math.ceil((high - low) / 4);
  const ticks = [];
  for (let power = high; power >= low; power -= step) ticks.push({ text: show(10 ** power), height: height(10 ** power) });
  if (hasZero) ticks.push({ text: show(0), height: ZERO });
  return { isLogarithmic: true, height, ticks };
}
