// The lines of a script, each with the clip that is taken for it and, on demand, the others that fit.

import { h, icon, set } from "../../dom.js";
import { row } from "./rows.js";

/**
 * The list of lines. taken: by line, the id of the clip that was chosen. onTake(at, id): another clip is;
 * nothing(line): what is said of a line without a clip.
 */
export function script(lines, taken, { nothing, onTake, ...actions }) {
  return h("ol", { class: "script" }, lines.map((line, at) => lineOf(line, at, taken.get(at), { nothing, onTake, ...actions })));
}

function lineOf(line, at, id, { nothing, onTake, ...actions }) {
  const own = line.hits.find((hit) => hit.id === id) ?? line.hits[0];
  const head = h("div", { class: "script-head" }, h("span", { class: "script-number number", "aria-hidden": "true" }, at + 1), h("h3", {}, line.text));
  if (!own) return h("li", { class: "script-line without" }, head, nothing(line));
  const others = line.hits.filter((hit) => hit !== own);
  const more = h("ol", { class: "clips others", hidden: true, "aria-label": `Other clips for line ${at + 1}` });
  const button = !others.length ? null : h("button", { class: "button small plain", type: "button", "aria-expanded": "false", on: { click() {
    more.hidden = !more.hidden;
    button.setAttribute("aria-expanded", String(!more.hidden));
    if (!more.firstChild) set(more, others.map((hit) => row(hit, { ...actions, onChoose: (chosen) => onTake(at, chosen.id), place: String(hit.rank), share: own.score > 0 ? Math.max(0, hit.score / own.score) : 1 })));
  } } }, icon("swap"), others.length === 1 ? "1 other clip" : `${others.length} other clips`);
  return h("li", { class: "script-line" }, h("div", { class: "row between nowrap" }, head, button), h("ol", { class: "clips" }, row(own, actions)), more);
}
