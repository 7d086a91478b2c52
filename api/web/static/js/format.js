// Numbers, times and names as people read them.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const integer = (value) => (value === null || value === undefined ? "–" : whole.format(value));
export const compact = (value) => (value === null || value === undefined ? "–" : short.format(value));
export const percent = (share, digits = 2) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);

/** Seconds as 4 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const all = Math.max(0, Math.round(seconds));
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${all % 60} s`;
  if (all < 86400) return `${Math.floor(all / 3600)} h ${Math.floor((all % 3600) / 60)} min`;
  return `${Math.floor(all / 86400)} d ${Math.floor((all % 86400) / 3600)} h`;
}

/** An ISO time as the reader's own clock has it. */
export function moment(iso) {
  return iso ? new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "–";
}

/** How long ago an ISO time was. */
export function ago(iso) {
  if (!iso) return "–";
  const seconds = (Date.now() - new Date(iso).getTime()) / 1000;
  return seconds < 5 ? "just now" : `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** What a task's score is called. The service files every one of them as accuracy, and says by `metric` which it is. */
const SCORES = { accuracy: "accuracy", map: "mean average precision", r2: "R²" };
export const scoreName = (name) => SCORES[name] ?? name;

/** A metric's value in its own unit; `digits` are those of a share in percent. R² is no share: it can be below 0. */
export function metric(name, value, digits = 2) {
  if (value === null || value === undefined) return "–";
  if (/accuracy|f1|^map$|^top5$/.test(name)) return percent(value, digits);
  if (name === "r2") return value.toFixed(digits + 1).replace("-", "−");
  if (name === "params" || name === "macs") return compact(value);
  if (name === "latency_ms") return `${value.toPrecision(3)} ms`;
  if (name === "memory_mb") return `${value.toPrecision(3)} MB`;
  return Number.isInteger(value) ? integer(value) : value.toPrecision(4);
}

/** Names of metrics and axes. */
export const LABELS = {
  accuracy: "Validation accuracy", map: "Validation mAP", r2: "Validation R²", params: "Parameters", macs: "Multiply-accumulates", latency_ms: "Latency (ms)",
  memory_mb: "Peak memory (MB)", epoch: "Epochs", number: "Trial",
};
