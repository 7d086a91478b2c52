// Parts of the page of a trial: figures, where its time went, what went wrong on the way, its log.

import { ask, root } from "./api.js";
import { asTable } from "./charts/table.js";
import { fill, h, notify } from "./dom.js";
import { duration, metric, moment } from "./format.js";

/** A list of names and values; entries without a value are left out. */
export function facts(entries) {
  return h("dl", { class: "figures" }, entries.filter(([, value]) => value !== null && value !== undefined && value !== "–")
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Values of settings, as they are chosen: 0.1, "cosine", true. */
export function settings(values) {
  const shown = (value) => (value === null ? "none" : typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value));
  return facts(Object.entries(values).map(([name, value]) => [name.replaceAll("_", " "), shown(value)]));
}

const PARTS = [
  ["waited", "waiting in the queue before it began"], ["prepare", "preparing: data, network, device"], ["train", "training"],
  ["validate", "validating"], ["write", "writing results and checkpoints"], ["other", "other"],
];

/** Where the time of a trial's last attempt went, as a bar of parts. `spent` is {part: seconds}; null before it ends. */
export function timeSpent(spent, waited) {
  if (!spent) return h("p", { class: "muted small" }, "This is measured once an attempt has ended.");
  const seconds = { ...spent, waited };
  const known = new Set(PARTS.map(([part]) => part));
  const parts = [...PARTS, ...Object.keys(spent).filter((part) => !known.has(part)).map((part) => [part, part])].filter(([part]) => seconds[part] > 0);
  const all = parts.reduce((sum, [part]) => sum + seconds[part], 0);
  const words = parts.map(([part, name]) => `${name} ${exact(seconds[part])}, ${share(seconds[part] / all)}`);
  const of = (part) => (known.has(part) ? part : "other");
  return [
    h("div", { class: "stack", role: "img", "aria-label": `Where the time went: ${words.join("; ")}` }, parts.map(([part]) => h("span", { dataset: { part: of(part) }, style: { flexGrow: seconds[part] / all } }))),
    h("ul", { class: "stack-legend" }, parts.map(([part], at) => h("li", { dataset: { part: of(part) } }, words[at]))),
  ];
}

const share = (part) => (part < 0.01 ? "under 1 %" : `${Math.round(100 * part)} %`);
const exact = (seconds) => (seconds < 10 ? `${seconds.toFixed(seconds < 0.1 ? 3 : 1)} s` : duration(seconds));

/** Attempts that came to a bad end, the newest first, each with what was raised. */
export function setbackList(setbacks) {
  return setbacks.toReversed().map((one) => h("details", { class: "as-table" },
    h("summary", {}, `Attempt ${one.attempt}: ${one.reason.replaceAll("_", " ")} `, h("span", { class: "muted small" }, `${moment(one.at)}${one.worker ? `, ${one.worker}` : ""}, ${one.again ? "tried again" : "not tried again"}`)),
    one.error ? traceback(one.error, `What attempt ${one.attempt} raised`) : h("p", { class: "small" }, "Nothing was raised.")));
}

/** An error as it was raised. */
export const traceback = (text, name) => h("pre", { tabindex: 0, role: "region", "aria-label": name }, text);

/** A text to take away. */
export function copyable(text, name) {
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(() => notify("Copied.", "good"), () => notify("The browser does not let the page copy: select the text instead.", "bad"));
  };
  return h("details", { class: "as-table" }, h("summary", {}, name), h("pre", { tabindex: 0, role: "region", "aria-label": name }, text),
    navigator.clipboard ? h("button", { type: "button", onclick: copy }, "Copy") : null);
}

/** What was measured after the newest epoch, as a table of numbers that stays open while it changes. */
export function metricTable() {
  let numbers = [];
  const table = asTable("All that was measured after the newest epoch", () => ({ head: ["Metric", "Value"], body: numbers.map(([name, value]) => [name.replaceAll("_", " "), metric(name, value)]) }), "All that was measured");
  function update(metrics) {
    numbers = Object.entries(metrics ?? {}).filter(([, value]) => typeof value === "number");
    table.element.hidden = !numbers.length;
    table.update();
  }
  return { element: table.element, update };
}

/** The log of a trial; update() asks for it anew, and stays at its end if it was there. */
export function logView(path, { signal }) {
  const box = h("pre", { class: "logs", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log of the trial, the newest line last" }, "…");
  const note = h("p", { class: "small muted" });
  const download = h("button", { type: "button", onclick: save }, "Save as a file");
  const element = h("div", { class: "panel-body" }, box, note, h("div", { class: "row" }, download));
  let shown = "", lines = [];

  async function update() {
    const { items, cut } = await ask(`${path}/logs`, { signal });
    const key = `${items.length}/${items.at(-1)?.at}/${items.at(-1)?.text}`;
    if (key === shown) return;
    shown = key;
    lines = items;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    fill(box, items.map(line));
    note.textContent = cut ? "Only the newest lines were kept." : items.length ? "" : "Nothing has been logged yet.";
    download.hidden = box.hidden = !items.length;
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  function line({ at, attempt, level, text }, index) {
    const other = index > 0 && lines[index - 1].attempt !== attempt;
    return [other ? h("span", { class: "line muted" }, `— attempt ${attempt} —`) : null,
      h("span", { class: "line", dataset: { level } }, h("time", { datetime: at }, new Date(at).toLocaleTimeString()), text)];
  }

  function save() {
    const text = lines.map(({ at, attempt, level, text: words }) => `${at} ${level} [attempt ${attempt}] ${words}\n`).join("");
    const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    h("a", { href: url, download: `${path.split("/").slice(-3).join("-")}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  return { element, update };
}

/** A link to another trial of the job; a button that does nothing where there is none. */
export function neighbour(job, number, words, there) {
  return there
    ? h("a", { class: "button", href: `${root}/jobs/${job}/trials/${number}`, "data-link": true, "aria-label": `Trial ${number}` }, words)
    : h("button", { type: "button", disabled: true, "aria-label": "There is no further trial" }, words);
}
