// Heat maps of a supernet: for each cell the share of every operation on every edge, epoch by epoch. They are tables.

import { fill, h } from "./dom.js";
import { paint, shortName } from "./operations.js";

const NAMES = { normal: "Normal cell", reduce: "Reduction cell" };
const DEEPEST = 45; // percent of the accent colour: text stays readable on it

/** Returns {element, update(epochs)}; epochs as GET …/trials/N has them, with metrics.alpha, alpha_edges, alpha_ops (and alpha_edge_shares). */
export function heatMaps() {
  const slider = h("input", { type: "range", min: 0, step: 1, "aria-label": "Epoch of the heat maps", oninput: () => draw(Number(slider.value)) });
  const where = h("span", { class: "small" });
  const most = h("span", { class: "small muted number" });
  const maps = h("div", { class: "heats" });
  const element = h("div", { class: "panel-body" }, h("h3", {}, "Shares of the operations"),
    h("div", { class: "stepper" }, slider, where),
    h("div", { class: "row small" }, "0", h("span", { class: "heat-scale", "aria-hidden": "true" }), most, h("span", { class: "muted" }, "Framed: the largest share of an edge.")), maps);
  let epochs = [], at = -1, highest = 1;

  function draw(to) {
    at = to;
    const { epoch, metrics } = epochs[at];
    slider.value = at;
    slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
    where.textContent = `Epoch ${epoch} of ${epochs.at(-1).epoch}`;
    fill(maps, Object.keys(NAMES).filter((kind) => metrics.alpha[kind]).map((kind) => table(kind, metrics, highest)));
  }

  function update(found) {
    const follows = at === epochs.length - 1;
    epochs = found;
    highest = Math.max(...epochs.flatMap(({ metrics }) => Object.values(metrics.alpha).flat(2)));
    most.textContent = highest.toFixed(2);
    slider.max = epochs.length - 1;
    slider.hidden = epochs.length < 2;
    draw(follows ? epochs.length - 1 : Math.min(at, epochs.length - 1));
  }

  return { element, update };
}

function table(kind, { alpha, alpha_edges: edges, alpha_ops: ops, alpha_edge_shares: weights }, highest) {
  const body = alpha[kind].map((shares, edge) => {
    const largest = Math.max(...shares);
    return h("tr", {}, h("th", { scope: "row" }, edges[edge]), shares.map((share) => cell(share, share === largest, highest)),
      weights && h("td", {}, weights[kind][edge].toFixed(2)));
  });
  return h("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": `${NAMES[kind]}: shares of the operations` },
    h("table", { class: "heat" }, h("caption", {}, NAMES[kind]),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Edge"), ops.map((op) => h("th", { scope: "col", "data-op": paint(op), title: op }, shortName(op))), weights && h("th", { scope: "col", title: "share of the edge among those into its node" }, "edge"))), h("tbody", {}, body)));
}

function cell(share, largest, highest) {
  const depth = Math.round((DEEPEST * share) / highest);
  return h("td", { class: largest ? "most" : null, style: { background: `color-mix(in srgb, var(--accent) ${depth}%, var(--surface))` } }, share.toFixed(2));
}
