// The trials as a table: sorted, filtered and paged by the service, as many as there may be.

import { compact, duration, integer, metric } from "../format.js";
import { fill, h } from "../dom.js";
import { choice, lazily, moved, panel } from "./panel.js";
import { ask, root } from "../api.js";

const SIZE = 25;
const STATES = ["running", "queued", "paused", "complete", "pruned", "infeasible", "failed", "cancelled"];
const PHASES = ["screening", "supernet", "search", "finalist", "control", "reference", "report", "retrain"];

/** Reasons that are no word for people. */
const WHY = { rung: "behind others", budget: "no budget left" };

/** Title, what the service sorts by (or null), whether it is a number, and a row's content. */
const COLUMNS = [
  [
    "Trial",
    "number",
    false,
    (trial, job) =>
      h("a", { href: `${root}/jobs/${job}/trials/${trial.number}`, "data-link": true }, `Trial ${trial.number}`),
  ],
  [
    "Score",
    "accuracy",
    true,
    (trial, job, score) => [
      trial.front &&
        h("span", { title: "on the Pareto front" }, "◆ ", h("span", { class: "visually-hidden" }, "on the front, ")),
      metric(score, trial.accuracy),
    ],
  ],
  [
    "State",
    null,
    false,
    (trial) =>
      h(
        "span",
        { class: "state", dataset: { state: trial.state }, title: trial.reason ?? "" },
        trial.state,
        trial.reason && trial.reason !== trial.state ? `: ${WHY[trial.reason] ?? trial.reason.replaceAll("_", " ")}` : "",
      ),
  ],
  ["Phase", null, false, (trial) => trial.phase],
  ["Parameters", "params", true, (trial) => compact(trial.params)],
  ["MACs", null, true, (trial) => compact(trial.macs)],
  ["Epochs", "epoch", true, (trial) => `${trial.epoch}/${trial.epochs}`],
  [
    "Took",
    null,
    true,
    (trial) =>
      trial.cached
        ? "taken over"
        : trial.started_at && trial.finished_at
          ? duration((Date.parse(trial.finished_at) - Date.parse(trial.started_at)) / 1000)
          : "–",
  ],
  ["Worker", null, false, (trial) => h("span", { class: "worker" }, trial.worker ?? "–")],
];

export function make(jobId, { signal }) {
  const part = panel("Trials");
  const asked = new URLSearchParams(location.search); // of a link that somebody sent, or of the way back
  const wanted = {
    sort: asked.get("sort") ?? "-accuracy",
    state: asked.get("state") ?? "",
    phase: asked.get("phase") ?? "",
  };
  const cursors = [null]; // of the pages so far: the last one is shown
  const heads = new Map();
  const body = h("tbody", {});
  const rows = new Map(); // number → [text, row]: what stays the same is left in peace
  const place = h("span", { class: "small muted" });
  const back = h("button", { type: "button", onclick: () => turn(-1) }, "← Before"),
    next = h("button", { type: "button", onclick: () => turn(1) }, "Next →");
  const table = h(
    "table",
    { class: "trials" },
    h("caption", { class: "visually-hidden" }, "Trials of the job"),
    h("thead", {}, h("tr", {}, COLUMNS.map(head))),
    body,
  );
  part.tools.append(
    choice("State", [["", "all"], ...STATES.map((name) => [name, name])], wanted.state, (value) =>
      want({ state: value }),
    ),
    choice("Phase", [["", "all"], ...PHASES.map((name) => [name, name])], wanted.phase, (value) =>
      want({ phase: value }),
    ),
  );
  part.body.append(
    h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table of trials" }, table),
    h("div", { class: "row spread" }, place, h("div", { class: "row" }, back, next)),
  );
  let following = null,
    newest = null,
    turned = false;
  mark();

  function head([title, sort, number]) {
    if (!sort) return h("th", { scope: "col", class: number ? "number" : null }, title);
    const arrow = h("span", { "aria-hidden": "true" });
    const button = h(
      "button",
      { type: "button", class: "quiet", onclick: () => want({ sort: wanted.sort === `-${sort}` ? sort : `-${sort}` }) },
      title,
      arrow,
    );
    const cell = h("th", { scope: "col", class: number ? "number" : null }, button);
    heads.set(sort, [cell, arrow]);
    return cell;
  }

  /** Says in the heads what is sorted by, and in the address what is shown. */
  function mark() {
    for (const [sort, [cell, arrow]] of heads) {
      const way = wanted.sort === sort ? "ascending" : wanted.sort === `-${sort}` ? "descending" : null;
      way ? cell.setAttribute("aria-sort", way) : cell.removeAttribute("aria-sort");
      arrow.textContent = { ascending: " ▲", descending: " ▼" }[way] ?? " ↕";
    }
  }

  function want(change) {
    Object.assign(wanted, change);
    turned = true;
    cursors.splice(0, cursors.length, null);
    mark();
    const query = new URLSearchParams(
      Object.entries(wanted).filter(([name, value]) => value && !(name === "sort" && value === "-accuracy")),
    );
    history.replaceState(history.state, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
    if (newest) look(newest, true);
  }

  function turn(step) {
    step > 0 ? cursors.push(following) : cursors.pop();
    turned = true;
    if (newest) look(newest, true);
  }

  async function load() {
    const query = new URLSearchParams({
      limit: SIZE,
      ...Object.fromEntries(Object.entries(wanted).filter(([, value]) => value)),
    });
    if (cursors.at(-1)) query.set("cursor", cursors.at(-1));
    const found = await ask(`/v1/jobs/${jobId}/trials?${query}`, { signal });
    following = found.next_cursor;
    draw(found.items, newest.metric);
  }

  function draw(items, score) {
    const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const kept = new Map(rows);
    rows.clear();
    const made = items.map((trial) => {
      const text = JSON.stringify(trial);
      const [before, row] = kept.get(trial.number) ?? [];
      const fresh =
        before === text
          ? row
          : h(
              "tr",
              {},
              COLUMNS.map(([, , number, content]) =>
                h("td", { class: number ? "number" : null }, content(trial, jobId, score)),
              ),
            );
      rows.set(trial.number, [text, fresh]);
      return fresh;
    });
    const none = h(
      "tr",
      {},
      h(
        "td",
        { colspan: String(COLUMNS.length), class: "empty" },
        wanted.state || wanted.phase ? "No trial is like that." : "There is no trial yet.",
      ),
    );
    fill(body, made.length ? made : none);
    if (focused) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
    back.disabled = cursors.length === 1;
    next.disabled = !following;
    place.setAttribute("aria-live", turned ? "polite" : "off"); // said aloud to who asked, not with every trial that ends
    turned = false;
    const first = (cursors.length - 1) * SIZE;
    place.textContent = items.length
      ? `${integer(first + 1)}–${integer(first + items.length)}${total() ? ` of ${integer(total())}` : ""}`
      : "";
  }

  /** How many there are with this filter, where the job's counters tell. */
  function total() {
    if (wanted.phase) return null;
    return wanted.state ? newest.counts[wanted.state] : d3.sum(Object.values(newest.counts));
  }

  const look = lazily(part.element, { signal, key: moved, load, say: part.say });
  return {
    element: part.element,
    update: (dashboard) => {
      newest = dashboard;
      look(dashboard);
    },
  };
}
