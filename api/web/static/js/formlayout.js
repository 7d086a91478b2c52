// Where the fields of the new-job form stand: what most people want first, the rest in groups that open.

import { fill, h, unique } from "./dom.js";
import { label } from "./schema.js";
import { makeUpload } from "./upload.js";

const BASICS = ["dataset", "strategy", "objectives"];
const SHORT = ["name", "budget.trials", "budget.epochs", "seed"];
const GROUPS = [
  ["Budget", ["budget"]], ["What may be searched: the space", ["space"]], ["Training: the recipe", ["recipe"]], ["Limits on cost", ["limits"]],
  ["Stopping trials early", ["pruning", "screening"]], ["Retraining and verdict", ["final"]], ["Where to start from", ["start", "transfer"]],
  ["Where it runs", ["device", "priority", "engine", "resources", "scheduler"]],
];

/** The form's element, and what shows its state: faults, counts of what was changed, the spec as JSON. */
export function makeLayout({ form, schema, strategies, brief, stored, start, typed }) {
  const placed = new Set([...BASICS, ...SHORT]);
  const groups = GROUPS.map(([title, prefixes]) => {
    const paths = prefixes.flatMap((prefix) => form.paths(prefix)).filter((path) => !placed.has(path));
    paths.forEach((path) => placed.add(path));
    return makeGroup(title, paths, form, prefixes);
  });
  const rest = form.paths().filter((path) => !placed.has(path)); // what the schema has, and this table does not know
  if (rest.length) groups.push(makeGroup("More", rest, form, []));
  const options = h("div", { class: "fields" });
  const about = h("p", { class: "muted small" });
  const upload = h("details", {}, h("summary", {}, "Upload images of your own"), makeUpload((info) => { upload.open = false; stored(info); }));
  const summary = h("div", { class: "faults", tabindex: "-1", role: "status" });
  const button = h("button", { class: "primary" }, "Start the search");
  const json = h("textarea", { rows: 12, spellcheck: "false", "aria-label": "The job as JSON", oninput: (event) => typed(event.target.value) });
  const jsonFault = h("p", { class: "fault", role: "status" });
  let strategy = null;

  const element = h("form", { class: "form", novalidate: true, onsubmit: start, "aria-label": "New job" },
    h("section", { class: "panel", "aria-label": "Basics" },
      form.field("dataset"), upload, h("div", { class: "fields" }, SHORT.map(form.field)),
      form.field("strategy"), h("div", { class: "options" }, about, options), form.field("objectives")),
    h("section", { class: "panel", "aria-label": "More settings" }, h("header", {}, h("h2", {}, "More settings"), finder(form, groups)), groups.map((group) => group.element)),
    h("section", { class: "panel", "aria-label": "As JSON" },
      h("details", {}, h("summary", {}, "As JSON"), h("p", { class: "hint" }, "What is sent: only what was changed. It can be edited here too."), json, jsonFault)),
    h("div", { class: "panel form-end" }, summary, h("div", { class: "row" }, button, brief)));

  return {
    element, json,
    jsonFault: (text) => { jsonFault.textContent = text; },
    busy: (is) => { button.disabled = is; button.textContent = is ? "Starting…" : "Start the search"; },
    counts: () => groups.forEach((group) => group.count()),
    faults: (found, error, { focus = false } = {}) => {
      groups.forEach((group) => group.faults(found));
      if (found.length) fill(summary, h("h2", {}, found.length === 1 ? "One field is not right yet" : `${found.length} fields are not right yet`), h("ul", {}, found.map(entry)));
      else fill(summary, error && h("p", { class: "fault" }, error.message));
      if (focus) summary.focus();
    },
    /** Shows the options of a strategy; those of the one before go. */
    strategy: (name) => {
      const wanted = name ?? schema.properties.strategy.default;
      if (wanted === strategy) return;
      strategy = wanted;
      form.drop("options");
      const found = strategies.find((item) => item.name === wanted);
      if (found) form.add("options", found.options);
      fill(options, form.paths("options").map(form.field));
      fill(about, found && `${sentence(found.summary)}${found.source ? ` ${sentence(`after ${found.source}`)}` : ""}`);
    },
  };
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;

function entry({ field, mend, path, input }) {
  const show = (event) => { event.preventDefault(); reveal(input); };
  return h("li", {}, path ? h("a", { href: `#${input.id || ""}`, onclick: show }, field) : h("code", {}, field), ": ", mend);
}

/** Opens what a field stands in, and goes to it. */
function reveal(input) {
  for (let place = input.parentElement; place; place = place.parentElement) {
    place.hidden = false;
    if (place.tagName === "DETAILS") place.open = true;
  }
  input.scrollIntoView({ block: "center" });
  input.focus();
}

function makeGroup(title, paths, form, prefixes) {
  const badge = h("span", { class: "badge", hidden: true });
  const wrong = h("span", { class: "badge bad", hidden: true });
  // A group of several objects names them; a group of one needs no more than its title.
  const parts = prefixes.length > 1 ? prefixes.map((prefix) => [prefix, paths.filter((path) => path === prefix || path.startsWith(`${prefix}.`))]) : [["", paths]];
  const blocks = parts.map(([prefix, own]) => [own.length > 1 && prefix ? h("h3", {}, label(prefix)) : null, own]);
  const loose = blocks.filter(([head]) => !head).flatMap(([, own]) => own);
  const element = h("details", { class: "group" }, h("summary", {}, h("span", {}, title), badge, wrong),
    h("div", { class: "fields" }, loose.map(form.field)),
    blocks.filter(([head]) => head).map(([head, own]) => h("div", { class: "block" }, head, h("div", { class: "fields" }, own.map(form.field)))));
  return {
    element, paths,
    count: () => {
      const count = paths.filter((path) => form.control(path).get() !== undefined).length;
      badge.hidden = !count;
      badge.textContent = `${count} changed`;
    },
    faults: (found) => {
      const count = found.filter((fault) => paths.includes(fault.path)).length;
      wrong.hidden = !count;
      wrong.textContent = `${count} not right`;
    },
  };
}

/** A box that leaves of all settings those whose name or description has the words. */
function finder(form, groups) {
  const look = (event) => {
    const words = event.target.value.trim().toLowerCase();
    for (const { element, paths } of groups) {
      let any = false;
      for (const path of paths) {
        const field = form.field(path);
        field.hidden = words !== "" && !`${path} ${field.textContent}`.toLowerCase().includes(words);
        any ||= !field.hidden;
      }
      element.hidden = !any;
      element.open = words !== "" && any;
    }
  };
  return h("input", { type: "search", "aria-label": "Find a setting", placeholder: "Find a setting", id: unique("find"), oninput: look });
}
