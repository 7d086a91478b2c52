// Data sets: what there is, images of one's own, and what is deleted again.

import { ask, root } from "../api.js";
import { confirmed, fill, h, notify } from "../dom.js";
import { ago, integer, moment } from "../format.js";
import { bytes, makeUpload } from "../upload.js";

const TASKS = { single_label: "one label an image", multi_label: "several labels an image", regression: "numbers" };
/** What is named of a data set: one, several. */
const NAMED = { single_label: ["class", "classes"], multi_label: ["label", "labels"], regression: ["target", "targets"] };
const SHOWN = 8; // classes named without a click

export async function show(main, { signal }) {
  const list = h("div", { class: "cards" });
  const refresh = async () => {
    const { items } = await ask("/v1/datasets", { signal });
    const [own, built] = [items.filter((item) => !isBuiltIn(item)), items.filter(isBuiltIn)];
    fill(list, [...own, ...built].map((item) => card(item, refresh)));
  };
  await refresh();
  fill(main,
    h("h1", {}, "Data sets"),
    h("section", { class: "panel", "aria-label": "Upload" }, h("h2", {}, "Add your own images"), makeUpload(refresh)),
    h("section", { "aria-label": "All data sets" }, list));
  return "Data sets";
}

/** What everybody has, and stays or comes back by itself. */
const isBuiltIn = (item) => item.owner === null;

function card(item, refresh) {
  const facts = [
    ["Images", item.images === null ? "not loaded yet: the first job does it" : `${integer(item.images)}, ${item.image[2]}×${item.image[1]} pixels, ${item.image[0] === 1 ? "grey" : "colour"}`],
    item.splits && ["Split", `${integer(item.splits.train)} training, ${integer(item.splits.validation)} validation, ${integer(item.splits.test)} test`],
    item.task && ["Labels", TASKS[item.task] ?? item.task],
    item.size_bytes && ["Stored", bytes(item.size_bytes)],
    item.owner && ["Owner", item.owner],
    item.created_at && ["Added", h("time", { datetime: item.created_at, title: moment(item.created_at) }, ago(item.created_at))],
  ].filter(Boolean);
  return h("article", { class: "panel", "aria-label": item.name },
    h("header", {}, h("h2", {}, item.name), h("a", { class: "button", href: `${root}/new?dataset=${encodeURIComponent(item.name)}`, "data-link": true, "aria-label": `New job on ${item.name}` }, "New job on it")),
    h("p", { class: "muted" }, item.summary),
    h("dl", { class: "pairs" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    classes(item), warnings(item), item.created_at && h("div", { class: "row" }, remover(item, refresh)));
}

function classes({ classes: names, counts, task }) {
  if (!names?.length) return null;
  const most = Math.max(1, ...Object.values(counts ?? {}));
  const row = (name) => h("li", {}, h("span", { class: "class-name" }, name), Object.keys(counts ?? {}).length > 0 && [h("meter", { max: most, value: counts[name] ?? 0, "aria-hidden": "true" }), h("span", { class: "number" }, integer(counts[name] ?? 0))]);
  const [first, rest] = [names.slice(0, SHOWN), names.slice(SHOWN)];
  return h("details", {}, h("summary", {}, `${integer(names.length)} ${(NAMED[task] ?? NAMED.single_label)[names.length === 1 ? 0 : 1]}: ${first.slice(0, 4).join(", ")}${names.length > 4 ? ", …" : ""}`),
    h("ul", { class: "classes" }, first.map(row), rest.map(row)));
}

function warnings({ warnings: found }) {
  if (!found?.length) return null;
  return h("details", { class: "warnings" }, h("summary", {}, `${integer(found.length)} ${found.length === 1 ? "warning" : "warnings"}`), h("ul", {}, found.map((text) => h("li", {}, text))));
}

function remover(item, refresh) {
  const act = async () => {
    if (!(await confirmed(`Delete ${item.name}?`, "Its images are deleted from the service. Jobs on it keep it from being deleted.", "Delete"))) return;
    try {
      const of = item.owner ? `?owner=${encodeURIComponent(item.owner)}` : "";
      await ask(item.links.self + of, { method: "DELETE" });
      notify(`The data set ${item.name} is deleted.`);
      await refresh();
      document.getElementById("main").focus({ preventScroll: true });
    } catch (error) {
      notify(error.message, "bad");
    }
  };
  return h("button", { type: "button", class: "danger", "aria-label": `Delete ${item.name}`, onclick: act }, "Delete");
}
