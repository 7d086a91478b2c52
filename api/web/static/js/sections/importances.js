// How much each choice matters for the score, as Optuna reckons it.

import { ended, lazily, panel } from "./panel.js";
import { fill, h } from "../dom.js";
import { ask } from "../api.js";
import { LABELS, percent } from "../format.js";

const FEW = 10; // choices that are shown at once

export function make(jobId, { signal }) {
  const part = panel("What matters");
  const place = h("div", {});
  part.body.append(place);
  let all = false,
    found = null,
    measured = "score";

  function draw() {
    const top = found.items[0]?.importance || 1;
    const rows = (all ? found.items : found.items.slice(0, FEW)).map(({ name, importance }) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        h(
          "td",
          { class: "bar-cell" },
          h("span", { class: "importance-bar", style: { width: `${Math.max(0.5, (100 * importance) / top)}%` } }),
        ),
        h("td", { class: "number" }, percent(importance, 1)),
      ),
    );
    const more =
      found.items.length > FEW &&
      h(
        "button",
        {
          type: "button",
          "aria-expanded": String(all),
          onclick: () => {
            all = !all;
            draw();
            place.querySelector("button")?.focus();
          },
        },
        all ? "Show fewer" : `Show all ${found.items.length}`,
      );
    fill(
      place,
      rows.length > 0 && [
        h(
          "p",
          { class: "small muted" },
          `How much of the difference in “${measured}” each choice explains, from ${found.trials} trials (PED-ANOVA).`,
        ),
        h(
          "table",
          { class: "importance" },
          h("caption", { class: "visually-hidden" }, "Importance of each choice"),
          h(
            "thead",
            { class: "visually-hidden" },
            h(
              "tr",
              {},
              ["Choice", "Bar", "Importance"].map((words) => h("th", { scope: "col" }, words)),
            ),
          ),
          h("tbody", {}, rows),
        ),
      ],
      more,
      found.note && h("p", { class: rows.length ? "small muted" : "empty" }, rows.length ? found.note : `Not known yet: ${found.note}.`),
      !rows.length && !found.note && h("p", { class: "empty" }, "Too few trials have ended yet."),
    );
  }

  async function load({ metric }) {
    const answer = await ask(`/v1/jobs/${jobId}/importances`, { signal });
    if (JSON.stringify(answer) === JSON.stringify(found)) return;
    found = answer;
    measured = LABELS[found.metric === "accuracy" ? metric : found.metric] ?? found.metric;
    draw();
  }

  return {
    element: part.element,
    update: lazily(part.element, { signal, key: ended, load, say: part.say, everyMs: 10_000 }),
  };
}
