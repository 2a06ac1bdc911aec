// The map: both sides of a run in one picture, coloured by a column, searched, filtered, lassoed into a list.

import { call, request, url } from "./api.js";
import { unpack } from "./arrays.js";
import { colouring, colours, columnOf, usefulColumn } from "./colouring.js";
import { context, go, link } from "./context.js";
import { announce, h, icon, set, state } from "./dom.js";
import { list as listed, LISTED } from "./map-list.js";
import { Over } from "./map-over.js";
import { drawPanel, legendOf } from "./map-panel.js";
import { hits } from "./map-search.js";
import { theme } from "./palette.js";
import { Plot } from "./plot.js";
import { details, label, nameOf, picture } from "./results.js";
import { explain } from "./words.js";

let page = null;

/** Show the map that the link names. */
export async function show(root, { query, again }) {
  const run = context.run;
  if (!run || run.state !== "ready") {
    hide();
    return (await import("./making.js")).instead(root, "The map", run);
  }
  root.className = "wide";
  if (!again || !page || page.run.name !== run.name) { hide(); page = build(root, run); }
  const before = page.options;
  const options = page.options = {
    method: query.get("method") ?? "tsne", colour: query.get("colour") ?? usefulColumn(run), pairs: query.get("pairs") ?? "chosen",
    q: query.get("q") ?? "", where: conditions(query.get("where")), labels: query.get("labels") !== "0",
  };
  page.over.shown = options.labels;
  panel();
  if (before?.method !== options.method || !page.map) return load();
  if (before.colour !== options.colour) await colour();
  if (before.pairs !== options.pairs) await lines();
  if (JSON.stringify(before.where) !== JSON.stringify(options.where)) await filter();
  if (before.q !== options.q) await light();
  page?.plot.paint();
}

/** Conditions of a link, by side; {} for none, and for those that were cut. */
function conditions(text) {
  try { return JSON.parse(text ?? "{}") ?? {}; } catch { return {}; }
}

export function hide() {
  page?.plot.stop();
  clearTimeout(page?.timer);
  if (page) window.removeEventListener("themechange", page.themed);
  page = null;
}

export function retry() { if (page) load(); else window.dispatchEvent(new HashChangeEvent("hashchange")); }

function build(root, run) {
  const built = { run, options: null, map: null, hidden: new Set(), alone: null, chosen: [], lit: [], pass: null, items: new Map(), methods: [], working: "" };
  built.place = h("div", { class: "plot" });
  built.panel = h("section", { class: "map-panel card", "aria-label": "What the map shows" });
  built.tip = h("div", { class: "map-tip card", hidden: true });
  built.list = h("section", { class: "map-list card", "aria-label": "Selected items", hidden: true });
  built.cover = h("div", { class: "map-cover" });
  const tool = (name, text, icon_, run_) => h("button", { class: "icon-button", type: "button", title: text, "aria-label": text, dataset: { tool: name }, on: { click: run_ } }, icon(icon_));
  built.tools = h("div", { class: "map-tools card", role: "group", "aria-label": "Map tools" },
    tool("lasso", "Lasso: draw around items to list them (or hold Shift)", "lasso", () => take(built.plot.tool === "lasso" ? "move" : "lasso")),
    tool("in", "Zoom in", "plus", () => built.plot.zoom(1.6)), tool("out", "Zoom out", "minus", () => built.plot.zoom(1 / 1.6)), tool("all", "Show all", "home", () => built.plot.fit()));
  built.element = h("div", { class: `map is-${theme()}`, dataset: { tool: "move" } }, built.place, built.cover, built.panel, built.tools, built.list, built.tip);
  set(root, h("h1", { class: "visually-hidden" }, `Map of ${run.name}`), built.element);
  built.plot = new Plot(built.place, { hover, pick, lasso });
  built.over = built.plot.layer = new Over();
  built.plot.insets = () => built.element.clientWidth > 760 ? { left: 320, right: built.list.hidden ? 0 : 336, top: 0, bottom: 0 } : { left: 0, right: 0, top: built.panel.offsetHeight, bottom: built.list.hidden ? 0 : built.list.offsetHeight };
  built.plot.visible = (i) => passes(i) && (page.alone === null || page.legend?.type === "sides" || page.codes[i] === page.alone);
  built.themed = () => { built.element.className = built.element.className.replace(/is-\w+/, `is-${theme()}`); repaint(); panel(); built.plot.paint(); };
  window.addEventListener("themechange", built.themed);
  return built;
}

/** Whether a point is on a shown side and passes the filter. */
function passes(i) { return !page?.hidden.has(sideOf(i).name) && (!page.pass || page.pass[i] === 1); }

function panel() {
  drawPanel(page, {
    wants, save,
    hide(side) { if (page.hidden.has(side)) page.hidden.delete(side); else page.hidden.add(side); shown(); },
    alone(code) { page.alone = page.alone === code ? null : code; shown(); },
  });
}

/** Other points are shown than before: their colours, contours and legend. */
function shown() { repaint(); crowds(); panel(); }

function take(tool) {
  page.plot.tool = tool;
  page.element.dataset.tool = tool;
  page.tools.querySelector('[data-tool="lasso"]').setAttribute("aria-pressed", String(tool === "lasso"));
}

function wants(next, replace = false) {
  const { method, colour: by, pairs, q, where, labels } = { ...page.options, ...next };
  const filled = Object.fromEntries(Object.entries(where).filter(([, one]) => Object.keys(one).length));
  go(link("map", { run: page.run.name, method: method === "tsne" ? "" : method, colour: by === usefulColumn(page.run) ? "" : by, pairs: pairs === "chosen" ? "" : pairs,
    q, where: Object.keys(filled).length ? JSON.stringify(filled) : "", labels: labels ? "" : "0" }), { replace });
}

/** The method's map, or null while it is worked on. */
async function coordinates(method) {
  const answer = await request(url(`/runs/${encodeURIComponent(page.run.name)}/map`, { method }));
  if (answer.status !== 202) return unpack(await answer.arrayBuffer());
  page.working = `${title(method)} is being computed, once for this run: ${Math.round((await answer.json()).seconds)} s so far.`;
  return null;
}

async function load() {
  const mine = page, { run, options } = page, now = () => mine === page && options.method === page.options.method;
  clearTimeout(page.timer);
  if (!page.map) page.timer = setTimeout(() => { if (mine === page && !page.map) set(page.cover, state("wait")); }, 300);
  try {
    if (!page.methods.length) call(`/runs/${encodeURIComponent(run.name)}/map/methods`).then(({ methods }) => { mine.methods = methods; if (mine === page) panel(); }, () => {});
    let found = await coordinates(options.method).catch((error) => {
      if (error.status !== 409 || options.method === "pca") throw error;
      return coordinates("pca"); // too few items for any other
    });
    if (!now()) return;
    if (!found) {
      page.timer = setTimeout(() => { if (now()) load(); }, 1000);
      if (page.map) return panel();
      found = await coordinates("pca"); // at once, until the other is there
      if (!now()) return;
    } else page.working = "";
    place(found);
    await Promise.all([colour(), lines(), filter(), names()]);
    if (now()) await light();
  } catch (error) {
    if (mine !== page) return;
    clearTimeout(page.timer);
    page.working = "";
    set(page.cover, state("error", ...noMap(error), options.method === "pca" ? h("button", { class: "button", on: { click: load } }, "Try again") : h("button", { class: "button", on: { click: () => wants({ method: "pca" }, true) } }, "Show PCA")));
  }
}

/** Why there are no coordinates, and what to do. */
function noMap(error) {
  const { title, text } = explain(error);
  return { 409: ["This map needs more items", "PCA shows runs of any size."], 501: [title, "The person who runs the server can install it; PCA is there without it."], 500: ["This map could not be computed", "PCA is there for every run."] }[error.status] ?? [title, text];
}

/** Draw other coordinates: points that are the same as before move there. */
function place({ header, arrays }) {
  const before = page.map, { xy, rows } = arrays;
  const same = before && before.sides.every((side, k) => side.generation === header.sides[k].generation) && rows.length === before.rows.length && rows.every((row, i) => row === before.rows[i]);
  page.map = { ...header, xy, rows, pairs: same ? before.pairs : undefined };
  set(page.cover);
  page.cover.hidden = true;
  page.over.labels = [];
  page.over.path = null;
  if (same) return page.plot.morph(xy);
  const flags = new Uint8Array(rows.length);
  for (const side of header.sides) if (side.name === "right") flags.fill(1, side.start, side.start + side.points);
  page.chosen = page.lit = page.over.rings = [];
  page.pass = null;
  page.items.clear(); // rows may be others now
  page.tip.hidden = true;
  page.tip.dataset.of = "";
  page.list.hidden = true;
  page.element.classList.remove("listing");
  page.plot.set(xy, flags);
}

/** Labels of the map's regions. */
async function names() {
  const mine = page, { map } = page;
  if (!map.labels) {
    const answer = await request(url(`/runs/${encodeURIComponent(page.run.name)}/map/labels`, { method: map.method })).catch(() => null);
    map.labels = answer?.status === 200 ? (await answer.json()).labels : [];
  }
  if (mine !== page || map !== page.map) return;
  page.over.labels = map.labels;
  panel();
  page.plot.paint();
}

/** Contour lines of the points that are shown, where there are many. */
function crowds() {
  const mine = page, { map } = page;
  if (map.rows.length < 3000) return;
  import("./contours.js").then(({ contours, density }) => {
    if (mine !== page || map !== page.map) return;
    page.over.path = contours(density(map.xy, (i) => page.plot.visible(i)));
    page.plot.paint();
  });
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
    if (options.colour && options.colour !== "side") columns = await columnOf(run, map.sides, options.colour);
  } catch (error) { if (stale(error, map)) return; announce(explain(error).text); }
  if (mine !== page || map !== page.map || options.colour !== page.options.colour) return;
  const made = colouring(map, columns);
  page.codes = made.codes;
  page.legend = made.legend;
  page.alone = null;
  page.plot.put("codes", made.codes);
  shown();
}

function repaint() {
  if (!page?.legend) return;
  const n = page.map.rows.length, alpha = n > 200000 ? 0.55 : n > 20000 ? 0.75 : 0.9;
  page.plot.put("palette", colours(page.legend, theme(), page.hidden, page.alone, page.lit.length ? 0.07 : alpha));
}

/** Leave out the points that the filter refuses. */
async function filter() {
  const mine = page, { map, options } = page, { where } = options;
  let pass = null;
  try {
    for (const side of map.sides) {
      if (!Object.keys(where[side.name] ?? {}).length) continue;
      const body = { side: side.name, where: where[side.name], generation: side.generation };
      const { arrays } = unpack(await (await request(`/runs/${encodeURIComponent(page.run.name)}/map/rows`, { json: body })).arrayBuffer());
      if (mine !== page || map !== page.map || options !== page.options) return;
      const kept = new Uint8Array(side.items);
      for (const row of arrays.rows) kept[row] = 1;
      pass ??= new Uint8Array(map.rows.length).fill(1);
      for (let i = side.start; i < side.start + side.points; i++) pass[i] = kept[map.rows[i]] ?? 0;
    }
  } catch (error) { if (!stale(error, map)) announce(explain(error).text); return; }
  page.pass = pass;
  page.plot.choose([...page.lit, ...page.chosen], pass && ((i) => pass[i]));
  shown();
}

/** Light up the items nearest to the searched words; of a run that takes no text, those whose text or id holds them. */
async function light() {
  const mine = page, { run, map, options: { q } } = page, had = page.lit.length > 0;
  let found = [];
  try { if (q) found = await hits(page, q); } catch (error) { if (stale(error, map)) return; announce(explain(error).text); page.trouble = explain(error).text; }
  if (mine !== page || map !== page.map || q !== page.options.q) return;
  page.lit = page.over.rings = found;
  repaint();
  choose(q ? [] : page.chosen);
  if (q || had) await list(found, q ? `${found.length} ${Object.values(run.sides).some((one) => one.takes === "text") ? "nearest to" : "with"} “${q}”` : "");
  panel();
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
  if (how === "none" || (how === "chosen" && !page.chosen.length)) { page.plot.put("lines", new Uint32Array(0)); return; }
  let pairs;
  try { pairs = await relatedPairs(); } catch (error) { if (!stale(error, map)) announce(explain(error).text); return; }
  if (mine !== page || how !== page.options.pairs) return;
  if (how === "chosen") {
    const chosen = new Set(page.chosen), found = [];
    for (let p = 0; p < pairs.length; p += 2) if (chosen.has(pairs[p]) || chosen.has(pairs[p + 1])) found.push(pairs[p], pairs[p + 1]);
    pairs = Uint32Array.from(found);
  }
  page.plot.put("lines", pairs);
}

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
        item.columns[page.options.colour] !== undefined ? h("span", { class: "quiet" }, `${page.options.colour}: ${item.columns[page.options.colour]}`) : null));
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

function choose(points) {
  page.chosen = points;
  page.plot.choose([...page.lit, ...points], page.pass && ((i) => page.pass[i]));
  lines();
}

async function pick(i) {
  if (!page?.map) return;
  const mine = page, { map } = page;
  page.tip.hidden = true;
  choose([i]);
  try {
    const [item] = await itemsOf([i]);
    if (mine === page && item) details(item, actions, page.plot.over);
  } catch (error) { if (!stale(error, map)) announce(explain(error).text); }
}

function lasso(points, byKey = false) {
  if (!page?.map) return;
  choose(points);
  if (!points.length) {
    page.plot.path = null;
    page.plot.paint();
    if (byKey) announce("Nothing is in the ring");
  }
  return list(points, points.length ? `${points.length.toLocaleString("en")} selected` : "", byKey);
}

/** List some points beside the map; without a heading the list is hidden. */
async function list(points, heading, byKey = false) {
  page.listed = points;
  page.list.hidden = !heading;
  page.element.classList.toggle("listing", Boolean(heading));
  if (page.plot.fitted) page.plot.fit();
  if (heading) await listed(page, points, heading, { ...actions, sideOf, itemsOf, stale, save, close: () => (page.options.q ? wants({ q: "" }) : lasso([])) }, byKey);
}

/** Save points (all without a list) as "csv" or "json", or the map as "png". */
async function save(kind, points) {
  const { map } = page;
  try { await (await import("./map-files.js")).save(page, kind, points, sideOf, legendOf(page)); } catch (error) { if (!stale(error, map)) announce(explain(error).text); }
}
