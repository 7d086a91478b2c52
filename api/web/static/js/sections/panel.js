// What the sections of a job's page have in common: a titled panel, and asking for data only when somebody looks.

import { Away } from "../api.js";
import { fill, h, unique } from "../dom.js";

/** A titled part of the page. `say(text, kind)` shows a line below the title: null, "muted" or "problem". */
export function panel(title, ...children) {
  const id = unique("part");
  const heading = h("h2", { id, tabindex: "-1" }, title);
  const line = h("p", { class: "small muted", hidden: true });
  const tools = h("div", { class: "row" });
  const body = h("div", { class: "panel-body" }, children);
  const element = h("section", { class: "panel", "aria-labelledby": id }, h("header", {}, heading, tools), line, body);

  function say(text, kind = "muted") {
    line.hidden = !text;
    line.className = kind === "problem" ? "problem small" : "small muted";
    if (line.textContent !== (text ?? "")) line.textContent = text ?? "";
  }

  return { element, heading, tools, body, say };
}

/**
 * Returns update(dashboard, anew), which calls `load(dashboard)` once the element is in view, and again when
 * `key(dashboard)` has changed, at most once in `everyMs`; with `anew` at once, because the reader chose something else.
 * What goes wrong is told by `say`, and tried again after that time.
 */
export function lazily(element, { signal, key, load, say, everyMs = 3000 }) {
  let newest = null,
    done = null,
    last = -Infinity,
    seen = false,
    busy = false,
    wish = 0, // grows when the reader asks for something else
    timer = null;

  const views = new IntersectionObserver(
    ([entry]) => {
      seen = entry.isIntersecting;
      look();
    },
    { rootMargin: "300px" },
  );
  views.observe(element);
  signal.addEventListener("abort", () => {
    views.disconnect();
    clearTimeout(timer);
  });

  function look() {
    if (!seen || busy || !newest || timer !== null || signal.aborted || key(newest) === done) return;
    const wait = last + everyMs - performance.now();
    if (wait <= 0) return run();
    timer = setTimeout(() => {
      timer = null;
      look();
    }, wait);
  }

  async function run() {
    const [wanted, of] = [key(newest), wish];
    busy = true;
    try {
      await load(newest);
      if (of === wish) done = wanted;
      say(null);
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      say(
        error instanceof Away ? "The service does not answer. What is shown is as it was." : error.message,
        "problem",
      );
    } finally {
      busy = false;
      last = of === wish ? performance.now() : -Infinity;
    }
    look();
  }

  return (dashboard, anew = false) => {
    newest = dashboard;
    if (anew) {
      wish += 1;
      done = null;
      last = -Infinity;
      clearTimeout(timer);
      timer = null;
    }
    look();
  };
}

/** What is shown where there is nothing yet. */
export const empty = (element, words) => fill(element, h("p", { class: "empty" }, words));

/** How far a job's trials have come: it changes when one of them ends. */
export const ended = ({ counts }) =>
  [counts.complete, counts.pruned, counts.failed, counts.infeasible, counts.cancelled].join();

/** The same, and with every epoch of a running one. */
export const moved = (dashboard) =>
  `${ended(dashboard)}|${dashboard.running.map((trial) => `${trial.trial}.${trial.epoch}`).join()}|${dashboard.counts.queued}`;

/** A choice among few, with its name. `options`: [[value, words]]. */
export function choice(name, options, value, chosen) {
  const id = unique("choice");
  const select = h(
    "select",
    { id, onchange: () => chosen(select.value) },
    options.map(([of, words]) => h("option", { value: of, selected: of === value }, words)),
  );
  return h("span", { class: "choice" }, h("label", { for: id }, name), select);
}
