// Items: their names, pictures and sounds, and hits as cards in a grid.

import { call, show, url } from "./api.js";
import { context } from "./context.js";
import { h, icon } from "./dom.js";
import { sound, spectrum } from "./waveform.js";
import { percent } from "./words.js";

const NAMES = ["name", "productDisplayName", "title", "caption", "text", "label", "transcript"];

/** Plural noun for items of a kind. */
export const MANY = { image: "images", audio: "sounds", text: "texts", none: "items" };

/** What a side is called: as the data call it, such as "caption"; left and right of runs that do not say. */
export const nameOf = (run, side) => run?.sides[side]?.name ?? side;

/** A side's items in the plural of its name: "images", "captions", "classes"; by kind where the data do not name it. */
export function itemsOf(run, side) {
  if (run.classes === side) return "classes";
  const name = nameOf(run, side);
  if (name === side) return MANY[run.sides[side].kind];
  return { audio: "sounds", class: "classes", category: "categories" }[name] ?? (name.endsWith("s") ? name : `${name}s`);
}

/** Minutes and seconds of a time in seconds, such as 1:05 or 1:05.5. */
function clock(seconds) {
  const tenths = Math.round(10 * seconds), rest = (tenths % 600) / 10, whole = Number.isInteger(rest);
  return `${Math.floor(tenths / 600)}:${rest.toFixed(whole ? 0 : 1).padStart(whole ? 2 : 4, "0")}`;
}

/** When a window lies in its recording, such as 0:05–0:15; "" for an item that is no window. */
export function moment(item) {
  const { recording, begin, end } = item.columns ?? {};
  return recording === undefined || recording === null || typeof begin !== "number" || typeof end !== "number" ? "" : `${clock(begin)}–${clock(end)}`;
}

/** Title of an item: its display column, or one that names it, else its id; of a window of a recording also its time. */
export function label(item) {
  const when = moment(item), own = context.shown[item.side] ?? context.run?.sides[item.side]?.display;
  for (const name of [own, ...NAMES, when ? "recording" : null]) {
    if (name && item.columns?.[name]) return when ? `${item.columns[name]} ${when}` : String(item.columns[name]);
  }
  return item.id;
}

/** A picture of an item that says so when it cannot be shown. */
export function picture(item, className = "thumb") {
  const image = h("img", { class: className, alt: label(item), loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.replaceWith(h("span", { class: `${className} missing` }, "no image")), { once: true });
  show(image, item.media);
  return image;
}

/** A sound of an item: a waveform to play and its spectrogram. labelled: with axes. */
export function player(item, labelled = false) {
  const seconds = moment(item) ? item.columns.end - item.columns.begin : Number(item.columns?.duration) || 0, name = label(item);
  return h("div", { class: "player" }, sound(item, name, seconds).element, spectrum(item, name, labelled));
}

/** What is said beside a sound: its emotion or class, who speaks, and in which language. */
export function facts(item) {
  const { emotion, label: name, speaker, language } = item.columns ?? {}, there = (one) => one !== undefined && one !== null && one !== "";
  const kind = there(emotion) ? emotion : name;
  if (![kind, speaker, language].some(there)) return null;
  return h("span", { class: "sound-facts" }, there(kind) ? h("span", { class: "tag" }, String(kind)) : null,
    there(speaker) ? h("span", { class: "sound-speaker" }, icon("person"), h("span", { class: "visually-hidden" }, "speaker "), String(speaker)) : null, there(language) ? h("span", { class: "quiet" }, String(language)) : null);
}

const known = new Map();

/** GET /items/{id}, cached. */
export function itemOf(run, side, id) {
  const path = url(`/items/${encodeURIComponent(id)}`, { run, side });
  if (!known.has(path)) {
    if (known.size > 2000) known.clear();
    known.set(path, call(path).catch((error) => { known.delete(path); throw error; }));
  }
  return known.get(path);
}

/** Clear the cache of items: the run has changed. */
export function forget() { known.clear(); }

/** The first related item of the other side, with its picture's path; undefined where there is none. */
async function relatedOf(hit) {
  const run = context.run, other = hit.side === "left" ? "right" : "left";
  if (!run?.sides[other] || run.classes) return undefined;
  const { partners: related } = await itemOf(run.name, hit.side, hit.id);
  const found = (related ?? []).find((one) => one.side === other);
  return found && { columns: {}, kind: run.sides[other].kind, ...found };
}

/** Beside a text a picture of its related item; below an item that nothing shows, the text of that item. */
async function relate(place, hit) {
  const run = context.run, other = run?.sides[hit.side === "left" ? "right" : "left"], named = run?.sides[hit.side]?.display;
  const bare = hit.kind === "none" && (!named || run.sides[hit.side].columns.find((one) => one.name === named)?.distinct >= run.sides[hit.side].items) && other?.display;
  if (other?.kind !== "image" && !bare) return;
  try {
    const found = await relatedOf(hit);
    if (!found) return;
    if (found.kind === "image" && found.media) {
      const image = picture(found, "partner");
      image.alt = "";
      place.append(image);
    } else if (bare && label(found) !== label(hit)) place.append(h("span", { class: "hit-related" }, label(found)));
  } catch { /* a decoration only */ }
}

/** The further items of a hit's group, behind a button that says how many there are. */
function group(hit, { onDetails, onGroup }) {
  const more = (hit.group_size ?? 1) - 1, shown = hit.collapsed ?? [];
  if (more < 1) return null;
  const list = h("ul", { class: "group", hidden: true }, shown.map((one) => h("li", {}, h("button", { type: "button", title: label(one), "aria-label": `Details of ${label(one)}`, on: { click: (event) => onDetails(one, event.currentTarget) } },
    one.kind === "image" && one.media ? picture(one, "group-picture") : h("span", {}, label(one))))),
  more > shown.length ? h("li", {}, h("button", { class: "button small plain", type: "button", on: { click: () => onGroup(hit) } }, `All ${(more + 1).toLocaleString("en")}`)) : null);
  const button = h("button", { class: "button small plain more", type: "button", "aria-expanded": "false", on: { click() {
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", String(!list.hidden));
  } } }, `${more.toLocaleString("en")} more`);
  return [button, list];
}

/** Rank, and a bar: of a class its probability, else the score relative to the list. */
function score(hit, { classes, low, high }) {
  const exact = classes && typeof hit.probability === "number";
  const share = exact ? hit.probability : high > low ? 0.08 + 0.92 * (hit.score - low) / (high - low) : 1;
  return h("span", { class: "score" }, h("span", { class: "rank number" }, h("span", { class: "visually-hidden" }, "Rank "), hit.rank),
    h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { "--share": share } })), exact ? h("span", { class: "number" }, percent(hit.probability)) : null);
}

/**
 * A card for a hit. onDetails(hit, opener), onSearch(hit): find similar, onAdd(hit), onGroup(hit): show its whole group.
 * list: { low, high } scores of the list, classes: whether probabilities are of classes.
 */
export function card(hit, actions, list) {
  const name = label(hit), kind = hit.kind === "image" && hit.media ? "image" : hit.kind === "audio" && hit.media ? "audio" : "text";
  const small = name === hit.id || kind === "text" ? null : h("span", { class: "hit-id" }, hit.id);
  const main = h("button", { class: "hit-main", type: "button", "aria-haspopup": "dialog", on: { click: (event) => actions.onDetails(hit, event.currentTarget) } },
    kind === "image" ? picture(hit) : null, h("span", { class: "hit-name" }, name), small, kind === "audio" ? facts(hit) : null);
  const act = (text, sign, run) => h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `${text}: ${name}`, title: text, on: { click: run } }, icon(sign));
  const element = h("li", { class: `hit ${kind}`, dataset: { id: hit.id, side: hit.side } }, main, kind === "audio" ? player(hit) : null,
    h("span", { class: "hit-foot" }, score(hit, list), hit.fallback ? h("span", { class: "tag", title: "It does not pass the filter, or its score is below the minimum" }, "Fallback") : null,
      act("Find similar", "similar", () => actions.onSearch(hit)), actions.onAdd ? act("Add to query", "plus", () => actions.onAdd(hit, 1)) : null), group(hit, actions));
  if (kind === "text") relate(main, hit);
  return element;
}

/** A list of hits as a grid. classes: whether their probabilities are those of a class table. */
export function grid(hits, actions, classes = false) {
  const kind = hits.length && hits[0].kind === "image" && hits[0].media ? "pictures" : hits.length && hits[0].kind === "audio" ? "sounds" : "texts";
  const scores = hits.map((hit) => hit.score), list = { low: Math.min(...scores), high: Math.max(...scores), classes };
  return h("ol", { class: `hits ${kind}` }, hits.map((hit) => card(hit, actions, list)));
}

/** Open the details of an item in a drawer, whose module is loaded when the first is opened. */
export async function details(item, actions, opener) {
  (await import("./details.js")).details(item, actions, opener);
}
