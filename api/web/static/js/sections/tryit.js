// The try-it box: an image in, the class probabilities of the finished model out; of a regression its values.

import { ask } from "../api.js";
import { fill, h, unique } from "../dom.js";
import { percent } from "../format.js";
import { panel } from "./panel.js";

const SHOWN = 10; // classes at first; a button shows the rest

export function make(jobId, { signal }) {
  const { element, body } = panel("Try it");
  const id = unique("image");
  const input = h("input", { type: "file", id, accept: "image/*", onchange: () => input.files[0] && take(input.files[0]) });
  const zone = h("div", { class: "dropzone" },
    h("label", { for: id }, h("strong", {}, "Choose an image"), ", drop one here, or paste one."), input,
    h("p", { class: "small muted" }, "It is sent to this service, shown to the model, and not kept."));
  const seen = h("div", { class: "seen" });
  const answer = h("div", { role: "status" }, h("p", { class: "muted" }, "What the model says of it is shown here."));
  let image = null, state = "", over = 0, taken = 0;

  listen();

  function listen() {
    zone.addEventListener("dragenter", (event) => { event.preventDefault(); over += 1; zone.classList.add("over"); });
    zone.addEventListener("dragleave", () => { over -= 1; if (over <= 0) leave(); });
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      leave();
      const file = event.dataTransfer.files[0];
      file ? take(file) : tell("That is no file. Drop an image out of a folder, or choose one.");
    });
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (file && zone.isConnected && !event.target.closest?.("input:not([type=file]), textarea")) take(file);
    }, { signal });
  }

  function leave() {
    over = 0;
    zone.classList.remove("over");
  }

  function tell(words) {
    fill(answer, h("div", { class: "problem", role: "alert" }, words));
  }

  async function take(file) {
    const turn = ++taken; // an answer that comes when another image was given is not shown
    const form = new FormData();
    form.append("file", file, file.name || "pasted.png");
    fill(answer, h("p", { class: "muted" }, "Asking the model…"));
    fill(seen);
    picture(file, turn);
    try {
      const found = await ask(`/v1/jobs/${jobId}/predict`, { method: "POST", form, signal });
      if (turn === taken) fill(answer, bars(found));
    } catch (error) {
      if (error.name !== "AbortError" && turn === taken) tell(error.message);
    }
    input.value = ""; // the same file can be chosen again
  }

  /** The image as it is, and as the model sees it: so many pixels, grey where it was trained on grey ones. */
  async function picture(file, turn) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      return; // no image, or one of a kind that the browser does not know: the service says what it makes of it
    }
    if (turn !== taken) return;
    const url = URL.createObjectURL(file);
    const shown = h("img", { src: url, alt: `Your image ${file.name ?? ""}`, onload: () => URL.revokeObjectURL(url) });
    const figures = [h("figure", {}, shown, h("figcaption", { class: "small muted" }, `${bitmap.width} × ${bitmap.height}`))];
    if (image) {
      const [channels, height, width] = image;
      const canvas = h("canvas", { width, height, role: "img", "aria-label": `The same as the model sees it, ${width} by ${height} pixels` });
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.fillStyle = "white"; // what is transparent is white to the model
      context.fillRect(0, 0, width, height);
      context.filter = channels === 1 ? "grayscale(1)" : "none";
      const scale = Math.min(bitmap.width / width, bitmap.height / height); // its middle, as nas/data/decode.py takes it
      const across = width * scale, down = height * scale;
      context.drawImage(bitmap, (bitmap.width - across) / 2, (bitmap.height - down) / 2, across, down, 0, 0, width, height);
      figures.push(h("figure", {}, canvas, h("figcaption", { class: "small muted" }, `as the model sees it: ${width} × ${height}${channels === 1 ? ", grey" : ""}`)));
    }
    fill(seen, figures);
  }

  async function update({ job, progress }) {
    if (state === job.state) return;
    state = job.state;
    if (job.state === "succeeded") {
      fill(body, h("div", { class: "tryit" }, h("div", { class: "panel-body" }, zone, seen), answer));
      image ??= (await ask(`/v1/datasets/${encodeURIComponent(job.dataset)}`, { signal }).catch(() => null))?.image ?? null;
      return;
    }
    const over = job.state === "failed" || job.state === "cancelled";
    fill(body, h("p", { class: "empty" }, over
      ? "This job has no finished model to try. Extend it, or retrain one of its trials."
      : "Once the job has succeeded, you can drop an image here and see what the model makes of it."));
  }

  return { element, update };
}

/** The answer in words and as bars; of a regression the values themselves. */
function bars({ task, classes, targets, ms }, all = false) {
  const took = h("span", { class: "muted small" }, ` The network took ${ms.toFixed(1)} ms.`);
  if (task === "regression") return facts(targets.map(({ name, value }) => [name, String(Number(value.toPrecision(5)))]), took);
  const found = classes.slice(0, all ? classes.length : SHOWN);
  const list = h("ol", { class: "bars", "aria-label": "Probabilities, the highest first" }, found.map(({ name, probability }) => h("li", {},
    h("span", {}, name), h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill", style: { width: `${100 * probability}%` } })),
    h("span", { class: "number" }, percent(probability, 1)))));
  const likely = classes.filter(({ probability }) => probability > 0.5).map(({ name }) => name).join(", ");
  const first = task === "multi_label" ? [h("strong", {}, likely || "None of the labels"), " more likely than not."]
    : [h("strong", {}, classes[0].name), `, with a probability of ${percent(classes[0].probability, 1)}.`];
  const box = h("div", { class: "panel-body" }, h("p", {}, first, took), list);
  const rest = classes.length - found.length;
  if (rest > 0) box.append(h("button", { type: "button", onclick: () => box.replaceWith(bars({ task, classes, targets, ms }, true)) }, `Show ${rest} more`));
  return box;
}

function facts(entries, took) {
  return h("div", { class: "panel-body" }, h("p", {}, "In the units of the data.", took),
    h("dl", { class: "figures" }, entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}
