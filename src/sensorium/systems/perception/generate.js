// The panel of generation: asks for a picture that the present face conditions, and shows its steps, itself and its settings.

import { call, events, Problem, request, url } from "../../api.js";
import { announce, h, icon, set } from "../../dom.js";
import { sheet } from "../../files.js";
import { explain } from "../../words.js";

const EARLIER = 8; // pictures that the panel keeps to compare with
const AGAIN = 1000; // milliseconds until a lost stream of events is asked for again
const ENDS = ["done", "failed", "cancelled"];
const WAY = { blend: "Turn the prompt towards the face", shift: "Add the face to every token" };
// A picture goes on while another page is looked at, so all of this outlives the panel.
const kept = { job: null, after: 0, shown: null, earlier: [], choice: { style: "abstract", mode: "blend", strength: {}, prompt: "", steps: null, seed: "" } };

/**
 * Build the panel inside an element. run: the run's name. current(): the face to use, now or as a promise: its numbers,
 * a Blob of a picture, the id of an item, an object of fields of POST /generations, or null where there is none.
 * Returns {close, refresh}: leave the panel; look again whether a face is there.
 */
export async function panel(root, { run, current }) {
  let about;
  try { about = await call(url("/generations", { run })); } catch (error) { about = { ready: false, detail: explain(error).text }; }
  await sheet("/systems/perception/generate.css");
  const made = about.ready ? new Panel(root, run, current, about) : null;
  if (!made) set(root, missing(about));
  root.hidden = false;
  return { close() { made?.close(); }, refresh() { made?.draw(); } };
}

/** Why no picture can be made, with what to type in a line of its own. */
function missing(about) {
  const [why, ...rest] = about.detail.split(/: (?=sensorium |pip )/), line = rest.join(": ");
  return h("details", { class: "card made-missing" }, h("summary", {}, "Pictures of this face"), h("p", {}, `${why[0].toUpperCase()}${why.slice(1)}${line ? ":" : "."}`), line ? h("pre", { tabindex: 0 }, h("code", {}, line)) : null);
}

class Panel {
  constructor(root, run, current, about) {
    Object.assign(this, { run, current, about, problem: null, asking: false, stop: null, note: "" });
    const { choice } = kept;
    this.style = h("div", { class: "segments", role: "group", "aria-label": "Style" }, about.styles.map((one) => h("button", { type: "button", title: one.look || "The prompt as it is", dataset: { style: one.name }, on: { click: () => { choice.style = one.name; this.draw(); } } }, one.title)));
    this.prompt = h("input", { class: "input", id: "made-prompt", maxlength: 2000, value: choice.prompt, autocomplete: "off", on: { input: (event) => { choice.prompt = event.target.value; } } });
    this.strength = h("input", { type: "range", id: "made-strength", min: 0, max: 1, step: 0.05, on: { input: (event) => { choice.strength[choice.mode] = +event.target.value; this.draw(); } } });
    this.strengthText = h("output", { for: "made-strength", class: "number" });
    this.mode = h("select", { class: "select", id: "made-mode", value: choice.mode, on: { change: (event) => { choice.mode = event.target.value; this.draw(); } } }, about.modes.map((one) => h("option", { value: one.name }, WAY[one.name] ?? one.name)));
    this.steps = h("input", { class: "input", id: "made-steps", type: "number", min: 1, max: about.most_steps, value: choice.steps ?? about.steps, on: { change: (event) => { choice.steps = Math.min(about.most_steps, Math.max(1, Math.round(+event.target.value) || about.steps)); event.target.value = choice.steps; } } });
    this.seed = h("input", { class: "input", id: "made-seed", inputmode: "numeric", placeholder: "drawn", value: choice.seed, on: { input: (event) => { choice.seed = event.target.value.replace(/\D/g, "").slice(0, 15); event.target.value = choice.seed; } } });
    this.go = h("button", { class: "button primary", type: "submit" });
    this.cancel = h("button", { class: "button", type: "button", on: { click: () => this.drop() } }, icon("close"), "Cancel");
    this.view = h("div", { class: "made-view" });
    this.said = h("div", { class: "made-said", role: "status" });
    this.facts = h("div", { class: "made-facts" });
    this.strip = h("div", { class: "made-strip", role: "group", "aria-label": "Earlier pictures" });
    const checker = about.safety_checker ? "with a safety checker" : "without a safety checker";
    const field = (id, text, element, more) => h("div", { class: "field" }, h("div", { class: "row between" }, h("label", { class: "label", for: id }, text), more), element);
    set(root, h("div", { class: "made card" },
      h("form", { class: "made-form", on: { submit: (event) => { event.preventDefault(); this.ask(); } } },
        h("h2", {}, "An image of this face"), this.style, field("made-prompt", "What is to be seen", this.prompt), field("made-strength", "Strength of the face", this.strength, this.strengthText),
        h("details", {}, h("summary", {}, "More"), h("div", { class: "made-more" }, field("made-mode", "How the face conditions", this.mode), field("made-steps", "Steps", this.steps), field("made-seed", "Seed", this.seed))),
        h("div", { class: "row" }, this.go, this.cancel),
        h("p", { class: "quiet" }, `${about.model}, licence ${about.licence ?? "unknown"}, ${checker}. The picture stays in the server's memory for ${Math.round(about.keep_seconds / 60)} minutes; nothing is stored.`)),
      h("div", { class: "made-side" }, this.view, this.said, this.facts, this.strip)));
    if (kept.job && !ENDS.includes(kept.job.state)) this.follow();
    this.draw();
  }

  close() { this.stop?.(); clearTimeout(this.later); this.gone = true; }

  get busy() { return this.asking || Boolean(kept.job && !ENDS.includes(kept.job.state)); }

  // Asking

  async ask() {
    if (this.busy) return;
    const { choice } = kept;
    Object.assign(this, { asking: true, problem: null, note: "" });
    this.draw();
    try {
      const face = await fields(await this.current());
      if (!face) { this.note = "No face is there yet. Start the camera or choose a picture first."; return; }
      const body = { run: this.run, ...face, style: choice.style, mode: choice.mode, strength: this.level(), prompt: choice.prompt, steps: choice.steps ?? this.about.steps };
      if (choice.seed) body.seed = +choice.seed;
      kept.job = { ...await call("/generations", { json: body }), preview: null };
      kept.after = 0;
      this.follow();
    } catch (error) {
      this.problem = explain(error);
    } finally {
      this.asking = false;
      this.draw();
    }
  }

  async drop() {
    const { job } = kept;
    if (!job) return;
    try { await request(`/generations/${job.id}`, { method: "DELETE" }); } catch { /* it has ended, or is forgotten */ }
  }

  level() { return kept.choice.strength[kept.choice.mode] ?? this.about.modes.find((one) => one.name === kept.choice.mode).strength; }

  // Events

  follow() {
    const { job } = kept;
    this.stop?.();
    this.stop = events(url(job.events, { after: kept.after || null }), (kind, data, id) => {
      kept.after = +id || kept.after;
      if (kind === "queued") Object.assign(job, { state: "queued", position: data.position });
      else if (kind === "started") Object.assign(job, { state: data.loading ? "loading" : "running", position: 0 });
      else if (kind === "step") Object.assign(job, { state: "running", step: data.step, steps: data.steps, preview: data.preview ?? job.preview });
      else this.end(job, kind, data);
      this.lost = false;
      this.draw();
    }, (error) => {
      if (ENDS.includes(job.state) || this.gone) return;
      if (error?.status) this.end(job, "failed", { problem: error });
      else { this.lost = true; this.later = setTimeout(() => this.follow(), AGAIN); }
      this.draw();
    });
  }

  async end(job, kind, data) {
    job.state = kind;
    if (kind === "failed") this.problem = explain(data.problem instanceof Problem ? data.problem : new Problem(data.problem.status, data.problem.detail));
    if (kind === "cancelled") this.note = `Cancelled: ${data.detail}.`;
    announce({ done: "The picture is made", failed: "The picture failed", cancelled: "The picture was cancelled" }[kind]);
    if (kind !== "done") return;
    try {
      const answer = await request(data.picture);
      const picture = { src: URL.createObjectURL(await answer.blob()), settings: data.settings };
      kept.earlier = [picture, ...kept.earlier];
      for (const old of kept.earlier.splice(EARLIER)) URL.revokeObjectURL(old.src);
      kept.shown = picture;
    } catch (error) {
      this.problem = explain(error);
    }
    if (!this.gone) this.draw();
  }

  // What is shown

  draw() {
    const { choice, job } = kept, { about, busy } = this;
    for (const one of this.style.children) one.setAttribute("aria-pressed", String(one.dataset.style === choice.style));
    this.prompt.placeholder = about.styles.find((one) => one.name === choice.style).subject;
    this.strength.value = this.level();
    this.strengthText.textContent = this.level() ? this.level().toFixed(2) : "the prompt alone";
    set(this.go, icon("picture"), this.asking ? "Asking…" : "Make an image");
    this.go.disabled = busy;
    this.cancel.hidden = !job || ENDS.includes(job.state);
    this.drawView(job, busy);
    const shown = busy ? null : kept.shown;
    set(this.facts, shown ? [describe(shown.settings), h("div", { class: "row" }, h("a", { class: "button small", href: shown.src, download: `face-${shown.settings.seed}.png` }, icon("download"), "Save"),
      h("button", { class: "button small plain", type: "button", on: { click: () => { choice.seed = String(shown.settings.seed); this.seed.value = choice.seed; this.ask(); } } }, icon("undo"), "Same seed again"))] : null);
    this.strip.hidden = kept.earlier.length < 2;
    set(this.strip, kept.earlier.map((one, at) => h("button", { type: "button", class: "made-small", "aria-label": `Picture ${at + 1}: strength ${one.settings.strength}, seed ${one.settings.seed}`, "aria-pressed": String(one === kept.shown && !busy), on: { click: () => { kept.shown = one; this.draw(); } } }, h("img", { src: one.src, alt: "" }))));
  }

  drawView(job, busy) {
    const run = busy && job && !this.asking, steps = run && job.state === "running" && job.step;
    const said = this.asking ? "Asking…" : !run ? null : this.lost ? "The connection was lost; asking again…" : job.state === "queued" ? (job.position > 1 ? `In the queue: ${job.position - 1} before yours` : "Next in the queue") : job.state === "loading" ? "The model is being loaded; the first picture takes longer" : steps ? `Step ${job.step} of ${job.steps}` : "Started";
    const picture = run ? job.preview : this.problem ? null : kept.shown?.src;
    const image = this.view.querySelector("img");
    if (picture && image) image.src = picture;
    else set(this.view, picture ? h("img", { src: picture }) : h("div", { class: "made-empty" }, this.problem ? icon("close") : icon("picture")));
    const now = this.view.querySelector("img");
    if (now) now.alt = run ? "Preview of the picture" : `Generated picture, ${kept.shown?.settings.prompt ?? ""}`;
    this.view.classList.toggle("preview", Boolean(run));
    this.view.classList.toggle("wait", Boolean(run && !job.preview));
    const text = this.problem && !run ? h("div", { class: "note bad" }, h("strong", {}, `${this.problem.title}. `), this.problem.text) : said ?? (this.note ? h("div", { class: "note" }, this.note) : null);
    const bar = run ? h("progress", { max: job.steps, value: steps || undefined, "aria-label": "Steps that are done" }) : null;
    // A status is read aloud when it changes; steps would be too many.
    this.said.setAttribute("aria-live", steps ? "off" : "polite");
    set(this.said, text, bar);
  }
}

/** The fields of POST /generations that a face is sent in; null for none. */
async function fields(face) {
  if (!face) return null;
  if (face instanceof Blob) return { face: await base64(face) };
  if (typeof face === "string") return { id: face };
  if (Array.isArray(face) || ArrayBuffer.isView(face)) return face.length ? { vector: Array.from(face) } : null;
  return face;
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

function describe(told) {
  const rows = [["Prompt", told.prompt], ["Not", told.negative], ["Strength", `${told.strength} (${told.mode})`], ["Steps", `${told.steps}, guidance ${told.guidance}`], ["Seed", told.seed], ["Size", `${told.width} × ${told.height}, in ${told.seconds} s`]];
  return h("dl", {}, rows.filter(([, value]) => value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
}
