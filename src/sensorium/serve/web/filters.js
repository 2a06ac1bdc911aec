// Conditions on the columns of the side that is searched.

import { debounced, h } from "./dom.js";

/** How many conditions a filter has. */
export function count(where) { return Object.keys(where).length; }

function values(column, where, changed) {
  const chosen = new Set([where[column.name] ?? []].flat().map(String));
  return h("fieldset", { class: "filter" }, h("legend", {}, column.name), h("div", { class: "filter-values" }, column.values.map((one) => {
    const on = chosen.has(String(one));
    return h("button", { class: "chip", type: "button", "aria-pressed": String(on), on: { click() {
      if (on) chosen.delete(String(one)); else chosen.add(String(one));
      const next = column.values.filter((v) => chosen.has(String(v)));
      changed(column.name, next.length ? next : undefined);
    } } }, h("span", {}, String(one) === "" ? "(empty)" : String(one)));
  })));
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
  return h("fieldset", { class: "filter" }, h("legend", {}, column.name), h("div", { class: "row" }, field(">=", "at least"), field("<=", "at most")));
}

function exact(column, where, changed) {
  const report = debounced((text) => changed(column.name, text === "" ? undefined : text), 350);
  return h("div", { class: "field filter" }, h("label", { for: `filter-${column.name}` }, column.name),
    h("input", { class: "input", id: `filter-${column.name}`, placeholder: "exactly", value: typeof where[column.name] === "string" ? where[column.name] : "", on: { input: (event) => report(event.target.value) } }));
}

/** The form of all columns of a side; changed(where) is called with the whole filter. */
export function filters(side, where, changed) {
  const change = (name, condition) => {
    const next = { ...where };
    if (condition === undefined) delete next[name]; else next[name] = condition;
    changed(next);
  };
  const columns = [...side.columns].sort((a, b) => (b.values.length > 0) - (a.values.length > 0));
  if (!columns.length) return h("p", { class: "muted" }, "These items have no columns to filter by.");
  return h("div", { class: "filters" }, columns.map((column) =>
    column.values.length ? values(column, where, change) : column.type === "number" ? range(column, where, change) : exact(column, where, change)));
}
