// The search: inputs on the left, hits on the right, and the whole query in the link.

import { call, Gone, Problem, url } from "./api.js";
import { ask } from "./ask.js";
import { context, go } from "./context.js";
import { announce, debounced, h, icon, set, state } from "./dom.js";
import { count, counted, filters } from "./filters.js";
import { strokesFromText, picture as drawnPicture } from "./draw.js";
import { fileOf, fromParams, isFile, requests, sideOf, targetOf, toParams } from "./query.js";
import { stopSound } from "./waveform.js";
import { details, forget, grid, itemsOf, label, MANY, picture, player } from "./results.js";

const SIDE_BESIDE = { "": "One list", correction: "Corrected | raw", encoder: "Head | encoder" };
let page = null;

/** Show the page, or bring the shown one up to date with the link. */
export async function show(root, { query: params, again }) {
  const run = context.run;
  if (!run || run.state !== "ready") return waitForRun(root, run);
  if (!again || !page || page.run !== run) {
    page?.panel.stop();
    forget();
    page = build(root, run);
  }
  const query = possible(run, fromParams(params));
  const chosen = page.adding;
  page.query = query;
  page.panel.set(query.inputs);
  page.adding = chosen && query.inputs.length > 0;
  drawAll();
  await find();
}

export function hide() {
  page?.panel.stop();
  page?.stop?.abort();
  page?.counting?.abort();
  stopSound();
  page = null;
}

/** Search again, as after a lost connection. */
export function retry() {
  if (page) { forget(); page.run = context.run ?? page.run; find(); } else window.dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Drop options of a link that this run does not have. */
function possible(run, query) {
  const there = { correction: run.corrected.length > 0, encoder: Object.values(run.sides).some((side) => side.raw) };
  return { ...query, beside: there[query.beside] ? query.beside : "" };
}

function waitForRun(root, run) {
  page?.panel.stop();
  page = null;
  context.whenReady(run?.name);
  const texts = {
    building: ["This run is still being made", "Its training is shown under Runs; the search opens when it is done."],
    broken: ["This run cannot be opened", run?.detail ?? ""],
  };
  const [title, text] = texts[run?.state] ?? ["No run is served", "Start the server with one: sensorium serve runs/glyphs"];
  set(root, h("h1", { class: "visually-hidden" }, "Search"), state(run?.state === "broken" ? "error" : "empty", title, text, h("a", { class: "button", href: "#/runs" }, "Go to the runs")));
}

function build(root, run) {
  const built = { run, query: fromParams(new URLSearchParams()), adding: false, open: false, seed: 0, stop: null };
  built.panel = ask(run, onInput);
  built.chips = h("div", { class: "chips", "aria-live": "off" });
  built.options = h("div", { class: "options" });
  built.filterPlace = h("div", { class: "filter-place", id: "filters", hidden: true });
  built.results = h("div", { class: "results", "aria-live": "off" });
  set(root, h("h1", { class: "visually-hidden" }, `Search ${run.name}`), h("div", { class: "search" },
    h("section", { class: "search-ask card", "aria-label": "What to search by" }, built.panel.element, built.chips),
    h("section", { class: "search-found", "aria-label": "Results" }, built.options, built.filterPlace, built.results)));
  return built;
}

/** Change the search and its link. soon: still typing or drawing, so the link is replaced rather than added. */
function change(next, { soon = false } = {}) {
  const before = page.query;
  page.query = { ...before, ...next };
  const columns = page.run.sides[targetOf(page.run, page.query)]?.columns ?? [];
  if (!columns.some((column) => column.name === page.query.collapse)) page.query.collapse = "";
  const hash = `#/search?${toParams(page.run.name, page.query)}`;
  const replace = soon && before.inputs.length > 0 && Boolean(page.soon);
  page.soon = soon;
  go(hash, { replace, quiet: true });
  page.panel.set(page.query.inputs);
  drawAll();
  find();
}

/** A new input from the panel replaces the one of its kind, or all, or is added. */
function onInput(kind, value, { soon = false } = {}) {
  if (kind === "refused") { announceProblem(`Nothing here takes ${value}.`); return; }
  const inputs = page.query.inputs, at = inputs.findLastIndex((input) => input.kind === kind);
  if (value === "") {
    if (at >= 0) change({ inputs: inputs.filter((_, i) => i !== at) }, { soon });
    return;
  }
  if (at >= 0 && inputs[at].value === value) { if (!soon) find(); return; }
  const fresh = { kind, value, side: "", weight: 1 };
  let next;
  if (page.adding) next = [...inputs, fresh];
  else if (at >= 0 && !isFile(kind)) next = inputs.with(at, { ...inputs[at], value });
  else next = [fresh];
  page.adding = false;
  change({ inputs: next, to: next.length === 1 && at < 0 ? "" : page.query.to, ...(next.length === 1 && at < 0 ? { where: fits(next) } : {}) }, { soon });
}

/** The filter, without columns that the side to be searched now does not have. */
function fits(inputs) {
  const side = page.run.sides[targetOf(page.run, { ...page.query, inputs, to: "" })];
  const names = new Set(side?.columns.map((column) => column.name));
  return Object.fromEntries(Object.entries(page.query.where).filter(([name]) => names.has(name)));
}

const actions = {
  onSearch(item) {
    const inputs = [{ kind: "id", value: item.id, side: page.run.one_table ? "" : item.side, weight: 1 }];
    page.adding = false;
    change({ inputs, to: "", where: fits(inputs) });
    window.scrollTo({ top: 0, behavior: "smooth" });
  },
  onAdd(item, weight) {
    change({ inputs: [...page.query.inputs, { kind: "id", value: item.id, side: page.run.one_table ? "" : item.side, weight }] });
  },
  onDetails(item, opener) { details(item, actions, opener); },
  onGroup(item) { change({ where: { ...page.query.where, [page.query.collapse]: item.columns[page.query.collapse] }, collapse: "" }); },
};

function drawAll() { drawChips(); drawOptions(); }

function thumbnail(input) {
  if (input.kind === "draw") {
    const canvas = drawnPicture(strokesFromText(input.value));
    canvas.className = "chip-picture";
    return canvas;
  }
  const file = isFile(input.kind) ? fileOf(input.value) : null;
  if (file?.type.startsWith("image/")) {
    const image = h("img", { class: "chip-picture", alt: "" });
    image.src = URL.createObjectURL(file);
    image.onload = () => URL.revokeObjectURL(image.src);
    return image;
  }
  if (input.kind === "id" && page.run.sides[sideOf(page.run, input) || "left"]?.kind === "image") {
    return picture({ id: input.value, columns: {}, media: url(`/media/${encodeURIComponent(input.value)}`, { run: page.run.name, side: input.side }) }, "chip-picture");
  }
  return icon({ text: "words", id: "plus", audio: "sound" }[input.kind] ?? "picture");
}

function chipText(input) {
  if (input.kind === "draw") return "your drawing";
  if (isFile(input.kind)) return fileOf(input.value)?.name ?? "a file that is gone";
  return input.value;
}

/** The sound of an input, to be heard and seen: a file of this computer, or an item that is a sound. */
function heard(input) {
  const file = isFile(input.kind) ? fileOf(input.value) : null, side = input.kind === "id" ? sideOf(page.run, input) || "left" : "";
  if (input.kind === "audio" && file) return player({ id: file.name, columns: {}, media: file });
  if (page.run.sides[side]?.kind !== "audio") return null;
  return player({ id: input.value, columns: {}, media: url(`/media/${encodeURIComponent(input.value)}`, { run: page.run.name, side }) });
}

function drawChips() {
  const { inputs } = page.query;
  const shownAlone = inputs.length === 1 && ["text", "draw"].includes(inputs[0].kind) && inputs[0].weight === 1;
  if (!inputs.length) return set(page.chips);
  const update = (i, input, soon) => change({ inputs: page.query.inputs.with(i, { ...page.query.inputs[i], ...input }) }, { soon });
  const later = debounced((i, weight) => update(i, { weight }, true), 120);
  if (page.chips.querySelector("input:active")) return; // a slider is being moved: leave it under the finger
  set(page.chips, shownAlone ? null : inputs.map((input, i) => {
    const text = chipText(input), own = heard(input), amount = h("output", { class: "number" }, `× ${input.weight}`);
    return h("div", { class: `asked${own ? " heard" : ""}` }, thumbnail(input), h("span", { class: "asked-text", title: text }, text), own,
      inputs.length > 1 || input.weight !== 1 ? h("label", { class: "weight" }, h("span", { class: "visually-hidden" }, `Weight of ${text}`),
        h("input", { type: "range", min: -1, max: 1, step: 0.1, value: input.weight, on: { input(event) {
          set(amount, `× ${event.target.value}`);
          later(i, +event.target.value);
        } } }), amount) : null,
      h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `Take out ${text}`, on: { click: () => change({ inputs: page.query.inputs.filter((_, j) => j !== i) }) } }, icon("close")));
  }), h("button", { class: "button small plain", type: "button", "aria-pressed": String(page.adding), on: { click() {
    page.adding = !page.adding;
    drawChips();
    if (page.adding) page.panel.choose(page.panel.now, true);
  } } }, icon("plus"), page.adding ? "The next input is added" : "Combine with another"));
}

function drawOptions() {
  const { run, query } = page, target = targetOf(run, query), side = run.sides[target];
  const sides = Object.keys(run.sides);
  const find_ = sides.length < 2 ? null : h("div", { class: "segments", role: "group", "aria-label": "What to find" }, sides.map((name) =>
    h("button", { type: "button", "aria-pressed": String(name === target), on: { click: () => change({ to: name, where: {} }) } },
      h("span", { class: `dot ${name}` }), itemsOf(run, name))));
  const number = count(query.where);
  const filterButton = h("button", { class: "button", type: "button", "aria-expanded": String(page.open), "aria-controls": "filters", on: { click() { page.open = !page.open; drawOptions(); } } },
    icon("filter"), "Filter", number ? h("span", { class: "tag" }, number) : null);
  const beside = h("select", { class: "select", "aria-label": "Side by side", value: query.beside, on: { change: (event) => change({ beside: event.target.value }) } },
    Object.entries(SIDE_BESIDE).filter(([name]) => possible(run, { beside: name }).beside === name).map(([name, text]) => h("option", { value: name }, text)));
  const many = h("select", { class: "select", "aria-label": "How many", value: query.k, on: { change: (event) => change({ k: +event.target.value }) } },
    [...new Set([6, 12, 24, 48, 96, query.k])].sort((a, b) => a - b).map((k) => h("option", { value: k }, `${k} results`)));
  const vary = debounced((value) => change({ mmr: value }, { soon: true }), 150);
  const variety = h("label", { class: "vary", title: "Maximal marginal relevance: how much results should differ from one another" }, h("span", {}, "Variety"),
    h("input", { type: "range", min: 0, max: 1, step: 0.05, value: query.mmr, on: { input: (event) => vary(+event.target.value) } }));
  const focus = page.options.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent : null;
  if (!page.options.querySelector("input:active")) {
    set(page.options, find_, filterButton, h("span", { class: "grow" }), variety, beside, many);
    if (focus) [...page.options.querySelectorAll("button, select, input")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === focus)?.focus();
  }
  page.filterPlace.hidden = !page.open;
  if (page.open && side) {
    const focused = page.filterPlace.contains(document.activeElement) ? [...page.filterPlace.querySelectorAll("button, input, select")].indexOf(document.activeElement) : -1;
    const form = filters(side, query, change);
    set(page.filterPlace, h("div", { class: "card" }, form));
    if (focused >= 0) page.filterPlace.querySelectorAll("button, input, select")[focused]?.focus();
    countValues(side, target, form);
  }
}

/** Show beside each value of the filters how many items have it; without, where the server cannot say. */
async function countValues(side, to, form) {
  const names = counted(side), { run, query } = page;
  if (!names.length) return;
  page.counting?.abort();
  const stop = page.counting = new AbortController();
  const body = { run: run.name, to, facets: names, ...(count(query.where) ? { where: query.where } : {}) };
  try { form.show((await call("/search", { json: body, signal: stop.signal })).facets); } catch { /* the filters work without */ }
}

async function find() {
  const { run, query, results } = page, mine = page;
  page.stop?.abort();
  if (!query.inputs.length) { results.removeAttribute("aria-busy"); return begin(); }
  const stop = page.stop = new AbortController();
  results.setAttribute("aria-busy", "true");
  if (!results.querySelector(".hits")) set(results, state("wait"));
  try {
    const lists = await requests(run, query);
    const answers = await Promise.all(lists.map(async (list) => {
      try { return { ...list, answer: await call("/search", { json: list.body, signal: stop.signal }) }; } catch (error) {
        if (lists.length === 1 || error.name === "AbortError" || error instanceof Gone) throw error;
        return { ...list, error };
      }
    }));
    if (stop.signal.aborted || mine !== page) return;
    set(results, answers.length > 1 ? h("div", { class: "beside" }, answers.map(list)) : list(answers[0]));
    const first = answers[0].answer?.hits ?? [];
    announce(first.length ? `${first.length} results, first ${label(first[0])}` : "Nothing found");
  } catch (error) {
    if (error.name === "AbortError" || mine !== page) return;
    set(results, state("error", error instanceof Gone ? "The server does not answer" : error instanceof Problem ? error.title : "That did not work",
      error instanceof Gone ? "The search is done as soon as it is back." : error.message, h("button", { class: "button", on: { click: find } }, "Try again")));
  } finally {
    if (!stop.signal.aborted) results.removeAttribute("aria-busy");
  }
}

function list({ title, note, answer, error }) {
  const head = title ? h("h2", {}, title, " ", h("span", { class: "quiet" }, note)) : null;
  if (error) return h("section", {}, head, h("p", { class: "note bad", role: "alert" }, error.message));
  const { hits } = answer;
  if (!hits.length && page.query.min_score !== null) {
    return h("section", {}, head, state("empty", "No result reaches the least score", `No item has a score of ${page.query.min_score} or more.`,
      h("button", { class: "button", type: "button", on: { click: () => change({ min_score: null }) } }, "Take the least score away")));
  }
  if (!hits.length) {
    return h("section", {}, head, count(page.query.where) ? state("empty", "Nothing passes these filters", "Some items may be near, but the filters leave none of them.",
      h("button", { class: "button", type: "button", on: { click: () => change({ where: {} }) } }, "Take the filters away")) : state("empty", "Nothing to find", "This side holds no items."));
  }
  const facts = [`${answer.took_ms < 10 ? answer.took_ms.toFixed(1) : Math.round(answer.took_ms)} ms`,
    answer.space === "encoder" ? "encoder's own vectors" : answer.corrected ? "corrected for hubs" : null,
    hits[0].probability !== undefined && hits[0].probability !== null ? "probabilities calibrated on the validation split" : null].filter(Boolean);
  return h("section", { class: answer.no_match ? "doubtful" : "" }, head,
    answer.no_match ? h("p", { class: "note warn no-match", role: "status" }, h("strong", {}, "No match. "), "The best score is below the rejection threshold of this run; the nearest items follow.") : null,
    grid(hits, actions), h("p", { class: "quiet facts" }, facts.join(" · ")));
}

/** What is shown before the first query: some items to start from. */
async function begin() {
  const { run, results } = page, mine = page;
  const side = Object.keys(run.sides).find((name) => run.sides[name].kind === "image") ?? Object.keys(run.sides)[0];
  if (results.dataset.begun !== String(page.seed) || !results.querySelector(".begin")) set(results, state("wait"));
  try {
    const { items } = await call(url(`/runs/${encodeURIComponent(run.name)}/sample`, { side, n: run.sides[side].kind === "image" ? 40 : 12, seed: page.seed }));
    if (mine !== page || page.query.inputs.length) return;
    results.dataset.begun = page.seed;
    set(results, h("div", { class: "begin" }, h("div", { class: "head" }, h("h2", {}, "Start from one of these"),
      h("p", { class: "muted" }, Object.values(run.sides).map((one) => `${one.items.toLocaleString("en")} ${MANY[one.kind]}`).join(" and "), "."),
      h("button", { class: "button small plain", type: "button", on: { click() { page.seed++; begin(); } } }, icon("shuffle"), "Others")),
    h("ul", { class: `wall ${run.sides[side].kind}` }, items.map((item) => h("li", {}, h("button", { type: "button", title: label(item), "aria-label": `Search by ${label(item)}`, on: { click: () => actions.onSearch(item) } },
      item.kind === "image" ? picture(item, "wall-picture") : h("span", {}, label(item))))))));
  } catch (error) {
    if (mine === page && !page.query.inputs.length) set(results, state("error", "The server does not answer", error.message, h("button", { class: "button", on: { click: begin } }, "Try again")));
  }
}

function announceProblem(text) {
  set(page.results, state("error", "That cannot be searched by", text));
}
