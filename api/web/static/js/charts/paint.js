// Colours for canvases and pictures: the page's tokens, as the theme of the moment has them.

const dark = matchMedia("(prefers-color-scheme: dark)");
let known = new Map();

const forget = () => {
  known = new Map();
};
document.addEventListener("colours", forget);
dark.addEventListener("change", () => document.dispatchEvent(new CustomEvent("colours")));

/** The colour of a token such as "--series-1". */
export function ink(token) {
  if (!known.has(token)) known.set(token, getComputedStyle(document.documentElement).getPropertyValue(token).trim());
  return known.get(token);
}

/** How a trial of a state is drawn: colour, shape of its mark, and what the legend calls it. */
export const STATES = {
  complete: { colour: "--series-1", shape: "circle", words: "complete" },
  pruned: { colour: "--muted", shape: "cross", words: "pruned: stopped early" },
  running: { colour: "--series-2", shape: "triangle", words: "running" },
  paused: { colour: "--warn", shape: "square", words: "waits at a rung" },
  queued: { colour: "--muted", shape: "square", words: "queued" },
  failed: { colour: "--bad", shape: "cross", words: "failed" },
  infeasible: { colour: "--warn", shape: "cross", words: "infeasible" },
  cancelled: { colour: "--muted", shape: "cross", words: "cancelled" },
};

const SYMBOLS = {
  circle: d3.symbolCircle,
  cross: d3.symbolTimes,
  triangle: d3.symbolTriangle,
  square: d3.symbolSquare,
  diamond: d3.symbolDiamond,
  star: d3.symbolStar,
};

/** Draws a mark onto a canvas; a cross has lines only. */
export function mark(context, shape, x, y, area, colour) {
  context.save();
  context.translate(x, y);
  context.beginPath();
  d3.symbol(SYMBOLS[shape], area).context(context)();
  if (shape === "cross") {
    context.strokeStyle = colour;
    context.lineWidth = 1.6;
    context.stroke();
  } else {
    context.fillStyle = colour;
    context.fill();
  }
  context.restore();
}

/** The same as a path of an SVG. */
export const symbol = (shape, area) => d3.symbol(SYMBOLS[shape], area)();
