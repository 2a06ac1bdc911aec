// Figures of results: values with intervals and baselines on one axis, what members bring, confusion, calibration.

import { chart, ticks } from "./chart.js";
import { h } from "./dom.js";
import { arrow, bounds, count, few, fewTag, isRank, number, signed } from "./numbers.js";

/** Signs of baselines, which are told apart without colours. */
const SIGNS = ["◇", "△", "□", "▽", "○", "☆"];
const wrap = (label, ...children) => h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": label }, ...children);
const head = (names) => h("thead", {}, h("tr", {}, names.map(([name, kind]) => h("th", { scope: "col", class: kind }, name))));

/** A strip of an axis from..to: an interval, its value, and marks {at, sign, title}. */
export function strip(one, { from = 0, to = 1, marks = [], zero = null, grid = [] } = {}) {
  const at = (x) => `${(100 * (Math.min(to, Math.max(from, x)) - from)) / (to - from || 1)}%`;
  const known = one.low !== null && one.low !== undefined;
  return h("div", { class: "strip", "aria-hidden": "true" },
    grid.map((x) => h("i", { class: "strip-grid", style: { left: at(x) } })),
    zero === null ? null : h("i", { class: "strip-zero", style: { left: at(zero) } }),
    known ? h("i", { class: `strip-range${few(one) ? " few" : ""}`, style: { left: at(one.low), width: `calc(${at(one.high)} - ${at(one.low)})` } }) : null,
    marks.map(({ at: x, sign, title }) => h("i", { class: "strip-mark", title, style: { left: at(x) } }, sign)),
    one.value === null || one.value === undefined ? null : h("i", { class: "strip-value", style: { left: at(one.value) } }));
}

/** The numbers along a strip's axis. */
const axis = (values, form, from, to) => h("div", { class: "strip strip-axis", "aria-hidden": "true" }, values.map((x) => h("span", { style: { left: `${(100 * (x - from)) / (to - from)}%` } }, form(x))));

/** All measures of a run on one axis of percent, each with its interval and the baselines beside it. */
export function resultsPlot({ results, baselines: beside = {}, sides = {} }) {
  const baselines = Object.entries(beside).filter(([, one]) => one.results?.length);
  const other = (list, one) => list.find((each) => each.direction === one.direction && each.measure === one.measure)?.value;
  const grid = [0, 0.25, 0.5, 0.75, 1], groups = group(results);
  const chance = results.some((one) => one.chance !== undefined);
  const row = (one) => {
    const marks = isRank(one.measure) ? [] : [...baselines.map(([name, each], i) => ({ at: other(each.results, one), sign: SIGNS[i % SIGNS.length], title: name })), ...(one.chance === undefined ? [] : [{ at: one.chance, sign: "┊", title: "chance" }])].filter(({ at }) => at !== undefined && at !== null);
    return h("tr", {}, h("th", { scope: "row" }, one.measure),
      h("td", { class: "strip-cell" }, isRank(one.measure) ? h("span", { class: "quiet" }, `of ${count(one.n_candidates ?? 0)}; 1 is best`) : strip(one, { marks, grid })),
      h("td", { class: "value" }, h("strong", {}, number(one.measure, one.value)), " ", h("span", { class: "interval" }, bounds(one))));
  };
  return h("div", { class: "results-plot" },
    h("p", { class: "strip-legend" }, h("span", {}, h("i", { class: "strip-value" }), " this run, with its 95 % interval"), baselines.map(([name], i) => h("span", {}, h("i", {}, SIGNS[i % SIGNS.length]), ` ${name}`)), chance ? h("span", {}, h("i", {}, "┊"), " chance") : null),
    wrap("Measures", h("table", { class: "results-table" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Measure"), h("th", { class: "strip-cell" }, h("span", { class: "visually-hidden" }, "Drawn, in percent"), axis(grid, (x) => `${100 * x}`, 0, 1)), h("th", { scope: "col", class: "value" }, "Value, 95 % interval"))),
      [...groups].map(([direction, rows]) => h("tbody", {}, direction ? h("tr", { class: "group-row" }, h("th", { colspan: 3, scope: "rowgroup" }, arrow(direction, sides))) : null, rows.map(row))))));
}

function group(results) {
  const found = new Map();
  for (const one of results) found.set(one.direction, [...(found.get(one.direction) ?? []), one]);
  return found;
}

/** The same as numbers, with every baseline's value in a column. */
export function numbersTable({ results, baselines: beside = {}, sides = {} }) {
  const baselines = Object.entries(beside);
  const find = (list, one) => list?.find((each) => each.direction === one.direction && each.measure === one.measure);
  return wrap("Numbers", h("table", { class: "numbers-table" }, head([["direction"], ["measure"], ["value", "number"], ["95 % interval"], ...baselines.map(([name]) => [name, "number"])]),
    h("tbody", {}, results.map((one) => h("tr", {}, h("td", {}, arrow(one.direction, sides)), h("td", {}, one.measure), h("td", { class: "number" }, h("strong", {}, number(one.measure, one.value))), h("td", {}, bounds(one)),
      baselines.map(([, each]) => h("td", { class: "number" }, number(one.measure, find(each.results, one)?.value))))))));
}

/** What each member of a mixture brings on the validation split, by a paired interval; null where none is said. */
export function ablation(fit, groups) {
  const members = fit?.mixture ?? [], used = members.filter((one) => one.weight > 0), out = members.filter((one) => !(one.weight > 0));
  if (!members.length) return null;
  const ends = used.flatMap((one) => [one.low, one.high, one.brings]).filter(Number.isFinite), most = Math.max(0.01, ...ends.map(Math.abs)) * 1.08;
  const values = ticks(-most, most, 4), points = (x) => (100 * x).toFixed(1), warn = { few_groups: groups !== undefined && groups < 10, n_groups: groups };
  return h("section", { class: "card", "aria-label": "What each member brings" }, h("h3", {}, "What each member brings"),
    fit.said ? h("p", { class: "muted" }, sentence(fit.said)) : null,
    ends.length ? wrap("Members", h("table", { class: "results-table ablation" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Member"), h("th", { class: "strip-cell" }, h("span", { class: "visually-hidden" }, "Drawn"), axis(values, (x) => `${x > 0 ? "+" : ""}${Number((100 * x).toPrecision(2))}`, -most, most)), h("th", { scope: "col", class: "number" }, "Brings"), h("th", { scope: "col", class: "number" }, "Alone"), h("th", { scope: "col", class: "number" }, "Weight"))),
      h("tbody", {}, used.map((one) => h("tr", {}, h("th", { scope: "row" }, one.member), h("td", { class: "strip-cell" }, Number.isFinite(one.brings) ? strip({ ...one, value: one.brings, ...warn }, { from: -most, to: most, zero: 0, grid: values }) : null),
        h("td", { class: "number" }, Number.isFinite(one.brings) ? [signed("", one.brings), h("span", { class: "quiet" }, ` [${points(one.low)}, ${points(one.high)}]`), few(warn) ? [" ", fewTag(warn)] : null] : "–"), h("td", { class: "number" }, points(one.validation)), h("td", { class: "number" }, one.weight.toFixed(2))))))) : used.length === 1 ? h("p", {}, "One member is used: ", h("strong", {}, used[0].member), `, ${points(used[0].validation)} on validation.`) : null,
    h("p", { class: "quiet" }, ends.length ? `${fit.monitor ?? "MRR"} on the validation split in points: with all members, less without this one; 95 % intervals, paired by query.` : `${fit.monitor ?? "MRR"} on the validation split.`,
      out.length ? ` Left out, as they did not help: ${out.map((one) => `${one.member} (${points(one.validation)} alone)`).join(", ")}.` : ""));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!]$/.test(text) ? "" : ".");

/** Counts of true classes (rows) against predicted ones, as shares of each row. */
export function confusion({ names, confusion: counts }) {
  const n = names.length, cell = Math.max(10, Math.min(44, 520 / n)), worst = [];
  counts.forEach((row, i) => row.forEach((x, j) => { if (i !== j && x) worst.push([x, names[i], names[j]]); }));
  worst.sort((a, b) => b[0] - a[0]);
  const most = worst.slice(0, 3).map(([x, a, b]) => `${a} as ${b} (${x})`).join(", "), named = n <= 24;
  return h("figure", { class: "chart confusion" }, h("figcaption", {}, h("strong", {}, "Confusion"), h("span", { class: "quiet" }, "true class in rows, predicted in columns")),
    h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Confusion" }, h("table", { class: "confusion-table", style: { "--cell": `${cell}px` } },
      named ? h("thead", {}, h("tr", {}, h("th", {}, h("span", { class: "visually-hidden" }, "true class")), names.map((name) => h("th", { scope: "col", title: name }, h("span", {}, name))))) : null,
      h("tbody", {}, counts.map((row, i) => {
        const sum = row.reduce((a, b) => a + b, 0) || 1;
        return h("tr", {}, h("th", { scope: "row", title: names[i] }, named ? names[i] : h("span", { class: "visually-hidden" }, names[i])), row.map((x, j) => h("td", { class: i === j ? "right" : "", title: `${names[i]} as ${names[j]}: ${x} of ${sum}`, style: { "--share": (x / sum).toFixed(3) }, dataset: x / sum > 0.5 ? { deep: "" } : {} }, n <= 16 && x ? String(x) : null)));
      })))),
    most ? h("p", { class: "quiet" }, `Most often mistaken: ${most}.`) : null);
}

/** Stated probabilities against what the test split found, of every direction that is calibrated. */
export function calibration(records = {}, sides) {
  const curves = Object.entries(records).filter(([, one]) => one.test?.reliability?.length > 1).map(([direction, one], i) => ({
    name: arrow(direction, sides), colour: i ? "var(--right)" : "var(--left)", dots: true, points: one.test.reliability.filter((bin) => bin.n).map((bin) => [bin.mean_probability, bin.share_right]) }));
  const error = Object.entries(records).filter(([, one]) => Number.isFinite(one.test?.ECE)).map(([direction, one]) => `${arrow(direction, sides)} ${(100 * one.test.ECE).toFixed(1)}`).join(", ");
  return chart("Calibration", curves, { x: "stated probability", y: "share right", range: [0, 1], diagonal: true, last: false, note: error ? `Expected calibration error in points: ${error}.` : "" });
}

/** Share of queries whose first relevant item is within rank k. */
export function ranks(curves, sides) {
  return chart("First relevant item within rank k", curves.map((one, i) => ({ name: arrow(one.direction, sides), colour: i ? "var(--right)" : "var(--left)", points: one.points.map(([k, share]) => [k, share]) })), { x: "rank k", y: "share of queries", log: true, range: [0, 1], last: false });
}

/** Scores of related pairs of the test split and of random ones. */
export function histogram({ edges, related, random, pairs }) {
  const middle = (shares) => shares.map((share, i) => [(edges[i] + edges[i + 1]) / 2, share]);
  return chart("Scores of related and random pairs", [{ name: "related", colour: "var(--left)", area: true, points: middle(related) }, { name: "random", colour: "var(--ink-3)", area: true, points: middle(random) }], { x: "score", y: "share of pairs", last: false, note: `${count(pairs)} related pairs of the test split.` });
}

/** The groups of queries with the lowest values; null where they tell nothing. */
export function groups({ worst = [], measure, n }) {
  const rows = worst.filter((one) => one.n > 1);
  if (!rows.length) return null;
  const grid = [0, 0.5, 1];
  if (rows.every((one) => !one.value)) return h("figure", { class: "chart" }, h("figcaption", {}, h("strong", {}, `Groups with ${measure} of 0`)), h("p", {}, rows.map((one) => `${one.name} (${one.n})`).join(", ")), h("p", { class: "quiet" }, `Number of queries in brackets${n ? `; ${count(n)} groups in all` : ""}.`));
  return h("figure", { class: "chart" }, h("figcaption", {}, h("strong", {}, `Worst groups by ${measure}`)), wrap("Worst groups", h("table", { class: "results-table" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Group"), h("th", { class: "strip-cell" }, h("span", { class: "visually-hidden" }, "Drawn"), axis(grid, (x) => `${100 * x}`, 0, 1)), h("th", { scope: "col", class: "number" }, measure), h("th", { scope: "col", class: "number" }, "Queries"))),
    h("tbody", {}, rows.map((one) => h("tr", {}, h("th", { scope: "row" }, String(one.name)), h("td", { class: "strip-cell" }, strip(one, { grid })), h("td", { class: "number" }, number(measure, one.value)), h("td", { class: "number" }, count(one.n))))))));
}
