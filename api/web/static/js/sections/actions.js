// The head of a job's page: what it is, and what can be done to it.

import { ask, post, root } from "../api.js";
import { confirmed, fill, h, notify, unique } from "../dom.js";
import { extendDialog } from "./extend.js";
import { go } from "../app.js";
import { moment } from "../format.js";

const OPEN = ["queued", "running", "finalizing"];
const OVER = ["succeeded", "failed", "cancelled"];

/** What makes sense in which state: [state test, words, what happens]. */
const ACTIONS = [
  [(job) => OPEN.includes(job.state), "Pause", "pause"],
  [(job) => job.state === "paused", "Resume", "resume"],
  [() => true, "Extend…", "extend"],
  [() => true, "Clone…", "clone"],
  [(job) => !OVER.includes(job.state), "Cancel…", "cancel"],
  [(job) => OVER.includes(job.state), "Delete…", "delete"],
];

export function make(jobId, { signal }) {
  const path = `/v1/jobs/${jobId}`;
  const heading = h("h1", {}),
    state = h("span", { class: "state", role: "status" }),
    facts = h("p", { class: "muted small facts" });
  const edit = h(
    "button",
    { class: "quiet", type: "button", "aria-label": "Give the job another name", title: "Rename", onclick: rename },
    "✎",
  );
  const title = h("div", { class: "row" }, heading, edit, state);
  const buttons = h("div", { class: "row", role: "group", "aria-label": "What can be done with the job" });
  const links = h("p", { class: "row small links" });
  const spec = h("pre", { tabindex: "0", role: "region", "aria-label": "What was asked for, as JSON" }, "…");
  const asked = h(
    "details",
    { ontoggle: () => asked.open && showSpec() },
    h("summary", {}, "What was asked for"),
    spec,
  );
  const element = h(
    "section",
    { class: "panel job-head", "aria-label": "The job" },
    title,
    facts,
    buttons,
    links,
    asked,
  );
  let job = null,
    shown = "",
    logs = false;

  const changed = () => document.dispatchEvent(new CustomEvent("job-changed"));

  async function act(name) {
    if (name === "clone") return go(`/new?clone=${encodeURIComponent(jobId)}`);
    if (name === "extend") return extendDialog(jobId, changed);
    if (
      name === "cancel" &&
      !(await confirmed(
        "Cancel this job?",
        "Its running trials stop within ten seconds. What was found stays; the job can be taken up again with Extend.",
        "Cancel the job",
      ))
    )
      return;
    if (
      name === "delete" &&
      !(await confirmed(
        "Delete this job?",
        "Its trials, its model and all files that nothing else needs are gone for good.",
        "Delete the job",
      ))
    )
      return;
    if (buttons.ariaBusy === "true") return; // a second press while the first is under way
    buttons.ariaBusy = "true"; // not disabled, which would take the focus away
    try {
      if (name === "delete") {
        await ask(path, { method: "DELETE" });
        notify(`The job ${job.name ?? jobId} was deleted.`, "good");
        return go("/", { replace: true });
      }
      const answer = await post(`${path}/${name}`);
      if (signal.aborted) return;
      show({ ...job, state: answer.state, reason: answer.reason });
      changed();
    } catch (error) {
      notify(error.message, "bad");
      if (error.status === 404 || error.status === 409) changed(); // somebody else was faster: show what they did
    } finally {
      buttons.ariaBusy = "false";
    }
  }

  function rename() {
    const id = unique("name");
    const input = h("input", { id, value: job.name ?? "", maxlength: "200", autocomplete: "off" });
    const fault = h("p", { class: "fault", role: "alert" });
    const back = () => {
      fill(title, heading, edit, state);
      edit.focus();
    };
    const form = h(
      "form",
      { class: "row", onsubmit: save },
      h("label", { class: "visually-hidden", for: id }, "Name of the job"),
      input,
      h("button", { class: "primary" }, "Save"),
      h("button", { type: "button", onclick: back }, "Back"),
      fault,
    );
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") back();
    });
    fill(title, h("h1", { class: "visually-hidden" }, heading.textContent), form);
    input.select();

    async function save(event) {
      event.preventDefault();
      try {
        const answer = await ask(path, { method: "PATCH", body: { name: input.value.trim() || null } });
        show({ ...job, name: answer.name });
        back();
        changed();
      } catch (error) {
        fault.textContent = error.message;
        input.setAttribute("aria-invalid", "true");
      }
    }
  }

  async function showSpec() {
    try {
      const found = await ask(path, { signal });
      const text = JSON.stringify(found.spec, null, 2);
      if (spec.textContent !== text) spec.textContent = text;
      logs = found.spec.tensorboard;
      drawLinks();
    } catch (error) {
      if (error.name !== "AbortError") spec.textContent = error.message;
    }
  }

  function drawLinks() {
    const link = (to, words, more = {}) => h("a", { href: `${root}${path}${to}`, ...more }, words);
    fill(
      links,
      link("/report", "Report, one page", { target: "_blank", rel: "noopener" }),
      link("/dashboard", "JSON", { target: "_blank", rel: "noopener" }),
      logs && link("/tensorboard", "TensorBoard logs", { download: "" }),
    );
  }

  function show(found) {
    job = found;
    const text = JSON.stringify(
      ["name", "state", "verdict", "strategy", "dataset", "owner", "priority", "started_at", "finished_at"].map(
        (name) => job[name],
      ),
    );
    if (text === shown) return;
    shown = text;
    heading.textContent = job.name ?? `Job ${job.id}`;
    if (state.textContent !== job.state) {
      state.textContent = job.state;
      state.dataset.state = job.state;
    }
    const times = job.finished_at
      ? `ended ${moment(job.finished_at)}`
      : job.started_at
        ? `started ${moment(job.started_at)}`
        : `asked for ${moment(job.created_at)}`;
    fill(
      facts,
      [
        ["Data set", job.dataset],
        ["Strategy", job.strategy],
        ["Engine", job.engine],
        ["Owner", job.owner],
        job.priority ? ["Priority", job.priority] : null,
        ["Id", h("code", {}, job.id)],
      ]
        .filter(Boolean)
        .map(([name, value]) => h("span", {}, `${name} `, h("strong", {}, value))),
      h("span", {}, times),
    );
    const focused = buttons.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    const model =
      job.verdict &&
      h("a", { class: "button primary", href: `${root}${path}/model`, download: "" }, "Download the model");
    fill(
      buttons,
      model,
      ACTIONS.filter(([sensible]) => sensible(job)).map(([, words, name]) => {
        const kind = name === "cancel" || name === "delete" ? "danger" : null;
        return h("button", { type: "button", class: kind, dataset: { action: name }, onclick: () => act(name) }, words);
      }),
    );
    if (focused !== null)
      (buttons.querySelector(`[data-action="${focused}"]`) ?? buttons.querySelector("button")).focus();
    drawLinks();
  }

  showSpec();
  return { element, update: (dashboard) => show({ ...dashboard.job, verdict: Boolean(dashboard.verdict) }) };
}
