// All runs as one table that is sorted, and curves of the selected ones; one run and comparisons are in modules of their own.

import { call, url } from "./api.js";
import { chart, hue } from "./chart.js";
import { context, go, link } from "./context.js";
import { h, icon, set, state } from "./dom.js";
import { strip } from "./figures.js";
import { sheet } from "./files.js";
import { line } from "./making.js";
import { arrow, bounds, day, isRank, number, signed, size } from "./numbers.js";

sheet("/runs.css");

const EVERY = 2000; // milliseconds between two looks while a run is being made; five times that otherwise
const SHOWN = 6; // runs whose curves are drawn at once
/** The columns: key, title, and what a row is sorted by. */
const COLUMNS = [
  ["name", "Run", (row) => row.name], ["data", "Data", (row) => row.data], ["encoders", "Encoders", (row) => row.encoders.join(" ")],
  ["objective", "Objective", (row) => row.objective], ["result", "Main measure", (row) => (row.main ? (isRank(row.main.measure) ? -row.main.value : row.main.value) : null)],
  ["difference", "To best baseline", (row) => row.baseline?.difference.value ?? null], ["made", "Date", (row) => row.made], ["size", "Size", (row) => row.bytes], ["state", "State", (row) => row.state],
];
const FALLING = new Set(["result", "difference", "made", "size"]); // largest first when chosen
let page = null;

/** Show all runs, one (#/runs/NAME), its data doctor (#/runs/NAME/doctor) or a comparison (#/runs?a=NAME&b=NAME&b=…). */
export async function show(root, { rest, query, again }) {
  leave();
  const mine = page = { stops: [], timer: 0, selected: new Set() }, keep = () => mine === page;
  const shown = again ? root : set(root);
  if (rest[1] === "doctor") {
    const module = await import("./doctor.js");
    if (keep()) { page.stops.push(() => module.hide?.()); await module.show(set(shown), { rest, query, again: false }); }
    return;
  }
  if (rest[0]) return (await import("./run.js")).show(shown, rest[0], query, page, keep, retry);
  if (query.get("a") && query.get("b")) return (await import("./compare.js")).show(shown, query.get("a"), query.getAll("b"), keep);
  await all(shown, query, keep);
}

export function hide() { leave(); }

export function retry() { window.dispatchEvent(new HashChangeEvent("hashchange")); }

function leave() {
  for (const stop of page?.stops ?? []) stop();
  clearTimeout(page?.timer);
  page = null;
}

/** A run's state as a tag. */
export function stateTag({ state: now, making }) {
  if (now === "broken") return h("span", { class: "tag bad" }, "Cannot be opened");
  if (making?.running) return h("span", { class: "tag warn", role: "status" }, { load: "Loading", embed: "Embedding", fit: "Training", evaluate: "Evaluating", index: "Indexing" }[making.stage] ?? "Starting");
  return now === "building" ? h("span", { class: "tag warn" }, "Interrupted") : h("span", { class: "tag good" }, "Ready");
}

async function all(root, query, keep) {
  const view = { order: query.get("sort") ?? "made", falling: query.get("order") ? query.get("order") === "desc" : FALLING.has(query.get("sort") ?? "made"), rows: [], text: "" };
  const place = h("div"), curves = h("section", { "aria-label": "Training curves", class: "overlay" }), bar = h("div", { class: "selection", "aria-live": "polite" });
  const sortBy = (key) => {
    view.falling = view.order === key ? !view.falling : FALLING.has(key);
    view.order = key;
    go(link("runs", { sort: key, order: view.falling ? "desc" : "asc" }), { replace: true, quiet: true });
    draw();
    place.querySelector(`[data-sort="${key}"] button`)?.focus();
  };
  const select = h("select", { class: "select", "aria-label": "Sort by", on: { change: (event) => { view.order = ""; sortBy(event.target.value); } } }, COLUMNS.map(([key, title]) => h("option", { value: key }, title)));
  set(root, h("div", { class: "row between head" }, h("h1", {}, "Runs"), h("div", { class: "row" }, bar, h("label", { class: "runs-sort" }, h("span", { class: "quiet" }, "Sort by "), select))), place, curves);

  const draw = () => {
    if (!view.rows.length) return set(place, state("empty", "No run is served", "Start the server with one: sensorium serve runs/glyphs"));
    const by = COLUMNS.find(([key]) => key === view.order)?.[2] ?? COLUMNS[0][2], way = view.falling ? -1 : 1;
    const rows = [...view.rows].sort((a, b) => {
      const [x, y] = [by(a), by(b)], none = (v) => v === null || v === undefined || v === "";
      return none(x) || none(y) ? none(x) - none(y) : way * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    select.value = view.order;
    const heads = COLUMNS.map(([key, title]) => h("th", { scope: "col", dataset: { sort: key }, "aria-sort": key === view.order ? (view.falling ? "descending" : "ascending") : undefined },
      h("button", { type: "button", on: { click: () => sortBy(key) } }, title, key === view.order ? h("span", { "aria-hidden": "true" }, view.falling ? " ↓" : " ↑") : null)));
    set(place, h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Runs" }, h("table", { class: "runs-table" },
      h("thead", {}, h("tr", {}, view.rows.length > 1 ? h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Select")) : null, heads)), h("tbody", {}, rows.map(tableRow)))));
  };
  const tableRow = (row) => {
    const { main, baseline, making } = row, cell = (key, ...children) => h("td", { class: `runs-${key}`, dataset: { title: COLUMNS.find(([one]) => one === key)?.[1] ?? "" } }, children);
    const id = `why-${row.name}`, no = row.why_not;
    const tick = h("input", { type: "checkbox", "aria-label": `Select ${row.name}`, checked: page.selected.has(row.name), disabled: Boolean(no), "aria-describedby": no ? id : undefined, on: { change: (event) => choose(row.name, event.target.checked) } });
    return h("tr", { class: page.selected.has(row.name) ? "selected" : "" },
      view.rows.length > 1 ? h("td", { class: "runs-tick" }, h("label", { class: "check", title: no ?? "" }, tick)) : null,
      h("th", { scope: "row", class: "runs-name" }, h("a", { href: link(`runs/${encodeURIComponent(row.name)}`) }, row.name),
        row.leaky ? [" ", h("span", { class: "tag bad", title: "Test items were in the training data; these numbers are too high." }, "Leaky")] : null,
        making ? h("p", { class: "quiet" }, line(making)) : row.state === "broken" ? h("p", { class: "quiet" }, "It cannot be opened. Its page says why.") : null,
        context.runs.find((run) => run.name === row.name)?.notices?.map((text) => h("p", { class: "quiet" }, text)),
        view.rows.length > 1 && no ? h("p", { class: "quiet why-not", id }, no) : null),
      cell("data", row.data ?? "–"), cell("encoders", row.encoders.length ? row.encoders.map((name, i) => [i ? " · " : null, name]) : "–"), cell("objective", row.objective ?? "–"),
      cell("result", main ? [h("div", {}, h("strong", {}, number(main.measure, main.value)), " ", h("span", { class: "quiet" }, bounds(main))),
        isRank(main.measure) ? null : strip(main, { marks: baseline?.value === null || !baseline ? [] : [{ at: baseline.value, sign: "◇", title: baseline.name }], grid: [0, 1] }),
        h("div", { class: "quiet" }, `${main.measure}${main.direction ? `, ${arrow(main.direction, row.sides)}` : ""}`)] : "–"),
      cell("difference", baseline ? [h("div", {}, h("strong", {}, signed(baseline.difference.measure, baseline.difference.value)), " ", h("span", { class: "quiet" }, bounds(baseline.difference, true))),
        h("div", { class: "quiet" }, `${baseline.difference.measure}, against ${baseline.name} ◇`)] : "–"),
      cell("made", row.made ? [day(row.made)[0], h("div", { class: "quiet" }, day(row.made)[1])] : "–"), cell("size", row.bytes ? size(row.bytes) : "–"), cell("state", stateTag(row)));
  };
  const choose = async (name, on) => {
    if (on) page.selected.add(name); else page.selected.delete(name);
    await look();
    if (keep()) place.querySelector(`[aria-label="Select ${CSS.escape(name)}"]`)?.focus();
  };
  const choice = () => {
    const chosen = [...page.selected], [a, ...others] = chosen;
    set(bar, chosen.length ? [h("span", { class: "quiet" }, `${chosen.length} selected`),
      h("button", { class: "button small", type: "button", on: { click: () => { page.selected.clear(); look(); } } }, "Clear"),
      h("button", { class: "button small primary", type: "button", disabled: chosen.length < 2, on: { click: () => go(`${link("runs", { a })}${others.map((b) => `&${new URLSearchParams({ b })}`).join("")}`) } }, icon("compare"), "Compare")] : null);
    overlay(curves, view.rows.filter((row) => page.selected.has(row.name)), keep);
  };
  const look = async () => {
    clearTimeout(page?.timer);
    const [first] = page.selected;
    const found = await call(url("/table", { beside: first })).catch((error) => (view.rows.length ? null : Promise.reject(error)));
    if (!keep()) return;
    const text = JSON.stringify([found?.rows, [...page.selected]]);
    if (found && text !== view.text) {
      Object.assign(view, { rows: found.rows, text });
      const was = document.activeElement?.getAttribute("aria-label");
      draw();
      choice();
      if (was?.startsWith("Select ")) place.querySelector(`[aria-label="${CSS.escape(was)}"]`)?.focus();
      if (context.runs.some((run) => run.state !== found.rows.find((row) => row.name === run.name)?.state)) context.refresh().catch(() => {});
    }
    page.timer = setTimeout(look, view.rows.some((row) => row.making?.running) ? EVERY : 5 * EVERY);
  };
  set(place, state("wait"));
  await look();
}

const histories = new Map();

/** The validation measure of the selected runs over epochs, on one axis. */
async function overlay(place, rows, keep) {
  if (!rows.length) return set(place);
  const found = await Promise.all(rows.slice(0, SHOWN).map(async (row) => {
    const key = `${row.name} ${row.made}`;
    if (!histories.has(key)) histories.set(key, await call(`/runs/${encodeURIComponent(row.name)}/history`).catch(() => ({ header: {}, events: [] })));
    return { name: row.name, ...histories.get(key) };
  }));
  if (!keep()) return;
  const measure = (one) => one.header.monitor ?? "validation";
  const points = (one) => one.events.filter((event) => event.member !== "all").map((event, i) => [event.epoch ?? i + 1, event[measure(one)] ?? event.validation]);
  const measures = [...new Set(found.filter((one) => one.events.length).map(measure))], without = found.filter((one) => !one.events.length).map((one) => one.name);
  const drawn = measures.map((which) => chart(`${which} on the validation split`, found.map((one, i) => ({ name: one.name, colour: hue(i), points: one.events.length && measure(one) === which ? points(one) : [] })), { x: "epoch" }));
  set(place, h("h2", {}, "Training curves"), drawn.filter(Boolean).map((one) => h("div", { class: "card" }, one)),
    without.length ? h("p", { class: "quiet" }, `Solved in closed form, without epochs: ${without.join(", ")}.`) : null,
    rows.length > SHOWN ? h("p", { class: "quiet" }, `The first ${SHOWN} of ${rows.length} are drawn.`) : null);
}
