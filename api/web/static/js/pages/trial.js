// A trial: its curves, what it trained, what it cost, where its time went, what went wrong, its log.

import { ask, post, root } from "../api.js";
import { connection } from "../app.js";
import { architecture } from "../cells.js";
import { lineChart } from "../charts/line.js";
import { legend } from "../charts/table.js";
import { fill, h, notify } from "../dom.js";
import { LABELS, ago, compact, duration, integer, metric, moment } from "../format.js";
import { asText } from "../charts/units.js";
import { heatMaps } from "../heat.js";
import { follow } from "../live.js";
import { panel } from "../sections/panel.js";
import { copyable, facts, logView, metricTable, neighbour, setbackList, settings, timeSpent, traceback } from "../trialparts.js";

const OPEN = ["queued", "running", "paused"];
const RETRAININGS = 1_000_000; // retrainings that somebody asked for count from here

/** Fields of the frame that mean something to networks of cells alone (nas/space/shape.py). */
const CELLS_ONLY = new Set(["channels", "cells", "tail", "stem", "merge", "drop_path", "auxiliary"]);

/** What a trial is for. */
const PHASES = {
  screening: "chooses candidates by scores that need no training", supernet: "the one network of a one-shot search", search: "a network of the search",
  finalist: "a finalist, retrained", control: "a random control, retrained", reference: "the plain network, retrained",
  report: "scoring, verdict and package", retrain: "a retraining that was asked for",
};

/** Phases that train no network: there is nothing to draw of them. */
const UNTRAINED = ["screening", "report"];

export async function show(main, { params, signal }) {
  const { job } = params, number = Number(params.trial);
  const path = `/v1/jobs/${job}/trials/${number}`;
  const view = page(job, path, signal);
  let dashboard = null, image = null;

  async function look() {
    const [trial, whole] = await Promise.all([ask(path, { signal }), ask(`/v1/jobs/${job}/dashboard`, { signal })]);
    dashboard = whole;
    image ??= (await ask(`/v1/datasets/${encodeURIComponent(dashboard.job.dataset)}`, { signal }).catch(() => null))?.image ?? null;
    const again = trial.phase === "search" ? (await ask(`/v1/jobs/${job}/trials?phase=retrain&limit=500`, { signal })).items.filter((one) => one.digest === trial.digest) : [];
    if (signal.aborted) return false;
    view.update(trial, dashboard, image, again.at(-1) ?? null);
    const goesOn = OPEN.includes(trial.state) || again.some((one) => OPEN.includes(one.state));
    if (!goesOn) connection("");
    return goesOn;
  }

  let stop = null;
  const follows = () => {
    stop?.();
    stop = follow(job, () => look().catch(gone), (name) => !signal.aborted && connection(name));
  };
  signal.addEventListener("abort", () => stop?.());
  document.addEventListener("job-changed", follows, { signal });
  function gone(error) {
    if (error.status !== 404) throw error;
    connection("");
    view.element.prepend(h("p", { class: "problem wide", role: "alert" }, "Its job was deleted. What is shown is the last that was known of it."));
    return false;
  }

  const goesOn = await look();
  fill(main, view.element);
  if (goesOn) follows();
  return `Trial ${number} · ${dashboard.job.name ?? job}`;
}

/** The parts of the page. update() fills in only what has changed, so that nobody's reading is disturbed. */
function page(job, path, signal) {
  const title = h("div", { class: "row" }), others = h("div", { class: "row", role: "group", "aria-label": "Other trials" });
  const said = h("p", { class: "muted" }), buttons = h("div", {});
  const head = h("div", { class: "panel" }, h("div", { class: "trial-head" }, title, others), said, buttons);
  const parts = {
    wrong: panel("What went wrong"), curves: panel("Learning curves"), cost: panel("Cost and result"), time: panel("Where its time went"),
    architecture: panel("Architecture"), shares: panel("Supernet"), recipe: panel("Recipe"), log: panel("Log"),
  };
  for (const name of ["curves", "architecture", "shares", "recipe", "wrong", "log"]) parts[name].element.classList.add("wide");
  const curves = curvePanel(parts.curves, signal), heat = heatMaps(), log = logView(path, { signal });
  const figures = h("div", { class: "panel-body" }), measured = metricTable();
  fill(parts.cost.body, figures, measured.element);
  fill(parts.shares.body, heat.element);
  fill(parts.log.body, log.element);
  const crumbs = h("p", { class: "small crumbs" });
  const element = h("div", { class: "job-trial trial-panels" }, h("div", { class: "wide" }, crumbs, head), Object.values(parts).map((part) => part.element));
  const known = {};

  /** Draws a part if what it shows has changed. */
  function draw(name, shown, make) {
    const key = JSON.stringify(shown);
    if (known[name] === key) return;
    known[name] = key;
    make();
  }

  function update(trial, dashboard, image, again) {
    const { number, state } = trial, best = dashboard.best?.trial === number;
    draw("crumbs", dashboard.job.name, () => fill(crumbs, h("a", { href: `${root}/`, "data-link": true }, "All jobs"), " › ", h("a", { href: `${root}/jobs/${job}`, "data-link": true }, dashboard.job.name ?? job), ` › Trial ${number}`));
    draw("title", [state, best, trial.front], () => fill(title, h("h1", {}, `Trial ${integer(number)}`), h("span", { class: "state", dataset: { state } }, state),
      best ? h("strong", {}, "★ the best so far") : trial.front && h("strong", {}, "of the Pareto set")));
    draw("others", last(dashboard), () => fill(others, neighbours(job, number, last(dashboard))));
    draw("said", [state, trial.reason, trial.epoch], () => fill(said, sentence(trial)));
    draw("actions", [state, dashboard.job.state, best, again], () => fill(buttons, actions(job, trial, dashboard, best, again)));
    draw("curves", trial.curve.length, () => curves(trial, dashboard.metric));
    draw("cost", [trial.epoch, trial.accuracy, trial.params, trial.macs, trial.latency_ms, trial.memory_mb], () => fill(figures, costs(trial, dashboard.metric), compared(trial, dashboard.metric)));
    measured.update(trial.curve.at(-1)?.metrics);
    for (const name of ["curves", "architecture", "recipe"]) parts[name].element.hidden = UNTRAINED.includes(trial.phase);
    const shown = trial.candidate ?? (trial.phase === "supernet" ? { genotype: trial.curve.at(-1)?.metrics?.genotype } : null);
    draw("architecture", [shown, image], () => fill(parts.architecture.body,
      trial.phase === "supernet" && shown?.genotype ? h("p", { class: "small muted" }, "What it would hand over after its newest epoch.") : null,
      shown ? architecture(shown, { image }) : h("p", { class: "muted" }, "Nothing has been proposed for it yet."), trial.darts ? copyable(trial.darts, "As text, in the DARTS format") : null));
    draw("recipe", trial.candidate, () => fill(parts.recipe.body, recipe(trial)));
    const shares = trial.curve.filter((epoch) => epoch.metrics?.alpha);
    parts.shares.element.hidden = !shares.length;
    draw("shares", shares.length, () => shares.length && heat.update(shares));
    draw("time", [trial.spent, trial.waited_s, trial.state], () => fill(parts.time.body, timeSpent(trial.spent, trial.waited_s), times(trial)));
    parts.wrong.element.hidden = !trial.error && !trial.setbacks.length;
    draw("wrong", [trial.error, trial.setbacks], () => fill(parts.wrong.body, wrong(trial), setbackList(trial.setbacks)));
    log.update().catch((error) => error.name === "AbortError" || parts.log.say(error.message, "problem"));
  }

  return { element, update };
}

/** The highest number of a trial; those of retrainings are apart. */
function last({ counts, phases }) {
  const retrainings = phases.retrain?.planned ?? 0;
  return { search: Object.values(counts).reduce((sum, many) => sum + many, 0) - retrainings - 1, retrain: RETRAININGS + retrainings - 1 };
}

function neighbours(job, number, ends) {
  const first = number >= RETRAININGS ? RETRAININGS : 0, end = ends[first ? "retrain" : "search"];
  return [neighbour(job, number - 1, "◀ Previous", number > first), neighbour(job, number + 1, "Next ▶", number < end)];
}

/** What it is for, and how it stands. */
function sentence(trial) {
  const stands = trial.state === "running" ? `epoch ${trial.epoch} of ${trial.epochs}` : trial.state === "paused" ? `it waits after epoch ${trial.epoch} to see whether it is among the best` : null;
  return [[PHASES[trial.phase], trial.reason?.replaceAll("_", " "), stands].filter(Boolean).join(" · "),
    trial.cached && [" · taken over from ", h("a", { href: `${root}/jobs/${trial.cached_from?.replace("/", "/trials/")}`, "data-link": true }, trial.cached_from ?? "an earlier training")]];
}

/** Retraining and download, where they make sense. */
function actions(job, trial, dashboard, best, again) {
  const model = (number) => h("a", { class: "button primary", href: `${root}/v1/jobs/${job}/trials/${number}/model`, download: "" }, "Download the model");
  if (trial.phase === "retrain") return trial.state === "complete" ? h("div", { class: "row" }, model(trial.number)) : null;
  if (trial.phase !== "search" || !trial.candidate || trial.state === "infeasible") return null;
  const packaged = again?.state === "complete" || (best && dashboard.job.state === "succeeded");
  if (packaged) return h("div", { class: "row" }, model(trial.number));
  if (again && OPEN.includes(again.state)) {
    return h("p", {}, "It is being retrained as ", h("a", { href: `${root}/jobs/${job}/trials/${again.number}`, "data-link": true }, `trial ${integer(again.number)}`), `: ${again.state}, epoch ${again.epoch} of ${again.epochs}. Then it is packaged and checked.`);
  }
  const button = h("button", { type: "button", onclick: retrain }, again ? "Retrain it once more" : "Retrain and package it");
  async function retrain() {
    button.disabled = true;
    try {
      const asked = await post(`/v1/jobs/${job}/trials/${trial.number}/retrain`);
      notify(`It is retrained as trial ${integer(asked.trial)}. The model can be downloaded here then.`, "good");
      document.dispatchEvent(new CustomEvent("job-changed"));
    } catch (error) {
      button.disabled = false;
      notify(error.message, "bad");
    }
  }
  return h("div", { class: "row" }, button, h("span", { class: "small muted" }, "With the full recipe, as finalists are; there is a model to download then."));
}

/** Three charts over epochs: loss, accuracy, learning rate. */
function curvePanel({ body }, signal) {
  const x = { label: "Epoch", format: String, integer: true };
  const chart = (name, label, format) => lineChart({ name, x, y: { label, format }, height: 240, signal });
  const plain = (value) => (value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : String(Number(value.toPrecision(3))));
  const scored = { label: "", format: String };
  const charts = { loss: chart("Loss by epoch", "Loss", plain), score: lineChart({ name: "Score by epoch", x, y: scored, height: 240, signal }), rate: chart("Learning rate by epoch", "Learning rate", plain) };
  const lines = [{ words: "training", colour: "--series-2", dash: true }, { words: "validation", colour: "--series-1", wide: true }];
  const place = h("div", { class: "trial-curves" }, Object.values(charts).map((one) => one.element));
  return ({ curve, rungs }, name) => {
    if (!curve.length) return fill(body, h("p", { class: "empty" }, "It has not finished an epoch yet."));
    if (!place.isConnected) fill(body, legend(lines), place);
    const few = curve.length < 40, end = curve.at(-1);
    const series = (name, key, colour, more) => ({ key, name, colour, width: 2, dots: few, points: curve.filter((epoch) => Number.isFinite(epoch[key])).map((epoch) => [epoch.epoch, epoch[key]]), ...more });
    charts.loss.update([series("training", "train_loss", "--series-2", { dash: true }), series("validation", "validation_loss", "--series-1")], `Loss over ${curve.length} epochs, in the end ${plain(end.train_loss)} in training and ${plain(end.validation_loss)} on validation.`);
    const compared = new Set(rungs.map(([epoch]) => epoch));
    Object.assign(scored, { label: LABELS[name], format: asText(name) });
    charts.score.update([series("validation", "validation_accuracy", "--series-1", { note: (at) => compared.has(curve[at].epoch) && "compared with others here" })], `${LABELS[name]} over ${curve.length} epochs, in the end ${metric(name, end.validation_accuracy)}.`);
    charts.rate.update([series("learning rate", "lr", "--series-3")], `The learning rate over ${curve.length} epochs, in the end ${plain(end.lr)}.`);
  };
}

function costs(trial, name) {
  return facts([
    [LABELS[name], metric(name, trial.accuracy)], ["Epochs", trial.epochs ? `${trial.epoch} of ${trial.epochs}` : null], ["Parameters", integer(trial.params)], ["Multiply-accumulates", compact(trial.macs)],
    ["Latency", metric("latency_ms", trial.latency_ms)], ["Peak memory", metric("memory_mb", trial.memory_mb)], ["Seed", String(trial.seed_index)],
  ]);
}

/** Where it was compared with others, as pruners do. */
function compared({ rungs }, name) {
  const words = rungs.map(([epoch, accuracy]) => `${metric(name, accuracy, 1)} at epoch ${epoch}`);
  return words.length ? h("p", { class: "small" }, `Compared with others: ${words.join(", ")}.`) : null;
}

function recipe({ candidate }) {
  if (!candidate) return h("p", { class: "muted small" }, "It has no recipe of its own.");
  const chosen = candidate.recipe && Object.keys(candidate.recipe).length ? settings(candidate.recipe) : h("p", { class: "muted small" }, "The search chose nothing of the recipe: it is the job's.");
  const frame = Object.entries(candidate.shape ?? {}).filter(([name]) => candidate.genotype || !CELLS_ONLY.has(name));
  return [chosen, frame.length ? [h("h3", {}, "Frame"), settings(Object.fromEntries(frame))] : null];
}

function times(trial) {
  const end = trial.finished_at ? new Date(trial.finished_at) : new Date();
  return facts([["Created", moment(trial.created_at)], ["Started", trial.started_at ? moment(trial.started_at) : null], ["Ended", trial.finished_at ? ago(trial.finished_at) : null],
    ["Took", trial.started_at ? duration((end - new Date(trial.started_at)) / 1000) : null], ["Attempt", String(trial.attempt)], ["Worker", trial.worker]]);
}

function wrong({ error, state, setbacks }) {
  if (!error || setbacks.at(-1)?.error === error) return null;
  return state === "complete" ? h("p", {}, error) : traceback(error, "What was raised");
}
