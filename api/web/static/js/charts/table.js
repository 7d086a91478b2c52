// The words of a picture: its values as a table that opens below it, and a legend.

import { h } from "../dom.js";
import { symbol } from "./paint.js";

const MOST = 300; // rows; whoever wants all of many thousands asks the API

/** A table behind "Show as a table", or other `words`. `rows()` → {head: [texts], body: [[texts]], note?} is asked only while it is open. */
export function asTable(name, rows, words = "Show as a table") {
  const place = h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": `${name}, as a table` });
  const element = h(
    "details",
    { class: "as-table", ontoggle: () => update() },
    h("summary", {}, words),
    place,
  );
  let shown = "";

  function update() {
    if (!element.open) return;
    const { head, body, note } = rows();
    const text = JSON.stringify([head, body.length, body.slice(0, MOST), note]);
    if (text === shown) return; // whoever reads or selects in it is not disturbed
    shown = text;
    const cut = body.length > MOST && h("p", { class: "small muted" }, `The first ${MOST} of ${body.length} rows.`);
    place.replaceChildren(
      h(
        "table",
        {},
        h("caption", { class: "visually-hidden" }, name),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head.map((title) => h("th", { scope: "col" }, title)),
          ),
        ),
        h(
          "tbody",
          {},
          body.slice(0, MOST).map((row) =>
            h(
              "tr",
              {},
              row.map((value) => h("td", {}, value)),
            ),
          ),
        ),
      ),
      ...[cut, note && h("p", { class: "small muted" }, note)].filter(Boolean),
    );
  }

  return { element, update };
}

/** What lines and marks mean: [{words, colour (token), shape or dash or wide}]. */
export function legend(entries) {
  return h(
    "ul",
    { class: "legend" },
    entries.map((entry) => h("li", {}, sample(entry), entry.words)),
  );
}

function sample({ colour, shape, dash, wide, block }) {
  const style = { color: `var(${colour})` };
  const drawn = shape
    ? h("path", {
        d: symbol(shape, 60),
        transform: "translate(12,7)",
        fill: shape === "cross" ? "none" : "currentColor",
        stroke: "currentColor",
      })
    : block
      ? h("rect", { x: 5, y: 1, width: 14, height: 12, rx: 2, fill: "currentColor" })
      : h("line", {
          x1: 1,
          x2: 23,
          y1: 7,
          y2: 7,
          stroke: "currentColor",
          "stroke-width": wide ? 3 : 1.5,
          "stroke-dasharray": dash ? "4 3" : null,
        });
  return h("svg", { width: 24, height: 14, "aria-hidden": "true", style }, drawn);
}
