// What happens in a job as it happens: server-sent events, or polling where they do not come through.

import { root } from "./api.js";

const PATIENCE_MS = 8000; // without an event or a heartbeat the page asks by itself
const POLL_MS = 3000;

/**
 * Calls `changed()` whenever something has happened in a job, at most once in `everyMs`; `state(name)` hears how it is
 * connected: live, polling or lost. Returns a function that ends it.
 */
export function follow(job, changed, state, everyMs = 700) {
  let source = null, timer = null, due = null, last = 0, heard = Date.now(), over = false;

  function soon() {
    if (due !== null || over) return;
    due = setTimeout(async () => {
      due = null;
      last = Date.now();
      try {
        const goesOn = await changed();
        if (goesOn === false) end();
        else if (!over) state(source?.readyState === 1 ? "live" : "polling");
      } catch {
        if (!over) state("lost"); // what is over was left on purpose
      }
    }, Math.max(0, last + everyMs - Date.now()));
  }

  function listen() {
    if (!("EventSource" in window) || document.hidden) return;
    source = new EventSource(`${root}/v1/jobs/${job}/events?after=now`, { withCredentials: true });
    source.onopen = () => { heard = Date.now(); state("live"); soon(); };
    for (const kind of ["epoch", "trial", "job", "reset", "end"]) source.addEventListener(kind, () => { heard = Date.now(); soon(); });
    source.onerror = () => { if (source.readyState === 2) { source = null; setTimeout(() => !over && source === null && listen(), POLL_MS); } };
  }

  // Browsers allow a few connections to a host, to all tabs together: one that nobody sees gives its own back.
  function seen() {
    if (!document.hidden && source === null) listen();
    if (document.hidden) source = source?.close() ?? null;
    look();
  }

  function look() {
    if (document.hidden) return;
    const open = source !== null && source.readyState === 1;
    if (!open || Date.now() - heard > PATIENCE_MS) soon();
  }

  function stop() {
    over = true;
    clearInterval(timer);
    clearTimeout(due);
    source?.close();
    document.removeEventListener("visibilitychange", seen);
  }

  function end() {
    stop();
    state("");
  }

  listen();
  timer = setInterval(look, POLL_MS);
  document.addEventListener("visibilitychange", seen);
  soon();
  return stop;
}
