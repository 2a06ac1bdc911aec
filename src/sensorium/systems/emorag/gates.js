// Numbers of clips and the limits of engines in words, and how each number stands to its limit.

import { h, icon } from "../../dom.js";

const TITLES = { sample_rate: "sample rate", silence_start: "silence before", silence_end: "silence after", noise: "signal to noise", rate: "speech", steadiness: "one emotion", nonverbal: "laughter, sobs", line_rate: "pace" };
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
  if (unit.startsWith("×")) return `${digits(value)} ${unit}`;
  return [digits(value), unit].filter(Boolean).join(" ");
}

/** The limits of a gate in words: "3 to 10 s", "at least 15 dB"; "" for none. */
export function limits({ low, high, unit }) {
  if (low === null && high === null) return "";
  if (unit === "tags" && !high) return "none";
  if (unit === "characters" && low === 1) return "there";
  if (low === null || (low === 0 && high !== null)) return `at most ${amount(high, unit)}`;
  if (high === null) return `at least ${amount(low, unit)}`;
  const whole = amount(high, unit), first = amount(low, unit), tail = whole.indexOf(" ");
  return unit === "RMS" ? `${first} to ${high}` : `${first.split(" ")[0]} to ${whole}${tail < 0 ? "" : ""}`;
}

/** One number of a clip and what the engine says of it. about: why there is such a limit. */
function mark([name, gate], about) {
  const [sign, words] = MARKS[gate.state], asked = limits(gate);
  const told = [`${title(name)}: ${words}`, asked ? `asked: ${asked}` : "", about].filter(Boolean).join("; ");
  return h("li", { class: `mark ${gate.state}`, title: told, dataset: { gate: name } }, icon(sign), h("span", { class: "mark-name" }, title(name)), " ", h("span", { class: "mark-value" }, gate.value === null ? "–" : amount(gate.value, gate.unit)),
    h("span", { class: "visually-hidden" }, `, ${words}${asked && gate.state !== "pass" ? `; asked: ${asked}` : ""}`));
}

/** The numbers of a clip as a list; what fails comes first. */
export function marks(gates, name, abouts) {
  const order = { fail: 0, near: 1, pass: 2, unknown: 3 };
  const sorted = Object.entries(gates).sort(([, a], [, b]) => order[a.state] - order[b.state]);
  return h("ul", { class: "marks", "aria-label": `Numbers of ${name}` }, sorted.map((one) => mark(one, abouts?.[one[0]])));
}

/** What an engine asks of a clip, behind a summary. */
export function profile(engine) {
  return h("details", { class: "limits" }, h("summary", {}, "What it asks of a clip"), h("p", { class: "quiet" }, engine.about),
    h("dl", {}, engine.gates.map((gate) => [h("dt", { title: gate.about }, title(gate.name)), h("dd", { title: gate.about }, limits(gate) || "as the language has it", gate.required ? null : h("span", { class: "quiet" }, " where known"))])));
}
