// The panel of the map: search, layout, colours with their legend, filter, lines, labels and files.

import { call } from "./api.js";
import { debounced, h, icon, set } from "./dom.js";
import { CATEGORIES, continuous, OTHER, SIDES, theme } from "./palette.js";
import { MANY, nameOf } from "./results.js";

/** Draw it. act: wants(options, replace), save(kind), hide(side), alone(code). */
export function drawPanel(page, act) {
  const { run, options, map, legend, panel } = page, methods = page.methods.filter((one) => one.installed);
  const names = [...new Set(Object.values(run.sides).flatMap((side) => side.columns.map((column) => column.name)))].filter((name) => name !== "split");
  page.parts ??= fixed(page, act);
  const { search, field } = page.parts;
  if (document.activeElement !== field) field.value = options.q;
  const places = "button, select, input, summary", focus = panel.contains(document.activeElement) ? [...panel.querySelectorAll(places)].indexOf(document.activeElement) : -1;
  const choice = (id, text, value, entries, changed) => h("div", { class: "field" }, h("label", { class: "label", for: id }, text),
    h("select", { class: "select", id, value, "aria-label": text, on: { change: (event) => changed(event.target.value) } }, entries.map(([name, title, off]) => h("option", { value: name, disabled: off }, title))));
  const layouts = methods.length ? methods.map((one) => [one.name, one.title]) : [["tsne", "t-SNE"], ["pca", "PCA"]];
  const missing = page.methods.filter((one) => !one.installed);
  const open = panel.querySelector("details")?.open;
  const conditions = Object.values(options.where).reduce((sum, one) => sum + Object.keys(one).length, 0);
  set(panel, search,
    h("div", { class: "map-row" },
      choice("colour-by", "Colour by", options.colour, [["side", "side"], ["split", "split"], ...names.map((name) => [name, name])], (colour) => act.wants({ colour })),
      choice("map-layout", "Layout", options.method, [...layouts, ...missing.map((one) => [one.name, `${one.title} (not installed)`, true])], (method) => act.wants({ method }))),
    legend ? drawLegend(page, act) : null,
    map ? h("p", { class: "map-facts", role: "status" }, facts(page)) : null,
    h("details", { open }, h("summary", {}, conditions ? `More options: ${conditions} filtered` : "More options"), h("div", { class: "stack tight" },
      h("div", { class: "row" },
        h("button", { class: "button small", type: "button", on: { click: () => filterDialog(page, act) } }, icon("filter"), conditions ? `Filter (${conditions})` : "Filter"),
        conditions ? h("button", { class: "button small plain", type: "button", on: { click: () => act.wants({ where: {} }) } }, "Clear") : null),
      choice("pair-lines", "Lines between related pairs", options.pairs, [["chosen", "of selected items"], ["all", "of all"], ["none", "none"]], (pairs) => act.wants({ pairs }, true)),
      map?.labels?.length ? h("label", { class: "check" }, h("input", { type: "checkbox", checked: options.labels, on: { change: (event) => act.wants({ labels: event.target.checked }, true) } }), "Labels of regions") : null,
      h("div", { class: "row", role: "group", "aria-label": "Export" }, ["csv", "json", "png"].map((kind) => h("button", { class: "button small", type: "button", on: { click: () => act.save(kind) } }, icon("download"), kind.toUpperCase()))),
      missing.length ? h("p", { class: "quiet" }, `${missing.map((one) => one.title).join(" and ")}: `, h("code", {}, missing[0].install)) : null)));
  if (focus >= 0) panel.querySelectorAll(places)[focus]?.focus();
}

/** What stays while the rest is drawn anew: the search field. */
function fixed(page, act) {
  const field = h("input", { class: "input", type: "search", placeholder: "Search the map", "aria-label": "Search the map", autocomplete: "off", maxlength: 2000 });
  const soon = debounced(() => act.wants({ q: field.value.trim() }, true), 300);
  field.addEventListener("input", soon);
  const search = h("form", { role: "search", class: "map-search" }, icon("search"), field);
  search.addEventListener("submit", (event) => { event.preventDefault(); soon.cancel(); act.wants({ q: field.value.trim() }); });
  return { search, field };
}

/** Conditions by side, with those of one side on columns that the other has, too. */
function shared(run, where, side) {
  const other = Object.keys(run.sides).find((name) => name !== side);
  if (!other) return where;
  const common = new Set(run.sides[side].columns.map(({ name }) => name)), has = new Set(run.sides[other].columns.map(({ name }) => name));
  const own = Object.entries(where[other] ?? {}).filter(([name]) => !common.has(name));
  return { ...where, [other]: Object.fromEntries([...own, ...Object.entries(where[side]).filter(([name]) => has.has(name))]) };
}

/** The filter of each side in a dialog; its values are counted by the server. */
async function filterDialog(page, act) {
  const { filters, counted } = await import("./filters.js"), { run } = page, sides = Object.keys(run.sides);
  let where = structuredClone(page.options.where);
  const place = h("div", { class: "stack" });
  const draw = (side) => {
    const form = filters(run.sides[side], { where: where[side] ?? {}, collapse: "", min_score: null, fallback: null }, ({ where: next }) => { where = shared(run, { ...where, [side]: next }, side); act.wants({ where }, true); count(); }, { options: false });
    const count = () => call("/search", { json: { run: run.name, facets: counted(run.sides[side]), where: where[side] ?? {}, ...(run.one_table ? {} : { to: side }) } }).then(({ facets }) => form.show(facets), () => {});
    set(place, sides.length > 1 ? h("div", { class: "segments", role: "group", "aria-label": "Side" }, sides.map((name) => h("button", { type: "button", "aria-pressed": String(name === side), on: { click: () => draw(name) } }, `${nameOf(run, name)}: ${MANY[run.sides[name].kind]}`))) : null, form);
    count();
  };
  const dialog = h("dialog", { "aria-label": "Filter the map" }, h("div", { class: "stack" }, h("div", { class: "row between" }, h("h2", {}, "Filter"),
    h("button", { class: "button", type: "button", on: { click: () => dialog.close() } }, "Done")), place));
  dialog.addEventListener("close", () => dialog.remove());
  draw(sides[0]);
  document.body.append(dialog);
  dialog.showModal();
}

function facts({ map, place, pass, working }) {
  const all = map.sides.reduce((sum, side) => sum + side.items, 0), some = map.rows.length;
  const lines = [some < all ? `${some.toLocaleString("en")} of ${all.toLocaleString("en")} items, drawn at random` : `${all.toLocaleString("en")} items`];
  if (pass) lines.push(`${pass.reduce((sum, one) => sum + one, 0).toLocaleString("en")} pass the filter`);
  if (map.explained) lines.push(`these two axes explain ${(100 * (map.explained[0] + map.explained[1])).toFixed(1)} % of the variance`);
  if (place.dataset.surface === "Canvas") lines.push("drawn without a GPU");
  return `${lines.join("; ")}.${working ? ` ${working}` : ""}`;
}

const rgbOf = (parts) => `rgb(${parts.join(" ")})`;

/** Colour and name of every entry of the legend. */
export function legendOf({ run, legend }) {
  const now = theme();
  if (!legend) return [];
  if (legend.type === "number") return [0, 0.5, 1].map((t) => [rgbOf(continuous(t, now)), short(legend.low + t * (legend.high - legend.low))]);
  if (legend.type === "sides") return legend.entries.map((one) => [SIDES[now][one.right ? 1 : 0], nameOf(run, one.name)]);
  return legend.entries.map((one) => [one.code === 255 ? OTHER[now] : CATEGORIES[now][one.code], one.name]);
}

function drawLegend(page, act) {
  const { run, legend } = page, named = legendOf(page);
  const entry = (one, i, diamond, pressed, click, title) => h("li", {}, h("button", { type: "button", "aria-pressed": String(pressed), title, on: { click } },
    h("span", { class: `swatch${diamond ? " diamond" : ""}`, style: { "--swatch": named[i][0] } }), h("span", {}, one), h("span", { class: "quiet number" }, legend.entries[i].count.toLocaleString("en"))));
  if (legend.type === "number") {
    return h("div", {}, h("div", { class: "ramp", style: { background: `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((t) => rgbOf(continuous(t, theme()))).join(", ")})` } }),
      h("div", { class: "ramp-ends" }, h("span", {}, short(legend.low)), h("span", {}, short(legend.high))));
  }
  if (legend.type === "sides") {
    return h("ul", { class: "legend" }, legend.entries.map((one, i) => entry(`${nameOf(run, one.name)}: ${MANY[run.sides[one.name].kind]}`, i, one.right, !page.hidden.has(one.name), () => act.hide(one.name), "Show or hide this side")));
  }
  return h("ul", { class: "legend" }, legend.entries.map((one, i) => entry(one.name, i, false, page.alone === one.code, () => act.alone(one.code), "Show only these")));
}

function short(x) { return Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(2) : String(Number(x.toPrecision(4))); }
