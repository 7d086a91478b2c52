// The dialog that raises a job's budget.

import { ask, post } from "../api.js";
import { h, notify, unique } from "../dom.js";
import { integer } from "../format.js";
import { forms } from "../schema.js";
import { mend } from "../validity.js";

/** Fields of the budget: name, words, hint. */
const FIELDS = [
  ["trials", "Trials", "architectures to try, with those so far"],
  ["total_epochs", "Epochs", "of all trials of the search; empty: no limit"],
  ["seconds", "Seconds", "of the whole job, with what it has had; empty: no limit"],
  ["target", "Target", "the search ends when a trial scores this; empty: none"],
];

/** Asks for new limits and sends those that were changed; `done()` is called when the service took them. */
export async function extendDialog(jobId, done) {
  let job, api;
  try {
    [job, api] = await Promise.all([ask(`/v1/jobs/${jobId}`), ask("/openapi.json")]);
  } catch (error) {
    return notify(error.message, "bad");
  }
  const { budget } = job.spec;
  const { schemas } = api.components;
  const name = unique("title");
  const fields = FIELDS.filter(([key]) => budget[key] !== null) // a limit that it does not have cannot be raised
    .map(([key, words, hint]) => field(key, words, hint, forms(schemas.Extension.properties[key], schemas).value, budget[key]));
  const fault = h("p", { class: "fault", role: "alert" });
  const send = h("button", { class: "primary" }, "Extend");
  const dialog = h(
    "dialog",
    { "aria-labelledby": name },
    h(
      "form",
      { class: "extend", onsubmit: save, novalidate: true },
      h("h2", { id: name }, "Extend the budget"),
      h(
        "p",
        { class: "small muted" },
        `It tries ${integer(budget.trials)} architectures now. A job that has ended searches again, from what it knows; its model stays until a new one is verified.`,
      ),
      fields.map((one) => one.element),
      fault,
      h(
        "div",
        { class: "row", style: { justifyContent: "flex-end" } },
        h("button", { type: "button", onclick: () => dialog.close() }, "Back"),
        send,
      ),
    ),
  );

  async function save(event) {
    event.preventDefault();
    const changed = fields.filter((one) => one.changed());
    for (const one of fields) one.blame(null);
    fault.textContent = changed.length ? "" : "Nothing is different yet: give it more of something.";
    for (const one of changed) one.blame(one.fault());
    const wrong = fields.find((one) => one.input.getAttribute("aria-invalid"));
    if (wrong || !changed.length) return (wrong ?? fields[0]).input.focus();
    const changes = Object.fromEntries(changed.map((one) => [one.key, one.value()]));
    send.disabled = true;
    try {
      await post(`/v1/jobs/${jobId}/extend`, changes);
      dialog.close();
      done();
    } catch (error) {
      const left = (error.errors ?? []).filter(
        (entry) => !fields.some((one) => entry.field === one.key && one.blame(`${entry.value ?? "nothing"} is not possible: ${entry.mend}`)),
      );
      if (left.length || !error.errors?.length) fault.textContent = error.message;
      dialog.querySelector("[aria-invalid]")?.focus();
    } finally {
      send.disabled = false;
    }
  }

  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  fields[0].input.select();
}

/** One field, with the limits that `schema` has and what the job has `now`. */
function field(key, words, hint, schema, now) {
  const whole = schema.type === "integer";
  const id = unique("budget");
  const input = h("input", {
    id,
    type: "number",
    inputmode: whole ? "numeric" : "decimal",
    step: whole ? 1 : "any",
    required: key === "trials",
    min: now,
    max: schema.maximum,
    value: now,
    "aria-describedby": `${id}-hint ${id}-fault`,
  });
  const fault = h("span", { class: "fault", id: `${id}-fault` });
  const element = h(
    "div",
    { class: "field" },
    h("label", { for: id }, words),
    input,
    h("span", { class: "hint", id: `${id}-hint` }, hint),
    fault,
  );

  function blame(text) {
    fault.textContent = text ?? "";
    text ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
    return true;
  }

  /** What is wrong with what was typed; null: nothing. */
  function found() {
    const smaller = input.validity.rangeUnderflow && `at least ${integer(now)}, which the job has; a budget can only grow`;
    const wanted = smaller || mend(input);
    return wanted && `${input.value || "That"} is not possible: ${wanted}`;
  }

  return {
    key,
    element,
    input,
    blame,
    fault: found,
    changed: () => input.validity.badInput || input.value !== String(now),
    value: () => (input.value === "" ? null : Number(input.value)),
  };
}
