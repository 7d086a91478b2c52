// Two pictures of a verdict: the scores of all retrainings in rows, and differences with their intervals against zero.

import { extent, keepInside } from "./charts/axes.js";
import { asText } from "./charts/units.js";
import { metric as written } from "./format.js";
import { surface } from "./charts/surface.js";

const ROW = 58; // pixels
const LINE = 17; // more, where a row's words need two lines
const CHARACTER = 7.6; // of the rows' words, at the most on average
const BOX = { left: 12, right: 18, top: 12 };

/** Rows of dots with mean and interval. `rows`: [{group, name, accuracies, mean, low, high}]; `score` is what `metric` is called. */
export function dots(rows, { score, metric, signal }) {
  const said = rows.map((row) => `${row.name}: ${written(metric, row.mean)} on average, ${row.accuracies.length} retrainings`).join("; ");
  const all = rows.flatMap((row) => [...row.accuracies, row.low, row.high]);
  const names = rows.map((row) => [row.name, written(metric, row.mean)]);
  return picture({
    label: `Test ${score} of every retraining. ${said}.`, rows, names, domain: extent(all, 0.08), format: asText(metric), signal,
    title: [`Test ${score}`, "diamond: mean, bar: 95 % interval"],
    paint(group, row, x, y) {
      line(group, x(row.low), x(row.high), y + 14);
      mark(group, x(row.mean), y + 14);
      row.accuracies.forEach((value, at) => group.append("circle").attr("class", "dot").attr("r", 5).attr("cx", x(value)).attr("cy", y - 3 + jitter(at))
        .append("title").text(written(metric, value)));
    },
  });
}

/** Intervals against zero: in points of a share, else in the metric's own unit. `rows`: [{group, name, mean, low, high}]. */
export function intervals(rows, { metric, signal }) {
  const short = (value) => ahead(metric, value, 1);
  const exact = ({ mean, low, high }) => `${ahead(metric, mean, 2)} (${ahead(metric, low, 2)} to ${ahead(metric, high, 2)})`; // as the sentence has it
  const names = rows.map((row) => [row.name, exact(row)]);
  const said = rows.map((row) => `${row.name} ${exact(row)}${unit(metric)}`).join("; ");
  return picture({
    label: `The winner's lead, with 95 % intervals: ${said}.`, rows, names, zero: true, format: short, signal,
    domain: extent([0, ...rows.flatMap((row) => [row.low, row.high])], 0.12), title: [metric === "r2" ? "R² ahead" : "Points ahead", "dashed: no difference"],
    paint(group, row, x, y) {
      group.append("rect").attr("class", "band").attr("x", x(row.low)).attr("width", Math.max(1, x(row.high) - x(row.low))).attr("y", y - 6).attr("height", 16).attr("rx", 4);
      mark(group, x(row.mean), y + 2);
    },
  });
}

/** A difference of scores with its sign: of shares in points, of R² as it is. */
export const ahead = (metric, value, digits) =>
  `${value < 0 ? "−" : value > 0 ? "+" : ""}${metric === "r2" ? Math.abs(value).toFixed(digits + 1) : Math.abs(100 * value).toFixed(digits)}`;
export const unit = (metric) => (metric === "r2" ? "" : " points");

/** `names` are [name, value] of each row: beside each other, below each other where it is narrow, as the title's parts are. */
function picture({ label, rows, names, domain, title, format, paint, signal, zero = false }) {
  const folds = (width) => Math.max(title.join("; ").length, ...names.map((words) => words.join(": ").length)) * CHARACTER > width - BOX.left - BOX.right;
  const rowOf = (width) => ROW + (folds(width) ? LINE : 0);
  const below = (width) => 46 + (folds(width) ? LINE : 0);
  const height = (width) => 16 + rows.length * rowOf(width) + below(width);
  const ground = surface({ height, draw, signal, pointed: false });
  ground.say(label);
  ground.redraw();

  function draw({ width, svg }) {
    const folded = folds(width), lead = folded ? LINE : 0;
    const box = { ...BOX, right: width - BOX.right, bottom: height(width) - below(width) };
    const x = d3.scaleLinear(domain, [box.left, box.right]);
    const axis = (group, made) => svg.append("g").attr("class", group).attr("transform", `translate(0,${box.bottom})`).call(made.ticks(Math.max(2, Math.floor(width / 90))));
    axis("grid", d3.axisBottom(x).tickFormat("").tickSize(box.top - box.bottom)).select(".domain").remove();
    axis("axis", d3.axisBottom(x).tickFormat(format).tickSizeOuter(0)).attr("font-size", null).attr("font-family", null).selectAll("text").attr("fill", null);
    (folded ? title : [title.join("; ")]).forEach((words, at) =>
      svg.append("text").attr("x", (box.left + box.right) / 2).attr("y", box.bottom + 36 + at * LINE).attr("text-anchor", "middle").text(words));
    keepInside(svg, width - 2);
    rows.forEach((row, at) => {
      const group = svg.append("g").attr("data-group", row.group), middle = box.top + at * rowOf(width) + 34 + lead;
      (folded ? names[at] : [names[at].join(": ")]).forEach((words, line) =>
        group.append("text").attr("class", "row-name").attr("x", box.left).attr("y", middle - 18 - lead + line * LINE).text(words));
      if (zero) group.append("line").attr("class", "zero").attr("x1", x(0)).attr("x2", x(0)).attr("y1", middle - 12).attr("y2", middle + 16); // not through the words
      paint(group, row, x, middle);
    });
  }

  return ground.element;
}

function line(group, from, to, y) {
  group.append("path").attr("class", "interval").attr("fill", "none").attr("d", `M${from} ${y - 4}v8M${from} ${y}H${to}M${to} ${y - 4}v8`);
}

function mark(group, x, y) {
  group.append("path").attr("class", "mean").attr("d", `M${x} ${y - 6}l6 6l-6 6l-6 -6z`);
}

const jitter = (at) => ((at * 7) % 5) - 2; // retrainings of the same score lie beside each other
