// Spans of time in lanes: which worker was at which trial, and when it had nothing to do.

import { asTable } from "./table.js";
import { keepInside } from "./axes.js";
import { h } from "../dom.js";
import { ink } from "./paint.js";
import { surface } from "./surface.js";

const LANE = 24,
  TOP = 8,
  BOTTOM = 34; // pixels

/**
 * The chart. `update({lanes: [names], spans: [{key, lane (a place in lanes), from, to (ms), colour (token), bad, open, lines, href}],
 * window: [from, to], row: (span) → [texts], head: [texts], label})` draws it. A `legend` stands between the picture and its table.
 */
export function spanChart({ name, legend = null, signal }) {
  let data = { lanes: [], spans: [], window: [0, 1], head: [], row: () => [], label: "" };
  const ground = surface({
    height: () => TOP + BOTTOM + LANE * Math.max(1, data.lanes.length),
    draw,
    light,
    walk,
    signal,
  });
  const table = asTable(name, () => ({ head: data.head, body: data.spans.toReversed().map(data.row) }));

  function draw({ width, height, context, svg, marks }) {
    const left = Math.min(170, Math.max(70, width * 0.22));
    const x = d3.scaleTime(data.window, [left, width - 14]);
    const lane = (at) => TOP + at * LANE;
    data.lanes.forEach((worker, at) => {
      svg
        .append("text")
        .attr("x", 0)
        .attr("y", lane(at) + 15)
        .text(fitted(worker, left))
        .append("title")
        .text(worker);
      svg
        .append("line")
        .attr("class", "lane")
        .attr("x1", left)
        .attr("x2", width - 14)
        .attr("y1", lane(at) + LANE)
        .attr("y2", lane(at) + LANE);
    });
    const axis = d3
      .axisBottom(x)
      .ticks(Math.max(2, Math.floor((width - left) / 90)))
      .tickFormat(clock(data.window))
      .tickSizeOuter(0)
      .tickPadding(6);
    svg
      .append("g")
      .attr("class", "axis")
      .attr("transform", `translate(0,${height - BOTTOM})`)
      .call(axis)
      .call((group) => {
        group.attr("font-family", null).attr("font-size", null).selectAll("text").attr("fill", null);
      });
    keepInside(svg, width - 2);
    for (const span of data.spans) {
      if (span.to < data.window[0] || span.from > data.window[1]) continue;
      const [from, to] = [Math.max(left, x(span.from)), Math.min(width - 14, x(span.to))];
      const [top, wide] = [lane(span.lane) + 4, Math.max(2, to - from - (to - from > 4 ? 1 : 0))];
      context.fillStyle = ink(span.colour);
      context.globalAlpha = span.dim ? 0.45 : 0.9;
      context.fillRect(from, top, wide, LANE - 8);
      context.globalAlpha = 1;
      if (span.bad) hatch(context, from, top, wide);
      if (span.open) {
        context.fillStyle = ink("--ink");
        context.fillRect(from + wide - 2, top - 2, 2, LANE - 4);
      }
      const [begin, end] = [from, from + wide];
      marks.push({
        key: span.key,
        x: (begin + end) / 2,
        y: top + (LANE - 8) / 2,
        lines: span.lines,
        href: span.href,
        begin,
        wide,
        top,
        span,
      });
    }
  }

  function hatch(context, from, top, wide) {
    context.save();
    context.beginPath();
    context.rect(from, top, wide, LANE - 8);
    context.clip();
    context.strokeStyle = ink("--surface");
    context.lineWidth = 1.5;
    context.beginPath();
    for (let at = from - LANE; at < from + wide; at += 6) {
      context.moveTo(at, top + LANE);
      context.lineTo(at + LANE, top);
    }
    context.stroke();
    context.restore();
  }

  function light(svg, { begin, top, wide }) {
    svg
      .append("rect")
      .attr("x", begin - 2)
      .attr("y", top - 2)
      .attr("width", wide + 4)
      .attr("height", LANE - 4)
      .attr("class", "ring");
  }

  /** Left and right go through a worker's trials, up and down to another worker's at about that time. */
  function walk(marks, active, key) {
    const order = [...marks].sort((one, two) => one.span.lane - two.span.lane || one.x - two.x);
    const mark = active && order.find((one) => one.key === active.key);
    if (key === "End") return order.at(-1);
    if (!mark || key === "Home") return order[0];
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const along = order.filter((one) => one.span.lane === mark.span.lane);
      return along[Math.max(0, Math.min(along.length - 1, along.indexOf(mark) + (key === "ArrowRight" ? 1 : -1)))];
    }
    const lanes = [...new Set(order.map((one) => one.span.lane))];
    const lane =
      lanes[Math.max(0, Math.min(lanes.length - 1, lanes.indexOf(mark.span.lane) + (key === "ArrowDown" ? 1 : -1)))];
    return d3.least(
      order.filter((one) => one.span.lane === lane),
      (one) => Math.abs(one.x - mark.x),
    );
  }

  function update(found) {
    data = found;
    ground.say(found.label);
    ground.redraw();
    table.update();
  }

  return {
    element: h(
      "div",
      { class: "figure" },
      h("div", { class: "lanes", tabindex: "0", role: "region", "aria-label": `${name}, all lanes` }, ground.element),
      legend,
      table.element,
    ),
    update,
  };
}

/** How moments are written on an axis: as the reader's clock has them, finer or coarser by how long it is. */
function clock([from, to]) {
  const minutes = (to - from) / 60_000;
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (minutes < 5) parts.second = "2-digit";
  if (minutes > 24 * 60) Object.assign(parts, { month: "short", day: "numeric" });
  const format = new Intl.DateTimeFormat(undefined, parts);
  return (moment) => format.format(moment);
}

/** The end of a name tells workers apart: host and process come last. */
function fitted(name, width) {
  const most = Math.floor(width / 7) - 1;
  return name.length <= most ? name : `…${name.slice(1 - most)}`;
}
