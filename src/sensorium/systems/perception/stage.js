// The stage: a frame with the landmarks of its faces drawn over it.

import { h } from "../../dom.js";
import { CATEGORIES } from "../../palette.js";
import { BROWS, EYES, IRISES, LIPS, NOSE, OVAL, TRIANGLES } from "./mesh.js";

const FEATURES = [...BROWS, ...EYES, ...LIPS, ...NOSE];
const MOST = 1280; // pixels of the longer side of what is shown

/** The colour of a face, the same everywhere on the page, whatever the theme: it is drawn over pictures. */
export const colourOf = (id) => CATEGORIES.dark[(id - 1 + CATEGORIES.dark.length) % CATEGORIES.dark.length];

/** A frame of a source on a canvas, its longer side at most so many pixels. */
export function snap(source, most = MOST, canvas = h("canvas")) {
  const scale = Math.min(1, most / Math.max(source.width, source.height));
  const width = Math.max(1, Math.round(source.width * scale)), height = Math.max(1, Math.round(source.height * scale));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(source.element ?? source, 0, 0, width, height);
  return canvas;
}

/** The canvas. onChoose(id): a face was clicked. */
export class Stage {
  constructor(onChoose) {
    this.canvas = h("canvas", { class: "face-canvas", role: "img", "aria-label": "Nothing is shown yet" });
    Object.assign(this, { frame: null, faces: [], mirrored: false, chosen: null, mesh: true });
    this.canvas.addEventListener("click", (event) => { const id = this.at(event); if (id !== null) onChoose(id); });
    this.canvas.addEventListener("pointermove", (event) => this.canvas.classList.toggle("over-face", this.faces.length > 1 && this.at(event) !== null));
    this.seen = new ResizeObserver(() => this.paint());
    this.seen.observe(this.canvas);
  }

  /** Show a frame (a canvas) with faces as the server answers them: {id, box, landmarks, label}. */
  show(frame, faces, mirrored, chosen) {
    Object.assign(this, { frame, faces, mirrored, chosen });
    this.canvas.setAttribute("aria-label", faces.length ? `The image with ${faces.length === 1 ? "a face" : `${faces.length} faces`} and the landmarks over it` : "The image; no face is found in it");
    this.paint();
  }

  /** The shape of the stage: that of a source, neither taller than wide nor very flat. */
  shape({ width, height }) { this.canvas.parentElement.style.setProperty("aspect-ratio", String(Math.min(2, Math.max(1, width / height)))); }

  clear() { this.canvas.parentElement?.style.removeProperty("aspect-ratio"); this.frame = null; this.faces = []; this.paint(); }

  /** Where the frame lies on the canvas, in its pixels: as large as fits. */
  get place() {
    const { canvas, frame } = this, scale = Math.min(canvas.width / frame.width, canvas.height / frame.height);
    const width = frame.width * scale, height = frame.height * scale;
    return { x: (canvas.width - width) / 2, y: (canvas.height - height) / 2, width, height };
  }

  /** The id of the face under the pointer, the nearest one where several are; null for none. */
  at(event) {
    if (!this.frame) return null;
    const bounds = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / bounds.width, { x, y, width, height } = this.place;
    const across = ((event.clientX - bounds.left) * ratio - x) / width, down = ((event.clientY - bounds.top) * ratio - y) / height;
    const px = this.mirrored ? 1 - across : across;
    const under = this.faces.filter(({ box: [left, top, w, tall] }) => px >= left && px <= left + w && down >= top && down <= top + tall);
    const far = ({ box: [left, top, w, tall] }) => Math.hypot(px - left - w / 2, down - top - tall / 2);
    return under.sort((a, b) => far(a) - far(b))[0]?.id ?? null;
  }

  paint() {
    const { canvas } = this, ratio = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    if (!this.frame) return;
    const { x, y, width: w, height: tall } = this.place;
    pen.save();
    if (this.mirrored) { pen.translate(width, 0); pen.scale(-1, 1); }
    pen.drawImage(this.frame, x, y, w, tall);
    pen.restore();
    pen.lineJoin = pen.lineCap = "round";
    const order = [...this.faces].sort((a, b) => (a.id === this.chosen) - (b.id === this.chosen));
    for (const one of order) this.face(pen, one, ratio);
  }

  face(pen, { id, landmarks, box, label }, ratio) {
    const { x, y, width, height } = this.place, mine = id === this.chosen, colour = colourOf(id), flip = this.mirrored;
    const at = landmarks.map(([u, v]) => [x + (flip ? 1 - u : u) * width, y + v * height]);
    const size = Math.max(box[2] * width, box[3] * height), thin = Math.max(0.5 * ratio, Math.min(1.1 * ratio, size / 420));
    const path = (lines) => {
      pen.beginPath();
      for (const line of lines) line.forEach((i, k) => pen[k ? "lineTo" : "moveTo"](...at[i]));
    };
    const stroke = (style, wide, alpha) => { Object.assign(pen, { strokeStyle: style, lineWidth: wide, globalAlpha: alpha }); pen.stroke(); };
    if (this.mesh && mine && at.length > 467) {
      pen.beginPath();
      for (let i = 0; i < TRIANGLES.length; i += 2) { pen.moveTo(...at[TRIANGLES[i]]); pen.lineTo(...at[TRIANGLES[i + 1]]); }
      stroke("#fff", thin * 0.8, 0.34);
    }
    path(OVAL);
    stroke("#000", thin * 4, 0.22);
    stroke(mine ? colour : "#fff", thin * 1.8, mine ? 0.95 : 0.6);
    path(FEATURES);
    stroke("#000", thin * 3.4, 0.22);
    stroke(mine ? "#fff" : colour, thin * 1.6, mine ? 0.92 : 0.75);
    for (const [centre, edge] of IRISES) {
      if (centre >= at.length) continue;
      const [cx, cy] = at[centre], reach = Math.hypot(at[edge][0] - cx, at[edge][1] - cy);
      pen.beginPath();
      pen.arc(cx, cy, reach, 0, 7);
      stroke(colour, thin * 1.8, 1);
    }
    pen.globalAlpha = 1;
    this.name(pen, { id, box, label, colour, mine }, ratio);
  }

  /** A face's number and label above it, within the canvas. */
  name(pen, { id, box: [left, top, w], label, colour, mine }, ratio) {
    const { x, y, width, height } = this.place, text = [this.faces.length > 1 ? id : null, label].filter(Boolean).join("  ");
    if (!text) return;
    pen.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    const wide = pen.measureText(text).width + 18 * ratio, tall = 25 * ratio, middle = left + w / 2;
    const px = Math.min(pen.canvas.width - wide - 4, Math.max(4, x + (this.mirrored ? 1 - middle : middle) * width - wide / 2));
    const py = Math.max(y + 4, y + top * height - tall - 8 * ratio);
    pen.fillStyle = mine ? colour : "#14171fd9";
    pen.beginPath();
    pen.roundRect(px, py, wide, tall, tall / 2);
    pen.fill();
    pen.fillStyle = mine ? "#0d1014" : colour;
    pen.textBaseline = "middle";
    pen.fillText(text, px + 9 * ratio, py + tall / 2 + 0.5 * ratio);
  }

  stop() { this.seen.disconnect(); }
}
