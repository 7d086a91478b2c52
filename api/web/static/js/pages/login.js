// The login: a key is given for a cookie that no script can read. Nothing of it is kept here or put into an address.

import { ask, root, useCsrf } from "../api.js";
import { go } from "../app.js";
import { fill, h, unique } from "../dom.js";

export async function show(main, { query }) {
  const [id, faultId] = [unique("key"), unique("fault")];
  const fault = h("p", { class: "fault", id: faultId, role: "alert" });
  const key = h("input", { id, type: "password", name: "key", autocomplete: "current-password", required: true, maxlength: 500, "aria-describedby": faultId });
  const button = h("button", { class: "primary" }, "Log in");

  async function submit(event) {
    event.preventDefault();
    fill(fault);
    button.disabled = true;
    try {
      const found = await ask("/session", { method: "POST", body: { key: key.value.trim() } });
      key.value = "";
      useCsrf(found.csrf ?? null);
      await go(safe(query.get("next")), { replace: true });
      document.dispatchEvent(new CustomEvent("logged-in"));
    } catch (error) {
      fill(fault, error.message);
      key.setAttribute("aria-invalid", "true");
      key.focus();
    } finally {
      button.disabled = false;
    }
  }

  fill(main, h("form", { class: "panel login", onsubmit: submit },
    h("h1", {}, "Log in"),
    h("p", { class: "muted" }, "This service asks for a key. Whoever runs it makes one with ", h("code", {}, "nas keys create --owner NAME"), "."),
    h("input", { type: "text", autocomplete: "username", value: location.host, hidden: true }), // what a password store files the key under
    h("div", { class: "field" }, h("label", { for: id }, "Key"), key, fault), h("div", { class: "row" }, button)));
  key.focus();
  return "Log in";
}

/** A page of ours, whatever the address says. */
function safe(next) {
  const own = next !== null && /^\/(?![/\\])/.test(next) && new URL(root + next, location.origin).origin === location.origin;
  return own && !next.startsWith("/login") ? next : "/";
}
