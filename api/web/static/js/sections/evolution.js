// The best architecture, and how it came to be: a step for every trial that was the best when it ended.

import { ask, root } from "../api.js";
import { architecture, changes } from "../cells.js";
import { fill, h, unique } from "../dom.js";
import { compact, duration, metric, scoreName } from "../format.js";
import { empty, lazily, panel } from "./panel.js";

const LONGEST = 320; // characters of a sentence that somebody still reads

export function make(jobId, { signal }) {
  const { element, body, say } = panel("Best architecture");
  const shown = h("div", {});
  const facts = h("p", {});
  const said = h("p", { class: "small", role: "status" });
  const stepper = makeStepper((to) => go(to));
  const compare = h("input", { type: "checkbox", checked: true, id: unique("compare"), onchange: () => draw() });
  const toggle = h("span", { class: "row small" }, compare, h("label", { for: compare.id }, "Mark what changed"));
  const head = h("div", { class: "row spread" }, facts, toggle); // which stays: whoever uses the box keeps the focus
  let items = [], at = -1, image = null, score = "accuracy", drawn = "";

  function go(to) {
    at = Math.max(0, Math.min(items.length - 1, to));
    draw();
  }

  function draw() {
    const item = items[at], before = at > 0 ? items[at - 1] : null;
    const key = JSON.stringify([item, before?.trial, compare.checked]);
    toggle.hidden = at === 0;
    stepper.set(at, items, score);
    if (key === drawn) return; // whoever looks at an edge goes on looking at it
    drawn = key;
    const words = [`${scoreName(score)} ${metric(score, item.accuracy)} on validation`, item.params && `${compact(item.params)} parameters`, item.macs && `${compact(item.macs)} MACs`,
      item.at_s !== undefined && `after ${duration(item.at_s)}`].filter(Boolean).join(" · ");
    fill(facts, h("a", { href: `${root}/jobs/${jobId}/trials/${item.trial}`, "data-link": true }, `Trial ${item.trial}`), ` · ${words}`);
    fill(shown, architecture(item.candidate, { before: compare.checked ? before?.candidate : null, image }));
    const found = before?.candidate.genotype && item.candidate.genotype ? changes(item.candidate.genotype, before.candidate.genotype) : null;
    said.textContent = found === null || !compare.checked ? "" : found.length === 0 ? "The same cells as the one before." : `Against trial ${before.trial}: ${told(found.join(" "))}`;
  }

  const update = lazily(element, {
    signal, say,
    key: ({ best, incumbents }) => `${best?.trial}/${incumbents.length}/${incumbents.at(-1)?.trial}`,
    async load({ best, job, metric: name }) {
      score = name;
      if (!best) {
        empty(body, "The first trial has not ended yet. Its architecture is drawn here then.");
        return;
      }
      image ??= (await ask(`/v1/datasets/${encodeURIComponent(job.dataset)}`, { signal }).catch(() => null))?.image ?? null;
      const found = (await ask(`/v1/jobs/${jobId}/evolution`, { signal })).items.filter((item) => item.candidate);
      const last = at === items.length - 1;
      items = found.at(-1)?.trial === best.trial || !best.candidate ? found : [...found, best];
      if (!items.length) {
        empty(body, "The best network has no architecture that could be drawn.");
        return;
      }
      at = last ? items.length - 1 : Math.min(at, items.length - 1); // whoever looks at an earlier one stays there
      if (!shown.isConnected) fill(body, stepper.element, head, said, shown);
      draw();
    },
  });

  return { element, update };
}

/** Many changes are counted: the pictures and their table have them. */
const told = (text) => (text.length <= LONGEST ? text : `${text.split(" + ").length - 1} edges are new, ${text.split(" − ").length - 1} are no longer there.`);

/** First, previous, a slider, next, last. */
function makeStepper(go) {
  let at = 0, items = [];
  const button = (name, sign, to) => h("button", { type: "button", "aria-label": name, title: name, onclick: () => go(to()) }, sign);
  const slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Which of the best so far", oninput: () => go(Number(slider.value)) });
  const back = [button("The first", "|◀", () => 0), button("The one before", "◀", () => at - 1)];
  const onward = [button("The next one", "▶", () => at + 1), button("The newest", "▶|", () => items.length - 1)];
  const where = h("span", { class: "small muted" });
  const element = h("div", { class: "stepper" }, back, slider, onward, where);

  function set(to, all, score) {
    [at, items] = [to, all];
    element.hidden = items.length < 2;
    slider.max = items.length - 1;
    slider.value = at;
    slider.setAttribute("aria-valuetext", `${at + 1} of ${items.length}: trial ${items[at].trial}, ${metric(score, items[at].accuracy)}`);
    for (const one of back) one.setAttribute("aria-disabled", at === 0); // not disabled: that would take the focus away
    for (const one of onward) one.setAttribute("aria-disabled", at === items.length - 1);
    where.textContent = `${at + 1} of ${items.length}`;
  }

  return { element, set };
}
