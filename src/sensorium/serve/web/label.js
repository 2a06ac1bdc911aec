// Labelling: thumbs on hits, feedback that moves the query, the next queries, and the refit. Loaded when the server labels.

import { call, url } from "./api.js";
import { context, go, link } from "./context.js";
import { announce, h, set } from "./dom.js";
import { sheet } from "./files.js";
import { fromParams, requests } from "./query.js";
import { details, grid, label } from "./results.js";
import { faultLine } from "./words.js";

const MAIN = document.getElementById("main"), ANNOTATOR = "sensorium.annotator";
const session = crypto.randomUUID?.() ?? String(Math.random());
const THUMB = "M7 11v9H4v-9zm3 9h7.500a2 2 0 0 0 2-1.600l1.200-6a2 2 0 0 0-2-2.400H14l.700-4a2 2 0 0 0-3.700-1.300L8 10v8.500z";
let given = { hash: "", labels: new Map() }, bar = null, polling = null;

function thumb(down) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS(svg.namespaceURI, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon${down ? " down" : ""}`);
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", THUMB);
  svg.append(path);
  return svg;
}

/** The search of the address, as POST /search takes it; null where hits are not labelled: several inputs, or none. */
async function asked() {
  const [view, text = ""] = location.hash.replace(/^#\/?/, "").split("?");
  if (view !== "search" || !context.run) return null;
  const query = fromParams(new URLSearchParams(text));
  if (query.inputs.length !== 1) return null;
  return (await requests(context.run, query))[0]?.body ?? null;
}

const run = () => ({ run: context.name });

async function give(id, value, buttons) {
  const before = given.labels.get(id), next = before === value ? null : value;
  try {
    const search = await asked(), annotator = localStorage.getItem(ANNOTATOR) ?? "";
    if (!search) return;
    const counts = await call("/labels", { json: { search, labels: [{ item: id, label: next }], annotator, session } });
    if (next === null) given.labels.delete(id); else given.labels.set(id, next);
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(next === 1 - i)));
    announce(next === null ? "Label removed" : next ? "Labelled: fits" : "Labelled: does not fit");
    bar?.show(counts);
  } catch (error) { bar?.fail(error); }
}

/** Thumbs on a card. */
function decorate(card) {
  const foot = card.querySelector(".hit-foot"), { id } = card.dataset;
  if (!foot || foot.querySelector(".thumbs")) return;
  const name = card.querySelector(".hit-name")?.textContent ?? id, now = given.labels.get(id);
  const buttons = ["Fits", "Does not fit"].map((text, i) => h("button", { class: "icon-button plain tiny", type: "button", title: text,
    "aria-label": `${text}: ${name}`, "aria-pressed": String(now === 1 - i), on: { click: () => give(id, 1 - i, buttons) } }, thumb(i === 1)));
  foot.append(h("span", { class: "thumbs", role: "group", "aria-label": `Label ${name}` }, buttons));
}

const actions = {
  onDetails(item, opener) { details(item, actions, opener); },
  onSearch(item) { go(link("search", { run: context.name, id: item.id, from: context.run.one_table ? "" : item.side })); },
  onGroup() {},
};

/** The query moved by the thumbs of this search. */
async function moved(list) {
  const of = (value) => [...given.labels].filter(([, one]) => one === value).map(([id]) => id);
  try {
    const { hits } = await call("/labels/search", { json: { search: await asked(), up: of(1), down: of(0) } });
    list().replaceWith(grid(hits, actions, false));
    announce(`${hits.length} results of the moved query, first ${label(hits[0])}`);
  } catch (error) { bar?.fail(error); }
}

class Bar {
  constructor(list) {
    Object.assign(this, { list, started: false });
    this.count = h("span", { class: "quiet", role: "status" });
    this.problem = h("p", { class: "note bad", role: "alert", hidden: true });
    this.more = h("div", { class: "label-more" });
    this.move = h("button", { class: "button small", type: "button", title: "Moves the query towards what fits and away from what does not; nothing is stored or fitted", on: { click: () => moved(this.list) } }, "Apply feedback");
    const name = h("input", { class: "input small", "aria-label": "Your name", placeholder: "Your name", maxlength: 100, value: localStorage.getItem(ANNOTATOR) ?? "",
      on: { change: (event) => localStorage.setItem(ANNOTATOR, event.target.value.trim()) } });
    this.element = h("section", { class: "label-bar", "aria-label": "Labelling" }, h("div", { class: "row" }, this.count, h("span", { class: "grow" }), name, this.move,
      h("button", { class: "button small", type: "button", on: { click: () => this.next() } }, "Label next"),
      h("button", { class: "button small", type: "button", on: { click: () => this.refit("") } }, "Refit")), this.problem, this.more);
  }

  show(counts) {
    const own = [...given.labels.values()];
    set(this.count, `${counts.labels.toLocaleString("en")} label${counts.labels === 1 ? "" : "s"} of ${counts.queries.toLocaleString("en")} ${counts.queries === 1 ? "query" : "queries"}`, counts.conflicts ? `, ${counts.conflicts} in conflict` : "");
    this.move.disabled = !own.length;
    this.problem.hidden = true;
  }

  fail(error) {
    set(this.problem, faultLine(error));
    this.problem.hidden = false;
  }

  async start() {
    try {
      const { pairs, ...counts } = await call(url("/labels", run())), search = await asked();
      const mine = pairs.filter((one) => search && one.label !== null && (search.id !== undefined ? one.query === search.id : search.text !== undefined && one.text === search.text));
      for (const one of mine) if (!given.labels.has(one.item)) given.labels.set(one.item, one.label);
      this.started = true;
      this.show(counts);
      const state = await call(url("/labels/refit", run()));
      if (state.state !== "idle" || state.can_undo) this.draw(state);
    } catch (error) { this.fail(error); }
  }

  async next() {
    try {
      const { side, items } = await call(url("/labels/next", { ...run(), n: 6 }));
      set(this.more, items.length ? [h("p", { class: "quiet" }, "Queries whose results are least certain:"), h("div", { class: "row" }, items.map((item) =>
        h("a", { class: "button small", href: link("search", { run: context.name, id: item.id, from: context.run.one_table ? "" : side }) }, h("span", {}, label(item)))))]
        : h("p", { class: "quiet" }, "Every item has been a query."));
    } catch (error) { this.fail(error); }
  }

  async refit(step) {
    try { this.draw(await call(url(`/labels/refit${step}`, run()), { method: "POST" })); } catch (error) { this.fail(error); }
  }

  draw({ state, detail, result, can_undo: undo, measures, measures_detail: why }) {
    clearTimeout(polling);
    const busy = state === "fitting" || state === "accepting", measuring = measures === "measuring", button = (text, step, kind = "") =>
      h("button", { class: `button small ${kind}`, type: "button", on: { click: () => this.refit(step) } }, text);
    if (busy || measuring) polling = setTimeout(async () => { try { this.draw(await call(url("/labels/refit", run()))); } catch (error) { this.fail(error); } }, 700);
    const percent = (value) => `${(100 * value).toFixed(1)}%`, signed = (value) => `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)}`;
    const table = result && h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Before and after" }, h("table", { class: "label-table" }, h("thead", {}, h("tr", {}, ["Measure", "Queries", "Before", "After", "Difference", "95% interval"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, result.measured.map((one) => h("tr", {}, h("td", {}, one.measure), h("td", {}, `${one.n} ${one.queries}`), h("td", { class: "number" }, percent(one.before)), h("td", { class: "number" }, percent(one.after)),
        h("td", { class: "number" }, signed(one.after - one.before)), h("td", { class: "number" }, `${signed(one.low)} to ${signed(one.high)}`))))));
    const said = { fitting: "Fitting…", accepting: "Replacing the heads…", accepted: `The new heads are in use. ${{ measuring: "They are being measured on the test split…", measured: "They are measured.", failed: `They could not be measured (${why}). Type: sensorium evaluate RUN` }[measures] ?? ""}`, undone: "The heads before are in use again.",
      failed: detail, fitted: result && `Fitted in ${result.seconds} s on ${result.queries - result.held_out} queries; measured on ${result.held_out} others.` }[state];
    set(this.more, said ? h("p", { class: state === "failed" ? "note bad" : "quiet", role: "status" }, said) : null, table,
      busy ? null : h("div", { class: "row" }, state === "fitted" ? [button("Accept", "/accept", "primary"), button("Discard", "/undo")] : [undo ? button("Undo the last refit", "/undo") : null, measures === "measured" ? h("a", { class: "button small", href: link(`runs/${encodeURIComponent(context.name)}`) }, "Open the measures") : null]));
  }
}

function look() {
  const list = MAIN.querySelector(".hits"), hash = location.hash;
  if (!list || !location.hash.startsWith("#/search")) { bar = null; return; }
  if (given.hash !== hash) given = { hash, labels: new Map() };
  if (bar && bar.hash !== hash) { bar.element.remove(); bar = null; }
  if (!bar?.element.isConnected) asked().catch(() => null).then((search) => {
    const there = MAIN.querySelector(".hits");
    if (!search || !there || bar?.element.isConnected || location.hash !== hash) return;
    bar = new Bar(() => MAIN.querySelector(".hits"));
    bar.hash = hash;
    there.before(bar.element);
    bar.start().then(look); // the thumbs come with what was labelled before
  });
  else if (bar.started) list.querySelectorAll(".hit[data-id]").forEach(decorate);
}

sheet("/label.css");
new MutationObserver(look).observe(MAIN, { childList: true, subtree: true });
look();
