// Landmarks computed in this browser: the model of --face-model in a worker or, where that fails, in a frame of its own.

import { at, Plain } from "../../api.js";
import { h } from "../../dom.js";

const PATIENCE = 60000; // milliseconds for loading the model and compiling it
const FRAME = 20000; // … for one frame

/** The model cannot be used. */
export class NoModel extends Plain {
  constructor(detail) {
    super("The landmark model cannot be used in this browser", "Landmarks are computed by the server, where it can. Another browser, or this one without its blockers, may run the model.");
    Object.assign(this, { name: "NoModel", detail });
    console.debug(detail);
  }
}

/** What computes landmarks: find(canvas, {faces, still}) gives {points (n, 478, 3) Float32Array, n}; where: worker or frame. */
export class Finder {
  /** model: {url}, where its files are; faces: how many are looked for; only: worker or frame, where not either will do.
   *  Raises NoModel where it runs in neither. */
  static async open({ url }, faces, only = null) {
    const faults = [];
    for (const [where, make] of [["worker", inWorker], ["frame", inFrame]]) {
      if (only && where !== only) continue;
      const finder = new Finder(where);
      try {
        await finder.begin(await make(url), faces);
        return finder;
      } catch (error) {
        finder.close();
        faults.push(`${where}: ${error.message}`);
      }
    }
    throw new NoModel(`${faults.join("; ")}. Choose “On the server”.`);
  }

  constructor(where) { this.where = where; }

  async begin({ port, close }, faces) {
    Object.assign(this, { port, shut: close });
    port.start();
    await this.ask({ start: faces }, [], PATIENCE);
    const blank = h("canvas", { width: 64, height: 64 });
    blank.getContext("2d").fillRect(0, 0, 64, 64);
    await this.find(blank, { faces, still: false }); // the first frame compiles; it fails where there is no WebGL
  }

  ask(message, moved, patience) {
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new NoModel(`no answer within ${patience / 1000} s`)), patience);
      this.port.onmessage = ({ data }) => {
        clearTimeout(timer);
        if (data.fault) fail(new NoModel(data.fault)); else done(data);
      };
      this.port.postMessage(message, moved);
    });
  }

  async find(canvas, { faces, still }) {
    const image = await createImageBitmap(canvas);
    return this.ask({ image, faces, still }, [image], this.warm ? FRAME : PATIENCE).finally(() => { this.warm = true; });
  }

  close() {
    this.port?.close();
    this.shut?.();
  }
}

function inWorker(url) {
  if (typeof OffscreenCanvas === "undefined") throw new Error("this browser draws in no worker");
  const worker = new Worker(at(`${url}worker.js`)), { port1, port2 } = new MessageChannel();
  worker.addEventListener("error", (event) => { event.preventDefault(); port1.dispatchEvent(new MessageEvent("message", { data: { fault: event.message || "it did not load" } })); });
  worker.postMessage("port", [port2]);
  return { port: port1, close: () => worker.terminate() };
}

/** A frame has a policy of its own, so that the page's stays strict; it computes on the page's thread. */
function inFrame(url) {
  return new Promise((done, fail) => {
    const frame = h("iframe", { src: at(`${url}frame.html`), class: "visually-hidden", title: "Landmark model", "aria-hidden": "true", tabindex: "-1" });
    const timer = setTimeout(() => { frame.remove(); fail(new Error("the frame did not load")); }, FRAME);
    window.addEventListener("message", function ready({ source, data }) {
      if (source !== frame.contentWindow || data !== "ready") return;
      window.removeEventListener("message", ready);
      clearTimeout(timer);
      const { port1, port2 } = new MessageChannel();
      frame.contentWindow.postMessage("port", location.origin, [port2]);
      done({ port: port1, close: () => frame.remove() });
    });
    document.body.append(frame);
  });
}
