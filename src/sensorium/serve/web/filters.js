// Conditions on the columns of the side that is searched.

import { debounced, h, set } from "./dom.js";

/** How many conditions a filter has. */
export function count(where) { return Object.keys(where).length; }

const key = (value) => (value === null ? "\0" : String(value));
const named = (value) => (value === null ? "(missing)" : String(value) === "" ? "(empty)" : String(value));

/** Check boxes of a column's values, each with the number of items that choosing it would show. */
function values(column, where, changed) {
  const chosen = new Set((column.name in where ? [where[column.name]].flat() : []).map(key)), every = [...column.values, null];
  const boxes = every.map((one) => {
    const number = h("span", { class: "quiet number" });
    const box = h("label", { class: "chip", hidden: one === null && !chosen.has(key(null)) }, h("input", { type: "checkbox", checked: chosen.has(key(one)), on: { change(event) {
      if (event.target.checked) chosen.add(key(one)); else chosen.delete(key(one));
      const next = every.filter((v) => chosen.has(key(v)));
      changed(column.name, next.length ? next : undefined);
    } } }), h("span", {}, named(one)), number);
    return { one, box, number };
  });
  const element = h("fieldset", { class: "filter" }, h("legend", {}, column.name), h("div", { class: "filter-values" }, boxes.map(({ box }) => box)));
  element.show = (facet) => {
    const counts = new Map((facet.values ?? []).map(({ value, count: n }) => [key(value), n]));
    for (const { one, box, number } of boxes) {
      const n = one === null ? facet.missing : counts.get(key(one)) ?? 0;
      set(number, n.toLocaleString("en"));
      box.classList.toggle("none", !n);
      if (one === null) box.hidden = !n && !chosen.has(key(null));
    }
  };
  return element;
}

function range(column, where, changed) {
  const now = typeof where[column.name] === "object" && !Array.isArray(where[column.name]) ? where[column.name] : {};
  const field = (sign, text) => h("input", {
    class: "input", type: "number", step: "any", placeholder: text, "aria-label": `${column.name} ${text}`, value: now[sign] ?? "",
    on: { change(event) {
      const next = { ...now };
      if (event.target.value === "" || !Number.isFinite(+event.target.value)) delete next[sign]; else next[sign] = +event.target.value;
      changed(column.name, Object.keys(next).length ? next : undefined);
    } },
  });
  const bars = h("div", { class: "bars", "aria-hidden": "true" }), ends = h("span", { class: "quiet" });
  const element = h("fieldset", { class: "filter" }, h("legend", {}, column.name, " ", ends), bars, h("div", { class: "row" }, field(">=", "at least"), field("<=", "at most")));
  element.show = (facet) => {
    const most = Math.max(1, ...(facet.ranges ?? []).map((one) => one.count));
    set(bars, (facet.ranges ?? []).map((one) => h("i", { title: `${one.from} to ${one.to}: ${one.count}`, style: { "--share": one.count / most } })));
    set(ends, facet.min === null || facet.min === undefined ? "" : `${short(facet.min)} to ${short(facet.max)}`);
  };
  return element;
}

const short = (number) => (Number.isInteger(number) ? number.toLocaleString("en") : Number(number).toPrecision(4));

function exact(column, where, changed) {
  const report = debounced((text) => changed(column.name, text === "" ? undefined : text), 350);
  return h("div", { class: "field filter" }, h("label", { for: `filter-${column.name}` }, column.name),
    h("input", { class: "input", id: `filter-${column.name}`, placeholder: "exactly", value: typeof where[column.name] === "string" ? where[column.name] : "", on: { input: (event) => report(event.target.value) } }));
}

/** The columns whose values can be counted for their filters. */
export function counted(side) {
  return side.columns.filter((column) => column.values.length || column.type === "number").map((column) => column.name).slice(0, 100);
}

/** What is shown of the hits: one a group, a least score, and what fills up. changed(next): the changed options. */
function hitOptions(side, query, changed) {
  const groups = side.columns.filter((column) => !column.several).map((column) => column.name);
  return h("fieldset", { class: "filter" }, h("legend", {}, "Results"), h("div", { class: "stack tight" },
    groups.length ? h("label", { class: "field" }, h("span", { class: "label" }, "One result per"),
      h("select", { class: "select", value: query.collapse, on: { change: (event) => changed({ collapse: event.target.value }) } },
        h("option", { value: "" }, "item"), groups.map((name) => h("option", { value: name }, name)))) : null,
    h("label", { class: "field" }, h("span", { class: "label" }, "Least score"),
      h("input", { class: "input", type: "number", step: "any", placeholder: "none", value: query.min_score ?? "", on: { change: (event) =>
        changed({ min_score: event.target.value === "" || !Number.isFinite(+event.target.value) ? null : +event.target.value }) } })),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: query.fallback !== null, on: { change: (event) => changed({ fallback: event.target.checked ? {} : null }) } }),
      "Fill up with other items")));
}

/**
 * The form of all columns of a side; changed(next) is called with the options that change. Its show(facets) adds counts.
 * options: whether the form has the options of hits, too.
 */
export function filters(side, query, changed, { options = true } = {}) {
  const change = (name, condition) => {
    const next = { ...query.where };
    if (condition === undefined) delete next[name]; else next[name] = condition;
    changed({ where: next });
  };
  const columns = [...side.columns].sort((a, b) => (b.values.length > 0) - (a.values.length > 0));
  const forms = columns.map((column) => [column.name,
    column.values.length ? values(column, query.where, change) : column.type === "number" ? range(column, query.where, change) : exact(column, query.where, change)]);
  const element = h("div", { class: "filters" }, options ? hitOptions(side, query, changed) : null, forms.map(([, form]) => form),
    columns.length ? null : h("p", { class: "muted" }, "These items have no columns to filter by."));
  element.show = (facets) => { for (const [name, form] of forms) if (facets[name]) form.show?.(facets[name]); };
  return element;
}
