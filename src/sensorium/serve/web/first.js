// The first screen of the search: what is searched and how well, examples, and items to start from.

import { call, url } from "./api.js";
import { classesOf } from "./ask.js";
import { h, icon, set, state } from "./dom.js";
import { itemsOf, label, nameOf, picture, player } from "./results.js";
import { fault, percent } from "./words.js";

const SHOWN = { image: 24, audio: 6 }, TEXTS = 12; // items to start from, by how they are shown
const EXAMPLES = 5, GOOD = 24, LONGEST = 60; // of the run's own texts: how many, and how many letters

/** One line: what is searched by what, how many there are, and how often the first answer is right. */
function line(run) {
  const sides = Object.keys(run.sides);
  const what = sides.map((side) => `${run.sides[side].items.toLocaleString("en")} ${itemsOf(run, side)}`).join(" ↔ ");
  const found = run.headline;
  if (!found) return `${what}.`;
  const [from, to] = found.direction.split("->").map((side) => nameOf(run, side));
  const way = run.one_table || run.classes ? "" : `, ${from} to ${to}`;
  const chance = typeof found.chance === "number" ? ` where chance is ${percent(found.chance)}` : "";
  return `${what}. The first answer is right in ${percent(found.value)}${chance}${way}${found.few_groups ? " (measured on few groups)" : ""}.`;
}

/** Texts to try: the recipe's, the classes, else some of the run's own. */
async function examples(run) {
  if (run.examples.length) return { title: "Try", texts: run.examples.map((text) => ["text", text]) };
  const classes = classesOf(run);
  if (classes) return { title: "Classes", texts: classes.map((one) => ["id", one.id, { side: one.side }]) };
  const side = Object.keys(run.sides).find((name) => run.sides[name].takes === "text") ?? Object.keys(run.sides).findLast((name) => run.sides[name].kind === "text" || (run.sides[name].kind === "none" && run.sides[name].display));
  if (!side) return null;
  const { items } = await call(url(`/runs/${encodeURIComponent(run.name)}/sample`, { side, n: 40, seed: 1 }));
  const plain = run.sides[side].takes === "text";
  const short = items.map((item) => [item, label(item)]).filter(([, text]) => text.length <= LONGEST && text.length > 2).sort((a, b) => Math.abs(a[1].length - GOOD) - Math.abs(b[1].length - GOOD));
  return { title: "Try", texts: short.slice(0, EXAMPLES).map(([item, text]) => (plain ? ["text", text === text.toUpperCase() ? text.toLowerCase() : text] : ["id", item.id, { side: run.one_table ? "" : side, text }])) };
}

/** Draw the first screen. page: run, seed, first, results, query. ask([kind, value, more]): search by it. */
export async function begin(page, actions, ask) {
  const { run, results } = page;
  const side = Object.keys(run.sides).find((name) => run.sides[name].kind === "image") ?? Object.keys(run.sides).find((name) => run.classes !== name && run.sides[name].kind === "audio") ?? Object.keys(run.sides).findLast((name) => run.classes !== name && run.sides[name].display) ?? Object.keys(run.sides)[0];
  const empty = () => page.query.inputs.length === 0 && results.isConnected;
  const tries = h("div", { class: "examples" });
  set(page.first, h("p", { class: "muted first-line" }, line(run)), tries);
  examples(run).then((found) => {
    if (empty() && found?.texts.length) set(tries, h("span", { class: "quiet" }, found.title), found.texts.map((one) => h("button", { class: "chip", type: "button", on: { click: () => ask(one) } }, h("span", {}, one[2]?.text ?? one[1]))));
  }, () => {});
  if (!results.querySelector(".begin")) set(results, state("wait"));
  try {
    const kind = run.sides[side].kind;
    const { items } = await call(url(`/runs/${encodeURIComponent(run.name)}/sample`, { side, n: SHOWN[kind] ?? TEXTS, seed: page.seed }));
    if (!empty()) return;
    const again = () => { page.seed++; begin(page, actions, ask); };
    set(results, h("div", { class: "begin" }, h("div", { class: "head" }, h("h2", {}, `Browse ${itemsOf(run, side)}`),
      h("button", { class: "button small plain", type: "button", on: { click: again } }, icon("shuffle"), "Shuffle"),
      Object.values(run.sides).some((one) => one.takes !== "vectors") ? h("button", { class: "button small plain", type: "button", on: { async click() { (await import("./additem.js")).addItem(run, actions.onAdded); } } }, icon("plus"), "Add item") : null),
    h("ul", { class: `wall ${kind}` }, items.map((item) => h("li", {}, h("button", { type: "button", title: label(item), "aria-label": `Find similar: ${label(item)}`, on: { click: () => actions.onSearch(item) } },
      kind === "image" && item.media ? picture(item, "wall-picture") : h("span", {}, label(item))), kind === "audio" && item.media ? player(item) : null)))));
  } catch (error) {
    if (!empty()) return;
    set(results, fault(error, null, h("button", { class: "button", on: { click: () => begin(page, actions, ask) } }, "Try again")));
  }
}
