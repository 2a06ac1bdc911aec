// Scatter plot with pan, zoom, hover and lasso, drawn with WebGL2 or a plain canvas.

import { h } from "./dom.js";
import { Grid } from "./grid.js";
import { rgb } from "./palette.js";
import { surface as canvas2d } from "./points-2d.js";
import { surface as webgl } from "./points-gl.js";

const REACH = 9;     // pixels within which a point is picked
const RETICLE = 42;  // pixels around the middle that the keyboard's Enter takes in

/** The plot in an element. on: {hover(i, event), pick(i), lasso(indices), focus}. */
export class Plot {
  constructor(place, on) {
    this.on = on;
    this.view = { x: 0, y: 0, scale: 100 };
    this.tool = "move";
    this.visible = () => true;
    this.hovered = -1;
    this.canvas = h("canvas", { class: "plot-canvas" });
    this.over = h("canvas", { class: "plot-over", tabindex: 0, role: "application", "aria-roledescription": "map",
      "aria-label": "Map of all items. Arrow keys move, plus and minus zoom, 0 shows all, Enter lists what is in the ring." });
    this.place = place;
    place.append(this.canvas, this.over);
    this.surface = this.begin();
    this.seen = new ResizeObserver(() => this.resize());
    this.seen.observe(place);
    this.listen();
  }

  begin() {
    let made = null;
    try { made = webgl(this.canvas); } catch (error) { console.warn(`WebGL2: ${error.message}`); }
    if (!made) {
      const fresh = this.canvas.cloneNode();
      this.canvas.replaceWith(fresh);
      this.canvas = fresh;
      made = canvas2d(fresh);
    }
    this.canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); this.fallBack(); });
    this.place.dataset.surface = made.name;
    return made;
  }

  /** The WebGL context is lost: continue on a plain canvas. */
  fallBack() {
    if (!this.place.isConnected || this.stopped) return;
    const fresh = this.canvas.cloneNode();
    this.canvas.replaceWith(fresh);
    this.canvas = fresh;
    this.surface = canvas2d(fresh);
    this.place.dataset.surface = this.surface.name;
    if (this.xy) this.surface.points(this.xy);
    for (const name of ["codes", "flags", "palette", "lines"]) if (this[`${name}Value`]) this.surface[name](this[`${name}Value`]);
    this.resize();
  }

  /** New points: interleaved coordinates and flags (1: right side). */
  set(xy, flags) {
    cancelAnimationFrame(this.moves);
    this.xy = xy;
    this.base = flags;
    this.grid = new Grid(xy);
    this.surface.points(xy);
    this.put("flags", flags.slice());
    this.put("codes", new Uint8Array(xy.length / 2));
    this.put("lines", new Uint32Array(0));
    this.fit();
  }

  /** Move the same points to other places; at once for those who want no motion, and where there are many. */
  morph(xy) {
    const from = this.xy, begin = performance.now(), n = xy.length, still = n > 120000 || matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.grid = new Grid(xy);
    const frame = () => {
      const t = still ? 1 : Math.min(1, (performance.now() - begin) / 500), ease = t * t * (3 - 2 * t);
      this.xy = t < 1 ? from.map((one, i) => one + (xy[i] - one) * ease) : xy;
      this.surface.points(this.xy);
      if (t < 1) this.moves = requestAnimationFrame(frame);
      this.paint();
    };
    cancelAnimationFrame(this.moves);
    frame();
    this.fit();
  }

  put(name, value) {
    this[`${name}Value`] = value;
    this.surface[name](value);
    this.paint();
  }

  /** Mark points as chosen, and those that pass(i) refuses as left out. */
  choose(indices, pass = null) {
    const flags = this.base.slice();
    if (pass) for (let i = 0; i < flags.length; i++) if (!pass(i)) flags[i] |= 4;
    for (const i of indices) flags[i] |= 2;
    this.put("flags", flags);
  }

  /** The map as it is seen, as a canvas. */
  picture() {
    this.draw();
    const made = h("canvas", { width: this.over.width, height: this.over.height }), context = made.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    context.drawImage(this.over, 0, 0);
    return made;
  }

  resize() {
    const ratio = Math.min(2, window.devicePixelRatio || 1), { clientWidth: w, clientHeight: hgt } = this.place;
    if (!w || !hgt) return;
    const first = !this.ratio;
    this.ratio = ratio;
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(hgt * ratio);
    }
    if (first && this.xy) this.fit();
    this.draw(); // at once: a canvas that was resized is black until it is drawn
  }

  /** Show everything. */
  fit() {
    if (!this.grid || !this.ratio) return;
    const { box } = this.grid, pad = this.insets?.() ?? { left: 0, right: 0, top: 0, bottom: 0 };
    const wide = Math.max(80, this.place.clientWidth - pad.left - pad.right) * this.ratio, high = Math.max(80, this.place.clientHeight - pad.top - pad.bottom) * this.ratio;
    const within = { left: Math.max(-1.15, box.left), right: Math.min(1.15, box.right), top: Math.max(-1.15, box.top), bottom: Math.min(1.15, box.bottom) };
    this.view.scale = 0.92 * Math.min(wide / (within.right - within.left || 1), high / (within.bottom - within.top || 1));
    this.view.x = (within.left + within.right) / 2 - ((pad.left - pad.right) * this.ratio) / 2 / this.view.scale;
    this.view.y = (within.top + within.bottom) / 2 + ((pad.top - pad.bottom) * this.ratio) / 2 / this.view.scale;
    this.least = this.view.scale;
    this.fitted = true;
    this.paint();
  }

  /** Pixels of a point: small where there are many, growing with the zoom. */
  get size() {
    const n = this.xy.length / 2, crowd = n > 300000 ? 1.6 : n > 60000 ? 2.4 : n > 8000 ? 3.4 : 5.5;
    return Math.min(16, crowd * Math.sqrt(Math.max(1, this.view.scale / (this.least || 1)))) * this.ratio;
  }

  /** Draw soon; still: nothing is moving any more. */
  paint(still = true) {
    if (still) this.moving = false;
    if (this.due) return;
    this.due = requestAnimationFrame(() => {
      this.due = 0;
      this.draw();
    });
  }

  draw() {
    if (!this.ratio) return;
    const style = getComputedStyle(this.place), colour = (name) => rgb(style.getPropertyValue(name).trim());
    const tint = [...colour("--tint"), Math.max(0.05, Math.min(0.5, 900 / Math.max(1, this.linesValue?.length ?? 0)))];
    this.surface.draw(this.view, this.xy ? this.size : 1, colour("--ground"), tint, this.moving);
    this.paintOver();
  }

  paintOver() {
    const context = this.over.getContext("2d"), { width, height } = this.over;
    context.clearRect(0, 0, width, height);
    if (this.xy) this.layer?.draw(context, this);
    const accent = getComputedStyle(this.place).getPropertyValue("--mark").trim();
    context.strokeStyle = accent;
    context.lineWidth = 1.5 * this.ratio;
    if (this.path?.length > 1) {
      context.beginPath();
      for (const [x, y] of this.path) context.lineTo(...this.toPixels(x, y));
      context.setLineDash([6 * this.ratio, 4 * this.ratio]);
      if (!this.drawing) context.closePath();
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = accent;
      context.globalAlpha = 0.08;
      context.fill();
      context.globalAlpha = 1;
    }
    if (this.hovered >= 0) {
      context.beginPath();
      context.arc(...this.toPixels(this.xy[2 * this.hovered], this.xy[2 * this.hovered + 1]), this.size / 2 + 4 * this.ratio, 0, 7);
      context.stroke();
    }
    if (this.keys) {
      const pad = this.insets?.() ?? { left: 0, right: 0, top: 0, bottom: 0 };
      context.beginPath();
      context.arc(width / 2 + ((pad.left - pad.right) / 2) * this.ratio, height / 2 + ((pad.top - pad.bottom) / 2) * this.ratio, RETICLE * this.ratio, 0, 7);
      context.stroke();
    }
  }

  toPixels(x, y) { return [(x - this.view.x) * this.view.scale + this.over.width / 2, this.over.height / 2 - (y - this.view.y) * this.view.scale]; }

  /** Where in the map a place of the element is, in CSS pixels. */
  toMap(px, py) { return [this.view.x + (px * this.ratio - this.over.width / 2) / this.view.scale, this.view.y - (py * this.ratio - this.over.height / 2) / this.view.scale]; }

  at(event) {
    const box = this.over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  zoom(factor, px = this.place.clientWidth / 2, py = this.place.clientHeight / 2) {
    const before = this.toMap(px, py);
    this.view.scale = Math.min((this.least || 1) * 4000, Math.max((this.least || 1) * 0.4, this.view.scale * factor));
    const after = this.toMap(px, py);
    this.view.x += before[0] - after[0];
    this.view.y += before[1] - after[1];
    this.move();
  }

  move() {
    this.moving = true;
    this.fitted = false;
    this.paint(false);
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.paint(), 160);
  }

  under(event) {
    if (!this.grid) return -1;
    const [x, y] = this.toMap(...this.at(event));
    return this.grid.nearest(x, y, (REACH * this.ratio + this.size / 2) / this.view.scale, this.visible);
  }

  /** What is inside the keyboard's ring. */
  inRing() {
    const pad = this.insets?.() ?? { left: 0, right: 0, top: 0, bottom: 0 };
    const x = this.place.clientWidth / 2 + (pad.left - pad.right) / 2, y = this.place.clientHeight / 2 + (pad.top - pad.bottom) / 2;
    return this.grid.within(Array.from({ length: 24 }, (_, i) => this.toMap(x + RETICLE * Math.cos((i * Math.PI) / 12), y + RETICLE * Math.sin((i * Math.PI) / 12))), this.visible);
  }

  listen() {
    const pointers = new Map();
    let dragged = 0, spread = 0;
    const over = this.over;
    over.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      try { over.setPointerCapture(event.pointerId); } catch { /* gone already */ }
      pointers.set(event.pointerId, this.at(event));
      dragged = 0;
      if (pointers.size === 1 && (this.tool === "lasso" || event.shiftKey)) { this.path = [this.toMap(...this.at(event))]; this.drawing = true; }
      else { this.drawing = false; if (this.tool === "lasso" && pointers.size > 1) this.path = null; }
    });
    over.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId), now = this.at(event);
      if (!before) {
        const i = this.under(event);
        if (i !== this.hovered) { this.hovered = i; over.style.setProperty("cursor", i >= 0 ? "pointer" : ""); this.paintOver(); }
        this.on.hover(i, event);
        return;
      }
      dragged += Math.hypot(now[0] - before[0], now[1] - before[1]);
      pointers.set(event.pointerId, now);
      if (this.drawing) { this.path.push(this.toMap(...now)); this.paintOver(); return; }
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()], apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
        if (spread) this.zoom(apart / spread, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
        spread = apart;
      }
      this.view.x -= ((now[0] - before[0]) * this.ratio) / this.view.scale / pointers.size;
      this.view.y += ((now[1] - before[1]) * this.ratio) / this.view.scale / pointers.size;
      this.move();
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      spread = 0;
      if (this.drawing) {
        this.drawing = false;
        if (dragged > 12) this.on.lasso(this.grid.within(this.path, this.visible)); else this.path = null;
        this.paint();
      } else if (dragged < 5 && event.type === "pointerup") {
        const i = this.under(event);
        if (i >= 0) this.on.pick(i);
      }
    };
    over.addEventListener("pointerup", end);
    over.addEventListener("pointercancel", end);
    over.addEventListener("pointerleave", (event) => { if (!pointers.size) { this.hovered = -1; this.paintOver(); this.on.hover(-1, event); } });
    over.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...this.at(event)); }, { passive: false });
    over.addEventListener("dblclick", (event) => this.zoom(2, ...this.at(event)));
    over.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (step) {
        this.view.x += (step[0] * 60 * this.ratio) / this.view.scale;
        this.view.y += (step[1] * 60 * this.ratio) / this.view.scale;
        this.move();
      } else if (event.key === "+" || event.key === "=") this.zoom(1.5);
      else if (event.key === "-") this.zoom(1 / 1.5);
      else if (event.key === "0") this.fit();
      else if (event.key === "Enter" && this.grid) this.on.lasso(this.inRing(), true);
      else if (event.key === "Escape") { this.path = null; this.on.lasso([]); }
      else return;
      this.keys = true;
      event.preventDefault();
    });
    over.addEventListener("focus", () => { this.keys = over.matches(":focus-visible"); this.paintOver(); });
    over.addEventListener("blur", () => { this.keys = false; this.paintOver(); });
    this.repaint = () => this.paint();
    window.addEventListener("themechange", this.repaint);
  }

  stop() {
    this.stopped = true;
    cancelAnimationFrame(this.moves);
    this.seen.disconnect();
    window.removeEventListener("themechange", this.repaint);
    cancelAnimationFrame(this.due);
    clearTimeout(this.rest);
    this.surface.drop();
  }
}
