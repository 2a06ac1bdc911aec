// One stream of sound to the server: reconnects when the connection is lost, and never sends more than the socket takes.

import { causeOf, currentToken, socketAt, url } from "./api.js";

const AHEAD = 1 << 18; // bytes that may wait in the browser

/** Close codes after which trying again does not help. */
const FINAL = new Set([1000, 4400, 4401, 4403, 4404, 4410, 4413, 4421]);

const CLOSED = {
  1000: "The server has ended it.",
  4400: "The server cannot read what was sent. Start again, or choose another file.",
  4408: "Nothing was sent for a while. Start again.",
  4410: "A stream may last only so long. Start another one.",
  4499: "The answers come faster than this device takes them. Start again, or close other tabs.",
};

/** Why a socket was closed, in words: codes from 4400 are 4000 more than the status that HTTP has for it. */
export function closedText(code) { return CLOSED[code] ?? causeOf(code >= 4400 && code < 4500 ? code - 4000 : 503)[1]; }

/** The subprotocols of a socket, which carry the token where there is one. */
export function protocols() {
  const token = currentToken();
  if (!token) return ["sensorium"];
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  return ["sensorium", `sensorium.token.${btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`];
}

/**
 * Events: "message" (detail: the server's message), "lost" (detail: {was: whether it had been open, why}), "back" (detail:
 * {anew: whether a new recording begins}) and "closed" (detail: the reason, in words).
 */
export class Stream extends EventTarget {
  constructor(run, rate, utterances) {
    super();
    Object.assign(this, { run, rate, utterances, socket: null, ready: false, ended: false, waiting: false, anew: false, pause: 500 });
    this.connect();
  }

  connect() {
    const socket = new WebSocket(socketAt(url("/stream", { run: this.run, rate: this.rate, format: "f32", utterances: this.utterances ? 1 : undefined })), protocols());
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.hear(JSON.parse(data)));
    socket.addEventListener("close", (event) => this.closed(event));
    this.socket = socket;
  }

  hear(message) {
    if (message.type === "ready") {
      const { waiting, anew } = this;
      Object.assign(this, { ready: true, waiting: false, anew: false, pause: 500 });
      if (waiting) this.dispatchEvent(new CustomEvent("back", { detail: { anew } }));
    } else if (message.type === "error") console.debug(message.detail);
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    if (message.type === "final") this.stop();
  }

  closed({ code }) {
    const was = this.ready;
    this.ready = false;
    if (this.ended || FINAL.has(code)) {
      if (!this.stopped) this.dispatchEvent(new CustomEvent("closed", { detail: closedText(code) }));
      return;
    }
    this.anew ||= was;
    if (!this.waiting) {
      this.waiting = true;
      this.dispatchEvent(new CustomEvent("lost", { detail: { was, why: closedText(code) } }));
    }
    this.timer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(this.pause * 1.7, 5000);
  }

  /** Samples (Float32Array) if the connection takes them now; says whether it did. */
  send(samples) {
    if (!this.ready || this.socket.bufferedAmount > AHEAD) return false;
    this.socket.send(samples);
    return true;
  }

  /** The recording is over: the final answer will come. */
  end() {
    this.ended = true;
    if (this.ready) { this.socket.send('{"type":"end"}'); return; }
    this.stop();
    this.dispatchEvent(new CustomEvent("closed", { detail: "There was no connection when the recording ended, so it has no answer." }));
  }

  /** Close without waiting for messages. */
  stop() {
    Object.assign(this, { stopped: true, ended: true });
    clearTimeout(this.timer);
    this.socket.close();
  }
}
