// The socket WS /faces: one frame under way at a time, and a connection that comes back when it is lost.

import { Plain, Problem, socketAt } from "../../api.js";
import { closedText, protocols } from "../../live-socket.js";

/** Kinds of payload. */
export const PICTURE = 1;
export const LANDMARKS = 2;
const FINAL = new Set([4400, 4401, 4403, 4404, 4421]); // close codes after which trying again does not help
const IDLE = 4408; // … for a still picture or a hidden tab: the connection is made anew, and nothing is said
const HEAD = 9; // bytes before the payload: u32 frame, u32 milliseconds, u8 kind
const PATIENCE = 6000; // milliseconds after which a frame without an answer is given up
const AGAIN = 3000; // … after which what was refused is asked again

/**
 * Events, with their details: "ready" (what the server says of the run), "answer" (its message and, as trip, the
 * milliseconds since the frame was taken), "problem" (a Problem of one frame), "refused" (the same, of what is
 * asked for: it is asked again later), "late" (a frame had no answer in time), "lost" ({was, why}), "back", and "closed"
 * ({code, why}: no further attempt is made).
 */
export class FaceSocket extends EventTarget {
  /** options: run, k, faces, smooth, place, as in the first message. */
  constructor(options) {
    super();
    Object.assign(this, { options, ready: false, waiting: false, stopped: false, pause: 400, frame: 0, under: null });
    this.connect();
  }

  /** Whether a frame may be sent now. */
  get free() { return this.ready && !this.under; }

  connect() {
    const socket = this.socket = new WebSocket(socketAt("/faces"), protocols());
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => this.say(this.options));
    socket.addEventListener("message", ({ data }) => { if (socket === this.socket) this.hear(JSON.parse(data)); });
    socket.addEventListener("close", (event) => { if (socket === this.socket) this.closed(event); });
  }

  hear(message) {
    if (message.ready) {
      const { waiting } = this;
      Object.assign(this, { ready: true, waiting: false, pause: 400 });
      this.tell("ready", message.ready);
      if (waiting) this.tell("back");
      return;
    }
    const { under } = this;
    if (message.vector) { this.vectors?.done(message.vector); this.vectors = null; return; }
    if (message.frame === undefined || message.frame === null) {
      if (this.vectors) { this.vectors.fail(problemOf(message)); this.vectors = null; return; }
      if (this.ready || !message.problem) return;
      this.tell("refused", problemOf(message));
      this.timer = setTimeout(() => this.say(this.options), AGAIN);
      return;
    }
    if (!under || message.frame !== under.frame) return; // given up before
    this.give();
    if (message.problem) this.tell("problem", problemOf(message));
    else this.tell("answer", { message, trip: performance.now() - under.taken, sent: under.sent, of: under.of });
  }

  give() {
    clearTimeout(this.under?.timer);
    this.under = null;
  }

  closed({ code }) {
    const was = this.ready, why = closedText(code);
    clearTimeout(this.timer);
    this.vectors?.fail(new Plain("The connection was lost", "Make the image again when it is back."));
    this.vectors = null;
    this.ready = false;
    this.give();
    if (this.stopped) return;
    if (code === IDLE && was) { this.connect(); return; }
    if (FINAL.has(code)) {
      this.stopped = true;
      this.tell("closed", { code, why });
      return;
    }
    if (!this.waiting) this.tell("lost", { was, why });
    this.waiting = true;
    this.timer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(this.pause * 1.7, 5000);
  }

  say(message) { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message)); }

  /** Other options from now on; the faces keep their ids. */
  change(options) {
    this.options = { ...this.options, ...options };
    if (this.ready) this.say(this.options);
  }

  /** The vectors of a face of the last frame: {id, label, perception, projected}. */
  vector(id) {
    this.vectors?.fail(new Plain("This was requested again", "The newest request is answered."));
    return new Promise((done, fail) => {
      if (!this.ready) { fail(new Plain("There is no connection", "It is made again; then make the image.")); return; }
      this.vectors = { done, fail };
      this.say({ vector: id });
    });
  }

  /** Send a frame: payload is an ArrayBuffer; taken: when it was taken; of: what the caller wants back with the answer. */
  send(kind, payload, taken, of) {
    if (!this.free) return false;
    const bytes = new Uint8Array(HEAD + payload.byteLength), view = new DataView(bytes.buffer), frame = (this.frame = (this.frame + 1) >>> 0);
    view.setUint32(0, frame, true);
    view.setUint32(4, Math.round(taken) >>> 0, true);
    view.setUint8(8, kind);
    bytes.set(new Uint8Array(payload), HEAD);
    this.socket.send(bytes);
    this.under = { frame, taken, of, sent: performance.now(), timer: setTimeout(() => { this.under = null; this.tell("late"); }, PATIENCE) };
    return true;
  }

  tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.give();
    this.socket.close();
  }
}

const problemOf = ({ problem }) => new Problem(problem?.status ?? 500, problem?.detail);

/** The landmarks of n faces, (n, 478, 3) float32, as a payload of kind LANDMARKS. */
export function packed(points, n) {
  const bytes = new Uint8Array(1 + points.byteLength);
  bytes[0] = n;
  bytes.set(new Uint8Array(points.buffer, points.byteOffset, points.byteLength), 1);
  return bytes.buffer;
}
