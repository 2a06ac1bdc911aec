// Hits: cards by kind, lists, and a drawer with the details of one item.

import { call, show, url } from "./api.js";
import { context, link } from "./context.js";
import { h, icon, set } from "./dom.js";
import { sound, spectrum } from "./waveform.js";

const NAMES = ["name", "productDisplayName", "title", "caption", "text", "label", "transcript"];

/** Plural noun for items of a kind. */
export const MANY = { image: "pictures", audio: "sounds", text: "texts", none: "items" };

/** What a side is called: as the data call it, such as "caption"; left and right of runs that do not say. */
export const nameOf = (run, side) => run?.sides[side]?.name ?? side;

/** A side's items: "pictures", or "caption texts" where the kind does not tell it from the other or the data name it. */
export function itemsOf(run, side) {
  const one = run.sides[side], many = MANY[one.kind], name = nameOf(run, side);
  const alike = Object.entries(run.sides).some(([other, each]) => other !== side && each.kind === one.kind);
  return !alike && [side, one.kind, one.takes, ...({ audio: ["clip", "sound"], image: ["picture"] }[one.kind] ?? [])].includes(name) ? many : `${name} ${many}`;
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

/** Title of an item: a column that names it, else its id; of a window of a recording also its time. */
export function label(item) {
  const when = moment(item);
  for (const name of when ? [...NAMES, "recording"] : NAMES) if (item.columns?.[name]) return when ? `${item.columns[name]} ${when}` : String(item.columns[name]);
  return item.id;
}

/** A picture of an item that says so when it cannot be shown. */
export function picture(item, className = "thumb") {
  const image = h("img", { class: className, alt: label(item), loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.replaceWith(h("span", { class: `${className} missing` }, "no picture")), { once: true });
  show(image, item.media);
  return image;
}

/** A sound of an item: a waveform to play and its spectrogram. labelled: with axes. */
export function player(item, labelled = false) {
  const seconds = moment(item) ? item.columns.end - item.columns.begin : Number(item.columns?.duration) || 0, name = label(item);
  return h("div", { class: "player" }, sound(item, name, seconds).element, spectrum(item, name, labelled));
}

/** The vector of an item as a picture, fetched when it is unfolded. */
function pseudoImage(item, run) {
  const box = h("details", { class: "pseudo" }, h("summary", {}, "Its vector as a picture"));
  box.addEventListener("toggle", () => {
    const image = h("img", { class: "pseudo-image", alt: `Pseudo-image of ${label(item)}`, width: 128, height: 128, draggable: "false" });
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "note bad", role: "alert" }, "The picture cannot be had.")), { once: true });
    show(image, url(`/pseudo-images/${encodeURIComponent(item.id)}`, { run: run.name, side: item.side }));
    box.append(image, h("p", { class: "quiet" }, "The numbers of the encoder's vector as the red, green and blue of pixels, row by row: what head cnn takes."));
  }, { once: true });
  return box;
}

/** What is said beside a sound: its emotion or class, who speaks, and in which language. */
export function facts(item) {
  const { emotion, label: name, speaker, language } = item.columns ?? {}, there = (one) => one !== undefined && one !== null && one !== "";
  const kind = there(emotion) ? emotion : name;
  if (![kind, speaker, language].some(there)) return null;
  return h("span", { class: "sound-facts" }, there(kind) ? h("span", { class: "tag" }, String(kind)) : null,
    there(speaker) ? h("span", { class: "sound-speaker" }, icon("person"), h("span", { class: "visually-hidden" }, "speaker "), String(speaker)) : null, there(language) ? h("span", { class: "quiet" }, String(language)) : null);
}

function media(item) {
  if (item.kind === "image" && item.media) return picture(item);
  if (item.kind === "audio" && item.media) return player(item);
  return null;
}

/** A hit's probability where the run is calibrated, else its score. */
function score(hit) {
  if (hit.probability !== undefined && hit.probability !== null) {
    const percent = 100 * hit.probability;
    const text = percent >= 99.5 ? "> 99 %" : percent < 1 ? "< 1 %" : `${Math.round(percent)} %`;
    return h("span", { class: "score", title: `probability that this hit is relevant; score ${hit.score.toFixed(3)}` },
      h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { "--share": hit.probability } })), h("span", { class: "number" }, text));
  }
  return h("span", { class: "score", title: "score; higher is nearer" }, h("span", { class: "number" }, hit.score.toFixed(3)));
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

/** A picture of a related item beside a text, once loaded; nothing where there is none. */
async function relatedPicture(place, hit) {
  const run = context.run, other = hit.side === "left" ? "right" : "left";
  if (run?.sides[other]?.kind !== "image") return;
  try {
    const { partners: related } = await itemOf(run.name, hit.side, hit.id);
    const found = (related ?? []).find((one) => one.side === other);
    if (!found) return;
    const item = { kind: "image", columns: {}, ...found };
    item.media ??= url(`/media/${encodeURIComponent(found.id)}`, { run: run.name, side: other });
    const image = picture({ ...item, columns: {} }, "partner");
    image.alt = "";
    place.append(image);
  } catch { /* a decoration only */ }
}

/** The further items of a hit's group, behind a button that says how many there are. */
function group(hit, { onSearch, onGroup }) {
  const more = (hit.group_size ?? 1) - 1, shown = hit.collapsed ?? [];
  if (more < 1) return null;
  const list = h("ul", { class: "group", hidden: true }, shown.map((one) => h("li", {}, h("button", { type: "button", title: label(one), "aria-label": `Search by ${label(one)}`, on: { click: () => onSearch(one) } },
    one.kind === "image" && one.media ? picture(one, "group-picture") : h("span", {}, label(one))))),
  more > shown.length ? h("li", {}, h("button", { class: "button small plain", type: "button", on: { click: () => onGroup(hit) } }, `All ${(more + 1).toLocaleString("en")}`)) : null);
  const button = h("button", { class: "button small plain more", type: "button", "aria-expanded": "false", on: { click() {
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", String(!list.hidden));
  } } }, `${more.toLocaleString("en")} more`);
  return [button, list];
}

/** A card for a hit. onSearch(hit), onDetails(hit, opener), onGroup(hit): show its whole group. */
export function card(hit, { onSearch, onDetails, onGroup }) {
  const name = label(hit), kind = hit.kind === "image" && hit.media ? "image" : hit.kind === "audio" && hit.media ? "audio" : "text";
  const shown = media(hit);
  const small = name === hit.id ? null : h("span", { class: "hit-id" }, hit.id);
  const main = h("button", { class: "hit-main", type: "button", title: "Search by this", on: { click: () => onSearch(hit) } },
    kind === "image" ? shown : null, h("span", { class: "hit-name" }, name), small, kind === "audio" ? facts(hit) : null);
  const element = h("li", { class: `hit ${kind}`, dataset: { id: hit.id, side: hit.side } },
    h("span", { class: "visually-hidden" }, `${hit.rank}.`), main, kind === "audio" ? shown : null,
    h("span", { class: "hit-foot" }, score(hit), hit.fallback ? h("span", { class: "tag", title: "fills up: it does not pass the filter, or its score is below the least one" }, "fallback") : null,
      h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `Details of ${name}`, title: "Details", on: { click: (event) => onDetails(hit, event.currentTarget) } }, icon("plus"))), group(hit, { onSearch, onGroup }));
  if (kind === "text") relatedPicture(main, hit);
  return element;
}

/** A list of hits as a grid. */
export function grid(hits, actions) {
  const kind = hits.length && hits[0].kind === "image" && hits[0].media ? "pictures" : hits.length && hits[0].kind === "audio" ? "sounds" : "texts";
  return h("ol", { class: `hits ${kind}` }, hits.map((hit) => card(hit, actions)));
}

function value(one) {
  return typeof one === "number" && !Number.isInteger(one) ? one.toPrecision(4) : String(one);
}

/** A drawer with the details of an item. actions: onSearch(item), onAdd(item, weight). */
export function details(item, { onSearch, onAdd }, opener) {
  const run = context.run, related = h("div", { class: "partners" });
  const close = () => dialog.close();
  const act = (run_) => () => { close(); run_(); };
  const dialog = h("dialog", { class: "drawer", "aria-labelledby": "details-title" },
    h("div", { class: "row between" }, h("span", { class: `chip ${item.side}` }, h("span", {}, run?.one_table ? "item" : nameOf(run, item.side))),
      h("button", { class: "icon-button plain", type: "button", "aria-label": "Close", on: { click: close } }, icon("close"))),
    item.kind === "image" && item.media ? picture(item, "large") : item.kind === "audio" && item.media ? player(item, true) : null,
    h("h2", { id: "details-title" }, label(item)),
    item.score !== undefined ? h("p", { class: "muted" }, item.probability !== undefined && item.probability !== null
      ? `Relevant with probability ${(100 * item.probability).toFixed(1)} %; score ${item.score.toFixed(4)}.` : `Score ${item.score.toFixed(4)}; higher is nearer.`) : null,
    h("div", { class: "row" },
      h("button", { class: "button primary", type: "button", on: { click: act(() => onSearch(item)) } }, icon("search"), "Search by it"),
      onAdd ? h("button", { class: "button", type: "button", on: { click: act(() => onAdd(item, 1)) } }, icon("plus"), "Add to the search") : null,
      onAdd ? h("button", { class: "button", type: "button", on: { click: act(() => onAdd(item, -0.5)) } }, icon("minus"), "Less like it") : null),
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
    if (unknown) set(related, h("p", { class: "muted" }, `Related items are unknown: ${unknown}`));
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
