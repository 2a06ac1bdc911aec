// Type-ahead below a text field: recent searches, classes, or items whose text holds what is typed.

import { call, url } from "./api.js";
import { debounced, h, icon, set } from "./dom.js";

const RECENT = 8; // searches that are remembered for a run

const keyOf = (run) => `sensorium.recent.${run.name}`;

/** The recent searches of a run, newest first: { text, hash } each. */
export function recent(run) {
  try { return JSON.parse(localStorage.getItem(keyOf(run)) ?? "[]").filter((one) => typeof one.text === "string" && typeof one.hash === "string"); } catch { return []; }
}

/** Remember a search that found something; one text is remembered once, and what was typed on the way to it is not. */
export function remember(run, text, hash) {
  const others = recent(run).filter((one) => one.text !== text && !text.startsWith(one.text));
  try { localStorage.setItem(keyOf(run), JSON.stringify([{ text, hash }, ...others].slice(0, RECENT))); } catch { /* storage is switched off */ }
}

/**
 * Make a text field a combobox. items: whether typed text looks for items of the run; classes: of a class table, as
 * { id, side, text } each. chosen(suggestion): an item, or a recent search with a hash. Returns { element, close, first }.
 */
export function suggest(run, field, { items, classes }, chosen) {
  const list = h("ul", { class: "suggest", role: "listbox", id: "suggestions", "aria-label": "Suggestions", hidden: true });
  let shown = [], at = -1, turn = 0;
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": "suggestions" })) field.setAttribute(name, value);

  function draw(next, title) {
    shown = next;
    at = -1;
    list.hidden = !next.length;
    field.setAttribute("aria-expanded", String(!list.hidden));
    field.removeAttribute("aria-activedescendant");
    set(list, title && next.length ? h("li", { class: "suggest-title", role: "presentation" }, title) : null, next.map((one, i) => h("li", {
      role: "option", id: `suggestion-${i}`, "aria-selected": "false",
      on: { pointerdown(event) { event.preventDefault(); take(i); } },
    }, icon(one.hash ? "undo" : "search"), h("span", { class: "suggest-text" }, one.text), one.side && Object.keys(run.sides).length > 1 && !classes ? h("span", { class: "quiet" }, run.sides[one.side]?.name ?? "") : null)));
  }

  function take(i) { const one = shown[i]; close(); chosen(one); }

  function close() { turn++; ask.cancel(); draw([]); }

  function move(step) {
    if (!shown.length) return;
    at = (at + step + shown.length + (at < 0 && step < 0 ? 1 : 0)) % shown.length;
    list.querySelectorAll("[role=option]").forEach((one, i) => {
      one.setAttribute("aria-selected", String(i === at));
      if (i === at) one.scrollIntoView({ block: "nearest" });
    });
    field.setAttribute("aria-activedescendant", `suggestion-${at}`);
  }

  const matching = (text) => classes.filter((one) => one.text.toLowerCase().includes(text.toLowerCase()));
  const ask = debounced(async (text) => {
    const mine = ++turn;
    try {
      const found = await call(url(`/runs/${encodeURIComponent(run.name)}/suggest`, { q: text, n: 8 }));
      if (mine === turn && document.activeElement === field) draw(found.items);
    } catch { /* the field works without */ }
  }, 120);

  function look() {
    const text = field.value.trim();
    if (classes) draw(matching(text));
    else if (!text) draw(recent(run), "Recent");
    else if (items) ask(text);
    else draw([]);
  }

  field.addEventListener("input", look);
  field.addEventListener("click", () => { if (list.hidden) look(); });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && list.hidden) look();
    if (step) { move(step); event.preventDefault(); }
    else if (event.key === "Enter" && at >= 0) { event.preventDefault(); take(at); }
    else if (event.key === "Escape" && !list.hidden) { close(); event.preventDefault(); }
  });
  return {
    element: list, close,
    /** The best suggestion for a text, asked for anew; undefined without any. */
    async first(text) {
      if (classes) return classes.find((one) => one.text.toLowerCase() === text.toLowerCase()) ?? matching(text)[0];
      return (await call(url(`/runs/${encodeURIComponent(run.name)}/suggest`, { q: text, n: 1 }))).items[0];
    },
  };
}
