// What went wrong: how often and why, and the newest failed trials with their tracebacks.

import { ask, root } from "../api.js";
import { fill, h } from "../dom.js";
import { lazily, panel } from "./panel.js";
import { ago, integer } from "../format.js";

const NEWEST = 10;

/** What a reason means, and what follows from it. */
const REASONS = {
  lost: "The worker stopped answering; the trial goes on elsewhere from its last checkpoint.",
  preempted: "The worker was stopped or something it needs did not answer; the trial goes back to the queue.",
  out_of_memory: "The device had not enough memory; it is tried once more with a smaller batch.",
  disk_full: "There was no room left for its files. Free some space on the service's disk.",
  diverged: "The loss was no number any more: it counts as a bad architecture.",
  infeasible: "It breaks a limit of the job and was never trained.",
  error: "Code raised an error; the traceback is below.",
};

export function make(jobId, { signal }) {
  const part = panel("What went wrong");
  const table = h("div", {}),
    list = h("div", { class: "failed" });
  part.body.append(table, list);
  part.element.hidden = true;
  const known = new Map(); // number → its details, which may be open

  async function load(dashboard) {
    if (!dashboard.counts.failed) return fill(list);
    const { items, next_cursor } = await ask(`/v1/jobs/${jobId}/trials?state=failed&sort=-number&limit=${NEWEST}`, {
      signal,
    });
    const fresh = items.filter((trial) => !known.has(trial.number));
    for (const trial of fresh) known.set(trial.number, failed(trial));
    if (fresh.length || !list.childElementCount)
      fill(
        list,
        h("h3", {}, "The newest failed trials"),
        items.map((trial) => known.get(trial.number)),
        next_cursor && h("p", { class: "small muted" }, "More are in the table of trials, by their state."),
      );
  }

  function failed(trial) {
    const text = h("div", { class: "traceback" }, "…");
    const element = h(
      "details",
      { class: "as-table", ontoggle: () => element.open && open(trial.number, text) },
      h(
        "summary",
        {},
        `Trial ${trial.number}: ${trial.reason ?? "failed"} `,
        h("span", { class: "muted small" }, `${trial.phase}, attempt ${trial.attempt}, ${ago(trial.finished_at)}`),
      ),
      text,
    );
    return element;
  }

  async function open(number, place) {
    try {
      const trial = await ask(`/v1/jobs/${jobId}/trials/${number}`, { signal });
      const one = (words, error) => [
        h("p", { class: "small" }, words),
        h("pre", { tabindex: "0", role: "region", "aria-label": `Traceback of trial ${number}` }, error),
      ];
      const before = trial.setbacks.filter((setback) => setback.error && setback.error !== trial.error);
      fill(
        place,
        trial.error ? one("", trial.error) : h("p", { class: "small" }, "Nothing was raised."),
        before.map((setback) =>
          one(
            `Attempt ${setback.attempt} before it: ${setback.reason}, worker ${setback.worker ?? "unknown"}`,
            setback.error,
          ),
        ),
        h(
          "p",
          {},
          h("a", { href: `${root}/jobs/${jobId}/trials/${number}`, "data-link": true }, "All about this trial"),
        ),
      );
    } catch (error) {
      if (error.name !== "AbortError") fill(place, h("p", { class: "problem" }, error.message));
    }
  }

  const look = lazily(part.element, {
    signal,
    key: ({ counts, reasons }) => JSON.stringify([counts.failed, reasons.error]),
    load,
    say: part.say,
  });
  let shown = "";

  function update(dashboard) {
    const reasons = Object.entries(dashboard.reasons).filter(
      ([name, { trials, again }]) => name !== "cancelled" && (trials || again),
    ); // what somebody wanted is no fault
    part.element.hidden = !reasons.length && !dashboard.counts.failed;
    if (JSON.stringify(reasons) !== shown) {
      shown = JSON.stringify(reasons);
      fill(
        table,
        reasons.length > 0 &&
          h(
            "div",
            { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Reasons" },
            h(
              "table",
              {},
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  ["Reason", "Trials ended", "Tried again", "What it means"].map((words, at) =>
                    h("th", { scope: "col", class: at === 1 || at === 2 ? "number" : null }, words),
                  ),
                ),
              ),
              h(
                "tbody",
                {},
                reasons.map(([name, { trials, again }]) =>
                  h(
                    "tr",
                    {},
                    h("th", { scope: "row" }, name.replaceAll("_", " ")),
                    h("td", { class: "number" }, integer(trials)),
                    h("td", { class: "number" }, integer(again)),
                    h("td", {}, REASONS[name] ?? ""),
                  ),
                ),
              ),
            ),
          ),
      );
    }
    look(dashboard);
  }

  return { element: part.element, update };
}
