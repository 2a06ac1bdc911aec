// Landmarks by the package @mediapipe/face_mesh, away from the page: in a worker, or in a frame where a worker cannot.
// The package wants a document: a worker gives it as much of one as it asks for.

"use strict";

const INWORKER = typeof importScripts === "function";
const BASE = new URL(".", INWORKER ? location.href : document.currentScript.src).href;
const POINTS = 478;

if (INWORKER) {
  self.window = self;
  self.document = {
    currentScript: { src: `${BASE}worker.js` },
    addEventListener() {},
    createElement(tag) {
      if (tag === "canvas") return new OffscreenCanvas(1, 1);
      const on = {}, script = { src: "", setAttribute(name, value) { script[name] = value; }, addEventListener(name, run) { on[name] = run; }, run() { try { importScripts(script.src); } finally { on.load?.(); } } };
      return script;
    },
    body: { appendChild(script) { script.run(); } },
  };
}

/** Load a script of the package. */
function load(name) {
  if (INWORKER) { importScripts(BASE + name); return Promise.resolve(); }
  return new Promise((done, fail) => {
    const script = document.createElement("script");
    Object.assign(script, { src: BASE + name, onload: done, onerror: () => fail(new Error(`${name} could not be loaded`)) });
    document.body.append(script);
  });
}

let mesh = null, found = [], most = 0, turn = Promise.resolve();

async function start(faces) {
  await load("face_mesh.js");
  mesh = new self.FaceMesh({ locateFile: (name) => BASE + name });
  mesh.onResults((results) => { found = results.multiFaceLandmarks ?? []; });
  options(faces);
  await mesh.initialize();
}

function options(faces) {
  if (faces === most) return;
  most = faces;
  mesh.setOptions({ maxNumFaces: faces, refineLandmarks: true, selfieMode: false });
}

/** Landmarks (n, 478, 3) of the faces of a bitmap. still: a picture of its own, and not the next of a video. */
async function read({ image, faces, still }) {
  options(faces);
  if (still) mesh.reset(); // look for faces anew, where those of a video are followed from frame to frame
  found = [];
  await mesh.send({ image });
  image.close?.();
  const points = new Float32Array(3 * POINTS * found.length);
  let at = 0;
  for (const face of found) for (let i = 0; i < POINTS; i++) { points[at++] = face[i].x; points[at++] = face[i].y; points[at++] = face[i].z; }
  return { points, n: found.length };
}

function serve(port) {
  port.onmessage = ({ data }) => {
    turn = turn.then(async () => {
      try {
        if (data.start) { await start(data.start); port.postMessage({ started: true }); return; }
        const { points, n } = await read(data);
        port.postMessage({ points, n }, [points.buffer]);
      } catch (error) { port.postMessage({ fault: String(error?.message ?? error) }); }
    });
  };
}

self.addEventListener("message", ({ data, ports, origin }) => {
  if (data === "port" && (INWORKER || origin === location.origin)) serve(ports[0]);
});
if (!INWORKER) parent.postMessage("ready", location.origin);
