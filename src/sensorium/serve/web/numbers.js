// Numbers of runs as text: percent, intervals with their warning, directions, sizes, dates and durations.

import { h } from "./dom.js";

/** Whether a measure is a rank, which is no share. */
export const isRank = (measure) => /rank/.test(measure);

/** A value of a measure: percent without the sign, or a rank; "–" for none. */
export function number(measure, x) {
  if (x === null || x === undefined) return "–";
  return isRank(measure) ? String(Number(x.toPrecision(3))) : (100 * x).toFixed(1);
}

/** A difference with its sign. */
export const signed = (measure, x) => (x > 0 ? "+" : x < 0 ? "−" : "") + number(measure, Math.abs(x));

const FEW = 10;
const few = (one) => one.few_groups || (one.n_groups !== undefined && one.n_groups < FEW);
export { few };

/** The warning of an interval that rests on few groups; null where there are enough. */
export function fewTag(one) {
  if (!few(one)) return null;
  const n = one.n_groups ?? one.groups;
  return h("span", { class: "tag warn", title: "This interval rests on few groups and is too narrow. More groups would widen it." }, n === undefined || n === null ? "few groups" : `${n} group${n === 1 ? "" : "s"}`);
}

/** An interval as nodes with its warning: "60.2 – 65.5"; of a difference, whose ends have signs, "[+1.2, +3.4]". */
export function bounds(one, difference = false) {
  if (one.low === null || one.low === undefined) return [fewTag(one)];
  const text = difference ? `[${signed(one.measure, one.low)}, ${signed(one.measure, one.high)}]` : `${number(one.measure, one.low)} – ${number(one.measure, one.high)}`;
  return [text, few(one) ? " " : null, fewTag(one)];
}

/** "left->right" with the names of the sides. */
export const arrow = (direction, names = {}) => direction.split("->").map((side) => names[side] ?? (side === "right" ? names.left : undefined) ?? side).join(" → ");

export const count = (n) => n.toLocaleString("en");

/** Bytes as kB, MB or GB. */
export function size(bytes) {
  const [unit, per] = bytes >= 1e9 ? ["GB", 1e9] : bytes >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  const x = bytes / per;
  return `${x >= 100 || unit === "kB" ? Math.round(x) : x.toFixed(1)} ${unit}`;
}

/** A UTC time as [date, minute] in the reader's own zone. */
export function day(text) {
  const at = new Date(text), two = (n) => String(n).padStart(2, "0");
  return Number.isNaN(at.getTime()) ? ["–", ""] : [`${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`, `${two(at.getHours())}:${two(at.getMinutes())}`];
}

/** Seconds as "42 s", "3:05 min" or "2:07 h". */
export function duration(seconds) {
  const all = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
  if (all < 60) return `${all} s`;
  return all < 3600 ? `${Math.floor(all / 60)}:${two(all % 60)} min` : `${Math.floor(all / 3600)}:${two(Math.floor((all % 3600) / 60))} h`;
}
