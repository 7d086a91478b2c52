// An architecture as pictures: two cells with coloured edges, a chain of layers, or the plain residual network.

import { edgeName, drawCell, edgesOf, nodeName } from "./celldraw.js";
import { chain } from "./chain.js";
import { edgeCosts } from "./costs.js";
import { asTable } from "./charts/table.js";
import { fill, h } from "./dom.js";
import { compact, integer } from "./format.js";
import { ORDER, paint, summary } from "./operations.js";

const GAP = 16;
const FRAME = 10; // border and padding of a picture
const READABLE = 0.8; // drawn smaller than that, nobody reads the labels: the picture scrolls
const LARGEST = 1.35;
const NAMES = { normal: "Normal cell", reduce: "Reduction cell" };

/**
 * Draws a candidate ({genotype | layers | residual, shape, recipe}) as an element. Options: `before`, another candidate,
 * shows which edges are new against it and which are gone; `image` is [channels, height, width] of the data, for costs.
 */
export function architecture(candidate, { before = null, image = null } = {}) {
  if (candidate?.genotype) return genotype(candidate, before?.genotype ?? null, image);
  if (candidate?.layers) return chain(candidate.layers, before?.layers ?? null);
  if (candidate?.residual) {
    const { width, blocks } = candidate.residual;
    return h("p", {}, `The plain residual network: three stages of ${blocks} basic block${blocks === 1 ? "" : "s"}, ${width}, ${2 * width} and ${4 * width} channels wide.`);
  }
  return h("p", { class: "muted" }, "There is no architecture here: a supernet holds all of them.");
}

function genotype(candidate, before, image) {
  const costs = candidate.shape ? edgeCosts(candidate.shape, image) : () => null;
  const cells = Object.keys(NAMES).map((kind) => {
    const edges = edgesOf(candidate.genotype[kind], before?.[kind]);
    return { kind, edges, cost: (edge) => costs(kind === "reduce", edge.op, edge.source) };
  });
  const pictures = cells.map(picture);
  const place = h("div", { class: "cells" }, pictures.map(({ element }) => element));
  new ResizeObserver(() => requestAnimationFrame(() => arrange(place, pictures))).observe(place);
  return h("div", { class: "architecture" }, place,
    legend(cells.flatMap(({ edges }) => edges)), table(cells, before !== null));
}

/** What has changed between two genotypes, in words: a sentence for each cell that is another one. */
export function changes(now, before) {
  return Object.keys(NAMES).flatMap((kind) => {
    const edges = edgesOf(now[kind], before[kind]).filter((edge) => edge.op && edge.change !== "same");
    const words = edges.map((edge) => `${edge.change === "new" ? "+" : "−"} ${edge.op} (${edgeName(edge)})`);
    return words.length ? [`${NAMES[kind]}: ${words.join(", ")}.`] : [];
  });
}

/** Draws both cells from left to right or from top to bottom, below or beside each other: as is best to read. */
function arrange(place, pictures) {
  const room = place.clientWidth - FRAME;
  if (room <= 0) return;
  const [across, down] = ["across", "down"].map((way) => Math.max(...pictures.map(({ width }) => width(way))));
  const half = (room - GAP - FRAME) / 2;
  const [way, beside] = across <= half ? ["across", true] : across * READABLE <= room ? ["across", false]
    : down * READABLE <= half ? ["down", true] : down < across ? ["down", false] : ["across", false];
  place.style.gridTemplateColumns = `repeat(${beside ? 2 : 1}, minmax(0, 1fr))`;
  for (const one of pictures) one.draw(way, beside ? half : room);
}

function picture({ kind, edges, cost }) {
  const name = NAMES[kind];
  const said = h("p", { class: "visually-hidden", role: "status" });
  const tip = h("div", { class: "tip", hidden: true });
  const scroll = h("div", { class: "cell-scroll", tabindex: 0, role: "group", "aria-label": `${name}: the arrow keys go from edge to edge` });
  const element = h("div", { class: "cell" }, h("h3", {}, name), h("div", { class: "chart" }, scroll, tip), said);
  let groups = [], at = -1, drawn = "";

  function show(index, aloud) {
    at = index;
    const lit = index < 0 ? null : route(groups.map(([edge]) => edge), groups[index][0]);
    groups.forEach(([edge, group], i) => {
      group.classList.toggle("chosen", i === index);
      group.classList.toggle("dim", lit !== null && !lit.has(edge));
    });
    tip.hidden = index < 0;
    if (index < 0) return;
    const [edge, group, [x, y]] = groups[index];
    const words = describe(edge, cost(edge));
    fill(tip, words.map((line, i) => h(i ? "div" : "strong", {}, line)));
    const svg = group.ownerSVGElement, scale = svg.clientWidth / svg.viewBox.baseVal.width;
    if (aloud) {
      scroll.scrollTo({ left: x * scale - scroll.clientWidth / 2 });
      said.textContent = `${index + 1} of ${groups.length}: ${words.join(". ")}`;
    }
    const left = x * scale + svg.getBoundingClientRect().left - scroll.getBoundingClientRect().left;
    tip.style.left = `${Math.max(0, Math.min(left - tip.offsetWidth / 2, scroll.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y * scale + 16}px`;
  }

  const made = (way) => drawCell(edges, way, sentence(name, edges));

  function draw(way, room) {
    if (drawn === `${way}${room}`) return;
    drawn = `${way}${room}`;
    const { svg, width, groups: found } = made(way);
    groups = found;
    svg.style.width = `${Math.round(width * Math.min(LARGEST, Math.max(1, room / width)))}px`;
    svg.style.minWidth = `${Math.round(width * READABLE)}px`;
    groups.forEach(([, group], index) => {
      group.addEventListener("pointerenter", () => show(index, false));
      group.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show(-1, false));
      group.addEventListener("click", () => show(index, false));
    });
    fill(scroll, svg);
    show(-1, false);
  }

  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -at, End: groups.length - 1 - at }[event.key];
    if (event.key === "Escape") show(-1, false);
    if (step === undefined || !groups.length) return;
    event.preventDefault();
    show(at < 0 ? (step < 0 ? groups.length - 1 : 0) : (at + step + groups.length) % groups.length, true);
  });
  scroll.addEventListener("blur", () => show(-1, false));
  scroll.addEventListener("click", (event) => event.target.closest(".edge") || show(-1, false));
  return { element, draw, width: (way) => made(way).width };
}

/** All edges on a way from an input of the cell to its output that goes through an edge. */
function route(edges, chosen) {
  const lit = new Set([chosen]);
  const follow = (edge, next) => edges.filter((other) => !lit.has(other) && next(edge, other)).forEach((other) => { lit.add(other); follow(other, next); });
  follow(chosen, (edge, other) => other.target === edge.source && edge.source > 1);
  follow(chosen, (edge, other) => edge.target > 1 && other.source === edge.target);
  return lit;
}

function describe(edge, cost) {
  const head = `${edge.op || "concatenated"}: ${edgeName(edge)}`;
  const change = { new: "new in this architecture", gone: "no longer there", same: null }[edge.change];
  const costs = !edge.op ? null : !cost ? "its cost is not known" : cost.params === 0 && !cost.macs ? "no parameters"
    : `${integer(cost.params)} parameters${cost.macs === null ? "" : `, ${compact(cost.macs)} MACs`} in ${cost.cells} cell${cost.cells === 1 ? "" : "s"}`;
  return [head, edge.op ? summary(edge.op) : "joins the cell's output", costs, change].filter(Boolean);
}

function sentence(name, edges) {
  const now = edges.filter((edge) => edge.op && edge.change !== "gone");
  const many = new Map();
  for (const edge of now) many.set(edge.op, (many.get(edge.op) ?? 0) + 1);
  const nodes = new Set(now.map((edge) => edge.target)).size;
  return `${name}: ${nodes} nodes, ${now.length} edges: ${[...many].map(([op, count]) => `${count} ${op}`).join(", ")}. The table below lists them.`;
}

function legend(edges) {
  const used = new Set(edges.map((edge) => edge.op).filter(Boolean));
  const known = ORDER.filter((op) => used.has(op));
  const own = [...used].filter((op) => !ORDER.includes(op)).sort();
  const changed = edges.some((edge) => edge.change !== "same");
  const entry = (op, kind, words) => h("li", { title: op ? summary(op) : null },
    h("svg", { width: 30, height: 12, "aria-hidden": "true" }, h("g", { class: `edge ${kind}`, "data-op": op ? paint(op) : "output" },
      h("path", { class: "halo", d: "M2 6H28" }), h("path", { class: "line", d: "M2 6H28" }))), words);
  return h("ul", { class: "op-legend", "aria-label": "Colours of the edges" },
    [...known, ...own].map((op) => entry(op, "same", h("code", {}, op))),
    entry("", "same", "joins the output"), changed && [entry("", "new", "+ new"), entry("", "gone", "− no longer there")]);
}

function table(cells, compared) {
  const found = asTable("The edges of both cells", () => ({
    head: ["Cell", "From", "To", "Operation", "Parameters", "MACs", ...(compared ? ["Against the one before"] : [])],
    body: cells.flatMap(({ kind, edges, cost }) => edges.map((edge) => {
      const of = edge.op ? cost(edge) : null;
      return [NAMES[kind], nodeName(edge.source), nodeName(edge.target), edge.op || "concatenated", edge.op ? integer(of?.params) : "",
        edge.op ? integer(of?.macs) : "", ...(compared ? [{ same: "as before", new: "new", gone: "no longer there" }[edge.change]] : [])];
    })),
    note: "Parameters and multiply-accumulates are those of all cells of the kind together.",
  }));
  return found.element;
}
