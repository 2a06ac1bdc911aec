// The options of a search: comparison, diversity, how many results, how they are named, minimum score.

import { debounced, h, icon } from "./dom.js";

const COMPARE = { "": "Nothing", correction: "With and without hubness correction", encoder: "Fitted head and encoder alone" };

/** The nodes of the panel. actions: change(next, {soon}), combine() for another input. */
export function options(run, query, target, { change, combine }) {
  const side = run.sides[target];
  const ways = ["", ...(run.corrected.length ? ["correction"] : []), ...(Object.values(run.sides).some((one) => one.raw) ? ["encoder"] : [])];
  const select = (text, value, choices, changed) => (choices.length < 2 ? null : h("label", { class: "field" }, h("span", { class: "label" }, text),
    h("select", { class: "select", value, "aria-label": text, on: { change: (event) => changed(event.target.value) } }, choices.map(([key, name]) => h("option", { value: key }, name)))));
  const vary = debounced((value) => change({ mmr: value }, { soon: true }), 150);
  const names = side.columns.filter((one) => one.type === "text" && one.distinct > 1).map((one) => [one.name === side.display ? "" : one.name, one.name]);
  return h("div", { class: "stack" },
    select("Compare", query.beside, ways.map((one) => [one, COMPARE[one]]), (beside) => change({ beside })),
    h("label", { class: "field", title: "Maximal marginal relevance: how much results should differ from one another" }, h("span", { class: "label" }, "Diversity"),
      h("input", { type: "range", min: 0, max: 1, step: 0.05, value: query.mmr, "aria-label": "Diversity", on: { input: (event) => vary(+event.target.value) } })),
    select("Results", query.k, [...new Set([6, 12, 24, 48, 96, query.k])].sort((a, b) => a - b).map((k) => [k, k]), (k) => change({ k: +k })),
    select("Name items by", query.show === side.display ? "" : query.show, side.display ? names : [["", "id"], ...names], (show) => change({ show })),
    h("label", { class: "field" }, h("span", { class: "label" }, "Minimum score"), h("input", { class: "input", type: "number", step: "any", placeholder: "none", value: query.min_score ?? "", on: { change: (event) =>
      change({ min_score: event.target.value === "" || !Number.isFinite(+event.target.value) ? null : +event.target.value }) } })),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: query.fallback !== null, on: { change: (event) => change({ fallback: event.target.checked ? {} : null }) } }), "Fill up with other items"),
    h("button", { class: "button", type: "button", on: { click: combine } }, icon("plus"), "Add another input"));
}
