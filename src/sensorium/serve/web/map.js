// The map: both sides of a run in one picture, coloured by a column, lassoed into a list.

import { call, request, url } from "./api.js";
import { unpack } from "./arrays.js";
import { colouring, colours, columnOf } from "./colouring.js";
import { context, go, link } from "./context.js";
import { announce, h, icon, set, state } from "./dom.js";
import { CATEGORIES, continuous, OTHER, SIDES, theme } from "./palette.js";
import { Plot } from "./plot.js";
import { details, label, MANY, nameOf, picture } from "./results.js";

const LISTED = 200;
let page = null;

/** Show the map that the link names. */
export async function show(root, { query, again }) {
  const run = context.run;
  if (!run || run.state !== "ready") {
    hide();
    context.whenReady(run?.name);
    set(root, h("h1", { class: "visually-hidden" }, "Map"), state("empty", "No map yet", run ? "This run is not ready." : "No run is served.", h("a", { class: "button", href: "#/runs" }, "Go to the runs")));
    return;
  }
  root.className = "wide";
  const options = { method: query.get("method") ?? "pca", colour: query.get("colour") ?? "", pairs: query.get("pairs") ?? "chosen" };
  if (!again || !page || page.run.name !== run.name) { page?.plot.stop(); page = build(root, run); }
  const before = page.options;
  page.options = options;
  drawPanel();
  if (before?.method !== options.method || !page.map) await load();
  else {
    if (before.colour !== options.colour) await colour();
    if (before.pairs !== options.pairs) await lines();
  }
}

export function hide() {
  page?.plot.stop();
  clearTimeout(page?.timer);
  if (page) window.removeEventListener("themechange", page.themed);
  page = null;
}

export function retry() { if (page) load(); else window.dispatchEvent(new HashChangeEvent("hashchange")); }

function build(root, run) {
  const built = { run, options: null, map: null, hidden: new Set(), alone: null, chosen: [], items: new Map(), methods: [] };
  built.place = h("div", { class: "plot" });
  built.panel = h("section", { class: "map-panel card", "aria-label": "What the map shows" });
  built.tip = h("div", { class: "map-tip card", hidden: true });
  built.list = h("section", { class: "map-list card", "aria-label": "Chosen items", hidden: true });
  built.cover = h("div", { class: "map-cover" }, state("wait"));
  const tool = (name, text, icon_, run_) => h("button", { class: "icon-button", type: "button", title: text, "aria-label": text, dataset: { tool: name }, on: { click: run_ } }, icon(icon_));
  built.tools = h("div", { class: "map-tools card", role: "group", "aria-label": "Map tools" },
    tool("lasso", "Lasso: draw around items to list them (or hold Shift)", "lasso", () => take(built.plot.tool === "lasso" ? "move" : "lasso")),
    tool("in", "Nearer", "plus", () => built.plot.zoom(1.6)), tool("out", "Farther", "minus", () => built.plot.zoom(1 / 1.6)), tool("all", "Show all", "home", () => built.plot.fit()));
  built.element = h("div", { class: `map is-${theme()}`, dataset: { tool: "move" } }, built.place, built.cover, built.panel, built.tools, built.list, built.tip);
  set(root, h("h1", { class: "visually-hidden" }, `Map of ${run.name}`), built.element);
  built.plot = new Plot(built.place, { hover, pick, lasso });
  built.plot.insets = () => built.element.clientWidth > 760 ? { left: 296, right: built.list.hidden ? 0 : 336, top: 0, bottom: 0 } : { left: 0, right: 0, top: built.panel.offsetHeight, bottom: built.list.hidden ? 0 : built.list.offsetHeight };
  built.plot.visible = (i) => !page?.hidden.has(sideOf(i).name) && (page.alone === null || page.legend?.type === "sides" || page.codes[i] === page.alone);
  built.themed = () => { built.element.className = built.element.className.replace(/is-\w+/, `is-${theme()}`); repaint(); drawPanel(); built.plot.paint(); };
  window.addEventListener("themechange", built.themed);
  return built;
}

function take(tool) {
  page.plot.tool = tool;
  page.element.dataset.tool = tool;
  page.tools.querySelector('[data-tool="lasso"]').setAttribute("aria-pressed", String(tool === "lasso"));
}

function wants(next, replace = false) {
  const options = { ...page.options, ...next };
  go(link("map", { run: page.run.name, method: options.method === "pca" ? "" : options.method, colour: options.colour, pairs: options.pairs === "chosen" ? "" : options.pairs }), { replace });
}

async function load() {
  const mine = page, { run, options } = page, base = `/runs/${encodeURIComponent(run.name)}/map`;
  clearTimeout(page.timer);
  page.cover.hidden = false;
  if (!page.cover.querySelector(".wait")) set(page.cover, state("wait"));
  try {
    if (!page.methods.length) { page.methods = (await call(`${base}/methods`)).methods; if (mine === page) drawPanel(); }
    const answer = await request(url(base, { method: options.method }));
    if (mine !== page || options !== page.options) return;
    if (answer.status === 202) {
      const { seconds } = await answer.json();
      set(page.cover, state("wait", "", `${title(options.method)} is being computed, once for this run: ${Math.round(seconds)} s so far. It continues while you view other pages.`));
      page.timer = setTimeout(() => { if (mine === page) load(); }, 1000);
      return;
    }
    const { header, arrays } = unpack(await answer.arrayBuffer());
    if (mine !== page || options !== page.options) return;
    page.map = { ...header, xy: arrays.xy, rows: arrays.rows };
    const flags = new Uint8Array(arrays.rows.length);
    for (const side of header.sides) if (side.name === "right") flags.fill(1, side.start, side.start + side.points);
    page.chosen = [];
    page.items.clear(); // rows may be others now
    page.tip.hidden = true;
    page.tip.dataset.of = "";
    page.list.hidden = true;
    page.element.classList.remove("listing");
    page.plot.set(arrays.xy, flags);
    page.cover.hidden = true;
    set(page.cover);
    await colour();
    await lines();
  } catch (error) {
    if (mine !== page) return;
    set(page.cover, state("error", "There is no such map", error.message, options.method === "pca" ? h("button", { class: "button", on: { click: load } }, "Try again") : h("button", { class: "button", on: { click: () => wants({ method: "pca" }, true) } }, "Show PCA")));
  }
}

/** Items were removed since this map was drawn: its row numbers are stale, so it is loaded again, once. */
function stale(error, map) {
  if (error.status !== 410) return false;
  if (page && page.map === map && page.stale !== map) {
    page.stale = map;
    page.tip.hidden = true;
    announce("Items have changed: the map is drawn anew");
    load();
  }
  return true;
}

function title(method) { return page.methods.find((one) => one.name === method)?.title ?? method; }

async function colour() {
  const mine = page, { run, map, options } = page;
  let columns = {};
  try {
    if (options.colour) columns = await columnOf(run, map.sides, options.colour);
  } catch (error) { if (stale(error, map)) return; announce(error.message); }
  if (mine !== page || map !== page.map || options.colour !== page.options.colour) return;
  const made = colouring(map, columns);
  page.codes = made.codes;
  page.legend = made.legend;
  page.alone = null;
  page.plot.put("codes", made.codes);
  repaint();
  drawPanel();
}

function repaint() {
  if (!page?.legend) return;
  const n = page.map.rows.length, alpha = n > 200000 ? 0.55 : n > 20000 ? 0.75 : 0.9;
  page.plot.put("palette", colours(page.legend, theme(), page.hidden, page.alone, alpha));
}

function sideOf(i) { return page.map.sides.find((side) => i >= side.start && i < side.start + side.points); }

/** True pairs as point numbers, once they are known. */
async function relatedPairs() {
  if (page.map.pairs) return page.map.pairs;
  const { map, run } = page;
  const generations = Object.fromEntries(map.sides.map((side) => [side.name, side.generation]));
  const { arrays } = unpack(await (await request(url(`/runs/${encodeURIComponent(run.name)}/map/pairs`, generations))).arrayBuffer());
  const [left, right] = [map.sides[0], map.sides[map.sides.length - 1]];
  const where = (side) => {
    const places = new Int32Array(side.items).fill(-1);
    for (let i = 0; i < side.points; i++) places[map.rows[side.start + i]] = side.start + i;
    return places;
  };
  const leftAt = where(left), rightAt = where(right), found = [];
  for (let p = 0; p < arrays.left.length; p++) {
    const a = leftAt[arrays.left[p]], b = rightAt[arrays.right[p]];
    if (a >= 0 && b >= 0 && a !== b) found.push(a, b);
  }
  map.pairs = Uint32Array.from(found);
  return map.pairs;
}

async function lines() {
  const mine = page, how = page.options.pairs, map = page.map;
  if (how === "none" || (how === "chosen" && !page.chosen.length)) return page.plot.put("lines", new Uint32Array(0));
  let pairs;
  try { pairs = await relatedPairs(); } catch (error) { if (!stale(error, map)) announce(error.message); return; }
  if (mine !== page || how !== page.options.pairs) return;
  if (how === "chosen") {
    const chosen = new Set(page.chosen), found = [];
    for (let p = 0; p < pairs.length; p += 2) if (chosen.has(pairs[p]) || chosen.has(pairs[p + 1])) found.push(pairs[p], pairs[p + 1]);
    pairs = Uint32Array.from(found);
  }
  page.plot.put("lines", pairs);
}

function drawPanel() {
  const { run, options, map, legend } = page;
  const names = [...new Set(Object.values(run.sides).flatMap((side) => side.columns.map((column) => column.name)))];
  const methods = page.methods.length ? page.methods : [{ name: "pca", title: "PCA", installed: true }];
  const missing = methods.filter((method) => !method.installed);
  const focus = page.panel.contains(document.activeElement) ? [...page.panel.querySelectorAll("button, select")].indexOf(document.activeElement) : -1;
  set(page.panel, h("div", { class: "segments", role: "group", "aria-label": "Layout" }, methods.map((method) =>
    h("button", { type: "button", "aria-pressed": String(method.name === options.method), disabled: !method.installed, title: method.installed ? undefined : `not installed; type: ${method.install}`, on: { click: () => wants({ method: method.name }) } }, method.title))),
  missing.length ? h("p", { class: "quiet" }, `${missing.map((one) => one.title).join(" and ")} not installed; type: `, h("code", {}, missing[0].install)) : null,
  h("div", { class: "map-row" },
    h("div", { class: "field" }, h("label", { class: "label", for: "colour-by" }, "Colour by"),
      h("select", { class: "select", id: "colour-by", value: options.colour, on: { change: (event) => wants({ colour: event.target.value }) } },
        h("option", { value: "" }, "side"), h("option", { value: "split" }, "split"), names.filter((name) => name !== "split").map((name) => h("option", { value: name }, name)))),
    h("div", { class: "field" }, h("label", { class: "label", for: "pair-lines" }, "Lines between related pairs"),
      h("select", { class: "select", id: "pair-lines", value: options.pairs, on: { change: (event) => wants({ pairs: event.target.value }, true) } },
        h("option", { value: "chosen" }, "of chosen items"), h("option", { value: "all" }, "of all"), h("option", { value: "none" }, "none")))),
  legend ? drawLegend(legend) : null,
  map ? h("p", { class: "map-facts" }, facts(map)) : null);
  if (focus >= 0) page.panel.querySelectorAll("button, select")[focus]?.focus();
}

function facts(map) {
  const all = map.sides.reduce((sum, side) => sum + side.items, 0), some = map.rows.length;
  const lines = [some < all ? `${some.toLocaleString("en")} of ${all.toLocaleString("en")} items, drawn at random` : `${all.toLocaleString("en")} items`];
  if (map.explained) lines.push(`these two axes explain ${(100 * (map.explained[0] + map.explained[1])).toFixed(1)} % of the variance`);
  if (page.place.dataset.surface === "Canvas") lines.push("drawn without a GPU");
  return `${lines.join("; ")}.`;
}

function drawLegend(legend) {
  const now = theme();
  const entry = (name, count, colour, diamond, pressed, click, title_) => h("li", {}, h("button", { type: "button", "aria-pressed": String(pressed), title: title_, on: { click } },
    h("span", { class: `swatch${diamond ? " diamond" : ""}`, style: { "--swatch": colour } }), h("span", {}, name), h("span", { class: "quiet number" }, count.toLocaleString("en"))));
  if (legend.type === "number") {
    return h("div", {}, h("div", { class: "ramp", style: { background: `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((t) => `rgb(${continuous(t, now).join(" ")})`).join(", ")})` } }),
      h("div", { class: "ramp-ends" }, h("span", {}, short(legend.low)), h("span", {}, short(legend.high))));
  }
  if (legend.type === "sides") {
    return h("ul", { class: "legend" }, legend.entries.map((one) => entry(`${nameOf(page.run, one.name)}: ${MANY[page.run.sides[one.name].kind]}`, one.count, SIDES[now][one.right ? 1 : 0], one.right, !page.hidden.has(one.name), () => {
      if (page.hidden.has(one.name)) page.hidden.delete(one.name); else page.hidden.add(one.name);
      repaint();
      drawPanel();
    }, "Show or hide this side")));
  }
  return h("ul", { class: "legend" }, legend.entries.map((one) => entry(one.name, one.count, one.code === 255 ? OTHER[now] : CATEGORIES[now][one.code], false, page.alone === one.code, () => {
    page.alone = page.alone === one.code ? null : one.code;
    repaint();
    drawPanel();
  }, "Show only these")));
}

function short(x) { return Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(2) : String(Number(x.toPrecision(4))); }

/** Items of points, fetched in batches and cached. */
async function itemsOf(points) {
  const mine = page, { map, run } = page, missing = points.filter((i) => !page.items.has(keyOf(i)));
  for (const side of map.sides) {
    const rows = missing.filter((i) => sideOf(i) === side);
    for (let at = 0; at < rows.length; at += LISTED) {
      const part = rows.slice(at, at + LISTED);
      const { items } = await call(url(`/runs/${encodeURIComponent(run.name)}/map/points`, { side: side.name, generation: side.generation, rows: part.map((i) => map.rows[i]).join(",") }));
      if (mine !== page || map !== page.map) return [];
      part.forEach((i, k) => page.items.set(keyOf(i), items[k]));
    }
  }
  return points.map((i) => page.items.get(keyOf(i)));
}

function keyOf(i) { return `${sideOf(i).name} ${page.map.rows[i]}`; }

let waiting = 0;

function hover(i, event) {
  clearTimeout(waiting);
  if (i < 0 || !page?.map) { if (page) page.tip.hidden = true; return; }
  const box = page.element.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top, known = page.items.get(keyOf(i));
  const place = () => {
    page.tip.style.setProperty("left", `${Math.min(x + 14, box.width - page.tip.offsetWidth - 8)}px`);
    page.tip.style.setProperty("top", `${y + 18 + page.tip.offsetHeight > box.height ? y - page.tip.offsetHeight - 12 : y + 18}px`);
  };
  const fill = (item) => {
    if (page.tip.dataset.of !== keyOf(i)) {
      set(page.tip, item.kind === "image" && item.media ? picture(item, "tip-picture") : null, h("span", {}, h("strong", {}, label(item)), h("span", { class: `side-${item.side}` }, page.run.one_table ? "" : nameOf(page.run, item.side)), " ",
        page.options.colour && item.columns[page.options.colour] !== undefined ? h("span", { class: "quiet" }, `${page.options.colour}: ${item.columns[page.options.colour]}`) : null));
      page.tip.dataset.of = keyOf(i);
    }
    page.tip.hidden = false;
    place();
  };
  if (known) return fill(known);
  page.tip.hidden = true;
  const mine = page, { map } = page;
  waiting = setTimeout(() => { if (mine === page && map === page.map) itemsOf([i]).then(([item]) => { if (item && mine === page && page.plot.hovered === i) fill(item); }, (error) => stale(error, map)); }, 60);
}

const actions = { onSearch(item) { go(link("search", { run: page.run.name, id: item.id, from: page.run.one_table ? "" : item.side })); } };

async function pick(i) {
  if (!page?.map) return;
  const mine = page, { map } = page;
  page.tip.hidden = true;
  page.chosen = [i];
  page.plot.choose(page.chosen);
  lines();
  try {
    const [item] = await itemsOf([i]);
    if (mine === page && item) details(item, actions, page.plot.over);
  } catch (error) { if (!stale(error, map)) announce(error.message); }
}

async function lasso(points, byKey = false) {
  if (!page?.map) return;
  const mine = page, { map } = page;
  page.chosen = points;
  page.plot.choose(points);
  lines();
  if (!points.length) {
    page.plot.path = null;
    page.list.hidden = true;
    page.element.classList.remove("listing");
    page.plot.paint();
    if (byKey) announce("Nothing is in the ring");
    return;
  }
  const close = h("button", { class: "icon-button plain", type: "button", "aria-label": "Close the list", on: { click: () => { lasso([]); page.plot.over.focus(); } } }, icon("close"));
  const body = h("ol", { tabindex: -1 });
  set(page.list, h("div", { class: "row between" }, h("h2", {}, `${points.length.toLocaleString("en")} chosen`), close),
    points.length > LISTED ? h("p", { class: "quiet" }, `The first ${LISTED} are listed.`) : null, body);
  page.list.hidden = false;
  page.element.classList.add("listing");
  announce(`${points.length} items chosen`);
  try {
    const shown = points.slice(0, LISTED), items = await itemsOf(shown);
    if (mine !== page || page.chosen !== points) return;
    set(body, items.map((item) => h("li", {}, h("button", { type: "button", on: { click: (event) => details(item, actions, event.currentTarget) } },
      item.kind === "image" && item.media ? picture(item, "small-picture") : h("span", { class: "blank" }, h("span", { class: `dot ${item.side}` })), h("span", {}, label(item))))));
    if (byKey) body.querySelector("button")?.focus();
  } catch (error) { if (!stale(error, map)) set(body, h("li", {}, h("p", { class: "note bad" }, error.message))); }
}
