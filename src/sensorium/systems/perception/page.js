// The page Face: a camera, a picture or a video; the landmarks of its faces, their emotions, the nearest prompts, and their place on the map.

import { call, connection, Plain } from "../../api.js";
import { context, go, link } from "../../context.js";
import { announce, h, icon, set, state } from "../../dom.js";
import { sheet } from "../../files.js";
import { Controls } from "./controls.js";
import { Feed, SENT, STILL } from "./feed.js";
import { Place } from "./place.js";
import { Chips, Emotions, hush, Prompts } from "./readings.js";
import { camera, cameras, insecure, open } from "./sources.js";
import { colourOf, Stage } from "./stage.js";
import { trouble, welcome } from "./words.js";
import { explain } from "../../words.js";

const NAME = "face", K = 5, FEW = 8; // FEW: frames a second below which the page says that it is slow
const WAITS = 1500; // milliseconds without a face after which that is said
const SPOKEN = 5000; // milliseconds between two announcements, at least
const WHERE = "sensorium.face.where";
let page = null;

export async function show(root, { query, again }) {
  const wanted = query.get("run");
  if (again && page) return page.choose(wanted);
  const [about, model] = await Promise.all([call("/faces"), call("/faces/model").catch(() => null), sheet("/live.css"), sheet("/systems/perception/page.css")]);
  const run = about.runs.find((one) => one.name === wanted) ?? about.runs[0];
  if (!run) {
    const making = context.runs.find((one) => one.state === "building");
    if (making) context.whenReady(making.name);
    return set(root, h("h1", { class: "visually-hidden" }, "Face"), state("empty", "No run here takes faces", about.why ?? "", h("a", { class: "button", href: "#/runs" }, "Go to the runs")));
  }
  page = new Page(root, about, model?.kind ? model : null, run);
}

export function hide() {
  page?.leave();
  page = null;
}

/** The server is back: what was shown goes on by itself. */
export function retry() { if (!page) window.dispatchEvent(new HashChangeEvent("hashchange")); }

class Page {
  constructor(root, about, model, run) {
    Object.assign(this, { root, about, model, run, chosen: null, wanted: null, mirrored: true, faces: Math.min(3, about.limits?.faces ?? 3), asking: false, cameras: [], spoken: { at: -Infinity, text: "" }, since: 0, source: null });
    this.where = model && (!run.pictures || remembered() === "browser") ? "browser" : "server";
    this.stage = new Stage((id) => this.pick(id));
    this.emotions = new Emotions(about.emotions);
    this.prompts = new Prompts();
    this.chips = new Chips((id) => this.pick(id));
    this.map = new Place();
    this.controls = new Controls({ camera: (id) => this.camera(id), stop: () => this.stop(), file: (file) => this.file(file), mirror: () => { this.mirrored = !this.mirrored; if (this.source) this.source.mirrored = this.mirrored; this.draw(); },
      mesh: () => { this.stage.mesh = !this.stage.mesh; this.stage.paint(); this.draw(); }, faces: (n) => { this.faces = n; this.feed.change({ faces: n }); }, where: (where) => this.move(where), seek: () => this.feed.again() });
    this.build();
    this.listen();
    this.begin();
    this.draw();
    this.loadMap();
    this.loadMaker();
  }

  build() {
    this.over = h("div", { class: "face-over" });
    this.hint = h("p", { class: "face-hint", hidden: true });
    this.note = h("div", { class: "live-note face-note", role: "status", "aria-live": "polite", hidden: true });
    this.facts = h("span", { class: "quiet face-facts", title: "Answers a second; the median and 95th percentile of the time from a frame to its answer" });
    this.title = h("div", { class: "face-run" });
    this.told = h("p", { class: "quiet face-privacy" });
    this.word = h("div", { class: "face-word" });
    this.place = h("div", { class: "face-stage", dataset: { mode: "idle" } }, this.stage.canvas, this.hint, this.over);
    this.promptPlace = h("div", {}, this.prompts.element);
    this.made = h("section", { class: "face-generate", hidden: true, "aria-label": "An image of this face" });
    this.zone = h("div", { class: "face-page" },
      h("div", { class: "head" }, h("h1", {}, "Face"), this.title, this.facts), this.note,
      h("div", { class: "face-grid" },
        h("section", { class: "face-see", "aria-label": "Picture" }, this.place, this.controls.element, this.told),
        h("section", { class: "face-read", "aria-label": "What is read" }, this.chips.element,
          h("section", { class: "card", "aria-label": "Emotions" }, h("div", { class: "row between" }, h("h2", {}, "Emotion"), this.word), this.emotions.element),
          h("section", { class: "card", "aria-label": "Nearest prompts" }, h("h2", {}, "Nearest prompts"), this.promptPlace),
          h("section", { class: "card", "aria-label": "Place on the map" }, h("h2", {}, "Place on the map"), this.map.element))), this.made);
    set(this.root, this.zone);
  }

  listen() {
    this.feed = new Feed({ run: this.run.name, k: K, faces: this.faces, place: true });
    const on = (name, run) => this.feed.addEventListener(name, ({ detail }) => { if (!this.gone) run(detail); });
    on("plain", (frame) => { if (this.source) this.stage.show(frame, [], Boolean(this.source.mirrored), null); });
    on("answer", (detail) => this.answer(detail));
    on("ready", () => { if (this.problem && this.problem !== "back") this.tell(null); });
    on("late", () => this.tell("The server is slow", "A frame was not answered within six seconds; the newest one is sent instead.", "slow"));
    on("lost", ({ was, why }) => { if (!document.hidden) this.tell(was ? "The connection was lost" : "The server does not take frames yet", was ? "Trying again until it is back." : `${why} It is asked again until it does.`, "lost"); });
    on("back", () => this.tell("Connected again", "", "back"));
    on("closed", ({ why }) => { this.stop(); this.trouble({ title: "The server closed the connection", detail: why }); });
    on("refused", (error) => { const { title, text } = explain(error); this.tell(title, `${text} It is asked again by itself.`, "lost"); });
    on("problem", (problem) => this.wrong(problem));
    this.ends = new AbortController();
    const { signal } = this.ends;
    for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
      this.zone.addEventListener(name, (event) => {
        if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
        event.preventDefault();
        this.place.classList.toggle("dropping", over);
        if (name === "drop" && event.dataTransfer.files[0]) this.file(event.dataTransfer.files[0]);
      });
    }
    document.addEventListener("paste", (event) => { const [file] = event.clipboardData?.files ?? []; if (file) { event.preventDefault(); this.file(file); } }, { signal });
    connection.addEventListener("back", () => this.feed.again(), { signal });
    navigator.mediaDevices?.addEventListener("devicechange", async () => { if (this.source?.kind === "camera") { this.cameras = await cameras(); this.draw(); } }, { signal });
    this.clock = setInterval(() => this.tick(), 500);
  }

  // What is shown

  /** What the stage shows before there is a source. */
  begin() {
    const acts = { camera: () => this.camera(), file: () => this.controls.picker.click() };
    this.mode("idle");
    if (!this.run.pictures && this.where === "server") {
      return this.trouble({ title: "This server finds no faces in pictures", detail: this.run.why, ways: [["Or let the browser compute the landmarks: get the model, then start again with it", "npm pack @mediapipe/face_mesh && tar xf mediapipe-face_mesh-*.tgz"], ["", `sensorium serve RUN --face-model package`]] });
    }
    const no = insecure();
    if (no) return this.trouble(no, h("button", { class: "button primary", type: "button", on: { click: acts.file } }, icon("upload"), "Image or video…"));
    set(this.over, welcome(acts));
  }

  mode(mode) {
    this.place.dataset.mode = mode;
    if (mode !== "idle") set(this.over);
  }

  trouble(what, ...acts) {
    this.mode("idle");
    this.stage.clear();
    set(this.over, trouble(what, ...acts));
    this.place.dataset.trouble = what.name ?? "";
  }

  /** A message above the stage; kind: what it is about, so that it goes when that is over. */
  tell(title, detail = "", kind = "") {
    clearTimeout(this.fade);
    this.problem = title ? kind : null;
    this.note.hidden = !title;
    this.note.dataset.kind = kind === "back" ? "good" : "warn";
    set(this.note, title ? [h("b", {}, title), detail ? h("span", {}, detail) : null] : null);
    if (kind === "back") this.fade = setTimeout(() => this.tell(null), 2500);
  }

  draw() {
    const { run, about, source } = this, choices = [...new Set([1, 3, 5, 10].filter((n) => n <= (about.limits?.faces ?? 10)))];
    set(this.title, about.runs.length < 2 ? h("span", { class: "quiet" }, `run ${run.name}`) : h("label", { class: "quiet face-runs" }, "run ", h("select", { class: "select", "aria-label": "Run for faces", value: run.name, on: { change: (event) => { context.choose(event.target.value); go(link(NAME, { run: event.target.value })); } } }, about.runs.map((one) => h("option", { value: one.name }, one.name)))));
    this.controls.draw({ source, asking: this.asking, cameras: this.cameras, mirrored: this.mirrored, mesh: this.stage.mesh, faces: this.faces, choices, where: this.where, both: Boolean(this.model && run.pictures) });
    set(this.told, icon("check"), this.where === "browser"
      ? "Landmarks are computed in this browser: 5.7 kB of numbers a face go to the server, no picture does. Nothing is stored."
      : `Frames go to this server as JPEG of at most ${SENT} pixels, pictures of ${STILL}; they are answered and forgotten. Nothing is stored.`);
    if (!source) this.quiet();
  }

  /** No source, or no face. */
  quiet() {
    this.emotions.update(null, null);
    this.chips.update([], null);
    this.map.update([], null);
    this.prompts.update([]);
    set(this.promptPlace, this.prompts.element);
    hush(this.promptPlace, this.source ? "No face yet." : "They follow the face as it moves.");
    set(this.word);
    this.zone.dataset.label = "";
  }

  // Sources

  async camera(id) {
    if (this.asking) return;
    this.tell(null);
    this.asking = true;
    this.draw();
    try {
      const source = await camera(id, { ended: () => { this.stop(); this.tell("The camera was disconnected", "Connect it, then start it again.", "camera"); }, muted: (now) => now ? this.tell("The camera sends no picture", "The system took it away, such as for a call or a closed lid. It goes on by itself.", "muted") : this.problem === "muted" && this.tell(null) });
      if (this.gone) return source.stop();
      if (source.mirrored) source.mirrored = this.mirrored;
      await this.from(source);
      this.cameras = await cameras();
    } catch (error) {
      this.failed(error, () => this.camera(id));
    } finally {
      this.asking = false;
      if (!this.gone) this.draw();
    }
  }

  async file(file) {
    this.tell(null);
    try {
      const source = await open(file);
      if (this.gone) return source.stop();
      await this.from(source);
    } catch (error) { this.failed(error); }
    this.draw();
  }

  failed(error, retry) {
    if (!(error instanceof Plain)) throw error;
    this.stop();
    this.trouble(error, retry && error.name !== "Insecure" ? h("button", { class: "button primary", type: "button", on: { click: retry } }, "Try again") : null, h("button", { class: "button", type: "button", on: { click: () => this.controls.picker.click() } }, icon("upload"), "Image or video…"));
  }

  async from(source) {
    await this.local();
    this.chosen = this.wanted = null;
    this.since = performance.now();
    this.source = source;
    this.quiet();
    this.place.dataset.trouble = "";
    this.mode(source.kind);
    this.stage.shape(source);
    this.feed.from(source);
  }

  stop() {
    this.feed.leave();
    this.source = null;
    this.stage.clear();
    this.hint.hidden = true;
    this.facts.textContent = "";
    if (this.problem !== "camera") this.tell(null);
    this.begin();
    this.draw();
  }

  /** Landmarks in this browser, loaded once they are wanted. */
  async local() {
    if (this.where !== "browser") { this.feed.local = null; return; }
    if (!this.finder) {
      this.tell("Loading the landmark model", "Once for this visit; it then runs in this browser.", "model");
      const { Finder } = await import("./finder.js");
      this.finder = await Finder.open(this.model, this.faces);
      this.tell(null);
    }
    this.feed.local = this.finder;
  }

  async move(where) {
    this.where = where;
    try { localStorage.setItem(WHERE, where); } catch { /* for this visit only */ }
    try { await this.local(); } catch (error) {
      this.where = "server";
      this.feed.local = null;
      const { title, text } = explain(error);
      this.tell(title, text, "model");
    }
    this.feed.change({});
    if (!this.source) this.begin();
    this.draw();
  }

  /** Another run, as the address says. */
  choose(name) {
    const run = this.about.runs.find((one) => one.name === name);
    if (!run) { if (name) this.tell(`The run ${name} takes no faces`, this.about.others?.[name] ?? `${this.run.name} is used.`, "run"); return; }
    if (run === this.run) return;
    this.run = run;
    this.feed.change({ run: run.name });
    if (!this.source) this.begin();
    this.draw();
    this.loadMap();
    this.loadMaker();
  }

  /** The panel that makes pictures of the face that is shown. */
  async loadMaker() {
    const { panel } = await import("./generate.js"), { run } = this;
    this.maker?.close();
    const maker = await panel(this.made, { run: run.name, current: () => this.vector() });
    if (this.gone || run !== this.run) maker.close();
    else this.maker = maker;
  }

  loadMap() {
    const run = context.runs.find((one) => one.name === this.run.name);
    if (run) this.map.load(run);
  }

  // Answers

  answer({ message, frame, mirrored }) {
    const { faces } = message, now = performance.now(), mine = faces.find(({ id }) => id === this.wanted) ?? faces.find(({ id }) => id === this.chosen) ?? faces[0] ?? null;
    if (["lost", "frame", "slow"].includes(this.problem)) this.tell(null);
    this.chosen = mine?.id ?? null;
    this.last = message;
    this.stage.show(frame, faces, mirrored, this.chosen);
    this.zone.dataset.faces = String(faces.length);
    this.zone.dataset.answers = String((+this.zone.dataset.answers || 0) + 1);
    if (!mine) {
      if (this.zone.dataset.label || now - this.since > WAITS || !this.source.moving) {
        this.quiet();
        this.say("No face is found");
      }
      this.hint.hidden = this.source.moving && now - this.since < WAITS;
      this.hint.textContent = "No face is found. Come closer, face the camera, and have light from the front.";
      if (!this.source.moving) this.hint.textContent = "No face is found in this image.";
      return;
    }
    this.since = now;
    this.hint.hidden = true;
    this.emotions.update(mine.emotions, mine.label);
    this.chips.update(faces, this.chosen);
    if (!this.promptPlace.contains(this.prompts.element)) set(this.promptPlace, this.prompts.element);
    this.prompts.update(mine.prompts);
    this.map.update(faces, this.chosen);
    if (this.zone.dataset.label !== mine.label || this.zone.dataset.face !== String(mine.id)) {
      Object.assign(this.zone.dataset, { label: mine.label, face: mine.id });
      set(this.word, h("span", { class: "swatch", style: { "--feel": colourOf(mine.id) }, "aria-hidden": "true" }), mine.label);
    }
    this.say(`${faces.length > 1 ? `${faces.length} faces. Face ${mine.id}: ` : ""}${mine.label}${this.source.moving || !mine.prompts[0] ? "" : `. Nearest prompt: ${mine.prompts[0].text || mine.prompts[0].id}`}`);
  }

  pick(id) {
    this.wanted = this.chosen = id;
    if (this.last && this.stage.frame) this.answer({ message: this.last, frame: this.stage.frame, mirrored: this.stage.mirrored });
  }

  /** Announce, at most every few seconds and only what has changed. */
  say(text) {
    this.saying = text;
    const now = performance.now();
    if (text === this.spoken.text || now - this.spoken.at < SPOKEN) return;
    this.spoken = { at: now, text };
    announce(text);
  }

  /** What goes wrong with one frame. */
  wrong(error) {
    const { title, text } = explain(error, { kind: "face" });
    this.tell(title, text, "frame");
    if (this.source && !this.source.moving) this.quiet();
  }

  /** Twice a second: how fast it goes. */
  tick() {
    if (!this.source?.moving) { this.facts.textContent = ""; return; }
    if (this.saying) this.say(this.saying);
    const { rate, median, p95 } = this.feed.speed, paused = document.hidden || this.source.element.paused;
    Object.assign(this.zone.dataset, { rate: rate.toFixed(1), latency: Math.round(median), p95: Math.round(p95) });
    this.facts.textContent = paused ? "paused" : rate ? `${rate < 2 ? rate.toFixed(1) : rate.toFixed(0)} frames a second · ${Math.round(median)} ms from frame to answer (p95 ${Math.round(p95)} ms)` : "waiting for an answer…";
    this.zone.classList.toggle("slow", !paused && rate > 0 && rate < FEW);
    if (this.problem === "slow" && rate >= FEW) this.tell(null);
    if (!this.problem && !paused && rate > 0 && rate < FEW && this.feed.answers.length > 3) {
      const took = this.last?.took_ms ?? 0;
      this.tell("Slow", took > 0.6 * median ? `The server needs ${Math.round(took)} ms a frame. Fewer faces, or landmarks in this browser, are faster.` : `${Math.round(median - took)} ms of ${Math.round(median)} pass on the way to the server and back.`, "slow");
    }
  }

  /** The perception vector of the face that is shown, from the server; null where there is none. */
  async vector() { return this.chosen === null ? null : (await this.feed.vector(this.chosen)).perception; }

  leave() {
    this.gone = true;
    clearInterval(this.clock);
    clearTimeout(this.fade);
    this.ends.abort();
    this.feed.stop();
    this.stage.stop();
    this.map.stop();
    this.maker?.close();
    this.finder?.close();
  }
}

function remembered() { try { return localStorage.getItem(WHERE); } catch { return null; } }
