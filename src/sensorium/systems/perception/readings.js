// What is read in a face: seven emotions as bars, and the nearest prompts, each of which keeps its row while it moves.

import { h, set } from "../../dom.js";
import { face } from "../../faces.js";
import { colourOf } from "./stage.js";

/** Emotions of the document, as the drawn faces call them. */
const DRAWN = { fear: "fearful", surprise: "surprised" };
const drawn = (name) => DRAWN[name] ?? name;
const ROW = 38; // pixels from one prompt to the next

/** A bar for each emotion, in the order of their names. */
export class Emotions {
  constructor(names) {
    this.rows = names.map((name) => {
      const bar = h("i", { class: `feel-${drawn(name)}` }), value = h("span", { class: "number" }, "–");
      return { name, bar, value, row: h("div", { class: "live-row", role: "listitem", dataset: { emotion: name } }, face(drawn(name), { "aria-hidden": "true", role: null, "aria-label": null }), h("span", {}, name), h("span", { class: "live-meter", "aria-hidden": "true" }, bar), value) };
    });
    this.element = h("div", { class: "face-emotions", role: "list", "aria-label": "Probabilities of the emotions" }, this.rows.map(({ row }) => row));
    this.update(null, null);
  }

  /** values: probabilities in the order of the names, null for no face; label: the emotion that is shown as the answer. */
  update(values, label) {
    this.element.classList.toggle("asleep", !values);
    this.rows.forEach(({ name, bar, value, row }, i) => {
      const share = values?.[i] ?? 0, text = values ? `${Math.round(100 * share)} %` : "–";
      bar.style.setProperty("width", `${(100 * share).toFixed(1)}%`);
      if (value.textContent !== text) value.textContent = text;
      row.dataset.value = String(share);
      row.classList.toggle("first", name === label);
    });
  }
}

/** The nearest prompts: a row for each, moved to its rank. */
export class Prompts {
  constructor() {
    this.list = h("ol", { class: "face-prompts" });
    this.element = this.list;
    this.rows = new Map();
  }

  /** prompts: {id, text, score}, nearest first; empty for no face. */
  update(prompts) {
    const now = new Set(prompts.map(({ id }) => id));
    for (const [id, row] of this.rows) if (!now.has(id)) { row.element.remove(); this.rows.delete(id); }
    prompts.forEach(({ id, text, score }, rank) => {
      const row = this.rows.get(id) ?? this.add(id, text || id);
      row.element.style.setProperty("transform", `translateY(${rank * ROW}px)`);
      row.element.classList.toggle("first", rank === 0);
      row.element.dataset.rank = String(rank + 1);
      row.bar.style.setProperty("--share", Math.max(0, Math.min(1, score)).toFixed(3));
      row.value.textContent = score.toFixed(3);
    });
    this.list.style.setProperty("height", `${Math.max(1, prompts.length) * ROW}px`);
    const order = [...this.rows.values()].sort((a, b) => a.element.dataset.rank - b.element.dataset.rank);
    if (order.some((row, i) => this.list.children[i] !== row.element)) this.list.append(...order.map((row) => row.element)); // for those who hear it
  }

  add(id, text) {
    const bar = h("i"), value = h("span", { class: "number", title: "score; higher is nearer" });
    const element = h("li", { class: "face-prompt", dataset: { id } }, h("span", { class: "face-prompt-text", title: text }, text), value, h("span", { class: "meter", "aria-hidden": "true" }, bar));
    this.list.append(element);
    const row = { element, bar, value };
    this.rows.set(id, row);
    return row;
  }
}

/** The faces there are, as chips to choose one by; nothing where there is one alone. */
export class Chips {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.element = h("div", { class: "face-chips", role: "group", "aria-label": "Faces", hidden: true });
    this.chips = new Map();
  }

  update(faces, chosen) {
    this.element.hidden = faces.length < 2;
    const now = new Set(faces.map(({ id }) => id));
    for (const [id, chip] of this.chips) if (!now.has(id)) { chip.element.remove(); this.chips.delete(id); }
    for (const { id, label } of faces) {
      if (!this.chips.has(id)) {
        const words = h("span", {}), element = h("button", { class: "chip", type: "button", dataset: { face: id }, on: { click: () => this.onChoose(id) } }, h("span", { class: "swatch", style: { "--feel": colourOf(id) }, "aria-hidden": "true" }), words);
        this.chips.set(id, { element, words });
        this.element.append(element);
      }
      const { element, words } = this.chips.get(id), text = `Face ${id}${label ? `: ${label}` : ""}`, pressed = String(id === chosen);
      if (words.textContent !== text) words.textContent = text;
      if (element.getAttribute("aria-pressed") !== pressed) element.setAttribute("aria-pressed", pressed);
    }
  }
}

/** The text of an empty place in a card. */
export function hush(place, text) { return set(place, h("p", { class: "quiet face-hush" }, text)); }
