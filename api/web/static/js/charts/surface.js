// The ground of a chart: a canvas for what is many, an SVG above it for axes and what is lit up, a tip, and ways to
// the single marks by mouse, finger and keyboard. It draws anew when its size, its data or the colours change.

import { go } from "../app.js";
import { root } from "../api.js";
import { h } from "../dom.js";

const REACH = 36; // pixels from the pointer to a mark that it still means
const ARROWS = {
  ArrowRight: ["x", 1],
  ArrowLeft: ["x", -1],
  ArrowUp: ["y", -1],
  ArrowDown: ["y", 1],
  Home: ["x", -Infinity],
  End: ["x", Infinity],
};

/**
 * A chart's element, without content of its own.
 *
 * `draw(place)` is called at most once a frame with {width, height, context, svg (a d3 selection), marks}: it paints, and
 * puts what can be pointed at into `marks`: {x, y, lines (texts of the tip), href (a page of ours), key, …}.
 * `light(svg, mark)` shows in the SVG which mark is meant; `walk(marks, mark, key)` may say where an arrow key leads, and
 * `near(marks, x, y)` which mark is pointed at.
 * Where nothing can be pointed at, `pointed` is false: the keyboard passes it by.
 * Returns {element, redraw(), say(label)}; `say` gives the picture its text alternative.
 */
export function surface({ height = 280, draw, light = ring, walk = stride, near = null, pointed = true, signal }) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const below = h("svg", { class: "below", "aria-hidden": "true" }); // the grid, which runs behind what is drawn
  const svg = h("svg", { role: "img", "aria-label": "A chart without data yet" });
  const lit = h("g", { class: "lit" });
  const told = h("p", { class: "visually-hidden", role: "status" });
  const tip = h("div", { class: "tip", hidden: true });
  const plot = h("div", { class: "plot" }, below, canvas, svg, tip);
  const element = h("div", { class: "chart" }, plot, told);
  let marks = [],
    tree = null,
    active = null,
    frame = null,
    seen = true,
    width = 0;

  function redraw() {
    frame ??= requestAnimationFrame(() => {
      frame = null;
      if (seen) paint();
    });
  }

  function paint() {
    width = element.clientWidth;
    if (!width) return;
    const tall = typeof height === "function" ? height(width) : height;
    const fine = Math.min(2, devicePixelRatio || 1);
    if (canvas.width !== Math.round(width * fine) || canvas.height !== Math.round(tall * fine)) {
      [canvas.width, canvas.height] = [Math.round(width * fine), Math.round(tall * fine)];
      canvas.style.height = svg.style.height = below.style.height = `${tall}px`;
      for (const layer of [below, svg]) layer.setAttribute("viewBox", `0 0 ${width} ${tall}`);
    }
    const context = canvas.getContext("2d");
    context.setTransform(fine, 0, 0, fine, 0, 0);
    context.clearRect(0, 0, width, tall);
    svg.replaceChildren();
    marks = [];
    draw({ width, height: tall, context, svg: d3.select(svg), marks });
    below.replaceChildren(...svg.querySelectorAll(":scope > .grid"));
    svg.append(lit);
    tree = null; // made when somebody points
    const same = active && marks.find((one) => one.key === active.key);
    same ? show(same, false) : hide();
  }

  function show(mark, aloud) {
    active = mark;
    lit.replaceChildren();
    light(d3.select(lit), mark);
    tip.replaceChildren(...mark.lines.map((line) => h("div", {}, line)));
    tip.hidden = false;
    const left = Math.max(0, Math.min(mark.x + 12, width - tip.offsetWidth - 4));
    tip.style.left = `${mark.x + 12 > left + 1 ? Math.max(0, mark.x - tip.offsetWidth - 12) : left}px`;
    tip.style.top = `${Math.max(0, mark.y - tip.offsetHeight - 10)}px`;
    plot.style.cursor = mark.href ? "pointer" : "default";
    if (aloud) told.textContent = mark.lines.join(", ");
  }

  function hide() {
    active = null;
    tip.hidden = true;
    lit.replaceChildren();
    plot.style.cursor = "default";
  }

  function meant(event) {
    const box = plot.getBoundingClientRect();
    if (near) return near(marks, event.clientX - box.left, event.clientY - box.top);
    tree ??= d3.quadtree(
      marks,
      (mark) => mark.x,
      (mark) => mark.y,
    );
    return tree.find(event.clientX - box.left, event.clientY - box.top, REACH);
  }

  const open = (mark) => mark?.href && go(mark.href);
  let touched = null; // the first touch shows a mark, the second opens it
  if (pointed) plot.tabIndex = 0;
  if (pointed) plot.setAttribute("role", "application");
  plot.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const mark = meant(event);
    if (mark) {
      if (mark !== active) show(mark, false);
    } else if (active) hide();
  });
  plot.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch" && document.activeElement !== plot) hide();
  });
  plot.addEventListener("pointerdown", (event) => {
    touched = event.pointerType === "touch" ? (active?.key ?? "none") : null;
  });
  plot.addEventListener("click", (event) => {
    const mark = meant(event);
    if (!mark) return hide();
    const again = touched === null || touched === mark.key;
    show(mark, false);
    if (again && (event.ctrlKey || event.metaKey) && mark.href) window.open(root + mark.href);
    else if (again) open(mark);
  });
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && active) open(active);
    else if (event.key === "Escape") hide();
    else if (event.key in ARROWS && marks.length && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      show(walk(marks, active, event.key), true);
    }
  });

  const sizes = new ResizeObserver(() => {
    if (element.clientWidth !== width) redraw();
  });
  const views = new IntersectionObserver(
    ([entry]) => {
      seen = entry.isIntersecting;
      if (seen) redraw();
    },
    { rootMargin: "200px" },
  );
  sizes.observe(element);
  views.observe(element);
  document.addEventListener("colours", redraw, { signal });
  signal?.addEventListener("abort", () => {
    sizes.disconnect();
    views.disconnect();
  });

  function say(label) {
    svg.setAttribute("aria-label", label);
    if (pointed) plot.setAttribute("aria-label", `${label} Arrow keys go from mark to mark, Enter opens one.`);
  }

  return { element, redraw, say };
}

/** Where an arrow key leads: to the next mark along that axis, of those at the same place the next in their order. */
function stride(marks, active, key) {
  const [axis, step] = ARROWS[key],
    other = axis === "x" ? "y" : "x";
  const order = [...marks].sort(
    (one, two) => one[axis] - two[axis] || one[other] - two[other] || (one.key < two.key ? -1 : 1),
  );
  const at = active ? order.findIndex((mark) => mark.key === active.key) : -1;
  if (at < 0 && Number.isFinite(step)) return order[step > 0 ? 0 : order.length - 1];
  return order[Math.max(0, Math.min(order.length - 1, at + step))];
}

function ring(svg, mark) {
  svg.append("circle").attr("cx", mark.x).attr("cy", mark.y).attr("r", 8).attr("class", "ring");
}
