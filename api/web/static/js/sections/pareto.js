// What was gained for what it costs: all trials by two measures of the reader's choice, the front among them.

import { asText, titled } from "../charts/units.js";
import { choice, lazily, moved, panel } from "./panel.js";
import { ask } from "../api.js";
import { h } from "../dom.js";
import { integer } from "../format.js";
import { legend } from "../charts/table.js";
import { scatterChart } from "../charts/scatter.js";

const AXES = ["accuracy", "params", "macs", "latency_ms", "memory_mb", "epoch", "number"];
const SPREAD = 30; // largest over smallest value, from where an axis counts in powers
const KEYS = [
  { words: "best", colour: "--series-3", shape: "star" },
  { words: "on the front", colour: "--series-3", shape: "diamond" },
  { words: "complete", colour: "--series-1", shape: "circle" },
  { words: "running", colour: "--series-2", shape: "triangle" },
  { words: "pruned", colour: "--muted", shape: "cross" },
];

export function make(jobId, { signal }) {
  const part = panel("Trade-offs");
  const chart = scatterChart({ name: "Trials by two measures", legend: legend(KEYS), signal });
  const none = h("p", { class: "empty", hidden: true }, "No trial has both measures yet.");
  const note = h("p", { class: "small muted" });
  const chosen = { x: null, y: "accuracy" };
  let newest = null;
  part.body.append(none, chart.element, note);

  /** The service calls every task's score accuracy. */
  const measured = (name) => (name === "accuracy" ? newest.metric : name);

  function selectors() {
    const options = AXES.map((name) => [name, titled(measured(name))]);
    const pick = (axis) => (name) => {
      const other = axis === "x" ? "y" : "x";
      if (chosen[other] === name) chosen[other] = chosen[axis]; // they change places
      chosen[axis] = name;
      selectors();
      part.tools.querySelectorAll("select")[axis === "x" ? 0 : 1].focus();
      update(newest, true);
    };
    part.tools.replaceChildren(
      choice("Across", options, chosen.x, pick("x")),
      choice("Up", options, chosen.y, pick("y")),
    );
  }

  async function load(dashboard) {
    const { x, y } = chosen;
    const found = await ask(`/v1/jobs/${jobId}/points?x=${x}&y=${y}&limit=2000`, { signal });
    if (x !== chosen.x || y !== chosen.y) return;
    const best = dashboard.best?.trial;
    const points = found.items.map(([trial, across, up, state, front]) => ({
      key: String(trial),
      name: `Trial ${trial}`,
      x: across,
      y: up,
      state,
      front,
      best: trial === best,
      href: `/jobs/${jobId}/trials/${trial}`,
    }));
    chart.element.hidden = !points.length;
    none.hidden = points.length > 0;
    note.textContent = [
      found.shown < found.total
        ? `${integer(found.shown)} of ${integer(found.total)} trials: the front, the best, and an even choice of the others.`
        : "",
      found.without ? `${integer(found.without)} trials have no value on these axes.` : "",
    ]
      .filter(Boolean)
      .join(" ");
    const axis = (name, of) => ({ label: titled(measured(name)), format: asText(measured(name)), log: powers(points.map(of)) });
    const front = points.filter((point) => point.front).length;
    chart.update({
      points,
      x: axis(x, (point) => point.x),
      y: axis(y, (point) => point.y),
      label: `${points.length} trials by ${titled(measured(x))} and ${titled(measured(y))}, ${front} of them on the front.`,
    });
  }

  const look = lazily(part.element, { signal, key: moved, load, say: part.say });

  function update(dashboard, anew = false) {
    newest = dashboard;
    if (chosen.x === null) {
      // what the job looks for, first
      chosen.x = dashboard.objectives.find((objective) => objective.metric !== "accuracy")?.metric ?? "params";
      selectors();
    }
    look(dashboard, anew);
  }

  return { element: part.element, update: (dashboard) => update(dashboard) };
}

const powers = (values) => values.length > 1 && d3.min(values) > 0 && d3.max(values) / d3.min(values) > SPREAD;
