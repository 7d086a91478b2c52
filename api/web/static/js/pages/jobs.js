// The list of jobs: filtered by state and words, both kept in the address, and looked at again every few seconds.

import { ask, root } from "../api.js";
import { connection } from "../app.js";
import { fill, h } from "../dom.js";
import { integer } from "../format.js";
import { makeList } from "../joblist.js";

const STATES = ["queued", "running", "paused", "finalizing", "succeeded", "failed", "cancelled"];
const EVERY_MS = 3000;
const TYPING_MS = 300;
const PAGE = 50;
const MOST = 500; // that one request gives

export async function show(main, { query, signal }) {
  const wanted = { q: query.get("q") ?? "", states: new Set(query.getAll("state").filter((name) => STATES.includes(name))) };
  const list = makeList();
  const told = h("p", { class: "muted small", role: "status" });
  const more = h("button", { type: "button", hidden: true, onclick: () => load(shown + PAGE) }, "Show more");
  let shown = PAGE, asked = 0, timer = null;

  async function load(count = shown) {
    clearTimeout(timer);
    const mine = (asked += 1); // of several answers on their way, the last question's counts
    try {
      const found = await jobs(wanted, count, signal);
      if (mine !== asked || signal.aborted) return;
      shown = count;
      list.update(found.items);
      more.hidden = !found.next_cursor;
      say(told, found);
      empty.hidden = found.items.length > 0;
      list.element.hidden = !empty.hidden;
      if (!empty.hidden) nothing(empty, wanted);
      connection("");
    } catch (error) {
      if (signal.aborted || mine !== asked) return;
      if (timer === null) throw error; // the first time it is the whole page that cannot be shown
      connection("lost");
    }
    timer = setTimeout(tick, EVERY_MS);
  }

  const tick = () => (document.hidden ? (timer = setTimeout(tick, EVERY_MS)) : load());
  const empty = h("div", { class: "panel empty", hidden: true });
  const filters = makeFilters(wanted, () => { keep(wanted); load(PAGE); });
  await load();
  if (signal.aborted) return "Jobs";
  signal.addEventListener("abort", () => clearTimeout(timer));
  fill(main,
    h("div", { class: "row spread" }, h("h1", {}, "Jobs"), h("a", { class: "button primary", href: `${root}/new`, "data-link": true }, "New job")),
    filters, told, list.element, empty, h("div", { class: "row" }, more));
  return "Jobs";
}

/** The first `count` jobs; more than one answer holds are asked for page by page. */
async function jobs({ q, states }, count, signal) {
  const items = [];
  let cursor = null;
  do {
    const query = new URLSearchParams([...states].map((name) => ["state", name]));
    if (q.trim()) query.set("q", q.trim());
    query.set("limit", Math.min(MOST, count - items.length));
    if (cursor) query.set("cursor", cursor);
    const page = await ask(`/v1/jobs?${query}`, { signal });
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < count);
  return { items, next_cursor: cursor };
}

/** The search box and a button for each state; `changed` is called when `wanted` is another. */
function makeFilters(wanted, changed) {
  let typing = null;
  const type = (event) => {
    wanted.q = event.target.value;
    clearTimeout(typing);
    typing = setTimeout(changed, TYPING_MS);
  };
  const press = (name) => (event) => {
    wanted.states.has(name) ? wanted.states.delete(name) : wanted.states.add(name);
    event.currentTarget.setAttribute("aria-pressed", wanted.states.has(name));
    changed();
  };
  return h("div", { class: "filters", role: "search" },
    h("input", { type: "search", "aria-label": "Search jobs by name, id, data set or strategy", placeholder: "Name, id, data set, strategy", maxlength: 200, value: wanted.q, oninput: type }),
    h("div", { class: "chips", role: "group", "aria-label": "Only jobs in these states" },
      STATES.map((name) => h("button", { type: "button", class: "chip", "aria-pressed": String(wanted.states.has(name)), onclick: press(name) }, name))));
}

/** Writes what is wanted into the address, so that it can be kept and sent on. */
function keep({ q, states }) {
  const query = new URLSearchParams([...states].map((name) => ["state", name]));
  if (q.trim()) query.set("q", q.trim());
  const text = query.toString();
  history.replaceState({}, "", location.pathname + (text ? `?${text}` : ""));
}

function say(place, { items, next_cursor: next }) {
  const running = items.filter((job) => job.state === "running" || job.state === "finalizing").length;
  const text = items.length ? `${integer(items.length)}${next ? " newest" : ""} ${items.length === 1 ? "job" : "jobs"}, ${integer(running)} running` : "";
  if (place.textContent !== text) place.textContent = text; // said anew only if it is another
}

function nothing(place, { q, states }) {
  if (q.trim() || states.size) return fill(place, h("h2", {}, "No job is like that"), h("p", { class: "muted" }, "Search for other words, or choose other states."));
  return fill(place,
    h("h2", {}, "No jobs yet"),
    h("p", {}, "A job searches for a small, accurate network for your images. The data set ", h("code", {}, "digits"), " is built in: a first search on it takes minutes."),
    h("div", { class: "row" }, h("a", { class: "button primary", href: `${root}/new?dataset=digits`, "data-link": true }, "Start a first job"),
      h("a", { class: "button", href: `${root}/datasets`, "data-link": true }, "Add your own images")));
}
