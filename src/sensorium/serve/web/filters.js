// Conditions on the columns of the side that is searched: values, text within, ranges, each with its counts.

import { debounced, h, set } from "./dom.js";

/** How many conditions a filter has. */
export function count(where) { return Object.keys(where).length; }

const key = (value) => (value === null ? "\0" : String(value));
const named = (value) => (value === null ? "(missing)" : String(value) === "" ? "(empty)" : String(value));
const isSigned = (one) => typeof one === "object" && one !== null && !Array.isArray(one);

/** Check boxes of a column's values, each with the number of items that choosing it would show. */
function values(column, where, changed) {
  const now = where[column.name], chosen = new Set((column.name in where && !isSigned(now) ? [now].flat() : []).map(key)), every = [...column.values, null];
  const boxes = every.map((one) => {
    const number = h("span", { class: "quiet number" });
    const box = h("label", { class: "chip", hidden: one === null && !chosen.has(key(null)) }, h("input", { type: "checkbox", checked: chosen.has(key(one)), on: { change(event) {
      if (event.target.checked) chosen.add(key(one)); else chosen.delete(key(one));
      const next = every.filter((v) => chosen.has(key(v)));
      changed(column.name, next.length > 1 ? next : next.length ? next[0] : undefined);
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
  const now = isSigned(where[column.name]) ? where[column.name] : {};
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

/** A field for a column of many texts: text within, or the whole text. */
function text(column, where, changed) {
  const now = where[column.name], within = !(column.name in where) || isSigned(now), value = typeof now === "string" ? now : now?.contains ?? "";
  const report = debounced(() => changed(column.name, field.value === "" ? undefined : way.value === "is" ? field.value : { contains: field.value }), 350);
  const field = h("input", { class: "input", id: `filter-${column.name}`, "aria-label": `${column.name}: text`, value, on: { input: report } });
  const way = h("select", { class: "select", "aria-label": `${column.name}: how`, value: within ? "contains" : "is", on: { change: () => { if (field.value) report(); } } },
    ["contains", "is"].map((one) => h("option", { value: one }, one)));
  return h("fieldset", { class: "filter" }, h("legend", {}, column.name), h("div", { class: "row" }, way, field));
}

/** The columns whose values can be counted for their filters. */
export function counted(side) {
  return side.columns.filter((column) => column.values.length || column.type === "number").map((column) => column.name).slice(0, 100);
}

/** The form of all columns of a side; changed(next) is called with the options that change. Its show(facets) adds counts. */
export function filters(side, query, changed) {
  const change = (name, condition) => {
    const next = { ...query.where };
    if (condition === undefined) delete next[name]; else next[name] = condition;
    changed({ where: next });
  };
  // a column of one value is no choice
  const columns = side.columns.filter((column) => column.distinct !== 1 || column.name in query.where).sort((a, b) => (b.values.length > 0) - (a.values.length > 0));
  const forms = columns.map((column) => [column.name,
    column.values.length ? values(column, query.where, change) : column.type === "number" ? range(column, query.where, change) : text(column, query.where, change)]);
  const element = h("div", { class: "filters" }, forms.map(([, form]) => form),
    columns.length ? null : h("p", { class: "muted" }, "These items have no columns to filter by."));
  element.show = (facets) => { for (const [name, form] of forms) if (facets[name]) form.show?.(facets[name]); };
  return element;
}
