// The page Outfit: a board of items, what completes it and why, which item spoils it, and whole looks planned.

import { call, Plain, url } from "../../api.js";
import { context, go } from "../../context.js";
import { announce, debounced, h, icon, set, state } from "../../dom.js";
import { sheet } from "../../files.js";
import { base64, fileOf, keepFile } from "../../query.js";
import { itemOf, label, picture } from "../../results.js";
import { explain, fault } from "../../words.js";

const CATEGORY = "category", MODES = { pick: "Pick items", complete: "Complete", plan: "Plan a look" };
const MOST = 32; // items of a look, as the server takes them
let page = null;

export async function show(root, { query: params, again }) {
  const run = context.run;
  if (!run || run.state !== "ready") {
    page = null;
    return (await import("../../making.js")).instead(root, "The page Outfit", run);
  }
  const side = run.one_table ? Object.keys(run.sides).find((name) => run.sides[name].columns.some((one) => one.name === CATEGORY)) : null;
  if (!side) {
    page = null;
    return set(root, h("h1", { class: "visually-hidden" }, "Outfit"), state("empty", "This run has no looks", "A look is made of items of one table whose column category says what they are; this run has none.", h("a", { class: "button", href: `#/search?run=${run.name}` }, "Go to the search")));
  }
  if (!again || page?.run !== run) page = build(root, run, side);
  page.state = fromParams(params);
  await draw();
}

export function hide() { page?.stop?.abort(); page = null; }

export function retry() { window.dispatchEvent(new HashChangeEvent("hashchange")); }

// The state is the link: items (an id, or "file:KEY" of an uploaded picture), the gap, and what is being done.
function fromParams(params) {
  const mode = MODES[params.get("mode")] ? params.get("mode") : "pick";
  const swap = parseInt(params.get("swap") ?? "", 10);
  const items = [...new Set(params.getAll("item"))].slice(0, MOST);
  return { items, mode, gap: params.get("gap") ?? "", gaps: [...new Set(params.getAll("gaps"))].slice(0, 8), q: params.get("q") ?? "", file: params.get("file") ?? "",
    only: params.get("only") ?? "", vary: Math.min(1, Math.max(0, parseFloat(params.get("vary")) || 0)), swap: swap >= 0 && swap < items.length ? swap : -1 };
}

function toParams(now) {
  const params = new URLSearchParams({ run: page.run.name });
  for (const item of now.items) params.append("item", item);
  if (now.mode !== "pick") params.set("mode", now.mode);
  for (const gap of now.gaps) params.append("gaps", gap);
  for (const name of ["gap", "q", "file", "only"]) if (now[name]) params.set(name, now[name]);
  if (now.vary) params.set("vary", now.vary);
  if (now.swap >= 0) params.set("swap", now.swap);
  return params;
}

function change(next, { replace = false } = {}) {
  page.state = { ...page.state, ...next };
  go(`#/outfits?${toParams(page.state)}`, { replace, quiet: true });
  return draw();
}

function build(root, run, side) {
  sheet("/systems/outfits/page.css");
  const column = run.sides[side].columns.find((one) => one.name === CATEGORY);
  const built = { run, side, categories: [...column.values].map(String).filter(Boolean).sort(), seed: 0, stop: null, names: new Map() };
  built.board = h("section", { class: "card look-board", "aria-labelledby": "look-title" });
  built.modes = h("div", { class: "segments", role: "group", "aria-label": "What to do" });
  built.tools = h("div", { class: "look-tools" });
  built.found = h("div", { class: "look-found", "aria-live": "off" });
  set(root, h("h1", { class: "visually-hidden" }, `Outfit of ${run.name}`), h("div", { class: "look" }, built.board,
    h("section", { class: "look-work", "aria-label": "Items and completions" }, built.modes, built.tools, built.found)));
  return built;
}

async function draw() {
  const mine = page, { state: now } = page;
  page.stop?.abort();
  page.stop = new AbortController();
  drawModes();
  drawTools();
  if (!now.items.length) drawBoard(null);
  page.found.setAttribute("aria-busy", "true");
  if (!page.found.firstChild) set(page.found, state("wait"));
  try {
    if (now.mode === "pick") await Promise.all([judge(), pick()]);
    else if (now.mode === "complete") await complete();
    else await plan();
  } catch (error) {
    if (error.name === "AbortError" || mine !== page) return;
    set(page.found, fault(error, null, h("button", { class: "button", type: "button", on: { click: () => draw() } }, "Try again")));
    if (error.status === 404) drawBoard(null, `${explain(error).title}.`);
  } finally {
    if (mine === page) page.found.removeAttribute("aria-busy");
  }
}

/** POST /complete-look for some of the board's items; the answer with the places of the items that were asked for. */
async function ask(items, body) {
  const sent = [];
  for (const item of items) {
    const file = item.startsWith("file:") ? fileOf(item.slice(5)) : null;
    if (item.startsWith("file:") && !file) throw new Plain("An image of this link is no longer here", "Take it off the board.");
    sent.push(file ? { image: await base64(file) } : { id: item, ...(page.run.one_table ? {} : { from: page.side }) });
  }
  const mine = page;
  const [answer] = await Promise.all([
    call("/complete-look", { json: { run: mine.run.name, side: mine.side, context: sent, ...body }, signal: mine.stop.signal }),
    ...items.filter((item) => !item.startsWith("file:")).map((item) => found(mine, item).catch(() => {})), // for their names
  ]);
  return answer;
}

/** An item of the board by its id; its name is kept. */
async function found(mine, id) {
  const item = await itemOf(mine.run.name, mine.side, id);
  mine.names.set(id, label(item));
  return item;
}

// The board

function drawBoard(answer, problem = "") {
  const { items, swap } = page.state, fits = answer?.context.map((one) => one.fit) ?? [];
  const most = Math.max(1, ...fits.filter((x) => x !== null).map(Math.abs));
  const head = h("div", { class: "row between" }, h("h2", { id: "look-title" }, "Board"),
    items.length ? h("div", { class: "row" }, h("button", { class: "button small plain", type: "button", on: { click: share } }, "Copy link"),
      h("button", { class: "button small plain", type: "button", on: { click: () => change({ items: [], swap: -1, mode: "pick" }) } }, icon("bin"), "Clear")) : null);
  if (!items.length) return set(page.board, head, h("p", { class: "muted" }, "Empty. Pick an item to begin a look."));
  const spoils = answer && answer.spoils !== null ? answer.spoils : -1;
  set(page.board, head, problem ? h("p", { class: "note bad", role: "alert" }, problem) : null,
    h("ol", { class: "board-items" }, items.map((item, i) => boardItem(item, i, answer?.context[i], fits[i], most, i === spoils, i === swap))),
    answer?.score !== null && answer?.score !== undefined ? h("p", { class: "quiet" }, `Compatibility of the look: ${answer.score.toFixed(3)}. Each bar is how well an item fits the others.`) : null,
    spoils >= 0 ? h("p", { class: "note warn", "data-spoils": items[spoils] }, "Fits the others least: ", h("strong", {}, nameOf(items[spoils])), ".") : null);
}

function nameOf(item) { return item.startsWith("file:") ? "your image" : page.names.get(item) ?? item; }

function boardItem(item, i, answer, fit, most, spoils, swapping) {
  const name = h("span", { class: "board-name" }, nameOf(item)), shown = h("span", { class: "board-picture" });
  if (!answer) name.classList.add("muted");
  show_(item, shown, name);
  return h("li", { class: `board-item${spoils ? " spoils" : ""}`, dataset: { id: item } }, shown,
    h("div", { class: "grow" }, name, h("span", { class: "quiet" }, answer?.category ?? ""), fit === null || fit === undefined ? null : bar(fit, most, "fits the others"), spoils ? h("span", { class: "tag warn" }, "spoils the look") : null),
    h("div", { class: "board-acts" },
      h("button", { class: "icon-button plain tiny", type: "button", "aria-pressed": String(swapping), "aria-label": `Swap ${nameOf(item)}`, title: "Swap", on: { click: () => (swapping ? change({ swap: -1 }) : change({ swap: i, mode: "complete", gap: answer?.category || page.state.gap })) } }, icon("swap")),
      h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `Take ${nameOf(item)} off the board`, title: "Take off", on: { click: () => change({ items: page.state.items.filter((_, j) => j !== i), swap: -1 }) } }, icon("close"))));
}

/** Picture and name of an item of the board, once known. */
async function show_(item, shown, name) {
  if (item.startsWith("file:")) {
    const file = fileOf(item.slice(5));
    if (!file) return set(shown, h("span", { class: "thumb missing" }, "gone"));
    const image = h("img", { class: "thumb", alt: "" });
    image.src = URL.createObjectURL(file);
    image.onload = () => URL.revokeObjectURL(image.src);
    return set(shown, image);
  }
  const mine = page;
  try {
    const whole = await found(mine, item);
    name.textContent = label(whole);
    name.classList.remove("muted");
    set(shown, whole.media ? Object.assign(picture(whole), { alt: "" }) : h("span", { class: "thumb missing" }, whole.columns[CATEGORY] ?? "item"));
  } catch { set(shown, h("span", { class: "thumb missing" }, "unknown")); }
}

function bar(value, most, what) {
  return h("span", { class: "score", title: `${what}: ${value.toFixed(3)}` }, h("span", { class: `meter${value < 0 ? " below" : ""}`, "aria-hidden": "true" }, h("i", { style: { "--share": Math.min(1, Math.abs(value) / most) } })),
    h("span", { class: "number" }, h("span", { class: "visually-hidden" }, `${what}: `), value.toFixed(2)));
}

async function share() {
  try { await navigator.clipboard.writeText(location.href); announce("Link copied"); } catch { announce("Copy the address of this page"); }
}

async function judge() {
  if (page.state.items.length) drawBoard(await ask(page.state.items, {}));
}

function add(id) {
  const { items, swap, mode } = page.state;
  if (items.includes(id)) return announce("It is on the board already");
  if (items.length >= MOST && swap < 0) return announce("The board is full");
  announce("Put on the board");
  return change({ items: swap >= 0 ? items.with(swap, id) : [...items, id], swap: -1, mode: swap >= 0 ? "complete" : mode });
}

// What to do

function drawModes() {
  set(page.modes, Object.entries(MODES).map(([name, title]) => h("button", { type: "button", "aria-pressed": String(page.state.mode === name), on: { click: () => change({ mode: name, swap: -1 }) } }, title)));
}

function choice(title, value, every, changed) {
  return h("label", { class: "look-choice" }, h("span", {}, title), h("select", { class: "select", value, on: { change: (event) => changed(event.target.value) } },
    h("option", { value: "" }, every), page.categories.map((one) => h("option", { value: one }, one)),
    value && !page.categories.includes(value) ? h("option", { value }, value) : null));
}

/** The run that answers words: this one, or another that is served and finds such items by text. */
function readsWords() {
  const fits = (run) => run.state === "ready" && Object.values(run.sides).some((one) => one.takes === "text") && Object.values(run.sides).some((one) => one.kind === "image");
  return [page.run, ...context.runs].find(fits);
}

function drawTools() {
  const { state: now } = page;
  const key = JSON.stringify([now.mode, now.mode === "plan" ? now.gaps : now.mode === "pick" ? now.only : [now.gap, now.swap]]);
  if (page.tools.dataset.key === key) return; // what has the focus stays there
  const focus = page.tools.contains(document.activeElement) ? [...page.tools.querySelectorAll("button, select, input")].indexOf(document.activeElement) : -1;
  page.tools.dataset.key = key;
  if (now.mode === "pick") {
    const words = h("input", { class: "input", type: "search", placeholder: "Describe an item", "aria-label": "Text to find items by", value: now.q });
    const soon = debounced(() => change({ q: words.value.trim(), file: "" }, { replace: true }), 300);
    words.addEventListener("input", soon);
    const upload = (title, taken) => h("label", { class: "button look-file" }, icon("picture"), title, h("input", { type: "file", accept: "image/*", class: "visually-hidden", on: { change(event) { if (event.target.files[0]) taken(keepFile(event.target.files[0])); event.target.value = ""; } } }));
    const sees = page.run.sides[page.side].takes === "image";
    set(page.tools, readsWords() ? h("form", { class: "grow", role: "search", on: { submit: (event) => { event.preventDefault(); soon.cancel(); change({ q: words.value.trim(), file: "" }); } } }, words) : null,
      choice("Category", now.only, "all", (only) => change({ only })),
      sees ? upload("Find by an image", (file) => change({ file, q: "" })) : null,
      sees ? upload("Put my image on the board", (file) => change({ items: [...now.items, `file:${file}`] })) : null);
  } else if (now.mode === "complete") {
    const vary = debounced((value) => change({ vary: value }, { replace: true }), 150);
    set(page.tools, choice(now.swap >= 0 ? "In its place" : "What is missing", now.gap, "choose a category", (gap) => change({ gap })),
      h("label", { class: "vary", title: "How much completions should differ from one another" }, h("span", {}, "Diversity"),
        h("input", { type: "range", min: 0, max: 1, step: 0.1, value: now.vary, on: { input: (event) => vary(+event.target.value) } })));
  } else {
    set(page.tools, h("fieldset", { class: "filter grow" }, h("legend", {}, "What is missing"), h("div", { class: "filter-values" }, page.categories.map((one) => {
      const on = now.gaps.includes(one);
      return h("button", { class: "chip", type: "button", "aria-pressed": String(on), on: { click: () => change({ gaps: on ? now.gaps.filter((other) => other !== one) : [...now.gaps, one].slice(0, 8) }) } }, h("span", {}, one));
    }))));
  }
  if (focus >= 0) page.tools.querySelectorAll("button, select, input")[focus]?.focus();
}

// Picking

async function pick() {
  const mine = page, { q, file, only } = page.state, signal = page.stop.signal, where = only ? { [CATEGORY]: only } : {};
  let items, title;
  if (q && readsWords()) {
    const run = readsWords(), to = Object.keys(run.sides).find((name) => run.sides[name].kind === "image");
    const known = run.sides[to].columns.some((one) => one.name === CATEGORY);
    const found = await call("/search", { json: { run: run.name, text: q, k: 48, ...(run.one_table ? {} : { to }), where: known ? where : {} }, signal });
    items = found.hits;
    title = `Nearest to “${q}”`;
  } else if (file && fileOf(file)) {
    const image = await base64(fileOf(file));
    const found = await call("/search", { json: { run: mine.run.name, image, k: 48, where, ...(mine.run.one_table ? {} : { to: mine.side }) }, signal });
    items = found.hits;
    title = "Nearest to your image";
  } else {
    const found = await call(url(`/runs/${encodeURIComponent(mine.run.name)}/sample`, { side: mine.side, n: only ? 200 : 48, seed: mine.seed }), { signal });
    items = found.items.filter((item) => !only || String(item.columns[CATEGORY]) === only).slice(0, 48);
    title = "Some items";
  }
  if (mine !== page || signal.aborted) return;
  const others = q || file ? null : h("button", { class: "button small plain", type: "button", on: { click() { page.seed++; draw(); } } }, icon("shuffle"), "Shuffle");
  set(page.found, h("div", { class: "head" }, h("h2", {}, title), others), items.length ? h("ul", { class: `wall ${items[0].media ? "image" : "text"}` }, items.map((item) => h("li", {},
    h("button", { type: "button", title: label(item), "aria-label": `Put ${label(item)} on the board`, on: { click: () => add(item.id) } }, item.media ? picture(item, "wall-picture") : h("span", {}, label(item), " ", h("span", { class: "quiet" }, item.columns[CATEGORY] ?? ""))))))
    : state("empty", "Nothing of this category here", "Choose another category, or other items."));
}

// Completing

async function complete() {
  const mine = page, { items, gap, vary, swap } = page.state, signal = page.stop.signal;
  if (!items.length || (swap >= 0 && items.length < 2)) return set(page.found, state("empty", items.length ? "One item is no look yet" : "The board is empty", "Pick an item first; what goes with it is found then.", h("button", { class: "button primary", type: "button", on: { click: () => change({ mode: "pick", swap: -1 }) } }, "Pick items")));
  const rest = swap >= 0 ? items.filter((_, i) => i !== swap) : items;
  const [answer, whole] = await Promise.all([ask(rest, gap ? { gaps: [gap], k: 24, ...(vary ? { mmr: 1 - vary } : {}) } : {}), swap >= 0 ? ask(items, {}) : null]);
  if (mine !== page || signal.aborted) return;
  drawBoard(whole ?? answer);
  if (!gap) return set(page.found, state("empty", "Choose what is missing", "A category, such as shoes; completions of the look follow, best first."));
  const hits = answer.gaps[0].hits;
  announce(hits.length ? `${hits.length} completions, first ${label(hits[0])}` : "Nothing found");
  if (!hits.length) return set(page.found, state("empty", "Nothing completes it", `There is no other item of the category ${gap}.`));
  const most = Math.max(1, ...hits.flatMap((hit) => hit.reasons.map(Math.abs)));
  set(page.found, h("div", { class: "head" }, h("h2", {}, swap >= 0 ? `${gap} in place of ${nameOf(items[swap])}` : `${gap} that complete the look`), h("span", { class: "quiet" }, `${answer.took_ms.toFixed(1)} ms`)),
    h("ol", { class: "completions" }, hits.map((hit) => completion(hit, rest, most, swap >= 0))));
}

function completion(hit, items, most, swapping) {
  const name = label(hit);
  return h("li", { class: "completion", dataset: { id: hit.id } }, hit.media ? Object.assign(picture(hit), { alt: "" }) : h("span", { class: "thumb missing" }, hit.columns[CATEGORY] ?? ""),
    h("div", { class: "completion-text" }, h("span", { class: "hit-name" }, name), h("span", { class: "quiet" }, `score ${hit.score.toFixed(3)}`),
      h("ul", { class: "reasons", "aria-label": `Why ${name}` }, hit.reasons.map((reason, i) => h("li", {}, h("span", { class: "reason-name" }, `with ${nameOf(items[i])}`), bar(reason, most, `with ${nameOf(items[i])}`)))),
      h("button", { class: "button small", type: "button", "aria-label": `${swapping ? "Swap in" : "Add"} ${name}`, on: { click: () => add(hit.id) } }, icon(swapping ? "swap" : "plus"), swapping ? "Swap in" : "Add")));
}

// Planning

async function plan() {
  const mine = page, { items, gaps } = page.state, signal = page.stop.signal;
  if (!items.length) return set(page.found, state("empty", "The board is empty", "Pick an item first; the look is planned around it.", h("button", { class: "button primary", type: "button", on: { click: () => change({ mode: "pick" }) } }, "Pick items")));
  const answer = await ask(items, gaps.length ? { gaps, k: 1, looks: 3 } : {});
  if (mine !== page || signal.aborted) return;
  drawBoard(answer);
  if (!gaps.length) return set(page.found, state("empty", "Choose what is missing", "Two categories or more; one item of each is chosen, all of them together."));
  const looks = answer.looks.length ? answer.looks : [{ score: null, items: answer.gaps.map((one) => one.hits[0]?.id ?? null) }];
  announce(`${looks.length} looks`);
  set(page.found, h("ol", { class: "plans" }, looks.map((one, i) => {
    const chosen = one.items.filter((id) => id !== null);
    return h("li", { class: "card plan" }, h("div", { class: "row between" }, h("h2", {}, `Look ${i + 1}`), one.score === null ? null : h("span", { class: "quiet" }, `compatibility ${one.score.toFixed(3)}`)),
      h("ul", { class: "plan-items" }, one.items.map((id, j) => {
        const shown = h("span", { class: "board-picture" }), name = h("span", { class: "board-name" }, id ?? "nothing left");
        if (id !== null) show_(id, shown, name);
        return h("li", { dataset: { id: id ?? "" } }, shown, h("span", { class: "quiet" }, gaps[j]), name);
      })),
      h("button", { class: "button", type: "button", disabled: !chosen.length, "aria-label": `Take look ${i + 1}`, on: { click: () => change({ items: [...new Set([...items, ...chosen])].slice(0, MOST), gaps: [], mode: "complete", gap: "" }) } }, icon("plus"), "Take this look"));
  })));
}
