// The page Voices: lines to speak, the clips of a library that fit each as a prompt, and their export for a TTS engine.

import { call, url } from "../../api.js";
import { context, go, link, sidesOf } from "../../context.js";
import { announce, debounced, h, icon, set, state } from "../../dom.js";
import { sheet } from "../../files.js";
import { conditions, filterPop, undo } from "../../bar.js";
import { count } from "../../filters.js";
import { popover } from "../../popover.js";
import { filterOf } from "../../query.js";
import { stopSound } from "../../waveform.js";
import { fault } from "../../words.js";
import { exportBar } from "./exports.js";
import { profile, title } from "./gates.js";
import { keys, list, row, words } from "./rows.js";
import { script } from "./script.js";
import { speakerPop } from "./speaker.js";

const NAME = "voices", MOST_IN_LINK = 4000; // characters of lines that a link holds
const SCRIPT = "sensorium.script."; // before the key of a longer script, which this tab keeps
const UNFILTERED = ["speaker", "path", "transcript"]; // columns that the filter does not offer: one has a place of its own, the others are each clip's own
let page = null;

export async function show(root, { query: params, again }) {
  const run = context.run;
  if (!run || run.state !== "ready") {
    leave();
    return (await import("../../making.js")).instead(root, "The page Voices", run);
  }
  const sides = sidesOf(run, "text", "audio");
  if (!sides) {
    leave();
    return set(root, h("h1", { class: "visually-hidden" }, "Voices"), state("empty", "This run finds no voices by text", "A line is matched with the clips of a run whose one side takes text and whose other side is sounds; this run has no such sides.", h("a", { class: "button", href: link("search", { run: run.name }) }, "Go to the search")));
  }
  if (!again || page?.run !== run) {
    leave();
    set(root, state("wait"));
    const [about] = await Promise.all([call("/prompts"), sheet("/systems/emorag/page.css")]);
    if (context.run !== run) return null;
    page = build(root, run, sides, about);
  }
  page.state = fromParams(params);
  page.text.value = page.state.text;
  await draw();
}

export function hide() { leave(); }

export function retry() { window.dispatchEvent(new HashChangeEvent("hashchange")); }

function leave() {
  page?.stop?.abort();
  page?.endKeys?.();
  for (const one of [page?.speaker, page?.filter]) one?.stop();
  stopSound();
  page = null;
}

// The state is the link: the lines, the engine, the speaker, and which clip is taken for which line.

function fromParams(params) {
  const taken = new Map(params.getAll("take").map((one) => { const [at, ...id] = one.split(":"); return [+at, id.join(":")]; }));
  const text = params.has("script") ? sessionStorage.getItem(SCRIPT + params.get("script")) ?? "" : params.get("lines") ?? "";
  const engine = params.get("for") ?? "";
  return { text, engine: page.about.engines.some((one) => one.name === engine) ? engine : page.about.engines[0].name, taken,
    speaker: params.get("speaker") ?? "", like: params.get("like") ?? "", keep: params.get("keep") === "1", nonverbal: params.get("nonverbal") === "1", level: params.get("level") === "1", copies: params.get("copies") === "1",
    all: params.get("all") === "1", off: params.getAll("off"), k: Math.min(50, Math.max(1, parseInt(params.get("k"), 10) || 10)), where: filterOf(params.get("where")) ?? {}, as: params.get("as") ?? "" };
}

function keyOf(text) {
  let key = 5381;
  for (const one of text) key = ((key * 33) ^ one.codePointAt(0)) >>> 0;
  return key.toString(36);
}

function toParams(now) {
  const params = new URLSearchParams({ run: page.run.name });
  if (now.text.length > MOST_IN_LINK) {
    const key = keyOf(now.text);
    try { sessionStorage.setItem(SCRIPT + key, now.text); } catch { /* full: the script is then for this visit only */ }
    params.set("script", key);
  } else if (now.text) params.set("lines", now.text);
  if (now.engine !== page.about.engines[0].name) params.set("for", now.engine);
  for (const name of ["speaker", "like", "as"]) if (now[name]) params.set(name, now[name]);
  for (const name of ["keep", "nonverbal", "level", "copies", "all"]) if (now[name]) params.set(name, "1");
  if (now.k !== 10) params.set("k", now.k);
  if (count(now.where)) params.set("where", JSON.stringify(now.where));
  for (const name of now.off) params.append("off", name);
  for (const [at, id] of now.taken) params.append("take", `${at}:${id}`);
  return params;
}

function change(next, { replace = false, search = true } = {}) {
  page.state = { ...page.state, ...next };
  go(`#/${NAME}?${toParams(page.state)}`, { replace, quiet: true });
  if (search) return draw();
  page.save.refresh();
  return drawFound();
}

const linesOf = (text) => text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);

// The frame

function build(root, run, sides, about) {
  const built = { run, ...sides, about, stop: null, answer: null, state: null }, side = run.sides[sides.to];
  const soon = debounced(() => change({ text: built.text.value, taken: new Map() }, { replace: true }), 350);
  built.text = h("textarea", { class: "words lines", id: "lines", rows: 1, spellcheck: "true", maxlength: 400000, "aria-label": "Lines to speak", placeholder: "Type a line, or paste a script: one line each", on: { input() { grow(built.text); soon(); } } });
  built.count = h("span", { class: "quiet" });
  built.clear = h("button", { class: "icon-button plain", type: "button", "aria-label": "Clear the lines", title: "Clear", on: { click() { soon.cancel(); built.text.value = ""; built.text.focus(); change({ text: "", taken: new Map() }); } } }, icon("close"));
  const narrowed = (next) => change({ ...next, taken: new Map() });
  built.engine = popover("Engine", "voices", engineForm, { narrow: true });
  built.speaker = speakerPop(run, sides.to, () => built.state, narrowed);
  built.filter = filterPop(run, () => ({ query: built.state, target: sides.to, side: { ...side, columns: side.columns.filter((one) => !UNFILTERED.includes(one.name)) } }), narrowed);
  built.options = popover("Options", "options", optionsForm, { narrow: true });
  built.save = popover("Export", "download", exportForm, { narrow: true });
  built.undo = h("div", { class: "conditions" });
  built.found = h("div", { class: "voice-found", "aria-live": "off" });
  built.endKeys = keys(built.found);
  built.title = h("h1", {}, "Voices");
  built.line = h("p", { class: "muted first-line" }, `${side.items.toLocaleString("en")} clips. A line to speak finds those that fit it as a prompt for speech synthesis.`);
  built.page = h("div", { class: "search voices" }, h("div", { class: "search-head" }, built.title), built.line,
    h("div", { class: "ask" }, h("div", { class: "ask-field" }, icon("voices"), built.text, built.count, built.clear)),
    h("div", { class: "bar" }, built.engine.element, built.speaker.element, h("div", { class: "bar-tools" }, built.filter.element, built.options.element, built.save.element), built.undo), built.found);
  set(root, built.page);
  return built;
}

/** As high as its text, where the style sheet alone cannot do that. */
function grow(text) {
  if (CSS.supports("field-sizing", "content")) return;
  text.style.height = "auto";
  text.style.height = `${Math.min(320, text.scrollHeight + 2)}px`;
}

const engineOf = () => page.about.engines.find((one) => one.name === page.state.engine);

/** Everything above the clips, by the state. */
function drawForm() {
  const { state: now } = page, n = linesOf(now.text).length, engine = engineOf();
  page.page.classList.toggle("asked-for", n > 0);
  page.line.hidden = n > 0;
  set(page.count, n > 1 ? `${n.toLocaleString("en")} lines` : "");
  page.clear.hidden = !now.text;
  grow(page.text);
  page.engine.mark(engine.title);
  page.filter.mark(count(now.where) || "");
  page.options.mark([now.k !== 10, now.keep, now.level, now.nonverbal, now.all].filter(Boolean).length || "");
  page.save.element.hidden = !n;
  page.speaker.draw();
  for (const one of [page.engine, page.filter, page.options]) one.refresh();
  const without = (next) => () => change({ ...next, taken: new Map() });
  set(page.undo, now.speaker ? undo(`Speaker: ${now.speaker}`, without({ speaker: "" }), "Any speaker again") : null, now.like ? undo("Speaker of a clip", without({ like: "" }), "Any speaker again") : null,
    now.off.map((name) => undo(`Without ${title(name)}`, without({ off: now.off.filter((one) => one !== name) }))), conditions(now.where).map(({ text, without: where }) => undo(text, without({ where }))));
}

function engineForm() {
  const { state: now, about } = page, engine = engineOf();
  return h("div", { class: "stack" }, h("label", { class: "field" }, h("span", { class: "label" }, "Engine"), h("select", { class: "select wide", id: "engine", value: now.engine, on: { change: (event) => change({ engine: event.target.value, as: "", off: [], taken: new Map() }) } },
    about.engines.map((one) => h("option", { value: one.name }, one.title)))),
  profile(engine, { off: now.off, open: page.asks ?? true, onOpen: (open) => { page.asks = open; }, onOff: (name) => change({ off: now.off.includes(name) ? now.off.filter((one) => one !== name) : [...now.off, name], taken: new Map() }) }));
}

function optionsForm() {
  const { state: now } = page;
  const check = (name, text, about) => h("label", { class: "check", title: about }, h("input", { type: "checkbox", checked: now[name], on: { change: (event) => change({ [name]: event.target.checked, taken: new Map() }) } }), text);
  return h("div", { class: "stack" }, h("label", { class: "field" }, h("span", { class: "label" }, "Results"), h("select", { class: "select", "aria-label": "How many clips of a line", value: now.k, on: { change: (event) => change({ k: +event.target.value }) } },
    [...new Set([5, 10, 20, 50, now.k])].sort((a, b) => a - b).map((k) => h("option", { value: k }, k)))),
  h("div", {}, linesOf(now.text).length > 1 && !now.speaker && !now.like ? check("keep", "One speaker for all lines", "The emotion follows each line") : null,
    check("level", "Level the clips", "Judge each clip as it will be at the usual loudness; exports bring the audio"),
    check("nonverbal", "Laughter and sobbing allowed", "Clips with such sounds are left out otherwise"), check("all", "Show clips that fail, too", "Nothing is left out; what fails is marked")));
}

function exportForm() {
  const { state: now, about } = page, lines = linesOf(now.text), ready = Boolean(page.answer?.lines.some((line) => line.hits.length)), quiet = { search: false, replace: true };
  return exportBar(about.formats, now.as || engineOf().format, { ready, audio: now.copies || now.level, mustHold: now.level, onAudio: (copies) => change({ copies }, quiet), onFormat: (as) => change({ as }, quiet),
    ask: (as) => ({ ...bodyOf(page.state, lines), k: 1, as, ...(now.copies || now.level ? { copies: true } : {}) }) });
}

// Asking

/** The body of POST /prompts for these lines. */
function bodyOf(now, lines) {
  const body = { run: page.run.name, for: now.engine, lines: lines.map((text, at) => (now.taken.has(at) ? { text, clip: now.taken.get(at) } : { text })), k: lines.length > 1 ? Math.min(5, now.k) : now.k };
  if (now.speaker) body.speaker = now.speaker;
  if (now.like) body.speaker_of = now.like;
  if (now.keep && lines.length > 1 && !now.speaker && !now.like) body.keep_speaker = true;
  if (now.level) body.level = true;
  if (now.nonverbal) body.nonverbal = true;
  if (now.all) body.failing = true;
  if (now.off.length) body.gates = now.off.map((name) => `${name}=off`);
  if (count(now.where)) body.where = now.where;
  return body;
}

async function draw() {
  const mine = page, now = page.state, lines = linesOf(now.text);
  page.stop?.abort();
  const stop = page.stop = new AbortController();
  drawForm();
  page.answer = null;
  page.found.setAttribute("aria-busy", "true");
  if (!page.found.firstChild || page.found.querySelector(".state")) set(page.found, state("wait"));
  try {
    if (!lines.length) await begin(stop.signal);
    else if (lines.length > page.about.lines) {
      set(page.found, state("error", "Too many lines for a page", `${lines.length.toLocaleString("en")} lines; the server takes ${page.about.lines.toLocaleString("en")} at once. A longer script is one command: sensorium search RUN --lines script.txt --for ${now.engine} --out prompts.jsonl`));
    } else {
      const body = bodyOf({ ...now, taken: new Map() }, lines);
      const answer = await call("/prompts", { json: body, signal: stop.signal });
      if (mine !== page || stop.signal.aborted) return;
      page.answer = answer;
      drawFound();
      const found = answer.lines.filter((line) => line.hits.length).length;
      announce(lines.length > 1 ? `Clips for ${found} of ${lines.length} lines` : found ? `${answer.lines[0].hits.length} clips, first ${words(answer.lines[0].hits[0])}` : "No clip passes");
    }
  } catch (error) {
    if (error.name === "AbortError" || mine !== page) return;
    set(page.found, fault(error, null, now.speaker || now.like ? h("button", { class: "button", type: "button", on: { click: () => change({ speaker: "", like: "", taken: new Map() }) } }, "Any speaker") : null, h("button", { class: "button", type: "button", on: { click: () => draw() } }, "Try again"),
      error.status === 422 && !now.all && !now.like ? h("button", { class: "button", type: "button", on: { click: () => change({ all: true }) } }, "Leave nothing out") : null));
  } finally {
    if (mine === page && !stop.signal.aborted) { page.found.removeAttribute("aria-busy"); page.save.refresh(); }
  }
}

const actions = {
  onSpeaker: (hit) => { announce(`Speaker of all lines: ${hit.columns.speaker}`); return change({ like: hit.id, speaker: "", taken: new Map() }); },
  onSearch: (hit) => go(link("search", { run: page.run.name, id: hit.id, from: page.to })),
};

function drawFound() {
  const { answer, state: now } = page;
  if (!answer) return;
  const ms = `${answer.took_ms < 10 ? answer.took_ms.toFixed(1) : Math.round(answer.took_ms).toLocaleString("en")} ms`;
  const kept = new Set(answer.lines.map((line) => line.speaker)), [one] = kept;
  const speaker = kept.size === 1 && one !== null ? h("span", { class: "tag" }, icon("person"), one) : null;
  const unjudged = answer.lines[0].unjudged;
  const note = h("p", { class: "note" }, unjudged.length ? `Not judged, as the clips have no such numbers: ${unjudged.map(title).join(", ")}. ` : null, ...quiet(answer.lines[0]));
  if (!note.firstChild) note.hidden = true;
  const abouts = Object.fromEntries(engineOf().gates.map((gate) => [gate.name, gate.about]));
  const acts = { ...actions, abouts };
  if (answer.lines.length > 1) {
    const there = answer.lines.filter((line) => line.hits.length).length;
    return set(page.found, h("div", { class: "head" }, h("h2", {}, `${there.toLocaleString("en")} of ${answer.lines.length.toLocaleString("en")} lines have a clip`), speaker, h("span", { class: "quiet" }, ms)), note,
      script(answer.lines, now.taken, { ...acts, nothing, onTake: (at, id) => change({ taken: new Map([...page.state.taken, [at, id]]) }, { search: false, replace: true }) }));
  }
  const [line] = answer.lines;
  set(page.found, h("div", { class: "head" }, h("h2", {}, `“${line.text}”`), speaker, h("span", { class: "quiet" }, `${line.passing.toLocaleString("en")} of ${line.clips.toLocaleString("en")} clips pass · ${ms}`)), note);
  const place = h("div", {});
  page.found.append(place);
  list(place, line.hits, acts, nothing(line));
}

/** What is said where most clips are left out for their loudness, which can be mended. */
function quiet({ removed, clips }) {
  if (page.state.level || 2 * (removed.loudness ?? 0) < clips || !clips) return [];
  return [`${removed.loudness.toLocaleString("en")} of ${clips.toLocaleString("en")} clips are too quiet or too loud. `, h("button", { class: "button small", type: "button", on: { click: () => change({ level: true, taken: new Map() }) } }, "Level the clips")];
}

/** What is said of a line that no clip passes for: what removed how many. */
function nothing(line) {
  const gone = Object.entries(line.removed);
  const why = line.clips ? `None of ${line.clips.toLocaleString("en")} clips passes what ${engineOf().title} asks${line.speaker ? `, of speaker ${line.speaker}` : ""}.` : "The filter and the speaker leave no clip.";
  return state("empty", "No clip passes", why, gone.length ? h("ul", { class: "removed" }, gone.map(([gate, n]) => h("li", {}, h("strong", {}, title(gate)), ` leaves out ${n.toLocaleString("en")}`))) : null,
    ...(page.state.all ? [] : quiet(line).slice(1)), page.state.all ? null : h("button", { class: "button", type: "button", on: { click: () => change({ all: true }) } }, "Show clips that fail, too"));
}

/** What is shown before the first line: some clips to listen to, and to drag. */
async function begin(signal) {
  const mine = page;
  const { items } = await call(url(`/runs/${encodeURIComponent(page.run.name)}/sample`, { side: page.to, n: 6, seed: page.seed ?? 0 }), { signal });
  if (mine !== page || signal.aborted) return;
  set(page.found, h("div", { class: "head begin" }, h("h2", {}, "Browse clips"),
    h("button", { class: "button small plain", type: "button", on: { click() { page.seed = (page.seed ?? 0) + 1; draw(); } } }, icon("shuffle"), "Shuffle")),
  items.length ? h("ol", { class: "clips" }, items.map((item) => row(item, actions))) : state("empty", "The library is empty", "Add clips with sensorium add, or POST /items."));
}
