// A drawer with the details of one item: its media, columns, related items, and what can be done with it.

import { show, url } from "./api.js";
import { context, link } from "./context.js";
import { h, icon, set } from "./dom.js";
import { itemOf, label, nameOf, picture, player } from "./results.js";
import { percent } from "./words.js";

/** The vector of an item as a picture, fetched when it is unfolded. */
function pseudoImage(item, run) {
  const box = h("details", { class: "pseudo" }, h("summary", {}, "Its vector as an image"));
  box.addEventListener("toggle", () => {
    const image = h("img", { class: "pseudo-image", alt: `Pseudo-image of ${label(item)}`, width: 128, height: 128, draggable: "false" });
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "note bad", role: "alert" }, "The image cannot be loaded.")), { once: true });
    show(image, url(`/pseudo-images/${encodeURIComponent(item.id)}`, { run: run.name, side: item.side }));
    box.append(image, h("p", { class: "quiet" }, "The numbers of the encoder's vector as the red, green and blue of pixels, row by row: what head cnn takes."));
  }, { once: true });
  return box;
}

function value(one) {
  return typeof one === "number" && !Number.isInteger(one) ? one.toPrecision(4) : String(one);
}

/** Score and probability of a hit in numbers. */
function numbers(item, run) {
  const p = item.probability;
  if (typeof p !== "number") return `Score ${item.score.toFixed(4)}; higher is nearer.`;
  return run.classes ? `Probability ${percent(p)} among the classes; score ${item.score.toFixed(4)}.`
    : `Calibrated probability of a match ${percent(p)}; score ${item.score.toFixed(4)}.`;
}

/** Open the drawer. actions: onSearch(item), onAdd(item, weight) if the query can be combined. opener: focused again. */
export function details(item, { onSearch, onAdd }, opener) {
  const run = context.run, related = h("div", { class: "partners" });
  const close = () => dialog.close();
  const act = (run_) => () => { close(); run_(); };
  const dialog = h("dialog", { class: "drawer", "aria-labelledby": "details-title" },
    h("div", { class: "row between" }, h("span", { class: `chip ${item.side}` }, h("span", {}, run?.one_table ? "item" : nameOf(run, item.side))),
      h("button", { class: "icon-button plain", type: "button", "aria-label": "Close", on: { click: close } }, icon("close"))),
    item.kind === "image" && item.media ? picture(item, "large") : item.kind === "audio" && item.media ? player(item, true) : null,
    h("h2", { id: "details-title" }, label(item)),
    item.score !== undefined ? h("p", { class: "muted" }, numbers(item, run)) : null,
    h("div", { class: "row" },
      h("button", { class: "button primary", type: "button", on: { click: act(() => onSearch(item)) } }, icon("similar"), "Find similar"),
      onAdd ? h("button", { class: "button", type: "button", on: { click: act(() => onAdd(item, 1)) } }, icon("plus"), "Add to query") : null,
      onAdd ? h("button", { class: "button", type: "button", on: { click: act(() => onAdd(item, -0.5)) } }, icon("minus"), "Exclude") : null),
    h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Columns" }, h("table", {}, h("tbody", {},
      h("tr", {}, h("th", { scope: "row" }, "id"), h("td", {}, item.id)),
      Object.entries(item.columns ?? {}).map(([name, one]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value(one))))))),
    run?.sides[item.side]?.raw ? pseudoImage(item, run) : null, related);
  document.body.append(dialog);
  dialog.addEventListener("close", () => { dialog.remove(); opener?.focus?.(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); });
  dialog.showModal();
  if (!run) return;
  itemOf(run.name, item.side, item.id).then(({ partners: found, partners_unknown: unknown }) => {
    if (unknown) set(related, h("p", { class: "muted" }, "This run stores no related items."));
    if (!found?.length) return;
    set(related, h("h3", {}, found.length === 1 ? "Related item" : `${found.length} related items`),
      h("ul", { class: "partner-list" }, found.slice(0, 24).map((one) => {
        const full = { columns: {}, kind: run.sides[one.side]?.kind ?? "none", ...one };
        if (full.kind === "image" && full.media === undefined) full.media = url(`/media/${encodeURIComponent(one.id)}`, { run: run.name, side: one.side });
        const sees = full.kind === "image" && full.media ? picture(full) : null;
        return h("li", {}, h("a", { href: link("search", { run: run.name, id: one.id, from: run.one_table ? "" : one.side }), on: { click: close } }, sees, h("span", {}, label(full))));
      })));
  }, () => {});
}
