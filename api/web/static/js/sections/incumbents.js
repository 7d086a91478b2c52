// The best so far, and how it came to be: a curve that climbs whenever a trial beat all before it.

import { LABELS, compact, duration, metric } from "../format.js";
import { asText } from "../charts/units.js";
import { choice, panel } from "./panel.js";
import { fill, h } from "../dom.js";
import { lineChart } from "../charts/line.js";
import { root } from "../api.js";

export function make(jobId, { signal }) {
  const part = panel("Best so far");
  const figures = h("dl", { class: "figures" });
  const none = h("p", { class: "empty" }, "No trial has a score yet.");
  const axis = { label: "Time", format: duration };
  const y = { label: "", format: String };
  const chart = lineChart({
    name: "Best score over time",
    x: axis,
    y,
    height: 220,
    signal,
  });
  let along = "time",
    newest = null,
    shown = "";
  part.tools.append(
    choice(
      "Along",
      [
        ["time", "time"],
        ["trials", "trials"],
      ],
      along,
      (value) => {
        along = value;
        shown = "";
        update(newest);
      },
    ),
  );
  part.body.append(none, figures, chart.element);

  function update(dashboard) {
    newest = dashboard;
    const { best, incumbents, progress } = dashboard;
    for (const element of [figures, chart.element, part.tools]) element.hidden = !incumbents.length;
    none.hidden = incumbents.length > 0;
    const text = JSON.stringify([
      along,
      best?.trial,
      incumbents.length,
      incumbents.at(-1)?.trial,
      progress.trials_finished,
    ]);
    if (text === shown || !incumbents.length) return;
    shown = text;
    if (best) fill(figures, facts(best, dashboard.metric));
    Object.assign(y, { label: `${LABELS[dashboard.metric]} of the best`, format: asText(dashboard.metric) });
    const points = incumbents
      .map((one) => [along === "time" ? one.at_s : one.trial, one.accuracy])
      .sort((one, two) => one[0] - two[0]);
    const last = points.at(-1);
    const searching = ["queued", "running"].includes(dashboard.job.state); // afterwards nothing better is looked for
    const end = along === "trials" ? progress.trials_finished : searching ? progress.elapsed_s : last[0] * 1.08;
    Object.assign(
      axis,
      along === "time"
        ? { label: "Time since the start", format: duration, clock: true, integer: false, domain: [0, end] }
        : { label: "Trial", format: String, clock: false, integer: true, domain: null },
    );
    const rising = {
      key: "best",
      name: "Best",
      points,
      colour: "--series-1",
      width: 2.5,
      step: true,
      dots: true,
      note: (at) => incumbents[at] && `Trial ${incumbents[at].trial}`,
      href: (at) => `/jobs/${jobId}/trials/${incumbents[at].trial}`,
    };
    const since = {
      key: "since",
      name: "Best, until now",
      points: end > last[0] ? [last, [end, last[1]]] : [],
      colour: "--series-1",
      width: 2.5,
      alpha: 0.5,
      dash: true,
      repeats: true,
    };
    chart.update([since, rising], told(y.label, dashboard.metric, incumbents));
  }

  function facts(best, score) {
    const link = h(
      "a",
      { href: `${root}/jobs/${jobId}/trials/${best.trial}`, "data-link": true },
      `Trial ${best.trial}`,
    );
    return [
      [LABELS[score], metric(score, best.accuracy)],
      ["Parameters", compact(best.params)],
      ["Multiply-accumulates", compact(best.macs)],
      ["Which", link],
    ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  }

  return { element: part.element, update };
}

/** The curve in words. */
function told(label, score, incumbents) {
  const [first, last] = [incumbents[0], incumbents.at(-1)].map(({ accuracy }) => metric(score, accuracy));
  const by = `by trial ${incumbents.at(-1).trial}`;
  return incumbents.length === 1 ? `${label}: ${last} ${by}.` : `${label}, ${incumbents.length} steps from ${first} to ${last} ${by}.`;
}
