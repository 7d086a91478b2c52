// A form made from a JSON schema. Its fields are told apart by their paths in the spec ("space.cells"); where each of them
// stands on the page is the page's business.

import { check, json, line, lines, number, open, rows, select, several, text } from "./controls.js";
import { fill, h, unique } from "./dom.js";
import { at, bounds, canonical, described, forms, label, put, resolve } from "./schema.js";

/**
 * A form over the fields of a schema.
 *
 * `names[path]` has the values that a field is known to take where its schema does not say them: [value, words, few words] each.
 * `changed()` is called whenever something was typed or chosen. What comes back: `field(path)` → element;
 * `paths(prefix)`; `add(prefix, schema)` and `drop(prefix)` for fields that come and go; `get()` → the spec, with what was
 * changed only; `set(spec)`; `fault(errors)` → the errors with the field each of them stands at; `count(prefix)` → changed fields.
 */
export function makeForm(schema, definitions, { names = {}, changed }) {
  const fields = new Map(); // path → {control, element, fault}
  const objects = []; // [path, schema] of nested objects

  function add(prefix, of) {
    for (const [name, given] of Object.entries(of.properties ?? {})) {
      const path = prefix ? `${prefix}.${name}` : name;
      const field = resolve(given, { ...definitions, ...of.$defs });
      if (field.description?.startsWith("filled in by the service")) continue; // nobody else may say it
      const can = forms(field, { ...definitions, ...of.$defs });
      if (can.value?.properties && !can.choices) {
        objects.push([path, { ...can.value, default: field.default }]);
        add(path, withDefaults(can.value, field.default));
      } else fields.set(path, makeField(path, field, can, { names, definitions, changed }));
    }
  }

  function drop(prefix) {
    for (const path of paths(prefix)) fields.delete(path);
  }

  const paths = (prefix = "") => [...fields.keys()].filter((path) => !prefix || path === prefix || path.startsWith(`${prefix}.`));

  function get() {
    const spec = {};
    for (const [path, { control }] of fields) {
      const value = control.get();
      if (value !== undefined) put(spec, path, value);
    }
    for (const [path, object] of objects) complete(spec, path, object);
    return spec;
  }

  function set(spec) {
    for (const [path, { control }] of fields) {
      const [parent, own] = [path.split(".").slice(0, -1).join("."), path.split(".").at(-1)];
      const named = parent && typeof at(spec, parent) === "string" && own === "method"; // "median" for {"method": "median"}
      control.set(named ? at(spec, parent) : at(spec, path));
    }
  }

  function fault(errors) {
    for (const { fault: place, control } of fields.values()) {
      fill(place);
      control.input.removeAttribute("aria-invalid");
    }
    return errors.map((error) => {
      const path = [...fields.keys()].filter((known) => error.field === known || error.field.startsWith(`${known}.`)).sort((a, b) => b.length - a.length)[0];
      const found = path ? fields.get(path) : null;
      if (found) {
        found.fault.append(h("p", {}, error.mend));
        found.control.input.setAttribute("aria-invalid", "true");
      }
      return { ...error, path, input: found?.control.input };
    });
  }

  add("", schema);
  return {
    add, drop, paths, get, set, fault,
    field: (path) => fields.get(path)?.element,
    control: (path) => fields.get(path)?.control,
    count: (prefix) => paths(prefix).filter((path) => fields.get(path).control.get() !== undefined).length,
  };
}

/** A nested object's fields have the defaults that the object as a whole has. */
function withDefaults(schema, usual) {
  if (!usual) return schema;
  const properties = Object.entries(schema.properties).map(([name, field]) => [name, name in usual ? { ...field, default: usual[name] } : field]);
  return { ...schema, properties: Object.fromEntries(properties) };
}

/** An object of which something was changed has all fields that it must have. */
function complete(spec, path, { required = [], default: usual }) {
  const found = at(spec, path);
  if (found === undefined || !usual) return;
  for (const name of required) found[name] ??= usual[name];
}

function makeField(path, schema, can, { names, definitions, changed }) {
  const name = label(path.split(".").at(-1));
  const { hint, empty } = described(schema);
  const [id, hintId, faultId] = [unique("field"), unique("hint"), unique("fault")];
  const attributes = { id, name: path, "aria-describedby": `${hintId} ${faultId}` };
  const usual = schema.default;
  const placeholder = usual === undefined || usual === null ? (empty ?? "") : said(usual);
  const control = makeControl(path, schema, can, { attributes, placeholder, name, empty, names: names[path], definitions, changed });
  const fault = h("div", { class: "fault", id: faultId });
  const limits = bounds(can.value ?? {});
  const words = [hint, limits, control.also].filter(Boolean).join("; ");
  const isBox = control.input.type === "checkbox" && control.input === control.element;
  const title = control.input.id === id ? h("label", { for: id }, name) : h("span", { class: "label" }, name);
  const element = h("div", { class: isBox ? "field box" : "field", dataset: { path } }, isBox ? h("label", { for: id }, control.element, name) : [title, control.element],
    h("p", { class: "hint", id: hintId }, words), fault);
  element.addEventListener("input", changed);
  element.addEventListener("change", changed);
  return { control, element, fault };
}

function makeControl(path, schema, can, wanted) {
  const { attributes, placeholder, name, empty, names, definitions, changed } = wanted;
  const value = can.value ?? {};
  if (can.choices) {
    const none = can.nullable && schema.default !== undefined && schema.default !== null;
    const make = (more) => {
      const own = more["aria-label"] ? more : { ...attributes, placeholder };
      return plainControl(value, own, { names, placeholder: own.placeholder });
    };
    const choose = () => chooser(value, { label: `${name}: choices`, names });
    return open({ make, choose, can: { choices: true, range: can.range, none }, label: name, empty: empty ?? "none" });
  }
  if (value.type === "array") return listControl(path, schema, value, wanted);
  if (value.type === "object") return json(value, attributes);
  return plainControl(value, attributes, { names, placeholder, default: schema.default });
}

function plainControl(value, attributes, { names, placeholder, default: usual }) {
  const known = value.enum?.map((each) => [each, String(each)]) ?? names;
  if (value.type === "boolean" && usual !== undefined) return check({ default: usual }, attributes);
  if (value.type === "boolean") return select([[true, "yes"], [false, "no"]], { ...attributes, placeholder: placeholder || "default" });
  if (known && !names?.free) return select(known, { ...attributes, placeholder: placeholder ? `default (${shortly(known, placeholder)})` : "choose…" });
  if (value.type === "integer" || value.type === "number") return number(value, { ...attributes, placeholder });
  return text(value, { ...attributes, placeholder, names: known?.map(([each]) => each) });
}

/** A known value in few words: what stands in a closed box must not be cut. */
function shortly(known, value) {
  const [, words, short] = known.find(([each]) => String(each) === value) ?? [null, value];
  return short ?? words;
}

/** Several values that the search chooses from. */
function chooser(value, { label: name, names }) {
  const known = value.enum?.map((each) => [each, String(each)]) ?? (value.type === "boolean" ? [[true, "yes"], [false, "no"]] : null);
  if (known) return several(known, [], { label: name });
  return line(value, { "aria-label": name, placeholder: names ? names.slice(0, 3).map(([each]) => each).join(", ") : "values, with commas between" });
}

function listControl(path, schema, value, { attributes, placeholder, name, names, definitions, changed }) {
  const { value: item } = forms(value.items ?? {}, definitions);
  const known = item?.enum?.map((each) => [each, String(each)]) ?? (names?.free ? null : names);
  if (item?.properties) {
    const row = () => makeRow(item, definitions);
    const [least, most] = [value.minItems ?? 0, value.maxItems ?? Infinity];
    return rows({ row, usual: schema.default, most, least, add: "Add one", changed });
  }
  if (known) return several(known, schema.default, { label: name, "aria-describedby": attributes["aria-describedby"] });
  if (item?.type === "number" || item?.type === "integer") return line(value, { ...attributes, placeholder });
  return lines(value, { ...attributes, placeholder: names ? names.slice(0, 2).map(([each]) => each).join("\n") : null });
}

/** An object as a row of its fields; one that is given as a text alone has it as its first field. */
function makeRow(schema, definitions) {
  const parts = Object.entries(schema.properties).map(([name, given]) => {
    const { value } = forms(resolve(given, definitions), definitions);
    return [name, plainControl(value, { "aria-label": label(name), title: given.description }, {})];
  });
  const get = () => Object.fromEntries(parts.map(([name, part]) => [name, part.get()]).filter(([, found]) => found !== undefined));
  const set = (value) => parts.forEach(([name, part], index) => part.set(typeof value === "string" ? (index === 0 ? value : undefined) : value?.[name]));
  return { element: h("div", { class: "row" }, parts.map(([, part]) => part.element)), get, set };
}

const said = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "boolean" ? (value ? "yes" : "no") : typeof value === "object" ? canonical(value) : String(value));
