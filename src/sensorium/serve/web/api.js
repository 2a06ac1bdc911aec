// Requests to the server: problem documents become errors, a lost connection is detected and retried.

// What a status means for a visitor, and what to do; the names that HTTP gives them say neither.
const CAUSES = {
  403: ["The server refuses this page", "It may be reached by another address. Ask the person who runs the server."],
  404: ["Not found", "It may have been removed since the link was made."],
  408: ["The upload took too long", "Try again, or choose a smaller file."],
  409: ["The run has changed", "It was made anew meanwhile. Reload the page and search again."],
  410: ["The run has changed", "It was made anew meanwhile. Reload the page and search again."],
  413: ["This is too large", "Choose a smaller file, or a shorter text."],
  429: ["Too many requests at once", "Wait a few seconds, then try again."],
  501: ["This server lacks a package for it", "Ask the person who runs the server to install it."],
  502: ["The server does not answer", "Something between this page and it says so. Try again in a few seconds."],
  503: ["Not possible right now", "The run is being opened or made anew, or the server is busy. Try again in a few seconds."],
  504: ["The server takes too long", "It may be busy. Try again, or ask for less at once."],
  507: ["The disk of the server is full", "Nothing was changed. Ask the person who runs the server."],
};

/** Title and text in plain words for the status of an error. */
export function causeOf(status) {
  return CAUSES[status] ?? (status >= 500 ? ["The server has a fault", "Its log says why. Try again."] : ["This cannot be answered", "Change the query or the options, then try again."]);
}

/** An error in words for readers: a title, and what to do as its message. */
export class Plain extends Error {
  constructor(title, text) {
    super(text);
    Object.assign(this, { name: "Plain", title });
  }
}

/** An error of the server: its status, title and message by their cause, and the server's own words as detail (RFC 9457). */
export class Problem extends Plain {
  constructor(status, detail = "") {
    super(...causeOf(status));
    Object.assign(this, { name: "Problem", status, detail });
    console.debug(status, detail); // for who has to find out more
  }
}

/** No answer at all. */
export class Gone extends Plain {
  constructor() {
    super(...(navigator.onLine ? ["The server does not answer", "It is tried again until it does."] : ["This device is offline", "The page goes on when it is connected again."]));
    this.name = "Gone";
  }
}

const PATIENCE = 180_000; // milliseconds that an answer may take to begin

const ROOT = new URL(".", import.meta.url);

/** The address of a path of the server, which may be reached below a prefix. Its answers name media with the prefix. */
export function at(path) { return new URL(path.startsWith(ROOT.pathname) ? path : path.replace(/^\//, ""), ROOT).href; }

/** The address of a socket. */
export function socketAt(path) { return at(path).replace(/^http/, "ws"); }

/** Events: "down", "back" (after being down) and "token" (one is needed). */
export const connection = new EventTarget();
let down = false, pendingToken = null;
const TOKEN = "sensorium.token";
let token = sessionStorage.getItem(TOKEN) ?? "";

/** The server's token, for sockets too; empty when it needs none. */
export function currentToken() { return token; }

function wait(ms) { return new Promise((done) => setTimeout(done, ms)); }

async function watch() {
  for (let pause = 500; down; pause = Math.min(pause * 1.6, 5000)) {
    await wait(pause);
    try {
      const answer = await fetch(at("/healthz"), { cache: "no-store" });
      if (answer.ok) { down = false; connection.dispatchEvent(new Event("back")); }
    } catch { /* still gone */ }
  }
}

function lost() {
  if (!down) { down = true; connection.dispatchEvent(new Event("down")); watch(); }
}

/** Request a token from the user once, however many requests need one. */
function askToken() {
  pendingToken ??= new Promise((done) => {
    connection.dispatchEvent(new CustomEvent("token", { detail: { wrong: token !== "", give(text) {
      token = text; sessionStorage.setItem(TOKEN, text); pendingToken = null; done();
    } } }));
  });
  return pendingToken;
}

/** A Response, or Problem, or Gone. json: sent as the body; signal: as of fetch. */
export async function request(path, { method, json, body, signal, headers = {}, cache } = {}) {
  for (;;) {
    const used = token, sent = { ...headers };
    if (used) sent.authorization = `Bearer ${used}`;
    if (json !== undefined) sent["content-type"] = "application/json";
    const late = new AbortController(), timer = setTimeout(() => late.abort(), PATIENCE);
    let answer;
    try {
      answer = await fetch(at(path), {
        method: method ?? (json !== undefined || body ? "POST" : "GET"), headers: sent, cache,
        signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
        body: json !== undefined ? JSON.stringify(json) : body,
      });
    } catch (error) {
      if (late.signal.aborted) throw new Problem(504);
      if (error.name === "AbortError") throw error;
      lost();
      throw new Gone();
    } finally { clearTimeout(timer); }
    if (answer.status === 401) {
      if (used === token) await askToken();
      continue;
    }
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, problem.detail);
  }
}

/** The JSON that a path answers with. */
export async function call(path, options) {
  const answer = await request(path, options);
  return answer.status === 204 ? null : answer.json();
}

/** A path with a query string; undefined, null and "" are left out. */
export function url(path, query = {}) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") params.set(name, value);
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

const blobs = new Map();

/** Let an <img>, <audio> or <video> show a path of the server; with a token it is fetched, as tags send no headers. */
export async function show(element, path) {
  if (!token) { element.src = at(path); return; }
  if (!blobs.has(path)) {
    blobs.set(path, request(path).then(async (answer) => URL.createObjectURL(await answer.blob())));
    if (blobs.size > 400) {
      const [oldest, made] = blobs.entries().next().value;
      blobs.delete(oldest);
      made.then(URL.revokeObjectURL, () => {});
    }
  }
  try { element.src = await blobs.get(path); } catch { blobs.delete(path); element.dispatchEvent(new Event("error")); }
}

/** Server-sent events of a path, read with fetch so that a token can go along: calls on(type, data, id) until stopped. */
export function events(path, on, ended = () => {}) {
  const stop = new AbortController();
  (async () => {
    const answer = await request(path, { signal: stop.signal, headers: { accept: "text/event-stream" } });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        let type = "message", id = "";
        const data = [];
        for (const line of block.split("\n")) {
          if (line.startsWith("event:")) type = line.slice(6).trim();
          else if (line.startsWith("id:")) id = line.slice(3).trim();
          else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
        }
        if (data.length) on(type, JSON.parse(data.join("\n")), id);
      }
    }
    ended(null);
  })().catch((error) => { if (error.name !== "AbortError") ended(error); });
  return () => stop.abort();
}
