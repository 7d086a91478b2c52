// Which choices led where: parallel coordinates, narrowed by drawing along an axis or by numbers.

import { ended, lazily, panel } from "./panel.js";
import { fill, h, unique } from "../dom.js";
import { parallelChart } from "../charts/parallel.js";
import { text } from "../charts/choices.js";
import { asText } from "../charts/units.js";
import { ask } from "../api.js";
import { integer } from "../format.js";

export function make(jobId, { signal }) {
  const part = panel("Choices and scores");
  const limits = new Map();
  const chart = parallelChart({ name: "Parallel coordinates", signal, brushed: narrow });
  const none = h("p", { class: "empty", hidden: true }, "Nothing to compare yet: trials have to end first.");
  const count = h("p", { class: "small muted", role: "status" });
  const inputs = h("div", { class: "limits" });
  const reset = h(
    "button",
    {
      type: "button",
      class: "quiet",
      hidden: true,
      onclick: () => {
        limits.clear();
        fields();
        draw();
      },
    },
    "Let all through",
  );
  const exact = h("details", { class: "as-table" }, h("summary", {}, "Limits by numbers"), inputs);
  part.tools.append(reset);
  part.body.append(none, chart.element, count, exact);
  let data = null,
    known = "";

  function narrow(name, limit) {
    limit ? limits.set(name, limit) : limits.delete(name);
    fields();
    draw();
  }

  function draw() {
    const shown = chart.update(data, limits, (trial) => `/jobs/${jobId}/trials/${trial}`);
    const total = data.items.length;
    const of = total < data.total ? `${integer(total)} of ${integer(data.total)}` : integer(total);
    const by = limits.size === 1 ? "one limit" : `${limits.size} limits`;
    const words = limits.size
      ? `${shown} of ${total} trials are let through by ${by}.`
      : `${of} trials. Draw along an axis to let only a part of them through.`;
    if (count.textContent !== words) count.textContent = words;
    reset.hidden = !limits.size;
  }

  function fields() {
    fill(
      inputs,
      [...data.dimensions, { name: data.score.label, kind: "number" }].map((dimension) =>
        dimension.kind === "category" ? category(dimension) : number(dimension),
      ),
    );
  }

  function number({ name }) {
    const [low, high] = limits.get(name) ?? [null, null];
    const set = () => {
      const [from, to] = boxes.map((box) => (box.value === "" ? null : Number(box.value)));
      from === null && to === null ? limits.delete(name) : limits.set(name, [from ?? -Infinity, to ?? Infinity]);
      draw();
    };
    const boxes = [
      ["at least", low],
      ["at most", high],
    ].map(([words, value]) =>
      h("input", {
        type: "number",
        step: "any",
        "aria-label": `${name}, ${words}`,
        placeholder: words === "at least" ? "≥" : "≤",
        value: value === null || !Number.isFinite(value) ? "" : +value.toPrecision(5),
        oninput: set,
      }),
    );
    return h("fieldset", {}, h("legend", {}, name), boxes);
  }

  function category({ name, choices }) {
    const limit = limits.get(name);
    const set = (value) => {
      value === "" ? limits.delete(name) : limits.set(name, [Number(value), Number(value)]);
      draw();
    };
    const id = unique("limit");
    const now = limit && limit[0] === limit[1] ? String(limit[0]) : "";
    const any = limit && !now ? `from ${text(choices[limit[0]])} to ${text(choices[limit[1]])}` : "any";
    const select = h(
      "select",
      { id, onchange: () => set(select.value) },
      h("option", { value: "" }, any),
      choices.map((one, at) => h("option", { value: String(at), selected: String(at) === now }, text(one))),
    );
    return h("fieldset", {}, h("legend", {}, h("label", { for: id }, name)), select);
  }

  async function load(dashboard) {
    const found = await ask(`/v1/jobs/${jobId}/parallel?limit=500`, { signal });
    const measured = found.metric ?? dashboard.objectives[0].metric; // accuracy stands for every task's score
    data = {
      total: found.total,
      dimensions: found.dimensions,
      items: found.items.filter((item) => item.score !== null),
      score: { label: "Score", format: asText(measured === "accuracy" ? dashboard.metric : measured) },
    };
    const some = data.items.length > 0 && data.dimensions.length > 0;
    for (const element of [chart.element, count, exact]) element.hidden = !some;
    none.hidden = some;
    if (!some) return;
    const names = data.dimensions.map((dimension) => dimension.name).join("\n");
    if (names !== known) fields(); // not with every trial: somebody may be typing there
    known = names;
    draw();
  }

  return {
    element: part.element,
    update: lazily(part.element, { signal, key: ended, load, say: part.say, everyMs: 5000 }),
  };
}
