// Whether the search was worth it: every retraining's score, the interval of the difference, and one plain sentence.

import { root } from "../api.js";
import { asTable } from "../charts/table.js";
import { fill, h } from "../dom.js";
import { integer, metric as written } from "../format.js";
import { ahead, dots, intervals, unit } from "../spread.js";
import { panel } from "./panel.js";

const BADGES = {
  won: ["✓", "Better than random"],
  level: ["≈", "No clear difference from random"],
  lost: ["✕", "Worse than random"],
};

export function make(jobId, { signal }) {
  const { element, body } = panel("Verdict");
  element.classList.add("verdict");
  element.hidden = true;
  let drawn = "";

  function update({ verdict, metric }) {
    element.hidden = !verdict?.difference;
    const key = JSON.stringify(verdict);
    if (element.hidden || key === drawn) return;
    drawn = key;
    fill(body, show(jobId, verdict, metric, signal));
  }

  return { element, update };
}

function show(jobId, verdict, metric, signal) {
  const kind = verdict.beats_random ? "won" : verdict.difference.high < 0 ? "lost" : "level";
  const [sign, words] = BADGES[kind];
  const [first, ...rest] = verdict.text.split(/(?<=\.)\s+(?=[A-Z0-9])/);
  return [
    h("p", {}, h("span", { class: "verdict-badge", dataset: { kind } }, h("span", { "aria-hidden": "true" }, sign), words)),
    h("p", { class: "verdict-lead" }, first),
    h("div", { class: "verdict-pictures" },
      h("div", {}, h("h3", {}, "Every retraining on the test split"), dots(groups(verdict), { score: verdict.score, metric, signal })),
      h("div", {}, h("h3", {}, "The winner's lead"), intervals(differences(verdict), { metric, signal }))),
    rest.length ? h("p", { class: "small muted" }, rest.join(" ")) : null,
    table(verdict, metric).element,
    verdict.shipped ? shipped(jobId, verdict, metric) : null,
  ];
}

/** One row of the picture for each network: {group, name, mean, low, high, accuracies}. */
function groups({ winner, controls, reference }) {
  const each = controls.networks.map((one) => ({ trial: one.trial, accuracies: one.accuracies }));
  return [
    { group: "winner", name: "The winner", ...winner },
    { group: "controls", name: `${each.length} random network${each.length === 1 ? "" : "s"}`, ...controls, accuracies: each.flatMap((one) => one.accuracies) },
    { group: "reference", name: "Plain residual net", ...reference },
  ];
}

function differences({ difference, reference_difference: hand }) {
  return [
    { group: "controls", name: "on random networks", ...difference },
    { group: "reference", name: "on the plain net", ...hand },
  ];
}

function table(verdict, metric) {
  const row = (name, found) => [name, String(found.trial), found.accuracies.map((one) => written(metric, one)).join(", "), integer(found.params)];
  return asTable("The retrainings behind the verdict", () => ({
    head: ["Network", "First trial", `Test ${verdict.score}`, "Parameters"],
    body: [row("winner", verdict.winner), ...verdict.controls.networks.map((one, at) => row(`random ${at + 1}`, one)), row("plain residual net", verdict.reference)],
    note: `${integer(verdict.test_images)} test images. Winner minus random: ${between(verdict.difference, metric)}; winner minus plain net: ${between(verdict.reference_difference, metric)}.`,
  }));
}

const between = ({ mean, low, high }, metric) => `${ahead(metric, mean, 2)}${unit(metric)} (95 % interval ${ahead(metric, low, 2)} to ${ahead(metric, high, 2)})`;

/** What was exported, and how it was checked. */
function shipped(jobId, { shipped: found, score }, metric) {
  const check = (words) => h("li", {}, h("span", { "aria-hidden": "true" }, "✓ "), words);
  return h("div", { class: "shipped" }, h("h3", {}, "What you can download"),
    h("p", {}, "The weights of ", h("a", { href: `${root}/jobs/${jobId}/trials/${found.trial}`, "data-link": true }, `trial ${found.trial}`),
      `: ${written(metric, found.accuracy)} test ${score}.`),
    h("ul", { class: "checks" },
      check(`Loaded again in a fresh process, the package scores ${written(metric, found.accuracy)}: the same.`),
      check(`The ONNX file scores ${written(metric, found.onnx_accuracy)} in ONNX Runtime; its outputs differ by at most ${power(found.onnx_difference)}.`)));
}

/** A very small number, such as 5.1 · 10⁻⁷. */
function power(value) {
  const [digits, exponent] = value.toExponential(1).split("e-");
  return exponent ? `${digits}\u00a0·\u00a010⁻${[...exponent].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}` : String(value);
}
