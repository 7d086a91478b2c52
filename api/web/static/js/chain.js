// A network of layers as a chain from the image to the classifier; layers side by side stand in one row.

import { h } from "./dom.js";
import { integer } from "./format.js";
import { LAYERS } from "./operations.js";

const HALVING = new Set(["conv_down", "max_pool", "avg_pool"]);

/** Draws [[kind, width, kernel, parallel], …] as an element; rows that are new against `before` are marked. */
export function chain(layers, before = null) {
  const groups = grouped(layers);
  const rest = before ? grouped(before).map((group) => JSON.stringify(group)) : null;
  let halvings = 0;
  const rows = groups.map((group) => {
    halvings += HALVING.has(group[0][0]);
    const at = rest?.indexOf(JSON.stringify(group));
    const fresh = rest !== null && at < 0;
    if (at >= 0) rest.splice(at, 1);
    return row(group, halvings, fresh);
  });
  const end = (words) => h("li", { class: "chain-row" }, h("div", { class: "layer-end" }, words));
  return h("div", { class: "architecture" },
    h("ol", { class: "chain", "aria-label": `A network of ${layers.length} layers, from the image to the classifier` }, end("image"), rows, end("average pooling, classifier")),
    rest?.length ? h("p", { class: "small muted" }, `No longer there: ${rest.map((group) => JSON.parse(group).map(words).join(" beside ")).join("; ")}.`) : null);
}

function grouped(layers) {
  const found = [];
  for (const layer of layers) layer[3] ? found.at(-1).push(layer) : found.push([layer]);
  return found;
}

function row(group, halvings, fresh) {
  const scale = halvings ? `1/${2 ** halvings} of the side` : "full size";
  const joined = group.length > 1 ? `, ${integer(group.reduce((sum, layer) => sum + layer[1], 0))} channels together` : "";
  return h("li", { class: `chain-row${fresh ? " new" : ""}` }, h("div", { class: group.length > 1 ? "layers beside" : "layers" }, group.map(box)),
    h("span", { class: "small muted" }, `${fresh ? "+ new, " : ""}${scale}${joined}`));
}

function box(layer) {
  const [kind, width, kernel] = layer;
  return h("div", { class: "layer", "data-op": kind, title: LAYERS[kind] ?? null }, h("strong", {}, kind), h("span", {}, `${kernel}×${kernel}, ${integer(width)} channels`));
}

const words = ([kind, width, kernel]) => `${kind} ${kernel}×${kernel} to ${width} channels`;
