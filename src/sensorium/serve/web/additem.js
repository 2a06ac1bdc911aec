// A dialog that adds an item to the run: durably, and searchable at once.

import { call, Problem } from "./api.js";
import { h, icon, set } from "./dom.js";
import { base64 } from "./query.js";
import { nameOf } from "./results.js";
import { explain } from "./words.js";

/** Open the dialog. added({ id, side }) is called when the item is there. */
export function addItem(run, added) {
  const before = document.activeElement, choices = Object.keys(run.sides).filter((side) => run.sides[side].takes !== "vectors");
  const trouble = h("p", { class: "note bad", role: "alert", hidden: true }), values = h("div", { class: "stack" });
  const side = h("select", { class: "select", on: { change: draw } }, choices.map((one) => h("option", { value: one }, run.one_table ? "item" : nameOf(run, one))));
  const id = h("input", { class: "input", required: true, maxlength: 500, autocomplete: "off" });
  let content = null, columns = {};

  function field(text, input) { input.setAttribute("aria-label", text); return h("label", { class: "field" }, h("span", { class: "label" }, text), input); }

  function draw() {
    const one = run.sides[side.value], isText = one.takes === "text";
    content = isText ? h("textarea", { class: "input", rows: 3, required: true, maxlength: 10000 }) : h("input", { class: "input", type: "file", required: true, accept: ["image", "audio"].includes(one.kind) ? `${one.kind}/*` : "" });
    columns = Object.fromEntries(one.columns.filter((column) => !column.several && !(isText && column.name === "text")).map((column) => [column.name,
      h("input", { class: "input", autocomplete: "off", ...(column.type === "number" ? { type: "number", step: "any" } : {}) })]));
    const names = Object.entries(columns);
    set(values, field({ text: "Text", audio: "Audio", image: "Image" }[one.takes] ?? "File", content),
      names.length ? h("details", {}, h("summary", {}, `Columns (${names.length}, all may be left empty)`), h("div", { class: "stack" }, names.map(([name, input]) => field(name, input)))) : null);
  }

  async function submit(event) {
    event.preventDefault();
    const { takes } = run.sides[side.value], given = {};
    for (const [name, input] of Object.entries(columns)) if (input.value !== "") given[name] = input.type === "number" ? +input.value : input.value;
    const file = content.files?.[0];
    button.disabled = true;
    trouble.hidden = true;
    try {
      const body = { run: run.name, side: side.value, id: id.value.trim(), columns: given, [takes]: file ? await base64(file) : content.value.trim() };
      await call("/items", { json: body });
      dialog.close();
      await added({ id: body.id, side: body.side });
    } catch (error) {
      const { title, text } = error instanceof Problem && error.status === 409 ? { title: "There is an item of this id already", text: "Choose another id." } : explain(error, { kind: takes });
      set(trouble, h("strong", {}, `${title}. `), text);
      trouble.hidden = false;
    } finally { button.disabled = false; }
  }

  const button = h("button", { class: "button primary" }, icon("plus"), "Add");
  const dialog = h("dialog", { class: "add-item", "aria-labelledby": "add-title" }, h("form", { class: "stack", on: { submit } },
    h("div", { class: "row between" }, h("h2", { id: "add-title" }, "Add an item"), h("button", { class: "icon-button plain", type: "button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"))),
    choices.length > 1 ? field("Side", side) : null, field("Id", id), values, trouble, h("div", { class: "row" }, button)));
  draw();
  dialog.addEventListener("close", () => { dialog.remove(); before?.focus?.(); });
  document.body.append(dialog);
  dialog.showModal();
}
