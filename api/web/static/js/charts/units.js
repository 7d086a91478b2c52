// How a metric's values are written on axes.

import { LABELS, compact, metric } from "../format.js";

/** A function from a value of a metric to text, short enough for an axis. */
export function asText(name) {
  if (name === "params" || name === "macs") return compact;
  if (name === "epoch" || name === "number") return (value) => (Number.isInteger(value) ? String(value) : "");
  return (value) => metric(name, value, 1);
}

/** What an axis of a metric is called. */
export const titled = (name) => LABELS[name] ?? name;
