// One control for each kind of value: {element, input, get(), set(value)}. `get` gives undefined for what was left alone;
// what is no number is given as the text it is, so that the service says what is wrong with it. `also` says how to type it.

import { fill, h, unique } from "./dom.js";

/** A text; `names` are offered while one types. */
export function text(schema, { placeholder, names, ...more }) {
  const list = names?.length ? h("datalist", { id: unique("names") }, names.map((value) => h("option", { value }))) : null;
  const input = h("input", { type: "text", placeholder, autocomplete: "off", spellcheck: "false", maxlength: schema.maxLength, list: list?.id, ...more });
  return { element: list ? h("div", { class: "grows" }, input, list) : input, input, get: () => input.value.trim() || undefined, set: (value) => { input.value = value ?? ""; } };
}

/** A whole number or any number, with its bounds. */
export function number(schema, { placeholder, ...more }) {
  const whole = schema.type === "integer";
  const input = h("input", { type: "number", placeholder, min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum ?? schema.exclusiveMaximum, step: whole ? 1 : "any", inputmode: whole ? "numeric" : "decimal", ...more });
  input.addEventListener("wheel", () => input.blur(), { passive: true }); // to scroll a page is no wish to change a number
  const get = () => (input.validity.badInput ? "no number" : input.value === "" ? undefined : Number(input.value));
  return { element: input, input, get, set: (value) => { input.value = value ?? ""; } };
}

/** One of some values; `names` are [value, words]. The first entry leaves the field alone, where it has a default. */
export function select(names, { placeholder, ...more }) {
  const known = new Map();
  const input = h("select", more);
  const offer = (value, words) => {
    known.set(String(value), value);
    input.append(h("option", { value: String(value) }, words));
  };
  const offerAll = (all) => {
    known.clear();
    fill(input, placeholder ? h("option", { value: "" }, placeholder) : null);
    for (const [value, words] of all) offer(value, words);
  };
  offerAll(names);
  const set = (value) => {
    if (value !== undefined && value !== null && !known.has(String(value))) offer(value, String(value));
    input.value = value === undefined || value === null ? (placeholder ? "" : input.options[0]?.value ?? "") : String(value);
  };
  return { element: input, input, offer: offerAll, set, get: () => (input.value === "" ? undefined : known.get(input.value)) };
}

/** Yes or no; what is as it would be anyway is not sent. */
export function check(schema, more) {
  const usual = schema.default ?? false;
  const input = h("input", { type: "checkbox", checked: usual, ...more });
  return { element: input, input, get: () => (input.checked === usual ? undefined : input.checked), set: (value) => { input.checked = value ?? usual; } };
}

/** Some of a few values. */
export function several(names, usual, { label, ...more }) {
  const boxes = names.map(([value, words]) => ({ value, words, input: h("input", { type: "checkbox", ...more }) }));
  const element = h("div", { class: "boxes", role: "group", "aria-label": label }, boxes.map(({ input, words, value }) => h("label", {}, input, words ?? String(value))));
  let touched = false;
  let strange = []; // values that are no box of ours
  const set = (values) => {
    touched = values !== undefined;
    const wanted = values ?? usual ?? [];
    for (const box of boxes) box.input.checked = wanted.includes(box.value);
    strange = wanted.filter((value) => !boxes.some((box) => box.value === value));
  };
  element.addEventListener("change", () => { touched = true; });
  set(undefined);
  return { element, input: boxes[0].input, set, get: () => (touched ? [...boxes.filter((box) => box.input.checked).map((box) => box.value), ...strange] : undefined) };
}

/** A list in one line, with commas between. */
export function line(schema, { placeholder, ...more }) {
  const input = h("input", { type: "text", placeholder, autocomplete: "off", spellcheck: "false", ...more });
  const get = () => (input.value.trim() ? input.value.split(",").map((part) => part.trim()).filter(Boolean).map(plain) : undefined);
  return { element: input, input, get, also: "with commas between", set: (values) => { input.value = values?.join(", ") ?? ""; } };
}

/** A list with one entry a line, each a text or JSON. */
export function lines(schema, more) {
  const input = h("textarea", { rows: 2, spellcheck: "false", ...more });
  const entry = (part) => (part.startsWith("{") ? plain(part) : part);
  const get = () => (input.value.trim() ? input.value.split("\n").map((part) => part.trim()).filter(Boolean).map(entry) : undefined);
  return { element: input, input, get, also: "one a line", set: (values) => { input.value = (values ?? []).map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join("\n"); } };
}

/** An object without fixed fields, as JSON. */
export function json(schema, more) {
  const input = h("textarea", { rows: 2, spellcheck: "false", placeholder: '{"name": 1}', ...more });
  const get = () => (input.value.trim() ? plain(input.value) : undefined);
  return { element: input, input, get, set: (value) => { input.value = value && Object.keys(value).length ? JSON.stringify(value) : ""; } };
}

/**
 * A field that takes a value or is opened to search: fixed, a range, some choices, or none at all where null says so.
 * `make(part)` gives the control of one value; `can` tells which forms there are.
 */
export function open({ make, choose, can, label, empty, ...more }) {
  const fixed = make({ "aria-label": null });
  const low = can.range && make({ "aria-label": `${label}: from`, placeholder: "from" });
  const high = can.range && make({ "aria-label": `${label}: to`, placeholder: "to" });
  const log = h("input", { type: "checkbox" });
  const choices = choose();
  const parts = {
    fixed: fixed.element,
    none: h("span", { class: "muted small grows" }, empty),
    range: can.range && h("div", { class: "range grows" }, low.element, high.element, h("label", { class: "small" }, log, "log")),
    choices: h("div", { class: "grows" }, choices.element),
  };
  const words = { fixed: "fixed", none: "none", range: "range", choices: "choices" };
  const how = h("select", { class: "how", "aria-label": `${label}: fixed or searched` },
    Object.keys(words).filter((name) => name === "fixed" || can[name]).map((name) => h("option", { value: name }, words[name])));
  const element = h("div", { class: "open", role: "group", "aria-label": `${label}: its value, or what to search` });
  const place = h("div", { class: "grows" });
  const turn = (name) => { how.value = name; fill(place, parts[name]); };
  how.addEventListener("change", () => turn(how.value));
  fill(element, place, how);
  turn("fixed");
  const ends = () => ({ low: low.get() ?? null, high: high.get() ?? null, ...(log.checked ? { log: true } : {}) });
  const get = () => ({ fixed: fixed.get, none: () => null, range: ends, choices: () => ({ choices: choices.get() ?? [] }) })[how.value]();
  const set = (value) => {
    const form = value === null && can.none ? "none" : value?.choices ? "choices" : value && typeof value === "object" && can.range ? "range" : "fixed";
    fixed.set(form === "fixed" ? value : undefined);
    choices.set(form === "choices" ? value.choices : undefined);
    if (can.range) { low.set(value?.low); high.set(value?.high); log.checked = Boolean(value?.log); }
    turn(form);
  };
  return { element, input: fixed.input, get, set };
}

/** Rows of objects, which can be added and removed; `row(value, changed)` makes the control of one. */
export function rows({ row, usual, most, least, add, changed }) {
  const list = h("div", { class: "rows" });
  const more = h("button", { type: "button", onclick: () => { append(undefined); touched = true; refresh(); changed(); } }, add);
  const element = h("div", { class: "field" }, list, h("div", {}, more));
  let parts = [], touched = false;
  function append(value) {
    const part = row(parts.length);
    part.set(value);
    const remove = h("button", { type: "button", class: "quiet", "aria-label": "Remove this one", onclick: () => { parts = parts.filter((other) => other !== part); whole.remove(); touched = true; refresh(); changed(); more.focus(); } }, "×");
    const whole = h("div", { class: "rows-one" }, part.element, remove);
    parts.push(Object.assign(part, { remove }));
    list.append(whole);
  }
  function refresh() {
    more.hidden = parts.length >= most;
    for (const part of parts) part.remove.hidden = parts.length <= least;
  }
  list.addEventListener("input", () => { touched = true; });
  const set = (values) => {
    touched = values !== undefined;
    parts = [];
    list.replaceChildren();
    for (const value of values ?? usual ?? []) append(value);
    refresh();
  };
  set(undefined);
  return { element, input: more, set, get: () => (touched ? parts.map((part) => part.get()) : undefined) };
}

/** A word as JSON would have it: a number, true, false, null, an object, or else itself. */
function plain(word) {
  try {
    return JSON.parse(word);
  } catch {
    return word;
  }
}
