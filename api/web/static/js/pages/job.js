// A job: everything there is to see and to do, as it happens.

import { ask, root } from "../api.js";
import { fill, h } from "../dom.js";
import { connection } from "../app.js";
import { follow } from "../live.js";
import { percent } from "../format.js";

import * as actions from "../sections/actions.js";
import * as curves from "../sections/curves.js";
import * as evolution from "../sections/evolution.js";
import * as failures from "../sections/failures.js";
import * as importances from "../sections/importances.js";
import * as incumbents from "../sections/incumbents.js";
import * as parallel from "../sections/parallel.js";
import * as pareto from "../sections/pareto.js";
import * as progress from "../sections/progress.js";
import * as supernet from "../sections/supernet.js";
import * as timeline from "../sections/timeline.js";
import * as trials from "../sections/trials.js";
import * as tryit from "../sections/tryit.js";
import * as verdict from "../sections/verdict.js";

/** The sections in their order, and how much of the width they get: one column, two, or all of it. */
const SECTIONS = [
  [actions, "all"],
  [verdict, "all"],
  [progress, "one"],
  [incumbents, "two"],
  [evolution, "all"],
  [tryit, "all"],
  [supernet, "all"],
  [curves, "two"],
  [pareto, "one"],
  [parallel, "all"],
  [importances, "one"],
  [timeline, "two"],
  [trials, "all"],
  [failures, "all"],
];

const DONE = ["succeeded", "failed", "cancelled"];
const REST_MS = 10_000; // a job that has ended is looked at now and then: somebody may extend it

export async function show(main, { params, signal }) {
  const path = `/v1/jobs/${params.job}/dashboard`;
  const first = await ask(path, { signal });
  const parts = SECTIONS.map(([section, width]) => [section.make(params.job, { signal }), width]);
  const page = h(
    "div",
    { class: "job" },
    h("p", { class: "small crumbs" }, h("a", { href: `${root}/`, "data-link": true }, "All jobs")),
  );
  const jumps = jumpList(parts.slice(1).map(([part]) => part.element));
  for (const [part, width] of parts) {
    part.element.dataset.width = width;
    page.append(part.element);
    if (part === parts[0][0]) page.append(jumps.element);
  }
  fill(main, page);
  let stop = null,
    rest = null;

  /** Shows what is new; whether more is to be expected soon. */
  async function look() {
    const found = await ask(path, { signal }).catch((error) => {
      if (error.status !== 404) throw error;
      gone(page);
    });
    if (signal.aborted || !found) return false;
    put(found);
    if (!goesOn(found)) repose();
    return goesOn(found);
  }

  function put(found) {
    for (const [part] of parts) part.update(found);
    jumps.update();
    document.title = `${titled(found)} – NAS`;
  }

  function listen() {
    clearTimeout(rest);
    stop?.();
    stop = follow(params.job, look, (name) => !signal.aborted && connection(name));
  }

  function repose() {
    connection("");
    clearTimeout(rest);
    rest = setTimeout(async () => {
      if (document.hidden) return repose();
      try {
        if (await look()) listen();
      } catch {
        if (!signal.aborted) repose(); // it does not answer just now
      }
    }, REST_MS);
  }

  document.addEventListener("job-changed", listen, { signal });
  signal.addEventListener("abort", () => {
    stop?.();
    clearTimeout(rest);
  });
  put(first);
  goesOn(first) ? listen() : repose();
  return titled(first);
}

const goesOn = ({ job, counts }) => !DONE.includes(job.state) || counts.running > 0 || counts.queued > 0;
const titled = ({ job, progress: { fraction } }) =>
  `${DONE.includes(job.state) ? job.state : job.state === "paused" ? "paused" : percent(fraction, 0)} · ${job.name ?? job.id}`;

function gone(page) {
  if (page.dataset.gone) return;
  page.dataset.gone = "true";
  page.querySelector(".job-head [role=group]").replaceChildren(); // nothing can be done with it any more
  page.prepend(
    h(
      "div",
      { class: "problem", role: "alert", dataset: { width: "all" } },
      h("p", {}, "This job was deleted. What is shown is the last that was known of it."),
      h("a", { class: "button", href: `${root}/`, "data-link": true }, "All jobs"),
    ),
  );
}

/** Links to the sections that are there: the page is long, on a phone above all. */
function jumpList(sections) {
  const links = sections.map((section) => {
    const heading = section.querySelector("h2");
    const jump = (event) => {
      event.preventDefault(); // the address stays that of the page
      section.scrollIntoView();
      heading.focus({ preventScroll: true });
    };
    return [section, h("a", { href: `#${heading.id}`, onclick: jump }, heading.textContent)];
  });
  const element = h(
    "nav",
    { class: "jumps", "aria-label": "On this page", dataset: { width: "all" } },
    links.map(([, link]) => link),
  );
  const update = () =>
    links.forEach(([section, link]) => {
      link.hidden = section.hidden;
    });
  return { element, update };
}
