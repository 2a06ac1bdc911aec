// Rows of the page Voices: a clip with its sound, what it says, and its numbers, each marked against the engine's limits.

import { h, icon, set } from "../../dom.js";
import { details, facts, label } from "../../results.js";
import { sound } from "../../waveform.js";
import { marks } from "./gates.js";

/** The type that a dragged clip has. */
export const DRAGGED = "application/x-sensorium-clip";

/** What a clip is called: its transcript, else its id. */
export function words(item) { return String(item.columns?.transcript || "") || label(item); }

/**
 * A row for a clip. onSpeaker(hit): make its speaker the one of all lines. onChoose(hit): take it for its line;
 * chosen: whether it is. place: its rank, where it has one; share: of the bar beside it. abouts: why each gate has its limit.
 */
export function row(hit, { onSpeaker, onChoose, chosen = false, place = "", share = 1, onSearch, abouts }) {
  const name = words(hit), seconds = Number(hit.columns?.duration) || 0;
  const plays = hit.media ? sound(hit, name, seconds) : null;
  const fails = Object.values(hit.gates ?? {}).some((gate) => gate.state === "fail");
  const acts = h("div", { class: "clip-acts" },
    onChoose ? h("button", { class: `button small${chosen ? "" : " plain"}`, type: "button", "aria-pressed": String(chosen), "aria-label": `Take ${hit.id} for this line`, on: { click: () => onChoose(hit) } }, icon("check"), chosen ? "Taken" : "Take") : null,
    onSpeaker && hit.columns?.speaker !== undefined ? h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `This speaker: ${hit.columns.speaker}, of ${hit.id}`, title: "This speaker", on: { click: () => onSpeaker(hit) } }, icon("person")) : null,
    onSearch ? h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `Find similar: ${name}`, title: "Find similar", on: { click: () => onSearch(hit) } }, icon("similar")) : null);
  const element = h("li", { class: `clip${fails ? " fails" : ""}${chosen ? " chosen" : ""}`, dataset: { id: hit.id }, draggable: "true" },
    plays ? plays.element : h("p", { class: "sound quiet" }, "This clip's sound is not stored with the run."),
    h("button", { class: "clip-text", type: "button", "aria-haspopup": "dialog", on: { click: (event) => details(hit, { onSearch }, event.currentTarget) } }, h("span", { class: "clip-words" }, name), h("span", { class: "clip-facts" }, facts(hit), h("span", { class: "quiet clip-id" }, hit.id))),
    hit.score === undefined || !place ? null : h("span", { class: "score", title: `Score ${hit.score.toFixed(3)}; higher is nearer` }, h("span", { class: "rank number" }, h("span", { class: "visually-hidden" }, "Rank "), place), h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { "--share": share } })), h("span", { class: "visually-hidden" }, `, score ${hit.score.toFixed(3)}`)),
    acts, hit.gates ? marks(hit.gates, name, abouts) : null);
  element.toggle = plays?.toggle;
  element.addEventListener("pointerdown", (event) => { element.draggable = !event.target.closest("input, button:not(.clip-text)"); });
  element.addEventListener("dragstart", (event) => {
    event.dataTransfer.setData(DRAGGED, hit.id);
    event.dataTransfer.setData("text/plain", hit.id);
    event.dataTransfer.effectAllowed = "copyLink";
    element.classList.add("dragged");
    document.body.classList.add("clip-dragged");
  });
  element.addEventListener("dragend", () => { element.classList.remove("dragged"); document.body.classList.remove("clip-dragged"); });
  return element;
}

/**
 * The keys of a list of clips: up and down move among the clips, space plays the one in focus, or the last one played.
 * Returns a function that ends this.
 */
export function keys(root) {
  let last = null;
  const rows = () => [...root.querySelectorAll(".clip")].filter((one) => one.offsetParent !== null);
  const of = (target) => target instanceof Element && root.contains(target) ? target.closest(".clip") : null;
  function pressed(event) {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const target = event.target, typing = target.closest?.("input, textarea, select, [contenteditable]");
    if (typing) return;
    const all = rows(), now = of(target) ?? (all.includes(last) ? last : null);
    if (event.key === " " && !target.closest?.("button, a, summary")) {
      (now ?? all[0])?.toggle?.();
      if (all.length) event.preventDefault();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!of(target) && target !== document.body && target.id !== "main") return;
      const at = all.indexOf(now), next = all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + (event.key === "ArrowDown" ? 1 : -1)))];
      if (!next) return;
      (next.querySelector(".play") ?? next.querySelector("button"))?.focus();
      next.scrollIntoView({ block: "nearest" });
      event.preventDefault();
    }
  }
  const focused = (event) => { last = of(event.target) ?? last; };
  document.addEventListener("keydown", pressed);
  root.addEventListener("focusin", focused);
  root.addEventListener("click", focused);
  return () => { document.removeEventListener("keydown", pressed); root.removeEventListener("focusin", focused); root.removeEventListener("click", focused); };
}

/** A place that takes a dropped clip or sound file: gives(id) or file(File). */
export function dropPlace(element, { gives, file }) {
  const takes = (transfer) => [...(transfer?.types ?? [])].some((type) => type === DRAGGED || (file && type === "Files"));
  const over = (event) => { if (takes(event.dataTransfer)) { event.preventDefault(); event.dataTransfer.dropEffect = "copy"; element.classList.add("over"); } };
  element.addEventListener("dragenter", over);
  element.addEventListener("dragover", over);
  element.addEventListener("dragleave", (event) => { if (!element.contains(event.relatedTarget)) element.classList.remove("over"); });
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    if (!takes(event.dataTransfer)) return;
    event.preventDefault();
    const id = event.dataTransfer.getData(DRAGGED), sent = event.dataTransfer.files[0];
    if (id) gives(id); else if (sent) file?.(sent);
  });
  return element;
}

/** Fill a place with rows, or with what to say where there are none. */
export function list(place, hits, actions, nothing) {
  const scores = hits.map((hit) => hit.score), low = Math.min(...scores), wide = Math.max(...scores) - low;
  return set(place, hits.length ? h("ol", { class: "clips" }, hits.map((hit, i) => row(hit, { ...actions, place: String(i + 1), share: wide ? 0.08 + 0.92 * (hit.score - low) / wide : 1 }))) : nothing);
}
