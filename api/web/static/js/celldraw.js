// One cell as SVG: nodes, coloured edges with their operations, and what is new or gone against another cell.

import { h } from "./dom.js";
import { layout } from "./layout.js";
import { paint, shortName } from "./operations.js";

const CHARACTER = 7.3; // of the labels' 12 px monospace; textLength holds them to it
const LABEL = 18;
const ARROW = 8;
const MARGIN = 10;
/** How large things are where the cell runs from left to right, and where it runs from top to bottom. */
const SIZES = {
  across: { node: [40, 40], label: (text) => [text.length * CHARACTER, LABEL], bend: [34, 90] },
  down: { node: [30, 44], label: (text) => [LABEL, text.length * CHARACTER + 4], bend: [24, 50] },
};

/** The edges of a cell, those to its output included: {source, target (−1: output), op ("" to the output), change}. */
export function edgesOf(cell, before = null) {
  const now = list(cell);
  if (!before) return now.map((edge) => ({ ...edge, change: "same" }));
  const rest = list(before);
  const kept = now.map((edge) => {
    const at = rest.findIndex((other) => same(edge, other));
    if (at >= 0) rest.splice(at, 1);
    return { ...edge, change: at >= 0 ? "same" : "new" };
  });
  return [...kept, ...rest.map((edge) => ({ ...edge, change: "gone" }))];
}

const same = (a, b) => a.op === b.op && a.source === b.source && a.target === b.target;

function list(cell) {
  const inside = cell.nodes.flatMap((edges, index) => edges.map(([op, source]) => ({ op, source, target: index + 2 })));
  return [...inside, ...cell.concat.map((source) => ({ op: "", source, target: -1 }))];
}

/** What a node is called: the outputs of the two cells before, numbers, the output of this one. */
export function nodeName(index) {
  return index === 0 ? "c k−2" : index === 1 ? "c k−1" : index === "output" || index === -1 ? "output" : String(index);
}

/** What an edge is called. */
export function edgeName({ source, target }) {
  return `${source > 1 ? "node " : ""}${nodeName(source)} → ${target < 0 ? "output" : `node ${target}`}`;
}

const SIGNS = { same: "", new: "+ ", gone: "− " };
const kept = new Map(); // a cell is laid out once

/**
 * Draws edges (of edgesOf). `way` is "across" (left to right, whole names) or "down" (top to bottom, short names).
 * Returns {svg, width, height, groups}: `groups` are [edge, its <g>, [x, y] of its label], in the order of the edges.
 */
export function drawCell(edges, way, label) {
  const count = 1 + Math.max(1, ...edges.map((edge) => Math.max(edge.source, edge.target)));
  const wired = edges.map(({ source, target, op, change }, index) => (
    { index, source, target, label: op && SIGNS[change] + (way === "down" ? shortName(op) : op) }));
  const found = placed(`${way}${count}${JSON.stringify(wired)}`, () => layout(count, wired, SIZES[way]));
  const turn = ([along, across]) => (way === "down" ? [across + MARGIN, along + MARGIN] : [along + MARGIN, across + MARGIN]);
  const [width, height] = turn([found.along, found.across]).map((end) => Math.ceil(end + MARGIN));
  const groups = found.wires.map((wire) => {
    const edge = edges[wire.edge.index];
    return [edge, drawWire(edge, wire, turn, way), turn(wire.label ?? middle(wire.points))];
  });
  groups.sort(([a], [b]) => edges.indexOf(a) - edges.indexOf(b));
  const below = groups.filter(([edge]) => !edge.op), above = groups.filter(([edge]) => edge.op);
  const svg = h("svg", { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height },
    [...below, ...above].map(([, group]) => group), found.nodes.map((node) => drawNode(node, turn, way, edges)));
  return { svg, width, height, groups };
}

function placed(key, make) {
  if (!kept.has(key)) kept.set(key, make());
  if (kept.size > 200) kept.delete(kept.keys().next().value);
  return kept.get(key);
}

const middle = (points) => [(points[0][1] + points.at(-1)[0]) / 2, (points[0][2] + points.at(-1)[2]) / 2];

function drawWire(edge, wire, turn, way) {
  const at = (along, across) => turn([along, across]).map((one) => one.toFixed(1)).join(" ");
  const [[, from, across], ...rest] = wire.points;
  let line = `M${at(from, across)}`, last = [from, across];
  rest.forEach(([begin, end, here], index) => {
    const arrives = index === rest.length - 1 ? begin - ARROW : begin;
    const half = (last[0] + begin) / 2;
    line += `C${at(half, last[1])} ${at(half, here)} ${at(arrives, here)}`;
    if (index < rest.length - 1) line += `L${at(end, here)}`;
    last = [end, here];
  });
  const tip = [[last[0] - ARROW, last[1] - 4], [last[0], last[1]], [last[0] - ARROW, last[1] + 4]].map((one) => at(...one)).join(" ");
  return h("g", { class: `edge ${edge.change}`, "data-op": edge.op ? paint(edge.op) : "output" },
    h("path", { class: "reach", d: line }), h("path", { class: "halo", d: line }), h("path", { class: "line", d: line }),
    h("polygon", { points: tip }), edge.op ? drawLabel(wire, edge, turn, way) : null);
}

function drawLabel(wire, edge, turn, way) {
  const text = wire.edge.label;
  const [x, y] = turn(wire.label);
  const width = text.length * CHARACTER;
  const weight = edge.change === "new" ? "bold" : null;
  return [
    h("rect", { x: x - width / 2 - (way === "down" ? 2 : 4), y: y - LABEL / 2, width: width + (way === "down" ? 4 : 8), height: LABEL, rx: 4 }),
    h("text", { x: x - width / 2, y: y + 4, textLength: width, "font-weight": weight }, text),
  ];
}

function drawNode(node, turn, way, edges) {
  const [x, y] = turn(node.at);
  const [along, across] = node.size;
  const [width, height] = way === "down" ? [across, along] : [along, across];
  const index = node.name === "output" ? -1 : node.name;
  const gone = index > 1 && edges.every((edge) => edge.target !== index || edge.change === "gone");
  const kind = index === -1 || index < 2 ? "end" : "inner";
  return h("g", { class: `node ${kind}${gone ? " gone" : ""}` },
    h("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 9 }), nodeText(node.name, x, y));
}

/** Inputs and output are named by their cell as a subscript. */
function nodeText(name, x, y) {
  const cell = { 0: "k−2", 1: "k−1", output: "k" }[name];
  return h("text", { x, y: y + 5, "text-anchor": "middle" }, cell ? ["c", h("tspan", { dy: 3, "font-size": 9 }, cell)] : String(name));
}
