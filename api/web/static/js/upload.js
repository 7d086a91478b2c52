// Images of one's own: chosen or dropped, sent with a bar and the time that is left, and taken back while they are sent.

import { Away, Problem, csrfToken, root } from "./api.js";
import { fill, h, notify, unique } from "./dom.js";
import { duration } from "./format.js";
import { mend } from "./validity.js";

const KINDS = ".zip,.npz,.parquet";

/** An element that sends a data set; `stored(info)` hears of the one that is there then. */
export function makeUpload(stored) {
  let file = null, sending = null, suggested = "";
  const said = h("div", { class: "fault", role: "alert" });
  const shown = h("div", { class: "sending", hidden: true });
  const input = h("input", { type: "file", id: unique("file"), class: "visually-hidden", accept: KINDS, onchange: () => take(input.files[0]) });
  const chosen = h("span", {}, "Drop a file here, or choose one");
  const drop = h("label", { class: "drop", for: input.id }, chosen, h("span", { class: "muted small" }, "a zip of class folders, an .npz of images and labels, or a Parquet file"));
  const name = entry("Call it", { type: "text", maxlength: 200, autocomplete: "off" }, "the name that jobs ask for it by");
  const size = entry("Image size", { type: "number", min: 8, max: 512, placeholder: "as they are" }, "side in pixels that they are scaled to");
  const seed = entry("Seed of the split", { type: "number", min: 0, max: 2 ** 31 - 1, placeholder: "0" }, "where the file has no split of its own");
  const send = h("button", { class: "primary", type: "button", disabled: true, onclick: start }, "Upload");
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.dataset.over = ""; });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => delete drop.dataset.over);
  drop.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });

  function take(found) {
    if (!found || sending) return;
    file = found;
    chosen.textContent = `${found.name} (${bytes(found.size)})`;
    if (name.input.value === suggested) name.input.value = suggested = found.name.replace(/\.(zip|npz|parquet)$/i, "");
    send.disabled = false;
    blame([]);
  }

  /** Shows faults at their fields, and what is of no field below; goes to the first field at fault. */
  function blame(errors, otherwise = null) {
    const fields = { name, size, seed };
    for (const [key, field] of Object.entries(fields)) field.blame(errors.find((error) => error.field === key)?.mend);
    fill(said, errors.every((error) => error.field in fields) && errors.length ? null : otherwise && h("p", {}, otherwise));
    Object.values(fields).find(({ input }) => input.ariaInvalid === "true")?.input.focus();
  }

  /** What can be seen to be wrong before anything is sent. */
  function wrong() {
    const numbers = Object.entries({ size, seed }).map(([field, { input }]) => ({ field, mend: mend(input) }));
    return [{ field: "name", mend: name.input.value.trim() ? null : "it has to have at least 1 character" }, ...numbers].filter((error) => error.mend);
  }

  async function start() {
    if (!file) return;
    const faults = wrong();
    blame(faults);
    if (faults.length) return;
    send.disabled = true;
    try {
      const form = new FormData();
      for (const [key, { input: { value } }] of Object.entries({ name, size, seed })) if (value.trim()) form.append(key, value.trim());
      form.append("file", file);
      const info = await transfer(form);
      notify(`The data set ${info.name} is stored.`);
      clear();
      stored(info);
    } catch (error) {
      if (error.name !== "AbortError") blame(error.errors ?? [], error.message);
    } finally {
      sending = null;
      shown.hidden = true;
      send.disabled = !file;
    }
  }

  /** By XMLHttpRequest: fetch does not tell how much of a body is sent. */
  function transfer(form) {
    return new Promise((resolve, reject) => {
      const begun = Date.now();
      const request = (sending = new XMLHttpRequest());
      request.open("POST", `${root}/v1/datasets`);
      request.setRequestHeader("Accept", "application/json");
      if (csrfToken()) request.setRequestHeader("X-CSRF-Token", csrfToken());
      request.upload.onprogress = (event) => event.lengthComputable && tell(event.loaded, event.total, (Date.now() - begun) / 1000);
      request.onload = () => {
        const body = read(request.responseText);
        if (request.status === 401) document.dispatchEvent(new CustomEvent("logged-out"));
        request.status < 300 ? resolve(body) : reject(new Problem(request.status, body ?? {}));
      };
      request.onerror = () => reject(new Away("The connection broke while the file was sent. Send it again: what is there already stays as it is."));
      request.onabort = () => reject(new DOMException("taken back", "AbortError"));
      tell(0, file.size, 0);
      request.send(form);
    });
  }

  const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  const words = h("span", { class: "small", role: "status" });
  fill(shown, bar, h("div", { class: "row spread" }, words, h("button", { type: "button", onclick: () => sending?.abort() }, "Cancel the upload")));

  function tell(sent, all, elapsed) {
    shown.hidden = false;
    if (sent >= all && all > 0) {
      bar.removeAttribute("value");
      words.textContent = "Sent. The service reads the images…";
      return;
    }
    bar.value = all ? sent / all : 0;
    const left = sent && elapsed > 1 ? `, ${duration((elapsed * (all - sent)) / sent)} left` : "";
    words.textContent = `${bytes(sent)} of ${bytes(all)}${left}`;
  }

  function clear() {
    file = null;
    input.value = "";
    for (const { input: field } of [name, size, seed]) field.value = "";
    suggested = "";
    chosen.textContent = "Drop a file here, or choose one";
  }

  return h("div", { class: "upload" }, input, drop, h("div", { class: "fields" }, name.element, size.element, seed.element), h("div", { class: "row" }, send), shown, said);
}

function entry(title, attributes, hint) {
  const [id, words, faultId] = [unique("field"), unique("hint"), unique("fault")];
  const input = h("input", { id, "aria-describedby": `${words} ${faultId}`, ...attributes });
  const fault = h("p", { class: "fault", id: faultId });
  const blame = (text) => {
    fault.textContent = text ?? "";
    text ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
  };
  return { input, blame, element: h("div", { class: "field" }, h("label", { for: id }, title), input, h("p", { class: "hint", id: words }, hint), fault) };
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A size in bytes as 12.3 MB. */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  if (count < 1000) return `${count} B`;
  const [unit, size] = [["kB", 1e3], ["MB", 1e6], ["GB", 1e9], ["TB", 1e12]].findLast(([, least]) => count >= least);
  return `${(count / size).toPrecision(3)} ${unit}`;
}
