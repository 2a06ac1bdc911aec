// Numbers of clips and the limits of engines in words, and how each number stands to its limit.

import { h, icon } from "../../dom.js";

/** What a gate is called in the profile, and beside a clip where room is short. */
const TITLES = { sample_rate: "sample rate", silence_start: "silence before", silence_end: "silence after", noise: "signal to noise", rate: "speech", steadiness: "one emotion", nonverbal: "laughter, sobs", line_rate: "pace" };
const SHORT = { sample_rate: "rate", loudness: "RMS", clipping: "clipped", noise: "SNR", silence_start: "lead", silence_end: "tail", rate: "speech", steadiness: "steady", nonverbal: "laughter" };
const WITHOUT_NUMBER = ["transcript", "nonverbal"]; // told only where they do not pass
const MARKS = { pass: ["check", "passes"], near: ["near", "passes, near the limit"], fail: ["close", "fails"], unknown: ["unknown", "not judged"] };

/** What a gate is called on the page. */
export const title = (name) => TITLES[name] ?? name;

const digits = (x, most = 2) => Number(x.toFixed(Math.abs(x) >= 100 ? 0 : Math.abs(x) >= 10 ? Math.min(1, most) : most)).toLocaleString("en", { maximumFractionDigits: 4 });

/** A number with its unit, as an engineer writes it. */
export function amount(value, unit) {
  if (unit === "RMS") return `RMS ${value.toFixed(3)}`;
  if (unit === "of samples") return `${digits(100 * value)} %`;
  if (unit === "Hz") return `${digits(value / 1000, 1)} kHz`;
  if (unit === "dB") return `${digits(value, 0)} dB`;
  if (unit === "characters/s") return `${digits(value, 1)} chars/s`;
  if (unit === "tags") return value ? digits(value, 0) : "none";
  if (unit.startsWith("×")) return `×${digits(value)}`;
  return [digits(value), unit].filter(Boolean).join(" ");
}

/** The limits of a gate in words: "3 to 10 s", "at least 15 dB"; "" for none. */
export function limits({ low, high, unit }) {
  if (low === null && high === null) return "";
  if (unit === "tags" && !high) return "none";
  if (unit === "characters" && low === 1) return "there";
  if (low === null || (low === 0 && high !== null)) return `at most ${amount(high, unit)}`;
  if (high === null) return `at least ${amount(low, unit)}`;
  return unit === "RMS" ? `${amount(low, unit)} to ${high}` : unit.startsWith("×") ? `×${digits(low)} to ×${digits(high)} of the line's` : `${amount(low, unit).split(" ")[0]} to ${amount(high, unit)}`;
}

/** One number of a clip and what the engine says of it. about: why there is such a limit. */
function mark([name, gate], about) {
  const [sign, words] = MARKS[gate.state], asked = limits(gate);
  const told = [`${title(name)}: ${words}`, asked ? `asked: ${asked}` : "", about].filter(Boolean).join("; ");
  const value = gate.value === null ? "–" : name === "transcript" && !gate.value ? "missing" : amount(gate.value, gate.unit).replace("RMS ", "");
  return h("li", { class: `mark ${gate.state}`, title: told, dataset: { gate: name } }, h("span", { class: "mark-name", "aria-hidden": "true" }, SHORT[name] ?? title(name)), h("span", { class: "mark-value", "aria-hidden": "true" }, icon(sign), value.replace(" chars/s", "/s")),
    h("span", { class: "visually-hidden" }, `${title(name)} ${value}, ${words}${asked && gate.state !== "pass" ? `; asked: ${asked}` : ""}`));
}

/** The numbers of a clip as a list, in the order of the engine's gates. */
export function marks(gates, name, abouts) {
  const shown = Object.entries(gates).filter(([gate, { state }]) => state !== "pass" || !WITHOUT_NUMBER.includes(gate));
  return h("ul", { class: "marks", "aria-label": `Numbers of ${name}` }, shown.map((one) => mark(one, abouts?.[one[0]])));
}

/** What an engine asks of a clip, behind a summary. off: gates that are left out; onOff(name): one is, or no longer. */
export function profile(engine, { off, open, onOpen, onOff }) {
  const asked = engine.gates.length - engine.gates.filter((gate) => off.includes(gate.name)).length;
  return h("details", { class: "limits", open, on: { toggle: (event) => onOpen(event.currentTarget.open) } }, h("summary", {}, asked === engine.gates.length ? `What it asks of a clip` : `What it asks of a clip: ${asked} of ${engine.gates.length}`),
    h("ul", {}, engine.gates.map((gate) => h("li", { title: gate.about }, h("label", { class: "check" }, h("input", { type: "checkbox", checked: !off.includes(gate.name), on: { change: () => onOff(gate.name) } }), h("span", {}, title(gate.name))),
      h("span", { class: "limit" }, limits(gate) || "as its language", gate.required ? null : h("span", { class: "quiet" }, " if known"))))));
}
