// The dialog that raises a job's budget.

import { ask, post } from "../api.js";
import { h, notify, unique } from "../dom.js";
import { integer } from "../format.js";

/** Fields of the budget: name, words, hint, and how the input counts. */
const FIELDS = [
  ["trials", "Trials", "architectures to try, with those so far", { step: 1, min: 1 }],
  ["total_epochs", "Epochs", "of all trials of the search; empty: no limit", { step: 1, min: 1 }],
  ["seconds", "Seconds", "of the whole job, with what it has had; empty: no limit", { step: "any", min: 1 }],
  ["target", "Target", "the search ends when a trial scores this; empty: none", { step: "any" }],
];

/** Asks for new limits and sends those that were changed; `done()` is called when the service took them. */
export async function extendDialog(jobId, done) {
  let budget;
  try {
    budget = (await ask(`/v1/jobs/${jobId}`)).spec.budget;
  } catch (error) {
    return notify(error.message, "bad");
  }
  const name = unique("title");
  const fields = FIELDS.map(([key, words, hint, bounds]) => field(key, words, hint, bounds, budget[key]));
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
    const changes = Object.fromEntries(fields.filter((one) => one.changed()).map((one) => [one.key, one.value()]));
    for (const one of fields) one.blame(null);
    fault.textContent = "";
    if (!Object.keys(changes).length) {
      fault.textContent = "Nothing is different yet: give it more of something.";
      return;
    }
    send.disabled = true;
    try {
      await post(`/v1/jobs/${jobId}/extend`, changes);
      dialog.close();
      done();
    } catch (error) {
      const left = (error.errors ?? []).filter(
        (entry) => !fields.some((one) => entry.field === one.key && one.blame(entry.mend)),
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

function field(key, words, hint, bounds, now) {
  const id = unique("budget");
  const input = h("input", {
    id,
    type: "number",
    inputmode: "decimal",
    ...bounds,
    value: now ?? "",
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

  return {
    key,
    element,
    input,
    blame,
    changed: () => input.value !== String(now ?? ""),
    value: () => (input.value === "" ? null : Number(input.value)),
  };
}
