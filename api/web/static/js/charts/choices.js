// What a choice is on an axis of its own: a number, or one of some names; and which trials are within limits.

import { extent } from "./axes.js";

/** Whether an item is within all limits. */
export function passes(item, { dimensions, score }, limits) {
  const last = limits.get(score.label);
  if (last && (item.score < last[0] || item.score > last[1])) return false;
  return dimensions.every((dimension, at) => {
    const limit = limits.get(dimension.name);
    if (!limit) return true;
    const value =
      dimension.kind === "category"
        ? dimension.choices.findIndex((choice) => text(choice) === text(item.values[at]))
        : item.values[at];
    return value !== null && value >= limit[0] && value <= limit[1];
  });
}

/** The axes of all dimensions and of the score: {name, scale (without a range), at(value, scale), within(top, bottom, scale), …}. */
export function axesOf({ dimensions, items, score }) {
  const axes = dimensions.map((dimension, at) =>
    dimension.kind === "category"
      ? categories(dimension)
      : numbers(
          dimension,
          items.map((item) => item.values[at]).filter((value) => value !== null),
        ),
  );
  const scores = items.map((item) => item.score);
  return [...axes, { ...numbers({ name: score.label, log: false }, scores), format: score.format }];
}

function numbers({ name, log }, values) {
  const usable = log && values.every((value) => value > 0) && values.length > 0;
  const scale = usable ? d3.scaleLog().domain(d3.extent(values)) : d3.scaleLinear().domain(extent(values, 0.03));
  return {
    name,
    scale,
    at: (value, y) => (value === null ? undefined : y(value)),
    within: (top, bottom, y) => [y.invert(bottom), y.invert(top)],
  };
}

function categories({ name, choices }) {
  const words = choices.map(text);
  const within = (top, bottom, y) => {
    const inside = words
      .map((word, at) => [at, y(word)])
      .filter(([, place]) => place >= top && place <= bottom)
      .map(([at]) => at);
    return inside.length ? [Math.min(...inside), Math.max(...inside)] : null;
  };
  return {
    name,
    choices: words,
    scale: d3.scalePoint().domain(words).padding(0.3),
    at: (value, y) => y(text(value)),
    within,
  };
}

/** A choice as text; it may be a number, a truth or a list. */
export const text = (value) =>
  value === null || value === undefined
    ? "–"
    : typeof value === "number"
      ? String(+value.toPrecision(4))
      : typeof value === "string"
        ? value
        : JSON.stringify(value);

/** The beginning of a long name. */
export const short = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
