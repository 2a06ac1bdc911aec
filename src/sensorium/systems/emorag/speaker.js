// The popover Speaker of the page Voices: a speaker of the library, the speaker of a clip, or who sounds most like a recording.

import { call } from "../../api.js";
import { announce, h, icon, set } from "../../dom.js";
import { popover } from "../../popover.js";
import { base64 } from "../../query.js";
import { itemOf } from "../../results.js";
import { sound } from "../../waveform.js";
import { faultLine } from "../../words.js";
import { dropPlace, words } from "./rows.js";

const MANY = 16; // speakers up to which each is a chip

/**
 * The popover; a clip or a recording can be dropped on its button, too. run, side: whose clips; now(): { speaker, like };
 * change(next). Its heard: { speaker, probability, speakers, name } of the last recording, or null.
 */
export function speakerPop(run, side, now, change) {
  const column = run.sides[side].columns.find((one) => one.name === "speaker");
  const known = (column?.values ?? []).map(String).sort(new Intl.Collator("en", { numeric: true }).compare);
  const pick = (speaker) => change({ speaker, like: "" });
  const place = h("div", { class: "this-speaker" });
  let turn = 0;
  const self = popover("Speaker", "person", () => {
    const { speaker, like } = now();
    const choice = !known.length ? null : known.length <= MANY
      ? h("div", { class: "filter-values", role: "group", "aria-label": "Speaker" }, known.map((one) => h("button", { class: "chip", type: "button", "aria-pressed": String(one === speaker), on: { click: () => pick(one === speaker ? "" : one) } }, h("span", {}, one))))
      : h("select", { class: "select wide", "aria-label": "Speaker", value: speaker, on: { change: (event) => pick(event.target.value) } }, h("option", { value: "" }, "Any speaker"), known.map((one) => h("option", { value: one }, one)));
    if (like) drawClip(like); else if (!place.querySelector("[role=alert]")) drawNone();
    return [choice, place];
  }, { narrow: true });
  self.element.classList.add("speaker-place");
  dropPlace(self.element, { gives: (id) => change({ like: id, speaker: "" }), file: take });

  /** What to do for a speaker, and which voice was nearest to the last recording, while its speaker is the chosen one. */
  function drawNone() {
    const { heard } = self, own = heard && heard.speaker === now().speaker;
    const input = h("input", { type: "file", accept: "audio/*", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true", on: { change: () => input.files[0] && take(input.files[0]) } });
    set(place, own ? h("p", { title: "One speaker is always the nearest, of a stranger's voice, too" }, h("strong", {}, heard.speaker), ` sounds most like ${heard.name} (probability ${heard.probability.toFixed(2)} among ${heard.speakers} speakers).`)
      : h("p", { class: "quiet" }, "Drag a clip onto Speaker, or press its person button, to keep its voice. A recording finds the speaker who sounds most like it."),
    input, h("button", { class: "button", type: "button", on: { click: () => input.click() } }, icon("upload"), "Choose a recording"));
  }

  /** A recording from elsewhere: the speaker whose voice is nearest becomes the chosen one. */
  async function take(file) {
    const mine = ++turn;
    self.show();
    set(place, h("p", { class: "quiet", role: "status" }, `Comparing the voice of ${file.name} …`));
    try {
      const found = await call("/prompts/speaker", { json: { run: run.name, side, audio: await base64(file) } });
      if (mine !== turn) return;
      self.heard = { ...found, name: file.name };
      announce(`${found.speaker} sounds most like ${file.name}`);
      drawNone();
      pick(found.speaker);
    } catch (error) {
      if (mine === turn) set(place, faultLine(error, { kind: "audio" }), h("button", { class: "button small", type: "button", on: { click: drawNone } }, "Close this message"));
    }
  }

  /** The clip whose speaker is kept, with its sound, once it is known. */
  async function drawClip(like) {
    const mine = ++turn, off = h("button", { class: "button small", type: "button", on: { click: () => change({ like: "" }) } }, icon("close"), "Any speaker");
    if (place.dataset.like === like && place.querySelector("strong")) return;
    set(place, h("p", { class: "quiet" }, like), off);
    try {
      const item = await itemOf(run.name, side, like);
      if (mine !== turn || now().like !== like) return;
      place.dataset.like = like;
      self.mark(item.columns.speaker ?? "unknown");
      set(place, h("p", {}, h("strong", {}, item.columns.speaker ?? "unknown speaker"), " ", h("span", { class: "quiet" }, item.id)), item.media ? sound(item, words(item), Number(item.columns.duration) || 0).element : null, off);
    } catch (error) {
      if (mine === turn) set(place, faultLine(error), off);
    }
  }

  return Object.assign(self, {
    heard: null,
    draw() {
      const { speaker, like } = now();
      self.mark(speaker || (like ? "of a clip" : ""));
      if (!like) delete place.dataset.like;
      if (like) drawClip(like); else if (place.dataset.of !== speaker) drawNone();
      place.dataset.of = speaker;
      self.refresh();
    },
    stop() { turn++; self.close(); },
  });
}
