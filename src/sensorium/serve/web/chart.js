// Line charts as SVG: curves over steps or ranks, on one axis each, with a text alternative.

import { h, s } from "./dom.js";
import { CATEGORIES } from "./palette.js";

const H = 240;

/** The i-th colour of categories, for both themes. */
export const hue = (i) => `light-dark(${["light", "dark"].map((theme) => CATEGORIES[theme][i % CATEGORIES[theme].length]).join(", ")})`;

/** Round numbers that cover low … high. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((one) => one >= raw * 0.999) ?? raw;
  const found = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) found.push(Math.abs(x) < step * 1e-9 ? 0 : x);
  return found;
}

const decades = (low, high) => Array.from({ length: Math.floor(Math.log10(high) + 1e-9) + 1 }, (_, i) => 10 ** i).filter((v) => v >= low);

function short(x) {
  if (x === 0) return "0";
  return Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(1) : String(Number(x.toPrecision(3)));
}

/**
 * Curves {name, colour, points: [[x, y]…], dashed, area, dots, spread: [[low, high]…]} under a title. x, y: names of the
 * axes; log: of x; range: of y; best: an x that is marked; diagonal: y = x is drawn; last: name the last values; note:
 * a sentence below. null where there is no point.
 */
export function chart(title, curves, { x = "epoch", y = "", log = false, range = null, best = null, diagonal = false, last = true, note = "" } = {}) {
  const shown = curves.map((curve) => ({ ...curve, points: curve.points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b)) })).filter((curve) => curve.points.length);
  const all = shown.flatMap((curve) => curve.points);
  if (!all.length) return null;
  const W = window.innerWidth < 640 ? 340 : 640, PAD = { left: 52, right: 14, top: y ? 26 : 12, bottom: 40 }; // text has one size on all screens
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  let [low, high] = range ?? [Math.min(...ys), Math.max(...ys)];
  if (!range) {
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    if (low >= 0 && low - room < 0) low = 0; else low -= room;
    high += room;
  }
  const left = diagonal ? low : Math.min(...xs), right = diagonal ? high : Math.max(...xs, left + (log ? 1 : 1e-9));
  const along = log ? (v) => Math.log(v / left) / Math.log(right / left) : (v) => (v - left) / (right - left);
  const px = (v) => PAD.left + along(v) * (W - PAD.left - PAD.right);
  const py = (v) => H - PAD.bottom - ((v - low) / (high - low)) * (H - PAD.top - PAD.bottom);
  const end = (curve) => short(curve.points[curve.points.length - 1][1]);
  const said = last ? `at ${x} ${short(Math.max(...xs))}, ${shown.map((curve) => `${curve.name} ${end(curve)}`).join(", ")}` : [note, `${y || "share"} over ${x}: ${shown.map((curve) => curve.name).join(", ")}`].filter(Boolean).join(" ");
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${said}` });
  for (const v of ticks(low, high, 4)) {
    svg.append(s("line", { class: "chart-grid", x1: PAD.left, x2: W - PAD.right, y1: py(v), y2: py(v) }), s("text", { x: PAD.left - 8, y: py(v) + 4, "text-anchor": "end" }, short(v)));
  }
  const whole = (v) => diagonal || log || !/^(epoch|step)$/.test(x) || Number.isInteger(v);
  for (const v of (log ? decades(left, right) : ticks(left, right, 6)).filter(whole)) svg.append(s("text", { x: px(v), y: H - 24, "text-anchor": "middle" }, short(v)));
  svg.append(s("text", { class: "chart-axis", x: (PAD.left + W - PAD.right) / 2, y: H - 6, "text-anchor": "middle" }, x));
  if (y) svg.append(s("text", { class: "chart-axis", x: PAD.left, y: 12 }, y));
  if (diagonal) svg.append(s("line", { class: "chart-best", x1: px(low), y1: py(low), x2: px(high), y2: py(high) }));
  if (best !== null && best >= left && best <= right) svg.append(s("line", { class: "chart-best", x1: px(best), x2: px(best), y1: PAD.top, y2: H - PAD.bottom }));
  for (const { points, colour, dashed, area, dots } of shown) {
    const d = points.map(([a, b], i) => `${i ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("");
    if (area) svg.append(s("path", { class: "chart-area", d: `${d}L${px(points[points.length - 1][0]).toFixed(1)} ${py(low)}L${px(points[0][0]).toFixed(1)} ${py(low)}z`, style: { fill: colour } }));
    svg.append(s("path", { class: "chart-line", d, style: { stroke: colour }, "stroke-dasharray": dashed ? "5 4" : undefined }));
    for (const [a, b] of dots ? points : area ? [] : points.slice(-1)) svg.append(s("circle", { cx: px(a), cy: py(b), r: 3.5, style: { fill: colour } }));
  }
  return h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, title), shown.length > 1 || last ? shown.map((curve) => h("span", { class: "chart-key" }, h("i", { class: curve.dashed ? "dashed" : "", style: { "--swatch": curve.colour } }), curve.name, last ? h("span", { class: "quiet number" }, ` ${end(curve)}`) : null)) : null),
    svg, note ? h("p", { class: "quiet" }, note) : null);
}
