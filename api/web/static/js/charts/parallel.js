// Parallel coordinates: an axis for each choice, a line for each trial, and ranges of the axes that are let through.

import { asTable } from "./table.js";
import { axesOf, passes, short, text } from "./choices.js";
import { h } from "../dom.js";
import { closest } from "./near.js";
import { ink } from "./paint.js";
import { surface } from "./surface.js";

const TOP = 58,
  BOTTOM = 16,
  LEFT = 96,
  RIGHT = 60,
  ROOM = 116; // pixels; ROOM is the least from axis to axis
const REACH = 14; // from the pointer to a line

/**
 * The chart. `update({dimensions: [{name, kind, choices, log}], items: [{trial, score, values}], score: {label, format}},
 * limits, href)` draws it; `limits` is a Map from a dimension's name to [low, high] of its values, of a category's places.
 * `brushed(name, limits or null)` hears what was drawn onto an axis by mouse or finger.
 */
export function parallelChart({ name, height = 340, brushed, signal }) {
  let data = { dimensions: [], items: [], score: { label: "Score", format: String } },
    limits = new Map(),
    href = null;
  const ground = surface({ height, draw, light, walk, near, signal });
  const inner = h("div", { class: "parallel-inner" }, ground.element);
  const scroller = h(
    "div",
    { class: "table-scroll", tabindex: "0", role: "region", "aria-label": `${name}, sideways` },
    inner,
  );
  const table = asTable(name, () => ({
    head: ["Trial", data.score.label, ...data.dimensions.map((dimension) => dimension.name)],
    body: chosen()
      .sort((one, two) => two.score - one.score)
      .map((item) => [
        `Trial ${item.trial}`,
        data.score.format(item.score),
        ...item.values.map((value) => text(value)),
      ]),
  }));
  let places = [],
    shown = [],
    drag = null;

  const chosen = () => data.items.filter((item) => passes(item, data, limits));

  function draw({ width, height: tall, context, svg, marks }) {
    const all = axesOf(data);
    const across = d3.scalePoint(d3.range(all.length), [LEFT, width - RIGHT]);
    places = all.map((axis, at) => ({ ...axis, x: across(at), y: axis.scale.copy().range([tall - BOTTOM, TOP]) }));
    const ranks = d3.sort(data.items.map((item) => item.score)); // by rank: most scores lie close together
    const blend = d3.interpolateLab(ink("--series-2"), ink("--series-1"));
    const colour = (score) => blend(d3.bisectLeft(ranks, score) / Math.max(1, ranks.length - 1));
    const through = new Set(chosen());
    shown = [...data.items].sort((one, two) => through.has(one) - through.has(two) || one.score - two.score);
    context.lineWidth = data.items.length > 200 ? 1 : 1.4;
    for (const item of shown) {
      const inside = through.has(item);
      context.globalAlpha = inside ? (through.size > 150 ? 0.45 : 0.8) : 0.07;
      context.strokeStyle = inside ? colour(item.score) : ink("--muted");
      context.beginPath();
      path(item).context(context)(item.line);
      context.stroke();
      if (inside) {
        const lines = [
          `Trial ${item.trial}`,
          `${data.score.label}: ${data.score.format(item.score)}`,
          ...data.dimensions.map((dimension, at) => `${dimension.name}: ${text(item.values[at])}`),
        ].slice(0, 9);
        item.line.forEach(([x, y], at) =>
          marks.push({
            key: `${item.trial}/${at}`,
            x,
            y,
            lines,
            href: href(item.trial),
            item,
            edge: at === item.line.length - 1,
          }),
        );
      }
    }
    context.globalAlpha = 1;
    places.forEach((place, at) => frame(svg, place, tall, at % 2));
  }

  /** Where an item crosses the axes; a value it does not have leaves a gap. */
  function path(item) {
    item.line = places
      .map((place, at) => [
        place.x,
        at < data.dimensions.length ? place.at(item.values[at], place.y) : place.y(item.score),
      ])
      .filter(([, y]) => y !== undefined && Number.isFinite(y));
    return d3.line();
  }

  function frame(svg, place, tall, low) {
    const group = svg.append("g").attr("class", "axis").attr("transform", `translate(${place.x},0)`);
    const axis = d3.axisLeft(place.y).tickSize(4);
    if (place.choices) axis.tickFormat((value) => short(text(value), 12));
    else axis.tickValues(place.y.ticks(5).slice(0, 9)).tickFormat(place.format ?? d3.format("~s"));
    group.call(axis);
    group
      .append("text")
      .attr("class", "axis-name")
      .attr("y", TOP - (low ? 14 : 32))
      .attr("text-anchor", "middle")
      .text(short(place.name, 30))
      .append("title")
      .text(place.name);
    const limit = limits.get(place.name);
    if (limit) {
      const held = (value) =>
        Math.max(TOP, Math.min(tall - BOTTOM, value === -Infinity ? tall : value === Infinity ? 0 : place.y(value)));
      const [one, two] = limit.map((value) => (place.choices ? place.y(place.choices[value]) : held(value)));
      group
        .append("rect")
        .attr("class", "brush")
        .attr("x", -9)
        .attr("width", 18)
        .attr("y", Math.min(one, two) - 3)
        .attr("height", Math.abs(one - two) + 6);
    }
    if (drag?.name === place.name) {
      group
        .append("rect")
        .attr("class", "brush")
        .attr("x", -9)
        .attr("width", 18)
        .attr("y", Math.min(drag.from, drag.to))
        .attr("height", Math.abs(drag.from - drag.to));
    }
    group
      .append("rect")
      .attr("class", "handle")
      .attr("x", -16)
      .attr("width", 32)
      .attr("y", TOP)
      .attr("height", tall - BOTTOM - TOP)
      .on("pointerdown", (event) => begin(event, place))
      .append("title")
      .text(`Draw along ${place.name} to let a range through`);
  }

  function begin(event, place) {
    event.preventDefault();
    const box = ground.element.getBoundingClientRect();
    const at = (moved) => Math.max(TOP, Math.min(box.height - BOTTOM, moved.clientY - box.top));
    drag = { name: place.name, from: at(event), to: at(event) };
    const move = (moved) => {
      drag.to = at(moved);
      ground.redraw();
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      removeEventListener("pointercancel", up);
      const { from, to } = drag;
      drag = null;
      brushed(
        place.name,
        Math.abs(from - to) < 5 ? null : place.within(Math.min(from, to), Math.max(from, to), place.y),
      );
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", up);
  }

  function light(svg, { item }) {
    svg.append("path").attr("d", d3.line()(item.line)).attr("class", "lit-line");
  }

  function near(marks, x, y) {
    const ends = marks.filter((mark) => mark.edge);
    return ends[
      closest(
        ends.map((mark) => mark.item.line),
        x,
        y,
        REACH,
      )
    ];
  }

  /** Up and down go through the trials that are let through, by score. */
  function walk(marks, active, key) {
    const ends = marks.filter((mark) => mark.edge);
    const at = active ? ends.findIndex((mark) => mark.item === active.item) : ends.length;
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[key];
    return ends[Math.max(0, Math.min(ends.length - 1, at + step))];
  }

  function update(found, ranges, link) {
    [data, limits, href] = [found, ranges, link];
    inner.style.minWidth = `${LEFT + RIGHT + ROOM * data.dimensions.length}px`;
    const count = chosen().length;
    ground.say(
      `${count} of ${data.items.length} trials as lines over ${data.dimensions.length} choices and their score; ${best(chosen(), data.score)}`,
    );
    ground.redraw();
    table.update();
    return count;
  }

  return { element: h("div", { class: "figure" }, scroller, table.element), update };
}

const best = (items, score) =>
  items.length ? `the best of them is ${score.format(d3.max(items, (item) => item.score))}.` : "none is let through.";
