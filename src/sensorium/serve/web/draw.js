// A pad to draw on. What is sent is drawn again from the strokes: centred, at one size, dark on light,
// with lines as thick as printed symbols have them, so that where and how large one draws does not matter.

import { h, icon } from "./dom.js";

export const PICTURE = 128;     // pixels along a side of the picture that is sent
const FILL = 104;               // of which the drawing's longer side takes this many
const THICK = 0.09;            // of that side: what finds most symbols again, measured on traced prints
const GRID = 100;               // strokes are stored as whole numbers 0…GRID, small enough for a link

/** Strokes (lists of [x, y], 0…1) as text for a link, and back. */
export function strokesToText(strokes) {
  return strokes.map((stroke) => stroke.map(([x, y]) =>
    [x, y].map((v) => Math.round(Math.min(1, Math.max(0, v)) * GRID).toString(36).padStart(2, "0")).join("")).join("")).join("-");
}

export function strokesFromText(text) {
  return text.split("-").map((part) => {
    const points = [];
    for (let i = 0; i + 4 <= part.length; i += 4) {
      const x = parseInt(part.slice(i, i + 2), 36) / GRID, y = parseInt(part.slice(i + 2, i + 4), 36) / GRID;
      if (Number.isFinite(x) && Number.isFinite(y)) points.push([x, y]);
    }
    return points;
  }).filter((stroke) => stroke.length);
}

/** Fewer points for nearly the same line (Ramer, Douglas & Peucker); tolerance in the points' unit. */
export function simplify(points, tolerance) {
  if (points.length < 3) return points;
  const [ax, ay] = points[0], [bx, by] = points[points.length - 1];
  const length = Math.hypot(bx - ax, by - ay) || 1e-9;
  let far = 0, at = 0;
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = points[i];
    const d = length < 1e-6 ? Math.hypot(x - ax, y - ay) : Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length;
    if (d > far) { far = d; at = i; }
  }
  if (far <= tolerance) return [points[0], points[points.length - 1]];
  return [...simplify(points.slice(0, at + 1), tolerance).slice(0, -1), ...simplify(points.slice(at), tolerance)];
}

function trace(context, stroke, place) {
  const at = stroke.map(place);
  context.beginPath();
  context.moveTo(...at[0]);
  if (at.length === 1) context.lineTo(at[0][0] + 0.01, at[0][1]);
  for (const point of at.slice(1)) context.lineTo(...point); // corners stay corners
  context.stroke();
}

/** The picture of strokes, as it is sent: a canvas of PICTURE × PICTURE. */
export function picture(strokes) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = PICTURE;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, PICTURE, PICTURE);
  const xs = strokes.flat().map((p) => p[0]), ys = strokes.flat().map((p) => p[1]);
  const left = Math.min(...xs), top = Math.min(...ys), wide = Math.max(...xs) - left, high = Math.max(...ys) - top;
  const longer = Math.max(wide, high);
  const line = Math.max(3, THICK * FILL);
  const scale = longer < 0.02 ? 0 : (FILL - line) / longer;
  context.lineWidth = scale ? line : FILL / 2; // a mere dot is drawn as one
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#000";
  for (const stroke of strokes) {
    trace(context, stroke, ([x, y]) => [PICTURE / 2 + (x - left - wide / 2) * scale, PICTURE / 2 + (y - top - high / 2) * scale]);
  }
  return canvas;
}

/** The pad: an element with set(strokes); calls changed(strokes, done) with each bit drawn, done at a stroke's end. */
export function pad(changed) {
  let strokes = [], current = null;
  const canvas = h("canvas", { class: "pad-canvas", role: "img", tabindex: 0, "aria-label": "Drawing pad. Draw with mouse, pen or finger; Backspace takes the last line back, Delete clears." });
  const undo = h("button", { class: "icon-button plain", type: "button", title: "Take the last line back", "aria-label": "Take the last line back", on: { click: () => { strokes = strokes.slice(0, -1); report(true); } } }, icon("undo"));
  const clear = h("button", { class: "icon-button plain", type: "button", title: "Clear the drawing", "aria-label": "Clear the drawing", on: { click: () => { strokes = []; report(true); } } }, icon("bin"));
  const hint = h("p", { class: "pad-hint" }, "Draw here");
  const element = h("div", { class: "pad" }, canvas, hint, h("div", { class: "pad-tools" }, undo, clear));

  function paint() {
    const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)) || 300;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, side, side);
    context.lineWidth = side * 0.032;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = getComputedStyle(canvas).color;
    for (const stroke of strokes) trace(context, stroke, ([x, y]) => [x * side, y * side]);
    hint.hidden = strokes.length > 0;
    undo.disabled = clear.disabled = !strokes.length;
  }

  function report(done) { paint(); changed(strokes, done); }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
    current = [point(event)];
    strokes = [...strokes, current];
    paint();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!current) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const next = point(one), last = current[current.length - 1];
      if (Math.hypot(next[0] - last[0], next[1] - last[1]) > 0.004) current.push(next);
    }
    report(false);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (!current) return;
      strokes = [...strokes.slice(0, -1), simplify(current, 0.004)];
      current = null;
      report(true);
    });
  }
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Backspace") { strokes = strokes.slice(0, -1); report(true); event.preventDefault(); }
    if (event.key === "Delete") { strokes = []; report(true); }
  });
  const seen = new ResizeObserver(paint);
  seen.observe(canvas);
  window.addEventListener("themechange", paint);
  return {
    element,
    set(value) { if (!current) { strokes = value; paint(); } },
    stop() { seen.disconnect(); window.removeEventListener("themechange", paint); },
  };
}
