// The list beside the map: points that were selected or found, and what can be done with them.

import { go, link } from "./context.js";
import { announce, h, icon, set } from "./dom.js";
import { details, label, nameOf, picture } from "./results.js";
import { explain, faultLine } from "./words.js";

/** Items that are listed at most, and of one request. */
export const LISTED = 200;

/** List some points beside the map, with what can be done with them; none hides the list. */
export async function list(page, points, heading, act, byKey = false) {
  const { map } = page, { sideOf } = act;
  page.listed = points;
  page.list.hidden = !heading;
  page.element.classList.toggle("listing", Boolean(heading));
  if (!heading) return;
  const close = h("button", { class: "icon-button plain", type: "button", "aria-label": "Close the list", on: { click() {
    act.close();
    page.plot.over.focus();
  } } }, icon("close"));
  const body = h("ol", { tabindex: -1 });
  const button = (text, sign, run) => h("button", { class: "button small", type: "button", on: { click: run } }, icon(sign), text);
  const sides = map.sides.filter((side) => points.some((i) => sideOf(i) === side));
  set(page.list, h("div", { class: "map-head" }, h("h2", {}, heading), close),
    points.length ? h("div", { class: "row map-acts" },
      sides.map((side) => button(sides.length > 1 ? `Search these: ${nameOf(page.run, side.name)}` : "Search these", "search", () => searchThese(page, points.filter((i) => sideOf(i) === side), side.name, act))),
      button("CSV", "download", () => act.save("csv", points)), button("JSON", "download", () => act.save("json", points))) : h("p", { class: "muted" }, page.trouble ?? "Nothing found."),
    points.length > LISTED ? h("p", { class: "quiet" }, `The first ${LISTED} are listed.`) : null, body);
  page.trouble = undefined;
  announce(heading);
  try {
    const items = await act.itemsOf(points.slice(0, LISTED));
    if (page.map !== map || page.listed !== points) return;
    set(body, items.map((item) => h("li", {}, h("button", { type: "button", on: { click: (event) => details(item, act, event.currentTarget) } },
      item.kind === "image" && item.media ? Object.assign(picture(item, "small-picture"), { alt: "" }) : h("span", { class: "blank" }, h("span", { class: `dot ${item.side}` })), h("span", {}, label(item))))));
    if (byKey) body.querySelector("button")?.focus();
  } catch (error) { if (!act.stale(error, map)) set(body, h("li", {}, faultLine(error))); }
}

async function searchThese(page, points, side, act) {
  const { run, map } = page, { ids, MOST } = await import("./map-files.js");
  if (points.length > MOST) announce(`The first ${MOST.toLocaleString("en")} are searched`);
  try {
    const found = await ids(page, points.slice(0, MOST), act.sideOf);
    go(link("search", { run: run.name, to: run.one_table ? "" : side, where: JSON.stringify({ id: found }) }));
  } catch (error) { if (!act.stale(error, map)) announce(explain(error).text); }
}
