// Curves over steps, as SVG: one axis for losses and one for shares; with a text alternative.

import { h, s } from "./dom.js";

const W = 640, H = 240, PAD = { left: 52, right: 14, top: 14, bottom: 30 };

/** Round numbers that cover low … high. */
export function ticks(low, high, count = 5) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((one) => one >= raw * 0.999) ?? raw;
  const found = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) found.push(Math.abs(x) < step * 1e-9 ? 0 : x);
  return found;
}

function short(x) {
  if (x === 0) return "0";
  return Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(1) : String(Number(x.toPrecision(3)));
}

/** Curves {name, colour, points: [[x, y]…]} under a title. */
export function chart(title, curves, { x = "epoch", best = null } = {}) {
  const shown = curves.map((curve) => ({ ...curve, points: curve.points.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b)) })).filter((curve) => curve.points.length);
  const all = shown.flatMap((curve) => curve.points);
  const figure = h("figure", { class: "chart" });
  if (!all.length) return figure;
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  if (low >= 0 && low - room < 0) low = 0; else low -= room;
  high += room;
  const left = Math.min(...xs), right = Math.max(...xs, left + 1);
  const px = (v) => PAD.left + ((v - left) / (right - left)) * (W - PAD.left - PAD.right);
  const py = (v) => H - PAD.bottom - ((v - low) / (high - low)) * (H - PAD.top - PAD.bottom);
  const last = shown.map((curve) => `${curve.name} ${short(curve.points[curve.points.length - 1][1])}`).join(", ");
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: at ${x} ${short(Math.max(...xs))}, ${last}` });
  for (const y of ticks(low, high, 4)) {
    svg.append(s("line", { class: "chart-grid", x1: PAD.left, x2: W - PAD.right, y1: py(y), y2: py(y) }), s("text", { x: PAD.left - 8, y: py(y) + 4, "text-anchor": "end" }, short(y)));
  }
  for (const v of ticks(left, right, 6).filter((v) => Number.isInteger(v))) svg.append(s("text", { x: px(v), y: H - 8, "text-anchor": "middle" }, short(v)));
  if (best !== null && best >= left && best <= right) svg.append(s("line", { class: "chart-best", x1: px(best), x2: px(best), y1: PAD.top, y2: H - PAD.bottom }));
  for (const { points, colour, dashed } of shown) {
    svg.append(s("path", { class: "chart-line", d: points.map(([a, b], i) => `${i ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join(""), stroke: colour, "stroke-dasharray": dashed ? "5 4" : undefined }));
    const [a, b] = points[points.length - 1];
    svg.append(s("circle", { cx: px(a), cy: py(b), r: 3.5, fill: colour }));
  }
  figure.append(h("figcaption", {}, h("strong", {}, title), shown.map((curve) => h("span", { class: "chart-key" }, h("i", { class: curve.dashed ? "dashed" : "", style: { "--swatch": curve.colour } }), curve.name, " ", h("span", { class: "quiet number" }, short(curve.points[curve.points.length - 1][1]))))), svg);
  return figure;
}

/** A value with its interval on a scale from low to high. */
export function interval({ value, low, high }, from, to, colour) {
  const at = (v) => `${(100 * (v - from)) / (to - from || 1)}`;
  const svg = s("svg", { class: "interval", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("line", { class: "chart-grid", x1: 0, x2: 100, y1: 6, y2: 6 }),
    s("line", { x1: at(low), x2: at(high), y1: 6, y2: 6, stroke: colour, "stroke-width": 5, opacity: 0.35 }),
    s("line", { x1: at(value), x2: at(value), y1: 1, y2: 11, stroke: colour, "stroke-width": 2.2, "vector-effect": "non-scaling-stroke" }));
  return svg;
}
