// The bar above the results: which side is searched, filters, groups, options, sharing; and the filters as chips.

import { call } from "./api.js";
import { h, icon, set } from "./dom.js";
import { itemsOf } from "./results.js";
import { popover } from "./popover.js";

const SIGNS = { ">=": "≥", "<=": "≤", ">": ">", "<": "<", "!=": "is not", contains: "contains", "==": ":" };
const shown = (value) => (value === null ? "missing" : value === "" ? "empty" : Array.isArray(value) ? value.map(shown).join(" or ") : String(value));

/** Conditions of a filter one by one, as { text, without }: the words for it, and the filter that is left without it. */
export function conditions(where) {
  return Object.entries(where).flatMap(([name, one]) => {
    const { [name]: _, ...others } = where;
    if (one === null || typeof one !== "object" || Array.isArray(one)) return [{ text: `${name}: ${shown(one)}`, without: others }];
    return Object.entries(one).map(([sign, value]) => {
      const { [sign]: gone, ...left } = one;
      return { text: `${name} ${SIGNS[sign] ?? sign} ${shown(value)}`, without: Object.keys(left).length ? { ...others, [name]: left } : others };
    });
  });
}

/** Columns that several items share, so that results can be grouped by them. */
export const groupable = (side) => side.columns.filter((one) => !one.several && one.distinct > 1 && one.distinct < side.items);

/**
 * The popover of filters, with the number of items beside each value. now(): { query, target, side }, where side may leave
 * out columns; change({ where }).
 */
export function filterPop(run, now, change) {
  let facets = null, of = "", counting = null;
  const self = popover("Filter", "filter", async () => {
    const { filters, counted } = await import("./filters.js"), { query, target, side } = now(), form = filters(side, query, change);
    if (target !== of) { facets = null; of = target; }
    if (facets) form.show(facets);
    count(query, target, counted(side), form);
    return form;
  });

  /** Show beside each value of the filters how many items have it; without, where the server cannot say. */
  async function count({ where }, target, names, form) {
    if (!names.length) return;
    counting?.abort();
    counting = new AbortController();
    const body = { run: run.name, facets: names, ...(run.one_table ? {} : { to: target }), ...(Object.keys(where).length ? { where } : {}) };
    try {
      ({ facets } = await call("/search", { json: body, signal: counting.signal }));
      form.show(facets);
    } catch { /* the filters work without */ }
  }
  return Object.assign(self, { stop() { counting?.abort(); self.close(); } });
}

/** A chip that undoes a condition when it is pressed. */
export function undo(text, act, name = `Remove the filter ${text}`) {
  return h("button", { class: "chip", type: "button", "aria-label": name, title: name, on: { click: act } }, h("span", {}, text), icon("close"));
}

/** The bar of a run: element, draw(run, query, target), stop(). page: change, query(), exported(), combine(), added(item). */
export function bar(run, page) {
  let now = null, target = "";
  const sides = h("div", { class: "segments", role: "group", "aria-label": "Results are" });
  const element = h("div", { class: "bar" }), tools = h("div", { class: "bar-tools" }), conditionChips = h("div", { class: "conditions" });
  const change = page.change;

  const filter = filterPop(run, () => ({ query: now, target, side: run.sides[target] }), change);
  const group = popover("Group", "group", () => h("fieldset", { class: "filter" }, h("legend", {}, "One result for each"), h("div", { class: "radio-list" }, ["", ...groupable(run.sides[target]).map((one) => one.name)].map((name) =>
    h("label", { class: "check" }, h("input", { type: "radio", name: "group", value: name, checked: now.collapse === name, on: { change: () => change({ collapse: name }) } }), name || "item, no groups")))), { narrow: true });
  const options = popover("Options", "options", async () => (await import("./options.js")).options(run, now, target, { change, combine() { options.close(); page.combine(); } }), { narrow: true });
  const share = popover("Share", "share", async () => (await import("./share.js")).share(run, now, page.exported(), { added: page.added, close: () => share.close() }), { narrow: true });
  set(tools, filter.element, group.element, options.element, share.element);
  set(element, sides, tools, conditionChips);

  return {
    element,
    draw(of, query, to) {
      run = of; now = query; target = to;
      element.hidden = !query.inputs.length;
      const names = Object.keys(run.sides), focused = sides.contains(document.activeElement) ? document.activeElement.dataset.side : null;
      sides.hidden = names.length < 2;
      set(sides, names.map((name) => h("button", { type: "button", dataset: { side: name }, "aria-pressed": String(name === to), on: { click: () => change({ to: name, where: {}, collapse: "" }) } }, h("span", { class: `dot ${name}` }), itemsOf(run, name))));
      if (focused) sides.querySelector(`[data-side="${focused}"]`)?.focus();
      const active = conditions(query.where), side = run.sides[to];
      filter.element.hidden = !side?.columns.length;
      group.element.hidden = !side || !groupable(side).length;
      filter.mark(active.length || "");
      group.mark(query.collapse);
      options.mark([query.beside, query.mmr, query.min_score !== null, query.fallback, query.show].filter(Boolean).length || "");
      for (const one of [filter, group, options, share]) one.refresh();
      set(conditionChips, active.map(({ text, without }) => undo(text, () => change({ where: without }))),
        active.length > 1 ? h("button", { class: "button small plain", type: "button", on: { click: () => change({ where: {} }) } }, "Clear filters") : null);
    },
    stop() { filter.stop(); for (const one of [group, options, share]) one.close(); },
  };
}
