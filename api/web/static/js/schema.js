// JSON schemas as the form needs them: references followed, the forms of a value told apart, paths into a spec.

const FORMS = { OneOf: "choices", Between: "range" }; // how a field that is open to search is said

const WORDS = {
  dataset: "data set", lr: "learning rate", ema: "EMA", swa: "SWA", l1: "L1", l2: "L2", cpus: "CPUs", gpus: "GPUs", macs: "multiply-accumulates", params: "parameters",
  init: "initialisation", ops: "operations", ms: "(ms)", mb: "(MB)", max: "most", arch: "architecture",
};

/** A schema without its reference: what it refers to, with what stands beside it. */
export function resolve(schema, definitions) {
  if (!schema.$ref) return schema;
  const { $ref, ...beside } = schema;
  return { ...resolve(definitions[nameOf($ref)], definitions), ...beside };
}

/** What a field takes: {value: schema of a plain value, nullable, choices, range}, the last three true or false. */
export function forms(schema, definitions) {
  const found = { value: null, nullable: false, choices: false, range: false };
  for (const part of schema.anyOf ?? [schema]) {
    const form = part.$ref && FORMS[nameOf(part.$ref)];
    const plain = resolve(part, definitions);
    if (form) found[form] = true;
    else if (plain.type === "null") found.nullable = true;
    else if (found.value === null || plain.properties) found.value = plain; // of a name or an object: the object
  }
  return found;
}

/** A field's name as people read it. */
export function label(name) {
  const words = name.split("_").map((word) => WORDS[word] ?? word).join(" ");
  return words[0].toUpperCase() + words.slice(1);
}

/** What a field's description says of null, which is what it is when it is left empty; and the rest of it. */
export function described(schema) {
  const text = (schema.description ?? "").replace(/(^|; )GET \S+ [^;]*/, ""); // where a program finds what the form shows
  const found = /(?:^|; )null: (.+)$/.exec(text);
  if (!found) return { hint: text, empty: null };
  const hint = text.slice(0, found.index);
  if (!found[1].startsWith("what suits")) return { hint, empty: found[1] };
  return { hint: [hint, `automatic: ${found[1]}`].filter(Boolean).join("; "), empty: "automatic" }; // too long for a box
}

/** The bounds of a number or of a list's length in words, or "". */
export function bounds(schema) {
  const said = (value) => value?.toLocaleString("en");
  const low = schema.exclusiveMinimum !== undefined ? `above ${said(schema.exclusiveMinimum)}` : said(schema.minimum);
  const high = schema.exclusiveMaximum !== undefined ? `below ${said(schema.exclusiveMaximum)}` : said(schema.maximum);
  if (low === undefined && high === undefined) return "";
  if (high === undefined) return schema.minimum === undefined ? low : `${low} or more`;
  return low === undefined ? `${high} or less` : `${low} to ${high}`;
}

/** The value at a path like "space.cells", or undefined. */
export function at(spec, path) {
  return path.split(".").reduce((value, name) => (value === null || typeof value !== "object" ? undefined : value[name]), spec);
}

/** Puts a value at a path, and makes the objects on the way. */
export function put(spec, path, value) {
  const names = path.split(".");
  const last = names.pop();
  let place = spec;
  for (const name of names) place = place[name] ??= {};
  place[last] = value;
}

/** JSON in which the same values have the same text, whatever the order of their fields. */
export function canonical(value) {
  return JSON.stringify(value, (_, found) =>
    found && typeof found === "object" && !Array.isArray(found) ? Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1))) : found);
}

/** What a spec says that its schema would not say by itself: so a clone shows what was chosen. */
export function chosen(spec, schema, definitions) {
  const found = {};
  for (const [name, value] of Object.entries(spec)) {
    const field = resolve(schema.properties?.[name] ?? {}, definitions);
    const { value: inner } = forms(field, definitions);
    const usual = field.default ?? null;
    if (inner?.properties && value && typeof value === "object") {
      const rest = chosen(value, inner, definitions);
      if (Object.keys(rest).length && canonical(value) !== canonical(usual)) found[name] = rest;
    } else if (canonical(value) !== canonical(usual)) found[name] = value;
  }
  return found;
}

const nameOf = (reference) => reference.split("/").at(-1);
