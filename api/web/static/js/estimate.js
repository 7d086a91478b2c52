// What a search would take, as the service estimates it before it starts.

import { fill, h, unique } from "./dom.js";
import { compact, duration, integer } from "./format.js";

/**
 * An element that shows an estimate, that one is on its way, or why there is none. `brief` says it in a line, for where
 * the element is out of sight, and leads to it.
 */
export function makeEstimate() {
  const id = unique("estimate");
  const body = h("div", { class: "estimate-body" });
  const element = h("aside", { class: "panel estimate", id, tabindex: "-1", "aria-label": "What it would take" }, h("h2", {}, "What it would take"), body);
  const brief = h("span", { class: "muted small grows", role: "status" });
  const reach = (event) => {
    event.preventDefault(); // the address stays that of the page
    element.scrollIntoView({ block: "nearest" });
    element.focus({ preventScroll: true });
  };
  let said = null;
  function put(content, words, leads) {
    delete element.dataset.busy;
    fill(body, content);
    if (said === words) return;
    said = words;
    fill(brief, leads ? h("a", { href: `#${id}`, onclick: reach }, words) : words);
  }
  return {
    element, brief,
    idle: (text, words) => put(h("p", { class: "muted" }, text), words, false),
    busy: () => { element.dataset.busy = ""; },
    show: (found) => put(shown(found), `about ${duration(found.seconds.expected)} for ${found.trials === 1 ? "one trial" : `${integer(found.trials)} trials`}`, true),
  };
}

function shown({ space, network, trials, epochs, seconds, workers, parallel, basis }) {
  const facts = [
    ["Time", `about ${duration(seconds.expected)}`, seconds.low === seconds.high ? null : `${duration(seconds.low)} to ${duration(seconds.high)}`],
    ["Trials", integer(trials), `${integer(epochs.search)} epochs of search, ${integer(epochs.final)} of retraining`],
    ["Architectures", large(space.text), "in the space"],
    ["A typical network", `${compact(network.params.typical)} parameters`, `${compact(network.params.smallest)} to ${compact(network.params.largest)}`],
    ["Its cost", `${compact(network.macs.typical)} multiply-accumulates`, `${compact(network.macs.smallest)} to ${compact(network.macs.largest)}`],
    ["Workers", integer(workers), workers === 0 ? "the job waits until there is one" : `${integer(parallel)} at a time`],
  ];
  return [
    h("dl", { class: "pairs" }, facts.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more && h("span", { class: "muted small" }, more))))),
    h("p", { class: "muted small" }, `${basis[0].toUpperCase()}${basis.slice(1)}.`),
  ];
}

/** A size as the service writes it; of 10^18 the exponent is raised. */
function large(text) {
  const power = /^10\^(\d+)(.*)$/.exec(text);
  return power ? ["about 10", h("sup", {}, power[1]), power[2]] : text;
}
