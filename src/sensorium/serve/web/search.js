// The search: a first screen that says what is searched, the query field, and hits; the whole query is in the link.

import { call, Gone, url } from "./api.js";
import { ask, classesOf } from "./ask.js";
import { context, go } from "./context.js";
import { announce, h, icon, set, state } from "./dom.js";
import { bar } from "./bar.js";
import { begin } from "./first.js";
import { chips } from "./chips.js";
import { fromParams, isFile, requests, sideOf, targetOf, toParams } from "./query.js";
import { details, forget, grid, itemOf, itemsOf, label } from "./results.js";
import { remember } from "./suggest.js";
import { stopSound } from "./waveform.js";
import { fault, faultLine, verdict } from "./words.js";

const SLOW = 500; // milliseconds after which a search says what it waits for
let page = null;

/** Show the page, or bring the shown one up to date with the link. */
export async function show(root, { query: params, again }) {
  const run = context.run;
  if (!run || run.state !== "ready" || !Object.keys(run.sides).length) return waitForRun(root, run);
  if (!again || !page || page.run !== run) {
    page?.field.stop();
    forget();
    page = build(root, run);
  }
  const query = possible(run, fromParams(params)), adding = page.adding;
  page.query = query;
  page.adding = adding && query.inputs.length > 0;
  drawAll();
  await find();
}

export function hide() {
  page?.field.stop();
  page?.stop?.abort();
  page?.bar.stop();
  document.removeEventListener("keydown", keys);
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
  page?.field.stop();
  page = null;
  return import("./making.js").then(({ instead }) => instead(root, "The search", run));
}

function build(root, run) {
  const built = { run, query: fromParams(new URLSearchParams()), adding: false, seed: 0, stop: null, answers: [] };
  built.field = ask(run, onInput, (hash) => go(hash));
  built.first = h("div", { class: "first" });
  built.chips = h("div", { class: "chips", "aria-live": "off" });
  built.bar = bar(run, { change, exported: () => page.answers, query: () => page.query, combine: () => { page.adding = true; drawAll(); page.field.focus(); }, added });
  built.results = h("div", { class: "results", "aria-live": "off" });
  const title = h("h1", {}, run.title || run.name);
  set(root, h("div", { class: "search" }, h("div", { class: "search-head" }, title, built.first), built.field.element, built.chips, built.bar.element, built.results));
  built.field.element.addEventListener("click", () => headed());
  document.addEventListener("keydown", keys);
  return built;
}

/** Change the search and its link. soon: still typing or drawing, so the link is replaced rather than added. */
function change(next, { soon = false } = {}) {
  const before = page.query;
  page.query = { ...before, ...next };
  const columns = page.run.sides[targetOf(page.run, page.query)]?.columns ?? [];
  if (!columns.some((column) => column.name === page.query.collapse)) page.query.collapse = "";
  if (!columns.some((column) => column.name === page.query.show)) page.query.show = "";
  const replace = soon && before.inputs.length > 0 && Boolean(page.soon);
  page.soon = soon;
  go(`#/search?${toParams(page.run.name, page.query)}`, { replace, quiet: true });
  drawAll();
  find();
}

/** A new input from the field replaces the one of its kind, or all, or is added. */
function onInput(kind, value, { soon = false, side = "", text = "" } = {}) {
  if (kind === "refused") return problem({ title: "Nothing here takes this file", text: `${value} is not a kind of file that this run searches by.` });
  if (kind === "none") return problem({ title: `Nothing is called “${value}”`, text: "Type another word; suggestions appear as you type." });
  const inputs = page.query.inputs, at = inputs.findLastIndex((input) => input.kind === kind);
  if (value === "") {
    const left = kind === "text" && at < 0 && inputs.length === 1 && inputs[0].kind === "id" ? [] : inputs.filter((_, i) => i !== at);
    if (left.length < inputs.length) change({ inputs: left }, { soon });
    return;
  }
  if (kind === "id" && text) (page.names ??= new Map()).set(value, text);
  if (at >= 0 && inputs[at].value === value && inputs.length === 1) { if (!soon) find(); return; }
  const fresh = { kind, value, side, weight: 1 };
  let next;
  if (page.adding) next = [...inputs, fresh];
  else if (at >= 0 && !isFile(kind) && kind !== "id") next = inputs.with(at, { ...inputs[at], value });
  else next = [fresh];
  page.adding = false;
  const anew = next.length === 1 && (at < 0 || next[0] === fresh);
  change({ inputs: next, to: anew ? "" : page.query.to, ...(anew ? { where: fits(next) } : {}) }, { soon });
}

/** The filter, without columns that the side to be searched now does not have. */
function fits(inputs) {
  const side = page.run.sides[targetOf(page.run, { ...page.query, inputs, to: "" })];
  const names = new Set(side?.columns.map((column) => column.name));
  return Object.fromEntries(Object.entries(page.query.where).filter(([name]) => names.has(name)));
}

const own = (item) => ({ kind: "id", value: item.id, side: page.run.one_table ? "" : item.side });
const actions = {
  onSearch(item) {
    const inputs = [{ ...own(item), weight: 1 }];
    page.adding = false;
    change({ inputs, to: "", where: fits(inputs) });
    window.scrollTo({ top: 0, behavior: "smooth" });
  },
  onAdd(item, weight) { change({ inputs: [...page.query.inputs, { ...own(item), weight }] }); },
  onDetails(item, opener) { details(item, actions, opener); },
  onAdded: added,
  onGroup(item) { change({ where: { ...page.query.where, [page.query.collapse]: item.columns[page.query.collapse] }, collapse: "" }); },
};

/** An item was added: what is shown of the run is read anew. */
async function added(item) {
  forget();
  await context.refresh();
  page.run = context.run;
  actions.onDetails(await itemOf(page.run.name, item.side, item.id));
}

/** The head is small where something is searched, or drawn: the pad must not move when the results of a stroke come. */
function headed() {
  const drawing = page.field.element.querySelector(".ask-draw:not([hidden])");
  page.field.element.closest(".search").classList.toggle("asked-for", page.query.inputs.length > 0 || Boolean(drawing));
}

function drawAll() {
  const { run, query } = page, target = targetOf(run, query);
  context.shown = query.show ? { [target]: query.show } : {};
  headed();
  page.field.set(query.inputs, query.inputs.length === 1 && query.inputs[0].kind === "id" ? nameInput(query.inputs[0]) : "");
  chips(page.chips, page, { change, label: nameInput, combine() { page.adding = !page.adding; drawAll(); if (page.adding) page.field.focus(); } });
  page.bar.draw(run, query, target);
}

/** The text of an item that is an input, fetched once; its id until then. */
function nameInput(input) {
  const names = page.names ??= new Map(), side = sideOf(page.run, input) || input.side, mine = page;
  if (!names.has(input.value)) {
    names.set(input.value, "");
    itemOf(page.run.name, side, input.value).then((item) => {
      names.set(input.value, label(item));
      if (mine === page) drawAll();
    }, () => {});
  }
  return names.get(input.value) || input.value;
}

async function find() {
  const { run, query, results } = page, mine = page;
  page.stop?.abort();
  page.answers = [];
  if (!query.inputs.length) { results.removeAttribute("aria-busy"); return begin(page, actions, (text) => onInput(...text)); }
  set(page.first);
  const stop = page.stop = new AbortController();
  results.setAttribute("aria-busy", "true");
  if (!results.querySelector(".hits")) set(results, state("wait"));
  const encoded = query.inputs.some((input) => input.kind !== "id");
  const slow = setTimeout(() => {
    if (run.loading && encoded) set(results, state("wait", "", "The encoder is loading. The first search takes a few seconds."));
  }, SLOW);
  try {
    const lists = await requests(run, query);
    const answers = await Promise.all(lists.map(async (list) => {
      try { return { ...list, answer: await call("/search", { json: list.body, signal: stop.signal }) }; } catch (error) {
        if (lists.length === 1 || error.name === "AbortError" || error instanceof Gone) throw error;
        return { ...list, error };
      }
    }));
    if (stop.signal.aborted || mine !== page) return;
    run.loading = false;
    page.answers = answers;
    set(results, answers.length > 1 ? h("div", { class: "beside" }, answers.map(list)) : list(answers[0]));
    const first = answers[0].answer?.hits ?? [];
    announce(first.length ? `${first.length} results, first ${label(first[0])}` : "Nothing found");
    const [only] = query.inputs;
    if (first.length && query.inputs.length === 1 && !page.soon && only.kind === "text") remember(run, only.value, location.hash);
    if (only.kind === "id" && query.inputs.length === 1) tick(only);
  } catch (error) {
    if (error.name === "AbortError" || mine !== page) return;
    fail(error);
  } finally {
    clearTimeout(slow);
    if (!stop.signal.aborted) results.removeAttribute("aria-busy");
  }
}

function fail(error) {
  const { run, query } = page, sides = new Set(query.inputs.map((input) => sideOf(run, input)));
  const input = { ...query.inputs[0], classes: classesOf(run)?.map((one) => one.text), mixed: sides.size > 1 };
  set(page.results, fault(error, input, h("button", { class: "button", on: { click: find } }, "Try again"),
    h("button", { class: "button plain", on: { click: () => change({ inputs: [], where: {}, min_score: null, collapse: "" }) } }, "Start over")));
}

function problem({ title, text }) {
  page.stop?.abort();
  set(page.results, state("error", title, text));
}

/** Mark the results that are known to belong to the item that is the query. */
async function tick(input) {
  const mine = page, { partners } = await itemOf(page.run.name, sideOf(page.run, input) || input.side || "left", input.value).catch(() => ({}));
  if (mine !== page || !partners?.length) return;
  const known = new Set(partners.map((one) => `${one.side}\0${one.id}`));
  for (const hit of page.results.querySelectorAll(".hit")) {
    if (known.has(`${hit.dataset.side}\0${hit.dataset.id}`)) {
      hit.classList.add("known");
      hit.querySelector(".score").append(h("span", { class: "tag good", title: "The data say that this item belongs to the query" }, icon("check"), "Match in the data"));
    }
  }
}

const duration = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

function list({ title, note, answer, error }) {
  const head = title ? h("h2", {}, title, " ", h("span", { class: "quiet" }, note)) : null;
  if (error) return h("section", {}, head, faultLine(error, page.query.inputs[0]));
  const { hits } = answer, { run, query } = page;
  const relax = (text, next) => h("button", { class: "button", type: "button", on: { click: () => change(next) } }, text);
  if (!hits.length && query.min_score !== null) {
    return h("section", {}, head, state("empty", "No result reaches the minimum score", `No item has a score of ${query.min_score} or more.`, relax("Remove the minimum score", { min_score: null })));
  }
  if (!hits.length) {
    return h("section", {}, head, Object.keys(query.where).length ? state("empty", "No item passes these filters", "Remove a filter, or all of them.", relax("Remove the filters", { where: {} }))
      : state("empty", "Nothing to find", `There are no ${itemsOf(run, answer.to)} in this run.`));
  }
  const classes = run.classes === answer.to && typeof hits[0].probability === "number";
  const says = classes ? "" : verdict(hits, answer.no_match);
  const facts = [`${hits.length} ${query.collapse ? "groups" : hits.length === 1 ? "result" : "results"}`, duration(answer.took_ms),
    classes ? "probabilities of all classes add up to 100%" : ""].filter(Boolean);
  const doubtful = says === "No reliable match";
  return h("section", { class: doubtful ? "doubtful" : "" }, head,
    h("p", { class: "found-line", role: "status" }, says ? h("strong", { class: doubtful ? "warn" : "" }, says) : null, h("span", { class: "quiet" }, facts.join(" · "))),
    grid(hits, actions, classes));
}

/** Keys of the page: / focuses the field, arrows walk the results, s and a act on one, ? lists the keys. */
async function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, select, textarea, canvas, [role=dialog] *")) return;
  if (event.key === "/") { event.preventDefault(); page.field.focus(); return; }
  if (event.key === "?") { event.preventDefault(); (await import("./keys.js")).showKeys(); return; }
  const cards = [...page.results.querySelectorAll(".hit")], at = cards.indexOf(document.activeElement.closest(".hit"));
  if (!cards.length) return;
  if (at >= 0 && event.key === "s") return cards[at].querySelector("[title='Find similar']").click();
  if (at >= 0 && event.key === "a") return cards[at].querySelector("[title='Add to query']").click();
  const wide = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
  if (!step || event.target.matches("[type=range]")) return;
  if (at < 0 && step < 0) return;
  event.preventDefault();
  cards[at < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, at + step))].querySelector(".hit-main").focus();
}
