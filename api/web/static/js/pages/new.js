// A new job: a form made from the service's schemas, checked by the service while one types, with what it would take.

import { ask, post, root } from "../api.js";
import { go } from "../app.js";
import { fill, h, notify } from "../dom.js";
import { makeEstimate } from "../estimate.js";
import { makeForm } from "../form.js";
import { makeLayout } from "../formlayout.js";
import { canonical, chosen } from "../schema.js";

const TYPING_MS = 400;
const ENGINES = [["optuna", "optuna: the workers of this service", "optuna"], ["ray", "ray: Ray Tune on a cluster", "ray"]];

export async function show(main, { query, signal }) {
  const [api, strategies, operations, genotypes, datasets, source] = await Promise.all([
    ask("/openapi.json", { signal }), ...["strategies", "operations", "genotypes", "datasets"].map((name) => ask(`/v1/${name}`, { signal }).then((found) => found.items)),
    query.get("clone") && ask(`/v1/jobs/${encodeURIComponent(query.get("clone"))}`, { signal }),
  ]);
  const definitions = api.components.schemas;
  const names = {
    dataset: datasets.map((item) => [item.name, `${item.name} – ${item.summary}`]),
    strategy: strategies.map((item) => [item.name, `${item.name}: ${item.summary}`, item.name]),
    engine: ENGINES,
    "space.ops": operations.map((item) => [item.name, item.name]),
    "recipe.loss": Object.assign([], { free: true }),
    start: Object.assign(genotypes.map((item) => [item.name, item.name]), { free: true }),
  };
  const state = { json: null, key: null, sent: null, timer: null, asking: null };
  const schema = { ...definitions.JobSpec, properties: { ...definitions.JobSpec.properties } };
  delete schema.properties.options; // the chosen strategy's, which come and go
  const form = makeForm(schema, definitions, { names, changed: () => { state.json = null; changed(); } });
  const estimate = makeEstimate();
  const layout = makeLayout({ form, schema, strategies, brief: estimate.brief, stored, start, typed });

  /** What would be sent: the JSON as it was typed, as long as no field was touched after it. */
  const spec = () => state.json ?? form.get();

  function changed() {
    layout.strategy(form.control("strategy").get());
    layout.counts();
    if (document.activeElement !== layout.json) layout.json.value = JSON.stringify(spec(), null, 2);
    clearTimeout(state.timer);
    state.timer = setTimeout(() => { remember(); check(); }, TYPING_MS);
  }

  /** Whoever goes to another page and back again, or reloads this one, finds what was filled in. */
  const remember = () => history.replaceState({ ...history.state, spec: spec() }, "");

  /** Shows what the service thinks of the spec. */
  async function check() {
    const wanted = spec();
    if (!wanted.dataset) {
      state.asking?.abort();
      layout.faults(form.fault([]));
      return estimate.idle("Choose a data set, and it is said here what the search would take.", "no data set chosen yet");
    }
    estimate.busy();
    try {
      const found = await checked(wanted);
      if (!found.valid) return refused(found);
      layout.faults(form.fault([]));
      estimate.show(found.estimate);
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      layout.faults(form.fault([]), error);
      estimate.idle(error.message, "");
    }
  }

  /** Asks the service whether it would take a spec, and what that would cost; what was asked before is not awaited. */
  function checked(wanted) {
    state.asking?.abort();
    state.asking = new AbortController();
    return ask("/v1/jobs/estimate?check=true", { method: "POST", body: wanted, signal: state.asking.signal });
  }

  function refused({ errors, detail }, { focus = false } = {}) {
    layout.faults(form.fault(errors), { message: detail }, { focus });
    estimate.idle("As soon as every field is right, it is said here what the search would take.", "");
  }

  /** One wish, one job: pressed again after a broken connection, it is the same request. */
  async function start(event) {
    event.preventDefault();
    const wanted = spec();
    if (state.sent !== canonical(wanted)) Object.assign(state, { sent: canonical(wanted), key: `form-${Date.now()}-${Math.random().toString(36).slice(2)}` });
    layout.busy(true);
    clearTimeout(state.timer); // what is checked now need not be checked again
    try {
      const found = await checked(wanted);
      if (!found.valid) return refused(found, { focus: true });
      estimate.show(found.estimate);
      const { id } = await post("/v1/jobs", wanted, state.key);
      notify(`The job ${wanted.name ?? id} is asked for.`);
      await go(`/jobs/${id}`);
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return; // another value was typed meanwhile, or the page left
      layout.faults(form.fault(error.errors ?? []), error, { focus: true });
    } finally {
      layout.busy(false);
    }
  }

  function typed(text) {
    try {
      const found = JSON.parse(text);
      if (found === null || typeof found !== "object" || Array.isArray(found)) throw new SyntaxError("it has to be an object");
      layout.jsonFault("");
      put(found);
      state.json = canonical(form.get()) === canonical(found) ? null : found; // the form cannot say all that JSON can
      changed();
    } catch (error) {
      layout.jsonFault(`This is no JSON object: ${error.message}`);
    }
  }

  function put(found) {
    layout.strategy(found.strategy ?? schema.properties.strategy.default);
    form.set(found);
  }

  function stored(info) {
    form.control("dataset").offer([...names.dataset.filter(([name]) => name !== info.name), [info.name, `${info.name} – ${info.summary}`]]);
    form.control("dataset").set(info.name);
    state.json = null;
    changed();
  }

  signal.addEventListener("abort", () => { clearTimeout(state.timer); state.asking?.abort(); });
  const asked = history.state?.spec ? history.state.spec : source ? copied(source, schema, definitions, strategies) : query.get("dataset") ? { dataset: query.get("dataset") } : {};
  put(asked);
  if (canonical(form.get()) !== canonical(asked)) state.json = asked;
  fill(main, h("h1", {}, source ? `New job like ${source.name ?? source.id}` : "New job"),
    source && h("p", { class: "muted" }, "Filled in with what ", h("a", { href: `${root}/jobs/${source.id}`, "data-link": true }, source.name ?? source.id), " was asked with. Change what is to be otherwise."),
    h("div", { class: "new-job" }, layout.element, estimate.element));
  changed();
  return source ? "New job like another" : "New job";
}

/** A job's spec with what was chosen only: without defaults, and without what the service itself fills in. */
function copied(job, schema, definitions, strategies) {
  const found = chosen(job.spec, schema, definitions);
  const own = strategies.find((item) => item.name === job.spec.strategy)?.options;
  found.options = own ? chosen(job.spec.options, own, own.$defs ?? {}) : job.spec.options;
  if (!Object.keys(found.options).length) delete found.options;
  if (found.transfer) found.transfer = { job: found.transfer.job };
  if (found.budget && (job.spec.budget.seconds || job.spec.budget.total_epochs)) found.budget.trials = job.spec.budget.trials; // left out it would be no limit
  return found;
}
