// Frames of a source to the server and back: the newest frame only, one under way, and how fast that goes.

import { Plain } from "../../api.js";
import { LANDMARKS, PICTURE, FaceSocket, packed } from "./socket.js";
import { each } from "./sources.js";
import { snap } from "./stage.js";
import { h } from "../../dom.js";

export const SENT = 640; // pixels of the longer side of a frame of a video that is sent
export const STILL = 1280; // … of a picture
const QUALITY = 0.85; // of JPEG
const SILENT = 1000; // milliseconds without an answer after which the source is shown as it is
const SPAN = 4000; // milliseconds over which frames are counted

/**
 * Events: those of the socket, and "plain" (a frame that is shown without faces). "answer" has, besides, frame (a canvas) and
 * mirrored. options: those of the socket; local: what finds landmarks in this browser, or null.
 */
export class Feed extends EventTarget {
  constructor(options, local = null) {
    super();
    Object.assign(this, { options, local, source: null, socket: null, busy: false, fresh: false, done: false, last: 0, answers: [], places: [h("canvas"), h("canvas"), h("canvas")], at: 0, small: h("canvas") });
    this.seen = () => this.turn();
    document.addEventListener("visibilitychange", this.seen);
  }

  /** Feed from a source; the one before is stopped. */
  from(source) {
    this.leave();
    Object.assign(this, { source, fresh: true, done: false, last: performance.now(), answers: [] });
    this.open();
    if (!source.moving) { this.tell("plain", this.frame()); return; }
    this.end = each(source.element, () => {
      this.fresh = true;
      if (performance.now() - this.last > SILENT) this.tell("plain", this.frame());
      this.turn();
    });
  }

  /** Other options, such as another run, or another place where landmarks are computed. */
  change(options, local = this.local) {
    Object.assign(this, { options: { ...this.options, ...options }, local, done: false });
    if (this.socket?.stopped) this.open();
    else this.socket?.change(options);
  }

  /** Look at the source again, such as after a place of a stopped video was chosen. */
  again() {
    Object.assign(this, { fresh: true, done: false });
    this.turn();
  }

  open() {
    this.socket?.stop();
    const socket = this.socket = new FaceSocket({ ...this.options, smooth: this.source.moving });
    const pass = (name, run) => socket.addEventListener(name, ({ detail }) => { if (socket === this.socket) run(detail); });
    for (const name of ["lost", "back", "closed", "refused"]) pass(name, (detail) => this.tell(name, detail));
    pass("ready", (detail) => { this.tell("ready", detail); this.again(); });
    pass("late", () => { this.tell("late"); this.again(); });
    pass("problem", (detail) => {
      this.last = performance.now();
      if (!this.source.moving) this.done = true;
      this.tell("problem", detail);
      this.turn();
    });
    pass("answer", (detail) => {
      const now = this.last = performance.now();
      this.answers.push({ at: now, trip: detail.trip });
      if (!this.source.moving) this.done = true;
      this.tell("answer", { ...detail, ...detail.of });
      this.turn();
    });
  }

  /** The present picture of the source, on one of three canvases: one is shown, one under way, one being filled. */
  frame() {
    this.at = (this.at + 1) % this.places.length;
    return snap(this.source, undefined, this.places[this.at]);
  }

  /** Send the newest frame, where one may be sent. */
  async turn() {
    const { source, socket } = this;
    if (!source || this.busy || !this.fresh || this.done || !socket?.free || document.hidden || !source.width) return;
    this.busy = true;
    this.fresh = !source.moving;
    const taken = performance.now();
    try {
      const frame = this.frame(), of = { frame, mirrored: Boolean(source.mirrored) };
      if (this.local) {
        const { points, n } = await this.local.find(snap(frame, source.moving ? SENT : STILL, this.small), { faces: this.options.faces, still: !source.moving });
        if (socket === this.socket) socket.send(LANDMARKS, packed(points, n), taken, of);
      } else {
        const payload = await jpeg(snap(frame, source.moving ? SENT : STILL, this.small));
        if (socket === this.socket) socket.send(PICTURE, payload, taken, of);
      }
    } catch (error) {
      this.done = !source.moving;
      if (source === this.source) this.tell("problem", Object.assign(error, { local: true }));
    } finally {
      this.busy = false;
      if (socket !== this.socket || source !== this.source) this.turn();
    }
  }

  /** Frames a second over the last seconds, and the median and 95th percentile of milliseconds from frame to answer. */
  get speed() {
    const now = performance.now();
    while (this.answers.length && now - this.answers[0].at > SPAN) this.answers.shift();
    const { length } = this.answers, sorted = this.answers.map(({ trip }) => trip).sort((a, b) => a - b), at = (share) => sorted[Math.min(length - 1, Math.floor(share * length))] ?? 0;
    return { rate: length < 2 ? 0 : (1000 * (length - 1)) / (now - this.answers[0].at), median: at(0.5), p95: at(0.95) };
  }

  /** The vectors of a face that is shown, from the server. */
  vector(id) { return this.socket ? this.socket.vector(id) : Promise.reject(new Plain("No face is shown", "Start the camera, or choose an image.")); }

  tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  leave() {
    this.end?.();
    this.end = null;
    this.socket?.stop();
    this.socket = null;
    this.source?.stop();
    this.source = null;
  }

  stop() {
    this.leave();
    document.removeEventListener("visibilitychange", this.seen);
  }
}

async function jpeg(canvas) {
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  if (!blob) throw new Plain("This image cannot be sent", "The browser could not encode it. Choose another one.");
  return blob.arrayBuffer();
}
