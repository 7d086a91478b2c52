// The frame of all pages: which page an address is, moving between them, colours, who is logged in.

import { Away, Problem, ask, root, useCsrf } from "./api.js";
import { fill, h, notify } from "./dom.js";

/** Address → module of pages/, whose `show(main, {params, query, signal})` fills the page and returns its title. */
const PAGES = [
  [/^\/$/, "jobs"],
  [/^\/new$/, "new"],
  [/^\/datasets$/, "datasets"],
  [/^\/login$/, "login"],
  [/^\/jobs\/(?<job>[^/]+)$/, "job"],
  [/^\/jobs\/(?<job>[^/]+)\/trials\/(?<trial>\d+)$/, "trial"],
];

const main = document.getElementById("main");
const RETRY_MS = 3000;
let leaving = new AbortController();
let moved = false; // whether another page was shown before this one

/** Goes to a page of ours without a reload. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"]({}, "", root + path);
  moved = true;
  scrollTo(0, 0);
  return render();
}

async function render() {
  leaving.abort(); // whatever the last page still waits for or listens to
  leaving = new AbortController();
  const { signal } = leaving;
  const path = location.pathname.slice(root.length) || "/";
  const [pattern, name] = PAGES.find(([form]) => form.test(path)) ?? [null, null];
  for (const link of document.querySelectorAll(".top nav a")) {
    const here = link.getAttribute("href") === root + path;
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  connection("");
  fill(main, h("p", { class: "loading", role: "status" }, "Loading…"));
  if (!name) return fail(new Problem(404, { detail: `There is no page ${path}.` }), signal);
  try {
    const page = await load(name);
    const title = await page.show(main, { params: pattern.exec(path).groups ?? {}, query: new URLSearchParams(location.search), signal });
    if (signal.aborted) return;
    document.title = title ? `${title} – NAS` : "NAS";
    const taken = document.activeElement !== main && main.contains(document.activeElement); // by a field of the page
    if (moved && !taken) main.focus({ preventScroll: true }); // a first page is read from its top, with the link that skips it
  } catch (error) {
    if (!signal.aborted && error.name !== "AbortError") fail(error, signal);
  }
}

async function load(name) {
  try {
    return await import(`./pages/${name}.js`);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // a fault of the module; what cannot be fetched is a TypeError
    throw Object.assign(new Away("The service does not answer. It is asked again."), { reload: true });
  }
}

/** Some browsers remember that a module could not be fetched, until the page is loaded anew. Once is enough. */
async function again(error) {
  if (!error.reload || performance.getEntriesByType("navigation")[0]?.type === "reload") return render();
  const answer = await fetch(`${root}/healthz`, { cache: "no-store" }).catch(() => null);
  answer?.ok ? location.reload() : fail(error, leaving.signal);
}

function fail(error, signal) {
  if (error instanceof Away) setTimeout(() => !signal.aborted && again(error), RETRY_MS);
  document.title = "Something is wrong – NAS";
  fill(main, h("div", { class: "problem", role: "alert" },
    h("h1", {}, error.status === 404 ? "There is no such thing here" : error instanceof Away ? "The service does not answer" : "That did not work"),
    h("p", {}, error.message), h("div", { class: "row" }, error.status === 404 ? null : h("button", { type: "button", onclick: render }, "Try again"), h("a", { class: "button", href: `${root}/`, "data-link": true }, "All jobs"))));
}

/** How the page is connected: empty, live, polling or lost. */
export function connection(state) {
  const words = { live: "● live", polling: "○ asking every 3 s", lost: "✕ connection lost, trying again", "": "" };
  const place = document.getElementById("connection");
  place.dataset.state = state;
  if (place.textContent !== words[state]) place.textContent = words[state];
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-link]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.pathname.slice(root.length) + link.search);
});
addEventListener("popstate", () => { moved = true; render(); });

// --- colours

const COLOURS = ["system", "light", "dark"];
let chosen = document.documentElement.dataset.theme ?? "system"; // theme.js has set it
const button = document.getElementById("theme");

function colour(name) {
  chosen = name;
  name === "system" ? delete document.documentElement.dataset.theme : (document.documentElement.dataset.theme = name);
  button.setAttribute("aria-label", name === "system" ? "Colours: as the system has them" : `Colours: ${name}`);
  button.title = button.getAttribute("aria-label");
  button.textContent = { system: "◐", light: "☀", dark: "☾" }[name];
  document.dispatchEvent(new CustomEvent("colours")); // canvases draw themselves anew
}

button.addEventListener("click", () => {
  colour(COLOURS[(COLOURS.indexOf(chosen) + 1) % COLOURS.length]);
  try {
    localStorage.setItem("colours", chosen);
  } catch {
    // It holds for this page then.
  }
});
colour(chosen);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chosen === "system" && colour("system"));

// --- who is logged in

let who = null; // whose pages these are
const tabs = new BroadcastChannel(`session ${root}`); // who logs in or out in one tab does so in all of them

/** Shows who is logged in; resolves to whether the pages can be shown, which they cannot where a key is missing. */
async function account() {
  const place = document.getElementById("account");
  if (onLogin()) return true; // nobody is, or it does not matter
  try {
    const found = await ask("/session");
    useCsrf(found.csrf ?? null);
    who = found.owner;
    fill(place, found.login ? [h("span", { class: "small muted" }, `${found.owner} (${found.scope}) `), h("button", { class: "quiet", type: "button", onclick: logOut }, "Log out")] : null);
    return !found.required;
  } catch {
    useCsrf(null);
    fill(place);
    return true; // the page says what is wrong
  }
}

async function logOut() {
  try {
    await ask("/session", { method: "DELETE" });
    tabs.postMessage("out");
    useCsrf(null);
    fill(document.getElementById("account"));
    await go("/login");
  } catch (error) {
    notify(error.message, "bad");
  }
}

const onLogin = () => location.pathname === `${root}/login`;

function toLogin() {
  if (onLogin()) return;
  fill(document.getElementById("account"));
  const back = location.pathname.slice(root.length) + location.search;
  go(`/login?next=${encodeURIComponent(back)}`, { replace: true });
}

tabs.addEventListener("message", async () => {
  const before = who;
  if (!(await account())) toLogin();
  else if (who !== before) render(); // what is shown is somebody else's
});
document.addEventListener("logged-in", () => { account(); tabs.postMessage("in"); });
document.addEventListener("logged-out", toLogin);
addEventListener("error", (event) => event.message && notify(`The page has a fault: ${event.message}`, "bad"));
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault()); // a file dropped beside a box would replace the page
addEventListener("online", () => notify("The network is back."));

// Not awaited here: pages import this module, and would wait for it while it waits for them.
account().then((known) => (known ? render() : toLogin()));
