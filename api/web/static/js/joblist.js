// Jobs as rows of a table, cards where it is narrow. Rows stay the same elements from one answer to the next: the focus
// stays where it is, and nothing flickers.

import { root } from "./api.js";
import { fill, h } from "./dom.js";
import { ago, metric, moment, percent } from "./format.js";

const COLUMNS = ["Job", "State", "Progress", "Best so far", "Trend", "Data set", "Strategy", "Asked for"];
const SPARK = { width: 96, height: 26 };

/** An element, and `update(jobs)`, which shows these jobs in this order. */
export function makeList() {
  const rows = new Map(); // id → row
  const body = h("tbody", { role: "rowgroup" });
  const heads = COLUMNS.map((name) => h("th", { scope: "col", role: "columnheader" }, name));
  const element = h("table", { class: "jobs", role: "table", "aria-label": "Jobs" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);

  function update(jobs) {
    const kept = new Set(jobs.map((job) => job.id));
    for (const [id, row] of rows) if (!kept.has(id)) { row.element.remove(); rows.delete(id); }
    let place = body.firstElementChild;
    for (const job of jobs) {
      if (!rows.has(job.id)) rows.set(job.id, makeRow(job));
      const row = rows.get(job.id);
      row.update(job);
      if (row.element === place) place = place.nextElementSibling;
      else body.insertBefore(row.element, place);
    }
  }

  return { element, update };
}

function makeRow({ id }) {
  const link = h("a", { href: `${root}/jobs/${id}`, "data-link": true });
  const cells = COLUMNS.map((name, index) => h("td", { role: "cell", "data-label": name, class: index ? null : "job-name" }));
  const [name, state, progress, best, trend, dataset, strategy, when] = cells;
  const named = h("code", { class: "muted small" }, id);
  fill(name, link, named);
  const element = h("tr", { role: "row" }, cells);
  let before = "";

  function update(job) {
    const time = h("time", { datetime: job.created_at, title: moment(job.created_at) }, ago(job.created_at));
    if (when.textContent !== time.textContent) fill(when, time);
    const now = JSON.stringify(job);
    if (now === before) return;
    before = now;
    link.textContent = job.name ?? job.id;
    named.hidden = job.name === null;
    fill(state, h("span", { class: "state", dataset: { state: job.state } }, job.state), why(job));
    fill(progress, bar(job));
    fill(best, job.best_accuracy === null ? h("span", { class: "muted" }, "–") : metric(job.metric, job.best_accuracy));
    fill(trend, spark(job));
    fill(dataset, job.dataset);
    fill(strategy, job.strategy);
  }

  return { element, update };
}

function why(job) {
  if (job.state === "failed" && job.reason) return h("p", { class: "reason small" }, job.reason);
  const phase = job.phase && ["running", "finalizing"].includes(job.state) ? job.phase : null;
  return phase && h("span", { class: "muted small phase" }, phase);
}

function bar(job) {
  const share = job.progress ?? (job.state === "succeeded" ? 1 : 0);
  return [h("progress", { max: 1, value: share, "aria-label": `Progress of ${job.name ?? job.id}` }), h("span", { class: "small number" }, percent(share, 0))];
}

/** How the best accuracy has grown, as a small line: from the first incumbent to the last. */
function spark(job) {
  const values = job.spark ?? [];
  if (values.length < 2) return h("span", { class: "muted", "aria-hidden": "true" }, "");
  const { width, height } = SPARK;
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const x = (index) => 2 + ((width - 4) * index) / (values.length - 1);
  const y = (value) => height - 3 - ((height - 6) * (value - low)) / span;
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const said = `The best so far rose from ${metric(job.metric, values[0])} to ${metric(job.metric, values.at(-1))}`;
  return h("svg", { class: "spark", role: "img", "aria-label": said, width, height, viewBox: `0 0 ${width} ${height}` },
    h("title", {}, said), h("polyline", { points }), h("circle", { cx: x(values.length - 1), cy: y(values.at(-1)), r: 2.5 }));
}
