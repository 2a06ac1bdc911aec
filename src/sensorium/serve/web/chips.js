// The inputs of a query below its field, each with its picture or sound, its weight, and a button to remove it.

import { url } from "./api.js";
import { debounced, h, icon, set } from "./dom.js";
import { picture as drawnPicture, strokesFromText } from "./draw.js";
import { fileOf, isFile, sideOf } from "./query.js";
import { picture, player } from "./results.js";

function thumbnail(run, input) {
  if (input.kind === "draw") {
    const canvas = drawnPicture(strokesFromText(input.value));
    canvas.className = "chip-picture";
    return canvas;
  }
  const file = isFile(input.kind) ? fileOf(input.value) : null;
  if (file?.type.startsWith("image/")) {
    const image = h("img", { class: "chip-picture", alt: "" });
    image.src = URL.createObjectURL(file);
    image.onload = () => URL.revokeObjectURL(image.src);
    return image;
  }
  const side = input.kind === "id" ? sideOf(run, input) || "left" : "";
  if (run.sides[side]?.kind === "image") return picture({ id: input.value, columns: {}, media: url(`/media/${encodeURIComponent(input.value)}`, { run: run.name, side: input.side }) }, "chip-picture");
  return icon({ text: "words", audio: "sound" }[input.kind] ?? (run.sides[side]?.kind === "audio" ? "sound" : "words"));
}

/** The sound of an input, to be played and seen: a file of this computer, or an item that is a sound. */
function heard(run, input) {
  const file = isFile(input.kind) ? fileOf(input.value) : null, side = input.kind === "id" ? sideOf(run, input) || "left" : "";
  if (input.kind === "audio" && file) return player({ id: file.name, columns: {}, media: file });
  if (run.sides[side]?.kind !== "audio") return null;
  return player({ id: input.value, side, columns: {}, media: url(`/media/${encodeURIComponent(input.value)}`, { run: run.name, side }) });
}

/** Draw the inputs into a place; a single one that the field shows has no chip. actions: change, label(input), combine. */
export function chips(place, { run, query, adding }, { change, label, combine }) {
  const { inputs } = query;
  const bare = (input) => input.kind === "id" && !["image", "audio"].includes(run.sides[sideOf(run, input) || "left"]?.kind);
  const alone = inputs.length === 1 && inputs[0].weight === 1 && (["text", "draw"].includes(inputs[0].kind) || bare(inputs[0]));
  if (place.querySelector("input:active")) return; // a slider is being moved: leave it under the finger
  if (!inputs.length || (alone && !adding)) return set(place);
  const update = (i, input) => change({ inputs: inputs.with(i, { ...inputs[i], ...input }) }, { soon: true });
  const later = debounced(update, 120);
  const name = (input) => (input.kind === "draw" ? "your drawing" : isFile(input.kind) ? fileOf(input.value)?.name ?? "a file that is gone" : input.kind === "id" ? label(input) : input.value);
  const kept = new Map([...place.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  set(place, inputs.map((input, i) => {
    const text = name(input), amount = h("output", { class: "number" }, `× ${input.weight}`);
    const key = JSON.stringify([i, inputs.length, input, text]);
    if (kept.has(key) && input.kind !== "draw") return kept.get(key); // a sound that plays goes on
    const own = heard(run, input);
    return h("div", { class: `asked${own ? " heard" : ""}`, dataset: { key } }, thumbnail(run, input), h("span", { class: "asked-text", title: text }, text), own,
      inputs.length > 1 || input.weight !== 1 ? h("label", { class: "weight" }, h("span", { class: "visually-hidden" }, `Weight of ${text}`),
        h("input", { type: "range", min: -1, max: 1, step: 0.1, value: input.weight, on: { input(event) {
          set(amount, `× ${event.target.value}`);
          later(i, { weight: +event.target.value });
        } } }), amount) : null,
      h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `Remove ${text}`, title: "Remove", on: { click: () => change({ inputs: inputs.filter((_, j) => j !== i) }) } }, icon("close")));
  }), h("button", { class: "button small plain", type: "button", "aria-pressed": String(adding), on: { click: combine } }, icon("plus"), adding ? "The next input is added" : "Add to query"));
}
