// The page Live: predicted classes of live sound, from the microphone or a file. Faces and the plane of valence and
// arousal are there where the server says that the classes are emotions; else the five likeliest.

import { context } from "./context.js";
import { announce, h, icon, set, state } from "./dom.js";
import { hue } from "./chart.js";
import { face } from "./faces.js";
import { sheet } from "./files.js";
import { Circumplex, Faces, Timeline, Top, Wave } from "./live-draw.js";
import { Stream } from "./live-socket.js";
import { NoMicrophone, decode, microphone } from "./live-sound.js";
import { explain } from "./words.js";

const AHEAD = 6; // seconds of a file that may be unanswered
const PIECE = 0.1; // seconds of a file sent at once

sheet("/live.css");

let page = null;

export function show(root, { query, again }) {
  if (again && page) return;
  const run = context.run?.streams ? context.run : context.runs.find((one) => one.streams);
  if (!run) {
    set(root, state("empty", "No run here can stream", "Train one on recordings, such as: sensorium run ravdess-best data.root=FOLDER, and serve it."));
    return;
  }
  page = new Page(root, run.name, run.emotions);
}

export function hide() {
  page?.leave();
  page = null;
}

class Page {
  constructor(root, run, emotions) {
    Object.assign(this, { run, emotions, labels: [], stream: null, source: null, mode: "idle", delivered: [], waits: [] });
    this.silent = emotions ? "No speech" : "Silence";
    this.wave = new Wave();
    this.timeline = new Timeline((label) => this.colour(label));
    this.listen = h("button", { class: "button primary live-listen", on: { click: () => this.toggle() } });
    this.picker = h("input", { type: "file", accept: "audio/*,.wav,.flac,.mp3,.ogg,.m4a", class: "visually-hidden", id: "live-file", on: { change: () => this.take(this.picker.files[0]) } });
    this.note = h("div", { class: "live-note", role: "status", "aria-live": "polite", hidden: true });
    this.portrait = emotions ? h("div", { class: "live-portrait" }) : null;
    this.word = h("div", { class: "live-word" });
    this.status = h("p", { class: "muted live-status" });
    this.latency = h("span", { class: "quiet live-latency", title: "Time from the arrival of sound in the page to its label on the screen" });
    this.meters = h("div", { class: "live-meters" });
    this.plane = h("div", { class: "live-plane" });
    this.final = h("section", { class: "card live-final", hidden: true, "aria-label": "Final answer" });
    this.apart = h("input", { type: "checkbox", id: "live-apart", checked: true });
    const drop = h("label", { class: "live-drop", for: "live-file" }, icon("upload"), h("span", {}, "Drop a recording here, or choose one"));
    root.append(h("div", { class: "live" },
      h("div", { class: "head" }, h("h1", {}, "Live"), h("span", { class: "quiet" }, `run ${run}`), this.latency),
      this.note,
      h("div", { class: "live-ask" }, this.listen, drop, this.picker,
        h("label", { class: "check live-apart", for: "live-apart", title: "On: labels are of the present utterance, which begins after a pause. Off: labels are of all sound so far. The final answer is of the whole recording either way." }, this.apart, "Each utterance by itself")),
      this.final,
      h("div", { class: "live-grid" },
        h("section", { class: "card live-now", "aria-label": "Predicted" }, h("h2", { class: "live-title" }, "Predicted"), this.portrait, this.word, this.status, this.wave.canvas),
        h("section", { class: "card", "aria-label": "Probabilities" }, this.meters),
        emotions ? h("section", { class: "card", "aria-label": "Valence and arousal" }, this.plane) : null),
      h("section", { class: "card stack tight", "aria-label": "Timeline" }, h("h2", {}, "Segments"), this.timeline.element)));
    this.ready(emotions?.map(({ label }) => label) ?? []); // of other classes the stream says which
    this.zone = root.querySelector(".live");
    for (const [event, on] of [["dragover", true], ["drop", false], ["dragleave", false]]) {
      this.zone.addEventListener(event, (e) => {
        e.preventDefault();
        this.zone.classList.toggle("dropping", on);
        if (event === "drop") this.take(e.dataTransfer.files[0]);
      });
    }
    this.setMode("idle");
    this.clear();
    const frame = () => {
      if (this.gone) return;
      this.wave.draw();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  setMode(mode) {
    this.mode = mode;
    this.zone.dataset.mode = mode;
    const busy = mode === "listening" || mode === "file";
    set(this.listen, icon(busy ? "stop" : "live"), { listening: "Stop", file: "Stop", asking: "Asking for the microphone…" }[mode] ?? "Listen");
    this.listen.disabled = mode === "asking";
    this.status.textContent = { idle: "Listen with the microphone, or choose a recording.", asking: "The browser asks you for the microphone.",
      listening: "Listening…", file: "Reading the recording…", finishing: "Waiting for the final answer…", done: "The recording has ended." }[mode] ?? "";
  }

  tell(title, detail, kind = "warn", action = null) {
    this.note.hidden = !title;
    this.note.dataset.kind = kind;
    set(this.note, title ? [h("b", {}, title), detail ? h("span", {}, detail) : null, action] : null);
  }

  /** A class's colour: of an emotion its own, else by its place among the classes. */
  colour(label) {
    const known = this.emotions?.find((one) => one.label === label);
    return known ? `var(--feel-${known.emotion}, var(--ink-3))` : hue(Math.max(0, this.labels.indexOf(label)));
  }

  /** Nothing of a recording before remains. */
  clear() {
    Object.assign(this, { delivered: [], waits: [], answered: 0, total: 0, since: null });
    this.wave.clear();
    this.timeline.clear();
    this.circumplex?.clear();
    this.shares?.clear();
    this.final.hidden = true;
    set(this.final);
    delete this.zone.dataset.answered;
    delete this.zone.dataset.latency;
    this.latency.textContent = "";
    this.show(null);
  }

  async toggle() {
    if (this.mode === "listening" || this.mode === "file") return this.finish();
    this.tell(null);
    this.setMode("asking");
    try {
      const source = await microphone((block) => this.heard(block), () => this.unplugged(), (running) => this.suspended(!running));
      if (this.gone) return source.stop();
      this.source = source;
      this.begin(source.rate, "listening");
    } catch (error) {
      this.setMode("idle");
      const { title, text } = explain(error);
      this.tell(title, text);
      if (!(error instanceof NoMicrophone)) throw error;
    }
  }

  async take(file) {
    if (!file) return;
    this.picker.value = "";
    await this.silence();
    this.stream?.stop();
    this.stream = null; // what still comes of the recording before is not shown
    this.tell(null);
    this.setMode("idle");
    this.clear();
    try {
      const { samples, rate } = await decode(file);
      await this.silence(); // someone may have begun to listen meanwhile
      if (this.gone) return;
      this.begin(rate, "file");
      await this.feed(samples, rate, this.stream);
    } catch (error) {
      this.setMode("idle");
      const { title, text } = explain(error, { kind: "audio" });
      this.tell(title, text);
    }
  }

  begin(rate, mode) {
    this.stream?.stop();
    this.rate = rate;
    this.clear();
    const stream = this.stream = new Stream(this.run, rate, this.apart.checked);
    const mine = (on) => (event) => { if (this.stream === stream && !this.gone) on(event.detail); };
    stream.addEventListener("message", mine((message) => this.message(message)));
    stream.addEventListener("closed", mine((why) => { this.silence(); this.setMode("idle"); this.tell("The stream has ended", why); }));
    stream.addEventListener("lost", mine(({ was, why }) => this.tell(was ? "The connection was lost" : "The server does not take this stream yet",
      was ? "Trying again; sound in the meantime is lost." : `${why} It is asked again until it takes the stream.`)));
    stream.addEventListener("back", mine(({ anew }) => {
      if (!anew) return this.tell(null);
      this.tell("Connected again", "A new recording began after the gap.", "good");
      this.restart();
    }));
    this.setMode(mode);
  }

  /** After a lost connection the server begins at second 0 again. */
  restart() {
    this.clear();
    if (this.mode === "file") { this.silence(); this.stream.stop(); this.setMode("idle"); this.tell("The connection was lost", "Drop the recording again."); }
  }

  /** The microphone was disconnected, or taken away in the browser's settings. */
  unplugged() {
    if (this.mode !== "listening") return;
    this.finish();
    this.tell("The microphone was disconnected", "The answer is of the sound until then.");
  }

  /** The browser suspended sound, as at a call on a phone or in another tab; or it goes on. */
  suspended(now) {
    if (this.mode !== "listening") return;
    this.zone.dataset.suspended = String(now);
    if (!now) { this.tell(null); this.setMode("listening"); return; }
    this.show(null);
    this.status.textContent = "The microphone is suspended.";
    this.tell("The browser suspended the microphone", "A call or another tab may use it. No sound arrives; it goes on by itself when the browser allows it.", "warn",
      h("button", { class: "button small", type: "button", on: { click: () => this.source?.resume() } }, "Resume"));
  }

  /** Samples from the microphone. */
  heard(block) {
    this.wave.push(block, this.rate ?? 48000);
    if (this.mode !== "listening" || !this.stream.send(block)) return;
    this.total += block.length;
    this.delivered.push([this.total / this.rate, performance.now()]);
  }

  /** Samples of a file, as fast as they are taken and answered. */
  async feed(samples, rate, stream) {
    const piece = Math.round(PIECE * rate);
    for (let at = 0; at < samples.length && !this.gone && this.stream === stream && this.mode === "file";) {
      const block = samples.slice(at, at + piece);
      if (at / rate - this.answered < AHEAD && stream.send(block)) {
        at += block.length;
        this.total = at;
        this.wave.push(block, rate);
        this.delivered.push([at / rate, performance.now()]);
      } else await new Promise((done) => setTimeout(done, 10));
    }
    if (this.stream === stream && this.mode === "file") this.finish();
  }

  async silence() {
    const source = this.source;
    this.source = null;
    await source?.stop();
  }

  async finish() {
    this.setMode("finishing");
    await this.silence();
    this.stream.end();
  }

  message(message) {
    if (message.type === "ready") this.ready(message.labels);
    else if (message.type === "frames") this.frames(message);
    else if (message.type === "segment") this.timeline.add(message);
    else if (message.type === "event" && message.event === "emotion") { this.since = message.t; announce(`Predicted: ${message.to}`); }
    else if (message.type === "final") this.answer(message);
  }

  ready(labels) {
    if (this.shares && String(labels) === String(this.labels)) return;
    this.labels = labels;
    const colour = (label) => this.colour(label);
    this.shares = this.emotions ? new Faces(this.emotions, colour) : new Top(labels, colour);
    set(this.meters, this.shares.element);
    if (!this.emotions) return;
    this.circumplex = new Circumplex(this.emotions);
    set(this.plane, this.circumplex.element, this.circumplex.source);
  }

  frames({ t1, smoothed, label, speech, skipped }) {
    this.answered = t1;
    if (speech) { this.shares.push(smoothed); this.circumplex?.push(smoothed); } else this.shares.clear();
    this.show(label, label ? smoothed[this.labels.indexOf(label)] : null);
    if (skipped) this.tell("This page is slow", `${skipped} steps were not shown.`);
    requestAnimationFrame(() => {
      if (this.mode === "done" || t1 > this.answered) return; // the final answer, or another recording, came before this was shown
      this.timeline.to(t1, label && this.since !== null ? { label, since: this.since } : null);
      this.measure(t1);
    });
    this.zone.dataset.answered = String(t1);
  }

  /** The predicted class with its probability; null where nothing is heard. */
  show(label, confidence = null) {
    const emotion = this.emotions?.find((one) => one.label === label)?.emotion;
    if (this.portrait && this.portrait.dataset.emotion !== (label ?? "")) {
      this.portrait.dataset.emotion = label ?? "";
      set(this.portrait, face(emotion ?? "neutral", { class: label ? "" : "asleep" }));
    }
    const heard = ["listening", "file", "finishing", "done"].includes(this.mode);
    set(this.word, label ? [label, confidence === null ? null : h("small", {}, ` ${Math.round(100 * confidence)} %`)] : heard && this.answered ? this.silent : "–");
  }

  /** Time since the last sample of what is shown now arrived in the page. */
  measure(t1) {
    let when = null;
    while (this.delivered.length && this.delivered[0][0] < t1) this.delivered.shift();
    if (this.delivered.length) when = this.delivered[0][1];
    if (when === null || this.mode !== "listening") return;
    this.waits.push(performance.now() - when);
    if (this.waits.length > 100) this.waits.shift();
    const sorted = [...this.waits].sort((a, b) => a - b), at = (share) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
    this.latency.textContent = `shown ${at(0.5)} ms after the sound (p95 ${at(0.95)} ms)`;
    this.zone.dataset.latency = String(at(0.95));
  }

  answer(message) {
    this.setMode("done");
    this.timeline.to(message.seconds, null);
    this.final.hidden = false;
    const { label, probabilities, seconds } = message;
    if (!label) {
      const nothing = `${this.silent === "Silence" ? "No sound" : this.silent} was heard`;
      this.shares.clear();
      this.show(null);
      set(this.final, h("h2", {}, nothing), h("p", { class: "muted" }, `${seconds.toFixed(1)} s of sound${seconds ? `, all of it ${this.emotions ? "silence or steady noise" : "silence"}` : ""}.`));
      announce(nothing);
    } else {
      this.shares.push(probabilities);
      this.circumplex?.push(probabilities);
      this.show(label, message.confidence);
      const parts = Object.entries(message.predicted).sort((a, b) => b[1] - a[1]).map(([name, time]) => `${name} ${time.toFixed(1)} s`);
      set(this.final, this.emotions ? face(this.emotions.find((one) => one.label === label)?.emotion) : null, h("div", {},
        h("h2", {}, `Predicted for the whole recording: ${label}, ${Math.round(100 * message.confidence)} %`),
        h("p", { class: "muted" }, `${seconds.toFixed(1)} s of sound${parts.length ? `; segments: ${parts.join(", ")}` : ""}.`)));
      announce(`Predicted for the whole recording: ${label}`);
    }
    this.final.dataset.emotion = label ?? "";
    this.final.dataset.probabilities = JSON.stringify(probabilities);
  }

  leave() {
    this.gone = true;
    this.silence();
    this.stream?.stop();
  }
}
