// Elements as expressions. Text is always text: nothing that anybody wrote is read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "circle", "rect", "line", "text", "polyline", "polygon", "title", "desc", "defs", "marker", "clipPath", "tspan"]);

/** h("button", {class: "primary", onclick: act}, "Save", …): an element. Attributes that are null or false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  append(element, children);
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "style") Object.assign(element.style, value); // through the CSSOM, which the policy allows
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "value" || name === "checked" || name === "selected" || name === "indeterminate") element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Appends nodes, texts and nested lists of them; null, undefined and false are left out. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Gives an element other children. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** A sentence whose commands stand between backticks, as the service writes them. */
export const coded = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

let ids = 0;

/** An id that no other element of the page has. */
export function unique(prefix = "id") {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** A message that stays until it is closed, or for some seconds if it is good news. */
export function notify(text, kind = "info") {
  const close = h("button", { class: "quiet", type: "button", "aria-label": "Close the message", onclick: () => notice.remove() }, "×");
  const notice = h("div", { class: "notice", dataset: { kind } }, h("span", {}, text), close);
  document.getElementById("notices").append(notice);
  if (kind !== "bad") setTimeout(() => notice.remove(), 6000);
}

/** Asks before something that cannot be taken back: resolves to whether it is to be done. */
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    const name = unique("title");
    const dialog = h("dialog", { "aria-labelledby": name },
      h("form", { method: "dialog", style: { display: "grid", gap: "14px" } },
        h("h2", { id: name }, title), h("p", {}, text),
        h("div", { class: "row", style: { justifyContent: "flex-end" } },
          h("button", { value: "no", autofocus: true }, "Back"), h("button", { value: "yes", class: "danger" }, action))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue === "yes"); });
    document.body.append(dialog);
    dialog.showModal();
  });
}
