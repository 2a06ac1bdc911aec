// Drawings of the page Live: waveform, timeline of segments, the five likeliest classes, and the valence-arousal plane.

import { h, s, set } from "./dom.js";
import { face } from "./faces.js";

const SOURCE = "Russell & Mehrabian 1977";
const SECONDS = 10; // of sound that the wave shows
const COLUMNS = 50; // of it in a second
const QUIET = 0.1; // of full scale: what is quieter is drawn smaller
const SPAN = 30; // least seconds that the timeline shows

/** The last seconds of sound as a wave on a canvas: push(samples, rate) as they come, draw() as often as shown. */
export class Wave {
  constructor() {
    this.canvas = h("canvas", { class: "live-wave", role: "img", "aria-label": "The sound of the last ten seconds" });
    this.clear();
  }

  clear() { Object.assign(this, { peaks: new Float32Array(SECONDS * COLUMNS), at: 0, peak: 0, count: 0 }); }

  push(samples, rate) {
    const per = rate / COLUMNS;
    for (const x of samples) {
      const size = Math.abs(x);
      if (size > this.peak) this.peak = size;
      if (++this.count >= per) {
        this.peaks[this.at++ % this.peaks.length] = this.peak;
        this.peak = 0;
        this.count -= per;
      }
    }
  }

  draw() {
    const { canvas } = this, scale = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (!width) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d"), n = this.peaks.length, wide = width / n;
    const loudest = Math.max(QUIET, ...this.peaks); // quiet speech fills the height too, noise does not
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    for (let i = 0; i < n; i++) {
      const place = this.at - n + i;
      const tall = Math.max(scale, Math.sqrt((place < 0 ? 0 : this.peaks[place % n]) / loudest) * height * 0.94);
      pen.fillRect(i * wide, (height - tall) / 2, Math.max(1, wide - scale), tall);
    }
  }
}

/** Timeline: a bar for each segment of the recording, and a list of them below. colour(label): of its bars. */
export class Timeline {
  constructor(colour) {
    this.colour = colour;
    this.bars = h("div", { class: "live-bars" });
    this.ticks = h("div", { class: "live-ticks", "aria-hidden": "true" });
    this.list = h("ol", { class: "live-segments" });
    this.element = h("div", { class: "stack tight" }, this.bars, this.ticks, this.list);
    this.clear();
  }

  clear() {
    Object.assign(this, { segments: [], now: null, seconds: 0, span: 0 });
    set(this.list, h("li", { class: "quiet" }, "Nothing yet."));
    this.draw();
  }

  /** A segment that has ended. */
  add(segment) {
    this.segments.push(segment);
    const item = h("li", {}, h("span", { class: "swatch", style: { "--feel": this.colour(segment.label) } }), h("b", {}, segment.label),
      h("span", { class: "quiet" }, `${segment.start.toFixed(1)}–${segment.end.toFixed(1)} s, ${Math.round(100 * segment.confidence)} %`));
    if (this.segments.length === 1) set(this.list);
    this.list.prepend(item);
    if (this.list.children.length > 200) this.list.lastChild.remove();
  }

  /** The length of the recording by now, and the present label with its beginning (or null). */
  to(seconds, now) {
    Object.assign(this, { seconds, now });
    this.draw();
  }

  draw() {
    const span = Math.max(SPAN, Math.ceil(this.seconds / 15) * 15), shown = Math.min(span, 600), from = Math.max(0, this.seconds - shown);
    const bar = ({ start, end, label }, open = false) => {
      const left = Math.max(0, start - from), right = end - from;
      return right <= 0 ? null : h("span", { class: `live-bar${open ? " open" : ""}`, dataset: { label }, title: `${label}, ${start.toFixed(1)}–${end.toFixed(1)} s`,
        style: { "--feel": this.colour(label), left: `${100 * left / shown}%`, width: `${100 * (right - left) / shown}%` } });
    };
    set(this.bars, this.segments.slice(-400).map((segment) => bar(segment)),
      this.now ? bar({ start: this.now.since, end: this.seconds, label: this.now.label }, true) : null);
    const key = `${shown} ${Math.floor(from)}`;
    if (this.span === key) return;
    this.span = key;
    set(this.ticks, [0, 1, 2, 3].map((i) => h("span", {}, `${Math.round(from + i * shown / 3)} s`)));
  }
}

/** Probabilities of emotions: a row each, in their order, with a face. */
export class Faces {
  /** emotions: {label, emotion} of GET /runs. */
  constructor(emotions, colour) {
    this.rows = emotions.map(({ label, emotion }) => row(label, colour, face(emotion, { "aria-hidden": "true" })));
    this.element = h("div", { class: "live-rows" }, this.rows.map(({ element }) => element));
  }

  clear() { for (const one of this.rows) one.show(null); }

  push(values) {
    const best = Math.max(...values);
    this.rows.forEach((one, i) => one.show(values[i], values[i] === best));
  }
}

const TOP = 5;

/** The five likeliest of any classes, as bars, the likeliest first. */
export class Top {
  constructor(labels, colour) {
    Object.assign(this, { labels, colour, rows: new Map() });
    this.element = h("ol", { class: "live-rows live-top", "aria-label": "The five likeliest classes" });
    this.clear();
  }

  clear() { set(this.element, h("li", { class: "quiet" }, "Nothing yet.")); }

  push(values) {
    const best = values.map((value, i) => [value, i]).sort((a, b) => b[0] - a[0]).slice(0, TOP);
    set(this.element, best.map(([value, i], rank) => {
      if (!this.rows.has(i)) this.rows.set(i, row(this.labels[i], this.colour, null, "li"));
      const one = this.rows.get(i);
      one.show(value, rank === 0);
      return one.element;
    }));
  }
}

/** A row: {element, show(value or null, whether it is the largest)}. */
function row(label, colour, picture, tag = "div") {
  const value = h("span", { class: "number" }, "–"), bar = h("i", { style: { "--feel": colour(label) } });
  const element = h(tag, { class: `live-row${picture ? "" : " plain"}`, dataset: { emotion: label } }, picture, h("span", { class: "live-label", title: label }, label), h("span", { class: "live-meter", "aria-hidden": "true" }, bar), value);
  return { element, show(share, first = false) {
    bar.style.setProperty("width", `${(100 * (share ?? 0)).toFixed(1)}%`);
    value.textContent = share === null ? "–" : `${Math.round(100 * share)} %`;
    element.dataset.value = String(share ?? "");
    element.classList.toggle("first", first);
  } };
}

/** The circumplex (Russell 1980): valence to the right, arousal upwards, labels at their published places, a trail of the mean. */
export class Circumplex {
  /** emotions: {label, emotion, valence, arousal} of GET /runs. */
  constructor(emotions) {
    this.emotions = emotions;
    this.trail = s("g");
    this.dot = s("circle", { class: "live-dot", cx: 0, cy: 0, r: 4.5 });
    const word = (x, y, text, anchor = "middle") => s("text", { class: "live-axis", x, y, "text-anchor": anchor }, text);
    this.element = s("svg", { class: "live-circumplex", viewBox: "-124 -118 248 236", role: "img", "aria-label": "Valence and arousal of the predicted probabilities" },
      s("circle", { class: "live-circle", r: 100 }), s("path", { class: "live-cross", d: "M-100 0H100M0-100V100" }),
      word(0, -105, "excited"), word(0, 112, "quiet"), word(-104, -4, "unpleasant", "start"), word(104, -4, "pleasant", "end"),
      emotions.map((one) => this.point(one)), this.trail, this.dot, emotions.map((one) => this.name(one)));
    this.source = h("p", { class: "quiet" }, `Places of the labels: ${SOURCE}. The dot is their mean, weighted by predicted probability.`);
    this.clear();
  }

  clear() {
    this.path = [];
    this.trail.replaceChildren();
    this.move(0, 0);
  }

  point({ emotion, valence, arousal }) {
    return s("circle", { class: `feel-${emotion}`, cx: 100 * valence, cy: -100 * arousal, r: 4 });
  }

  /** A label's name, above the trail. */
  name({ label, emotion, valence, arousal }) {
    const below = emotion === "disgust" || emotion === "neutral" ? 13 : emotion === "angry" ? 4 : -7;
    const [dx, anchor] = emotion === "angry" ? [8, "start"] : emotion === "fearful" ? [-6, "end"] : [0, "middle"];
    return s("text", { class: "live-name", x: 100 * valence + dx, y: -100 * arousal + below, "text-anchor": anchor }, label);
  }

  move(x, y) {
    this.dot.setAttribute("cx", x.toFixed(1));
    this.dot.setAttribute("cy", y.toFixed(1));
  }

  /** Probabilities (c) of this moment. */
  push(probabilities) {
    let x = 0, y = 0, sum = 0;
    this.emotions.forEach(({ valence, arousal }, i) => {
      x += 100 * probabilities[i] * valence;
      y -= 100 * probabilities[i] * arousal;
      sum += probabilities[i];
    });
    if (!sum) return;
    this.path.push([x / sum, y / sum]);
    if (this.path.length > 80) this.path.shift();
    const path = this.path, last = path[path.length - 1];
    this.move(...last);
    this.trail.replaceChildren(...path.slice(1).map((to, i) => s("line", { class: "live-trail", x1: path[i][0].toFixed(1), y1: path[i][1].toFixed(1),
      x2: to[0].toFixed(1), y2: to[1].toFixed(1), "stroke-opacity": ((i + 1) / path.length).toFixed(2) })));
  }
}
