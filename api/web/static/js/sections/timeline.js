// What the workers did when: a lane for each, a block for each trial.

import { duration, integer, moment } from "../format.js";
import { lazily, moved, panel } from "./panel.js";
import { ask } from "../api.js";
import { h } from "../dom.js";
import { legend } from "../charts/table.js";
import { spanChart } from "../charts/spans.js";

/** Colour of a block by what the trial is for. */
const PHASES = {
  screening: "--series-6",
  supernet: "--series-5",
  search: "--series-1",
  finalist: "--series-3",
  control: "--series-2",
  reference: "--series-4",
  report: "--muted",
  retrain: "--series-6",
};
const BAD = ["failed", "infeasible", "cancelled"];
const LANES = 60;
const STEP = 0.5; // of the window, that a press on a button moves or widens

export function make(jobId, { signal }) {
  const part = panel("Workers");
  const keys = h("div", { class: "keys" });
  const chart = spanChart({ name: "Timeline of the workers", legend: keys, signal });
  const none = h("p", { class: "empty", hidden: true }, "No worker has begun a trial yet.");
  const note = h("p", { class: "small muted" });
  let found = null,
    view = null,
    whole = [0, 1];
  const button = (sign, words, act) =>
    h(
      "button",
      {
        type: "button",
        "aria-label": words,
        title: words,
        onclick: () => {
          act();
          draw();
        },
      },
      sign,
    );
  part.tools.append(
    button("◀", "Earlier", () => move(-STEP)),
    button("▶", "Later", () => move(STEP)),
    button("−", "Show more time", () => zoom(1 / STEP)),
    button("+", "Look closer", () => zoom(STEP)),
    button("All", "Show all of the time", () => {
      view = null;
    }),
  );
  part.body.append(none, chart.element, note);

  const now = () => view ?? whole;

  function move(share) {
    const [from, to] = now(),
      by = (to - from) * share;
    const held = Math.max(whole[0] - from, Math.min(whole[1] - to, by));
    view = [from + held, to + held];
  }

  function zoom(factor) {
    const [from, to] = now(),
      middle = view ? (from + to) / 2 : to - ((to - from) * factor) / 2,
      half = Math.max(500, ((to - from) * factor) / 2);
    const next = [Math.max(whole[0], middle - half), Math.min(whole[1], middle + half)];
    view = next[1] - next[0] >= whole[1] - whole[0] - 1 ? null : next;
  }

  function draw() {
    const lanes = busiest(found),
      at = new Map(lanes.map((worker, place) => [worker, place]));
    const spans = found.items.filter((item) => at.has(item.worker)).map((item) => span(item, at.get(item.worker)));
    whole = spans.length
      ? [
          d3.min(spans, (one) => one.from),
          Math.max(
            d3.max(spans, (one) => one.to),
            d3.min(spans, (one) => one.from) + 1000,
          ),
        ]
      : [0, 1];
    const phases = [...new Set(found.items.map((item) => item.phase))];
    keys.replaceChildren(
      legend(phases.map((phase) => ({ words: phase, colour: PHASES[phase] ?? "--muted", block: true }))),
      h(
        "p",
        { class: "small muted" },
        "Hatched: failed or cancelled. Pale: pruned. A dark edge: still running. Gaps: nothing to do.",
      ),
    );
    for (const element of [chart.element, part.tools]) element.hidden = !spans.length;
    none.hidden = spans.length > 0;
    chart.update({
      lanes,
      spans,
      window: now(),
      head: ["Worker", "Trial", "Phase", "State", "From", "For"],
      row: (one) => [
        one.worker,
        `Trial ${one.trial}`,
        one.phase,
        one.state,
        moment(new Date(one.from).toISOString()),
        duration((one.to - one.from) / 1000),
      ],
      label: `${spans.length} trials of ${lanes.length} ${lanes.length === 1 ? "worker" : "workers"} over ${duration((whole[1] - whole[0]) / 1000)}.`,
    });
  }

  function span(item, lane) {
    const from = Date.parse(item.start),
      to = item.end ? Date.parse(item.end) : Date.now();
    const lines = [
      `Trial ${item.trial}, ${item.phase}`,
      item.state,
      `for ${duration((to - from) / 1000)}, from ${moment(item.start)}`,
      item.worker,
    ];
    return {
      ...item,
      key: `${item.trial}/${item.start}`,
      lane,
      from,
      to,
      lines,
      colour: PHASES[item.phase] ?? "--muted",
      bad: BAD.includes(item.state),
      dim: item.state === "pruned",
      open: !item.end,
      href: `/jobs/${jobId}/trials/${item.trial}`,
    };
  }

  async function load() {
    found = await ask(`/v1/jobs/${jobId}/timeline?limit=1000`, { signal });
    note.textContent = [
      found.shown < found.total && `The newest ${integer(found.shown)} trials of ${integer(found.total)}.`,
      found.workers.length > LANES &&
        `The ${LANES} workers that began something last, of ${integer(found.workers.length)}.`,
    ]
      .filter(Boolean)
      .join(" ");
    draw();
  }

  return {
    element: part.element,
    update: lazily(part.element, { signal, key: moved, load, say: part.say, everyMs: 4000 }),
  };
}

/** The workers in their order; of very many those that began a trial last. */
function busiest({ workers, items }) {
  if (workers.length <= LANES) return workers;
  const last = d3.rollup(
    items,
    (own) => d3.max(own, (item) => item.start),
    (item) => item.worker,
  );
  const kept = new Set(d3.sort(workers, (worker) => last.get(worker) ?? "").slice(-LANES));
  return workers.filter((worker) => kept.has(worker));
}
