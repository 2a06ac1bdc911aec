// The list of the keys of the search.

import { h, icon } from "./dom.js";

const KEYS = { "/": "Focus the field", "↑ ↓ ← →": "Walk the results", Enter: "Details of a result", s: "Find similar to a result", a: "Add a result to the query", Esc: "Close what is open", "?": "This list" };

/** Show the list. */
export function showKeys() {
  const before = document.activeElement;
  const dialog = h("dialog", { class: "keys", "aria-labelledby": "keys-title" },
    h("div", { class: "row between" }, h("h2", { id: "keys-title" }, "Keys"), h("button", { class: "icon-button plain", type: "button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"))),
    h("dl", {}, Object.entries(KEYS).map(([key, text]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)))));
  dialog.addEventListener("close", () => { dialog.remove(); before?.focus?.(); });
  document.body.append(dialog);
  dialog.showModal();
}
