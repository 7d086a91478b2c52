// The one network of a one-shot search: how good it is, how sure it grows, and the share of every operation.

import { ask, root } from "../api.js";
import { lineChart } from "../charts/line.js";
import { legend } from "../charts/table.js";
import { fill, h } from "../dom.js";
import { metric as written, percent, scoreName } from "../format.js";
import { heatMaps } from "../heat.js";
import { empty, lazily, panel } from "./panel.js";

const LINES = [
  { key: "accuracy", words: "score of the supernet on validation", colour: "--series-1", wide: true },
  { key: "alpha_entropy", words: "entropy of the shares: 1 is undecided, 0 decided", colour: "--series-2" },
  { key: "skip_share", words: "skip connections among the chosen operations", colour: "--series-3", dash: true },
];

export function make(jobId, { signal }) {
  const { element, body, say } = panel("Supernet");
  element.hidden = true;
  const y = { label: "Score and shares", format: (value) => percent(value, 0), domain: [0, 1] };
  const chart = lineChart({ name: "The supernet by epoch", x: { label: "Epoch", format: String, integer: true }, y, height: 260, signal });
  const head = h("p", {});
  const maps = h("div", {});
  const heat = heatMaps();

  const load = lazily(element, {
    signal, say,
    key: ({ supernet }) => JSON.stringify([supernet.epoch, supernet.state, supernet.stopped]),
    async load({ supernet, metric }) {
      const { curve } = supernet;
      if (!curve.length) {
        empty(body, "The supernet has not finished its first epoch yet.");
        return;
      }
      if (!head.isConnected) fill(body, head, legend(LINES), chart.element, maps);
      fill(head, h("a", { href: `${root}/jobs/${jobId}/trials/${supernet.trial}`, "data-link": true }, `Trial ${supernet.trial}`),
        `: ${supernet.state}, epoch ${supernet.epoch} of ${supernet.epochs}.`, supernet.stopped ? ` ${capital(supernet.stopped)}` : null);
      const drawn = LINES.map(({ key, words, colour, wide, dash }) => ({
        key, name: words, colour, width: wide ? 2.5 : 1.5, dash, dots: curve.length < 40,
        points: curve.filter((epoch) => epoch[key] !== null).map((epoch) => [epoch.epoch, epoch[key]]),
      }));
      const last = curve.at(-1);
      if (metric === "r2") Object.assign(y, { format: (value) => value.toFixed(1), domain: [Math.min(0, ...curve.map((epoch) => epoch.accuracy)), 1] });
      chart.update(drawn, `The supernet over ${last.epoch} epochs: ${scoreName(metric)} ${written(metric, last.accuracy)}, entropy ${last.alpha_entropy?.toFixed(2) ?? "unknown"}, skip share ${percent(last.skip_share, 0)}.`);
      const trial = await ask(`/v1/jobs/${jobId}/trials/${supernet.trial}`, { signal });
      const known = trial.curve.filter((epoch) => epoch.metrics?.alpha);
      if (known.length) {
        heat.update(known);
        if (!heat.element.isConnected) fill(maps, heat.element);
      } else fill(maps, h("p", { class: "small muted" }, "No shares of its operations are known: it trains single paths, or is of an older version."));
    },
  });

  function update(dashboard) {
    element.hidden = !dashboard.supernet;
    if (dashboard.supernet) load(dashboard);
  }

  return { element, update };
}

const capital = (text) => text[0].toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
