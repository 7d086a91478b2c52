// Lines over a shared ground: learning curves, incumbents, anything by epoch or time.

import { asTable } from "./table.js";
import { axes, boxOf, extent } from "./axes.js";
import { h } from "../dom.js";
import { closest } from "./near.js";
import { ink } from "./paint.js";
import { surface } from "./surface.js";

const REACH = 24; // pixels from the pointer to a line that it still means

/**
 * A chart of lines. `x` and `y` are {label, format(value), domain? ([low, high])}, x also integer (no ticks between
 * whole numbers) and clock (it counts seconds). `update(series, label)` draws
 * series: [{key, name, points: [[x, y]] ascending, colour (token), width, dash, alpha, step, dots, href, note, repeats (it says
 * nothing new in a table)}]; those that come later lie above. A `legend` stands between the picture and its table. `label` says in a sentence what is seen.
 */
export function lineChart({ name, x, y, height = 280, legend = null, signal }) {
  let series = [];
  const ground = surface({ height, draw, light, walk, near, signal });
  const table = asTable(name, () => ({
    head: ["Line", x.label, y.label],
    body: series
      .filter((line) => !line.repeats)
      .toReversed()
      .flatMap((line) => line.points.map(([at, value]) => [line.name, x.format(at), y.format(value)])),
  }));
  let scales = null,
    ways = null;

  function draw({ width, height: tall, context, svg, marks }) {
    const box = boxOf(width, tall);
    const across = x.domain ?? d3.extent(series.flatMap((line) => d3.extent(line.points, (point) => point[0])));
    const up = y.domain ?? extent(series.flatMap((line) => d3.extent(line.points, (point) => point[1])));
    if (across[0] === undefined) across.splice(0, 2, 0, 1);
    scales = {
      x: d3.scaleLinear(across[0] === across[1] ? [across[0] - 0.5, across[1] + 0.5] : across, [box.left, box.right]),
      y: d3.scaleLinear(up, [box.bottom, box.top]),
    };
    axes(svg, box, {
      ...scales,
      xLabel: x.label,
      yLabel: y.label,
      xFormat: x.format,
      yFormat: y.format,
      clock: x.clock,
      whole: x.integer,
    });
    for (const line of series) paint(context, line, marks);
  }

  function paint(context, line, marks) {
    const shape = d3
      .line(
        (point) => scales.x(point[0]),
        (point) => scales.y(point[1]),
      )
      .context(context);
    context.globalAlpha = line.alpha ?? 1;
    context.strokeStyle = context.fillStyle = ink(line.colour);
    context.lineWidth = line.width ?? 1.5;
    context.setLineDash(line.dash ? [4, 3] : []);
    context.beginPath();
    (line.step ? shape.curve(d3.curveStepAfter) : shape)(line.points);
    context.stroke();
    context.setLineDash([]);
    const dots = line.dots || line.points.length === 1 ? line.points : [];
    for (const [at, value] of dots) {
      context.beginPath();
      context.arc(scales.x(at), scales.y(value), (line.width ?? 1.5) + 1.5, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    line.points.forEach(([at, value], index) => {
      const note = typeof line.note === "function" ? line.note(index) : line.note;
      const href = typeof line.href === "function" ? line.href(index) : line.href;
      const lines = [line.name, `${x.label}: ${x.format(at)}`, `${y.label}: ${y.format(value)}`, note].filter(Boolean);
      marks.push({ key: `${line.key}/${at}`, x: scales.x(at), y: scales.y(value), lines, href, line, index });
    });
  }

  function light(svg, mark) {
    const shape = d3.line(
      (point) => scales.x(point[0]),
      (point) => scales.y(point[1]),
    );
    if (mark.line.step) shape.curve(d3.curveStepAfter);
    svg.append("path").attr("d", shape(mark.line.points)).attr("class", "lit-line");
    svg.append("circle").attr("cx", mark.x).attr("cy", mark.y).attr("r", 6).attr("class", "ring");
  }

  function near(marks, x, y) {
    if (ways?.of !== marks) {
      // once for each drawing, not for each movement
      const own = d3.groups(marks, (mark) => mark.line).map(([, some]) => some);
      ways = { of: marks, own, lines: own.map((some) => some.map((mark) => [mark.x, mark.y])) };
    }
    const at = closest(ways.lines, x, y, REACH, series.at(-1).step);
    return at < 0 ? undefined : d3.least(ways.own[at], (mark) => Math.abs(mark.x - x));
  }

  /** Left and right go along a line; up and down go to the line above or below at this place. */
  function walk(marks, active, key) {
    if (!active) return marks.findLast((mark) => mark.line === series.at(-1)) ?? marks[0];
    const { line, index } = marks.find((mark) => mark.key === active.key) ?? marks[0];
    const along = marks.filter((mark) => mark.line === line);
    if (key === "Home") return along[0];
    if (key === "End") return along.at(-1);
    if (key === "ArrowLeft" || key === "ArrowRight")
      return along[Math.max(0, Math.min(along.length - 1, index + (key === "ArrowRight" ? 1 : -1)))];
    const here = marks
      .filter((mark) => Math.abs(mark.x - active.x) < 1)
      .sort((one, two) => one.y - two.y || (one.key < two.key ? -1 : 1));
    const at = here.findIndex((mark) => mark.key === active.key) + (key === "ArrowDown" ? 1 : -1);
    return here[Math.max(0, Math.min(here.length - 1, at))];
  }

  function update(lines, label) {
    series = lines.filter((line) => line.points.length);
    ground.say(label);
    ground.redraw();
    table.update();
  }

  return { element: h("div", { class: "figure" }, ground.element, legend, table.element), update };
}
