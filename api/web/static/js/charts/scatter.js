// Points by two measures: every trial once, the front joined by a line.

import { STATES, ink, mark, symbol } from "./paint.js";
import { axes, boxOf, extent } from "./axes.js";
import { asTable } from "./table.js";
import { h } from "../dom.js";
import { surface } from "./surface.js";

const ORDER = ["infeasible", "failed", "cancelled", "pruned", "queued", "paused", "complete", "running"]; // the last lie above

/**
 * A chart of points. `update({points: [{key, x, y, state, front, best, href, name}], x: {label, format, log}, y: the same,
 * label})` draws it; `label` says in a sentence what is seen. A `legend` stands between the picture and its table.
 */
export function scatterChart({ name, height = 320, legend = null, signal }) {
  const blank = { label: "", format: String, log: false };
  let data = { points: [], x: blank, y: blank };
  const ground = surface({ height, draw, light, signal });
  const table = asTable(name, () => ({
    head: ["Trial", data.x.label, data.y.label, "State", "On the front"],
    body: [...data.points]
      .sort((one, two) => two.front - one.front || two.y - one.y)
      .map((point) => [
        point.name,
        data.x.format(point.x),
        data.y.format(point.y),
        point.state,
        point.front ? "yes" : "no",
      ]),
  }));
  let radius = 6;

  function draw({ width, height: tall, context, svg, marks }) {
    const box = boxOf(width, tall);
    const x = scale(
      data.x,
      data.points.map((point) => point.x),
      [box.left, box.right],
    );
    const y = scale(
      data.y,
      data.points.map((point) => point.y),
      [box.bottom, box.top],
    );
    axes(svg, box, {
      x,
      y,
      xLabel: data.x.label,
      yLabel: data.y.label,
      xFormat: data.x.format,
      yFormat: data.y.format,
    });
    const many = data.points.length > 400;
    radius = many ? 26 : 46; // an area
    const front = data.points.filter((point) => point.front).sort((one, two) => one.x - two.x || one.y - two.y);
    if (front.length > 1) {
      context.beginPath();
      d3
        .line(
          (point) => x(point.x),
          (point) => y(point.y),
        )
        .context(context)(front);
      context.strokeStyle = ink("--series-3");
      context.lineWidth = 2;
      context.stroke();
    }
    const sorted = [...data.points].sort(
      (one, two) => one.front - two.front || ORDER.indexOf(one.state) - ORDER.indexOf(two.state),
    );
    for (const point of sorted) {
      const { colour, shape } = look(point);
      const [left, top] = [x(point.x), y(point.y)];
      context.globalAlpha = point.front || point.best ? 1 : point.state === "pruned" ? 0.35 : many ? 0.5 : 0.8;
      mark(context, shape, left, top, point.best ? 150 : point.front ? 80 : radius, ink(colour));
      const role = point.best ? "the best" : point.front ? "on the front" : null;
      const lines = [
        point.name,
        `${data.x.label}: ${data.x.format(point.x)}`,
        `${data.y.label}: ${data.y.format(point.y)}`,
        [point.state, role].filter(Boolean).join(", "),
      ];
      marks.push({ key: point.key, x: left, y: top, lines, href: point.href, point });
    }
    context.globalAlpha = 1;
  }

  function light(svg, { x, y, point }) {
    const { shape } = look(point);
    svg
      .append("path")
      .attr("d", symbol(shape, 150))
      .attr("transform", `translate(${x},${y})`)
      .attr("class", "lit-mark");
    svg.append("circle").attr("cx", x).attr("cy", y).attr("r", 11).attr("class", "ring");
  }

  function update(found) {
    data = found;
    ground.say(found.label);
    ground.redraw();
    table.update();
  }

  return { element: h("div", { class: "figure" }, ground.element, legend, table.element), update };
}

/** How a point is drawn. */
export function look(point) {
  if (point.best) return { colour: "--series-3", shape: "star" };
  if (point.front) return { colour: "--series-3", shape: "diamond" };
  return STATES[point.state] ?? STATES.complete;
}

function scale({ log }, values, range) {
  if (!log) return d3.scaleLinear(extent(values), range);
  const [low, high] = d3.extent(values);
  return d3.scaleLog([low / 1.15, high * 1.15], range);
}
