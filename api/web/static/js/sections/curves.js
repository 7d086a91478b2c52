// The learning curves of all trials: the best one stands out, pruned ones are dimmed.

import { asText } from "../charts/units.js";
import { ask } from "../api.js";
import { choice, lazily, moved, panel } from "./panel.js";
import { h } from "../dom.js";
import { legend } from "../charts/table.js";
import { LABELS, integer } from "../format.js";
import { lineChart } from "../charts/line.js";

/** How the curve of a trial is drawn, by its state. */
const LOOKS = {
  pruned: { colour: "--muted", dash: true, alpha: 0.4, width: 1 },
  complete: { colour: "--series-5", alpha: 0.55, width: 1.2 },
  running: { colour: "--series-2", alpha: 0.95, width: 2 },
};
const BEST = { colour: "--series-3", alpha: 1, width: 3.5 };
const OTHER = { colour: "--muted", dash: true, alpha: 0.4, width: 1 };
const LAYERS = ["pruned", "complete", "running"];

export function make(jobId, { signal }) {
  const part = panel("Learning curves");
  const note = h("p", { class: "small muted" });
  const none = h("p", { class: "empty", hidden: true }, "No trial has ended an epoch yet.");
  const y = { label: "", format: String };
  const keys = legend([
    { words: "best", wide: true, ...BEST },
    { words: "running", ...LOOKS.running, wide: true },
    { words: "complete", ...LOOKS.complete },
    { words: "pruned", ...LOOKS.pruned },
  ]);
  const chart = lineChart({
    name: "Learning curves",
    x: { label: "Epoch", format: String, integer: true },
    y,
    legend: keys,
    height: 320,
    signal,
  });
  let limit = "200";
  part.tools.append(
    choice(
      "At most",
      [
        ["50", "50"],
        ["200", "200"],
        ["500", "500"],
      ],
      limit,
      (value) => {
        limit = value;
        newest && look(newest, true);
      },
    ),
  );
  part.body.append(none, chart.element, note);
  let newest = null;

  async function load(dashboard) {
    const found = await ask(`/v1/jobs/${jobId}/curves?limit=${limit}`, { signal });
    Object.assign(y, { label: LABELS[dashboard.metric], format: asText(dashboard.metric) });
    const best = dashboard.best?.trial;
    const order = (item) => (item.trial === best ? 9 : LAYERS.indexOf(item.state));
    const series = found.items
      .toSorted((one, two) => order(one) - order(two))
      .map((item) => ({
        key: String(item.trial),
        name: `Trial ${item.trial}`,
        points: item.points,
        href: `/jobs/${jobId}/trials/${item.trial}`,
        note: item.trial === best ? `${item.state}, the best` : item.state,
        ...(item.trial === best ? BEST : (LOOKS[item.state] ?? OTHER)),
      }));
    chart.element.hidden = !series.length;
    none.hidden = series.length > 0;
    const pruned = found.items.filter((item) => item.state === "pruned").length;
    note.textContent =
      found.shown < found.total
        ? `${integer(found.shown)} of ${integer(found.total)} trials: those that run, the best, and an even choice of the others.`
        : "";
    chart.update(
      series,
      `Learning curves of ${series.length} trials, ${pruned} of them pruned${best === undefined ? "" : `; trial ${best} is the best`}.`,
    );
  }

  const look = lazily(part.element, {
    signal,
    key: (dashboard) => `${moved(dashboard)}|${dashboard.best?.trial}`,
    load,
    say: part.say,
  });
  return {
    element: part.element,
    update: (dashboard) => {
      newest = dashboard;
      look(dashboard);
    },
  };
}
