// Axes with names and a grid. Ticks follow the room there is.

/** Draws both axes of a plot into an SVG; `box` is {left, top, right, bottom} in pixels, `x` and `y` are d3 scales; `clock`: x counts seconds, `whole`: x has no halves. */
export function axes(svg, box, { x, y, xLabel, yLabel, xFormat, yFormat, clock, whole }) {
  const across = Math.max(2, Math.floor((box.right - box.left) / 84));
  const up = Math.max(2, Math.floor((box.bottom - box.top) / 44));
  const bottom = axis(d3.axisBottom(x), x, across, xFormat, clock, whole).tickSizeOuter(0).tickPadding(6);
  const left = axis(d3.axisLeft(y), y, up, yFormat).tickSizeOuter(0).tickPadding(6);
  svg
    .append("g")
    .attr("class", "grid")
    .attr("transform", `translate(${box.left},0)`)
    .call(axis(d3.axisLeft(y), y, up, () => "").tickSize(box.left - box.right))
    .call((group) => group.select(".domain").remove());
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${box.bottom})`).call(bottom);
  svg.append("g").attr("class", "axis").attr("transform", `translate(${box.left},0)`).call(left);
  svg
    .append("text")
    .attr("x", (box.left + box.right) / 2)
    .attr("y", box.bottom + 36)
    .attr("text-anchor", "middle")
    .text(xLabel);
  svg.append("text").attr("x", 2).attr("y", 12).text(yLabel);
  for (const text of svg.selectAll(".axis text").nodes()) text.removeAttribute("fill"); // the style sheet has the colour
  for (const group of svg.selectAll(".axis, .grid").nodes()) {
    group.removeAttribute("font-family");
    group.removeAttribute("font-size");
  }
  keepInside(svg, box.right + 12);
}

/** Words at the last tick of an axis end where the picture does, instead of being cut there. */
export function keepInside(svg, right) {
  svg.selectAll(".axis .tick").each(function () {
    const text = this.querySelector("text");
    const at = this.transform.baseVal.consolidate()?.matrix.e ?? 0;
    const over = at + text.getComputedTextLength() / 2 - right;
    if (over > 0 && text.textContent && getComputedStyle(text).textAnchor === "middle") text.setAttribute("dx", -over);
  });
}

function axis(made, scale, count, format, clock, whole) {
  if (whole) return made.tickValues(scale.ticks(2 * count).filter(Number.isInteger)).tickFormat(format);
  if (clock)
    return made
      .tickValues(moments(scale.domain(), count))
      .tickFormat((seconds) => format(seconds).replace(/ 0 \w+$/, ""));
  if (!scale.base) return made.ticks(count).tickFormat(format ?? null);
  const [low, high] = scale.domain();
  const steps =
    high / low > 10
      ? scale.ticks(count).filter((value) => /^[125]/.test(value.toExponential()))
      : d3.ticks(low, high, count);
  const kept = steps.length > count + 1 ? steps.filter((_, at) => at % Math.ceil(steps.length / count) === 0) : steps;
  return made.tickValues(kept).tickFormat(format ?? null);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400]; // seconds

/** Ticks at round minutes, hours and days. */
function moments([low, high], count) {
  const rough = (high - low) / count;
  const step = STEPS.find((one) => one >= rough) ?? 86_400 * Math.ceil(rough / 86_400);
  return d3.range(Math.ceil(low / step) * step, high + 1e-9, step);
}

/** The plot's box within a picture of this size. */
export const boxOf = (width, height, { left = 60, right = 14, top = 24, bottom = 44 } = {}) => ({
  left,
  top,
  right: width - right,
  bottom: height - bottom,
});

/** The least and the greatest of values with some air around them; [0, 1] where there are none. */
export function extent(values, air = 0.05) {
  const [low, high] = d3.extent(values);
  if (low === undefined) return [0, 1];
  const width = high - low || Math.abs(high) * 0.1 || 1;
  return [low - width * air, high + width * air];
}
