// How far a job is: the bar, what is counted, who is at work, why nothing is, and how it ended.

import { duration, integer, metric, percent } from "../format.js";
import { coded, fill, h } from "../dom.js";
import { panel } from "./panel.js";
import { root } from "../api.js";

const PHASES = {
  screening: "Screening",
  supernet: "Supernet",
  search: "Search",
  finalist: "Finalists",
  control: "Controls",
  reference: "Reference",
  report: "Report",
  retrain: "Retrainings",
};
const STATES = ["running", "queued", "paused", "complete", "pruned", "infeasible", "failed", "cancelled"];
const DONE = ["succeeded", "failed", "cancelled"];
const SHOWN = 12; // running trials

export function make(jobId) {
  const part = panel("Progress");
  const banner = h("div", { role: "status", class: "banners" });
  const bar = h("progress", { max: 1, "aria-label": "Progress of the job" });
  const words = h("p", { class: "row spread progress-words" });
  const strip = h("div", { class: "strip", role: "img" });
  const counts = h("ul", { class: "counts" });
  const phases = h("ol", { class: "phases", "aria-label": "Phases" });
  const running = h("div", {});
  part.body.append(banner, bar, words, phases, strip, counts, running);
  const kept = new Map();

  /** Fills a place only if what it says has changed: nobody's selection or focus is lost for nothing. */
  function put(place, made, ...of) {
    const text = JSON.stringify(of);
    if (kept.get(place) === text) return;
    kept.set(place, text);
    fill(place, made(...of));
  }

  function update(dashboard) {
    const { job, progress, counts: states, phases: planned, waiting, cached } = dashboard;
    put(
      banner,
      banners,
      job.state,
      job.reason,
      job.note,
      waiting?.text,
      waiting?.position,
      30 * Math.ceil((waiting?.eta_s ?? 0) / 30),
    );
    bar.value = progress.fraction;
    bar.setAttribute("aria-valuetext", `${percent(progress.fraction, 0)}, ${job.phase}`);
    put(
      words,
      summary,
      percent(progress.fraction, 0),
      progress.trials_finished,
      progress.trials_planned,
      cached,
      duration(progress.elapsed_s),
      DONE.includes(job.state) ? null : progress.eta_s === null ? "" : duration(progress.eta_s),
    );
    put(phases, steps, planned, job.phase);
    put(strip, blocks, states);
    strip.setAttribute(
      "aria-label",
      `Trials: ${
        STATES.filter((state) => states[state])
          .map((state) => `${states[state]} ${state}`)
          .join(", ") || "none yet"
      }`,
    );
    put(counts, numbers, states);
    put(
      running,
      (trials, all, score) => (trials.length ? workers(jobId, trials, all, score) : []),
      dashboard.running,
      states.running,
      dashboard.metric,
    );
  }

  return { element: part.element, update };
}

function banners(state, reason, note, waiting, position, eta) {
  const place = position ? ` It is number ${position} in the queue.` : "";
  const soon = eta > 0 ? ` A worker is expected in about ${duration(eta)}.` : "";
  return [
    waiting &&
      h("p", { class: "banner", dataset: { kind: "waiting" } }, h("strong", {}, "It waits: "), coded(waiting), /[.!?]$/.test(waiting) ? "" : ".", place, soon),
    reason &&
      h(
        "p",
        { class: "banner", dataset: { kind: state === "failed" ? "bad" : "note" } },
        h("strong", {}, `${state}: `),
        reason,
      ),
    note && h("p", { class: "banner", dataset: { kind: "note" } }, coded(note)),
  ];
}

function summary(share, finished, planned, cached, elapsed, eta) {
  const left =
    eta === null
      ? [`took `, h("strong", {}, elapsed)]
      : [`${elapsed} so far, `, eta ? [h("strong", {}, eta), " to go"] : "time to go not known yet"];
  return [
    h("strong", { class: "share" }, share),
    h(
      "span",
      {},
      `${integer(finished)} of ${integer(planned)} trials of the search`,
      cached ? `, ${integer(cached)} trainings taken over` : "",
    ),
    h("span", {}, left),
  ];
}

function steps(planned, phase) {
  return Object.entries(PHASES)
    .filter(([name]) => planned[name]?.planned || planned[name]?.finished || name === phase)
    .map(([name, words]) => {
      const { finished, planned: all } = planned[name];
      const width = `${100 * Math.min(1, all ? finished / all : 0)}%`;
      return h(
        "li",
        { "aria-current": name === phase ? "step" : null },
        h("span", {}, `${words} `),
        h("span", { class: "phase-bar", "aria-hidden": "true" }, h("span", { style: { width } })),
        h("span", { class: "number" }, `${integer(finished)}/${integer(all)}`),
      );
    });
}

function blocks(states) {
  const all = d3.sum(STATES, (state) => states[state]);
  return STATES.filter((state) => states[state]).map((state) =>
    h("span", { dataset: { state }, style: { flexGrow: String(states[state] / all) } }),
  );
}

const numbers = (states) =>
  STATES.filter((state) => states[state]).map((state) =>
    h("li", {}, h("span", { class: "state", dataset: { state } }, `${integer(states[state])} ${state}`)),
  );

function workers(jobId, trials, all, score) {
  const row = (trial) =>
    h(
      "tr",
      {},
      h(
        "td",
        {},
        h("a", { href: `${root}/jobs/${jobId}/trials/${trial.trial}`, "data-link": true }, `Trial ${trial.trial}`),
      ),
      h("td", {}, trial.phase),
      h(
        "td",
        {},
        h("progress", {
          max: trial.epochs || 1,
          value: trial.epoch,
          "aria-label": `Trial ${trial.trial}: epoch ${trial.epoch} of ${trial.epochs}`,
        }),
        h("span", { class: "small number" }, `${trial.epoch}/${trial.epochs}`),
      ),
      h("td", { class: "number" }, metric(score, trial.accuracy)),
      h("td", { class: "small worker" }, trial.worker ?? "–"),
    );
  return [
    h("h3", {}, "At work now"),
    h(
      "div",
      { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Trials at work" },
      h(
        "table",
        { class: "at-work" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Trial", "Phase", "Epoch", "So far", "Worker"].map((words) => h("th", { scope: "col" }, words)),
          ),
        ),
        h("tbody", {}, trials.slice(0, SHOWN).map(row)),
      ),
    ),
    all > SHOWN && h("p", { class: "small muted" }, `and ${integer(all - Math.min(SHOWN, trials.length))} more`),
  ];
}
