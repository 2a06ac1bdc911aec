// The data doctor of a run (#/runs/NAME/doctor): pairs, labels and items that look wrong, with their media; a drop list.

import { call, url } from "./api.js";
import { context, link } from "./context.js";
import { announce, h, icon, set, state } from "./dom.js";
import { sheet } from "./files.js";
import { itemOf, label, nameOf, picture, player } from "./results.js";
import { explain } from "./words.js";

const KINDS = [["pair", "Pairs", "Pairs that look mispaired"], ["label", "Labels", "Items that look mislabelled"],
  ["duplicate", "Near-duplicates", "Items that repeat another one"], ["outlier", "Outliers", "Items that lie apart from all others"]];
const PAGE = 20, SURE = 0.5, NONE = "Nothing of this kind was found.";

sheet("/doctor.css");
let turn = 0;

export function hide() { turn++; }

/** Show the findings of the run rest[0]. */
export async function show(root, { rest }) {
  const mine = ++turn, keep = () => mine === turn, [name] = rest;
  const path = `/runs/${encodeURIComponent(name)}`, began = Date.now();
  const head = [h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: link("runs") }, "Runs"), " / ", h("a", { href: link(`runs/${encodeURIComponent(name)}`) }, name), " / Data doctor"),
    h("div", { class: "head" }, h("h1", {}, "Data doctor"))];
  const place = h("div", { class: "stack doctor" });
  document.title = `Data doctor · ${name} · Sensorium`;
  if (!context.runs.some((one) => one.name === name)) await context.refresh();
  set(root, head, place);
  for (;;) {
    let found;
    try {
      found = await call(`${path}/doctor?n=0`);
      if (found.state === "ready") found.findings = Object.fromEntries(await Promise.all(KINDS.map(async ([kind]) => [kind, await all(path, kind)])));
    } catch (error) {
      if (keep()) set(place, state("error", "The data could not be examined", error.status === 409 ? "It needs the vectors of both sides, which are not beside this run. Make the run again to keep them." : explain(error).text, h("button", { class: "button", type: "button", on: { click: () => show(root, { rest }) } }, "Try again")));
      return;
    }
    if (!keep()) return;
    if (found.state === "ready") { draw(place, name, found, keep); return; }
    if (!place.firstChild) set(place, h("div", { class: "state", role: "status" }, h("div", { class: "wait", role: "img", "aria-label": "Loading" }),
      h("h2", {}, "Examining the data"), h("p", {}, "Closed forms are fitted on every fold. You can leave this page; the findings are kept."), h("p", { class: "quiet elapsed" })));
    const line = place.querySelector(".elapsed");
    if (line) line.textContent = `${Math.round((Date.now() - began) / 1000)} s`;
    await new Promise((done) => setTimeout(done, 1000));
    if (!keep()) return;
  }
}

/** The findings of a kind: the first, and more as long as they are likely. */
async function all(path, kind) {
  const some = [];
  for (;;) {
    const { findings, counts } = await call(url(`${path}/doctor`, { kind, start: some.length }));
    some.push(...findings);
    if (!findings.length || some.length >= counts[kind] || !(some.at(-1).probability >= SURE)) return some;
  }
}

/** Identity of a finding in the drop list: its left and right ids. */
const key = (one) => JSON.stringify([one.left ?? "", one.right ?? ""]);

function draw(place, name, found, keep) {
  const run = context.runs.find((one) => one.name === name), ticked = new Map();
  const droppable = (one) => !(found.sets && one.kind === "pair");
  for (const one of [...found.findings.pair, ...found.findings.label]) if (one.probability >= SURE && droppable(one)) ticked.set(key(one), one);
  const kinds = KINDS.filter(([kind]) => found.counts[kind]);
  const save = h("button", { class: "button primary", type: "button", on: { click: () => download(name, found, ticked) } });
  const count = () => { const n = ticked.size + found.before.length; set(save, icon("download"), `Drop list (${n.toLocaleString("en")})`); save.disabled = !n; };
  const list = h("div", { class: "stack", role: "tabpanel", "aria-labelledby": "doctor-tab", tabindex: -1 });
  let shown = kinds[0]?.[0];
  const tabs = h("div", { class: "segments", role: "tablist", "aria-label": "Kinds of finding" });
  const choose = (kind, focus) => {
    shown = kind;
    set(tabs, kinds.map(([each, title]) => h("button", { type: "button", role: "tab", id: each === kind ? "doctor-tab" : undefined, "aria-selected": String(each === kind), tabindex: each === kind ? 0 : -1, on: {
      click: () => choose(each, true),
      keydown(event) {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const at = kinds.findIndex(([one]) => one === shown);
        choose(kinds[(at + step + kinds.length) % kinds.length][0], true);
      },
    } }, `${title} ${found.counts[each].toLocaleString("en")}`)));
    if (focus) tabs.querySelector('[aria-selected="true"]').focus();
    rows(list, kinds.find(([each]) => each === kind)[2], found.findings[kind]);
  };
  const rows = (target, title, all) => {
    const body = h("ol", { class: "findings" });
    const more = h("button", { class: "button", type: "button" }, "Show more");
    let at = 0;
    const add = () => {
      for (const one of all.slice(at, at + PAGE)) body.append(row(one));
      at = Math.min(all.length, at + PAGE);
      more.hidden = at >= all.length;
    };
    more.addEventListener("click", () => { const first = at; add(); body.children[first]?.querySelector("input")?.focus(); });
    add();
    set(target, h("h2", {}, title), body, more);
  };
  const row = (one) => {
    const both = [...["left", "right"].filter((side) => one[side] !== undefined && run?.sides[side]).map((side) => [side, one[side]]), ...(one.other ? [[one.side, one.other]] : [])];
    const percent = one.probability === undefined ? (one.equal ? "equal" : "near") : `${Math.round(100 * one.probability)}%`;
    const box = h("input", { type: "checkbox", disabled: !droppable(one), on: { change() {
      if (box.checked) ticked.set(key(one), one); else ticked.delete(key(one));
      count();
    } } });
    box.checked = ticked.has(key(one));
    return h("li", { class: "card finding" },
      h("div", { class: "finding-items" }, both.map(([side, id]) => shownItem(run, side, id, keep))),
      h("div", { class: "finding-why" }, h("p", {}, h("strong", {}, percent), one.probability === undefined ? "" : " sure", one.label ? [", label ", h("span", { class: "tag" }, one.label)] : "", one.split ? [" ", h("span", { class: "tag" }, one.split)] : ""),
        h("p", { class: "muted" }, one.why), h("label", { class: "check" }, box, "Drop")));
  };
  const checks = found.checks.filter((one) => one.self_check).map((one) => h("p", {}, `${one.likely.toLocaleString("en")} of ${one.of.toLocaleString("en")} ${one.check} are likely wrong (50% sure or more); about ${Math.round(one.expected).toLocaleString("en")} are expected in all. `,
    h("span", { class: "muted" }, `Of ${one.self_check.shuffled.toLocaleString("en")} shuffled on purpose ${Math.round(100 * one.self_check.recall)}% are found.`)));
  if (checks.length) checks.push(h("p", { class: "quiet" }, "Each is scored by a fit that has not seen it. “Sure” is the probability that it was put together at random."));
  set(place, checks, found.notes.map((note) => h("p", { class: "note" }, note)),
    kinds.length ? [h("div", { class: "row between" }, tabs, save), list] : state("empty", "Nothing looks wrong", NONE));
  count();
  if (kinds.length) choose(shown, false);
  announce(kinds.length ? kinds.map(([kind, title]) => `${title}: ${found.counts[kind]}`).join(", ") : NONE);
}

/** One item of a finding, with its picture, sound or text once loaded. */
function shownItem(run, side, id, keep) {
  const box = h("figure", { class: "finding-item" }, h("figcaption", { class: "quiet" }, h("span", { class: `side-${side}` }, nameOf(run, side)), " ", id));
  itemOf(run.name, side, id).then((item) => {
    if (!keep()) return;
    const media = item.kind === "image" && item.media ? picture(item) : item.kind === "audio" && item.media ? player(item) : null;
    box.prepend(media ?? h("p", { class: "finding-text" }, label(item)));
  }).catch(() => {}); // not in the index: its id says enough
  return box;
}

/** Save the drop list as a CSV file, after what the run itself has left out. */
function download(name, found, ticked) {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const before = found.before.map((one) => [one.left ?? "", one.right ?? "", one.id ?? "", "", "left out before"]);
  const rows = [...ticked.values()].map((one) => [one.left ?? "", one.right ?? "", "", String(one.probability ?? ""), one.why]);
  const text = [["left", "right", "id", "probability", "why"], ...before, ...rows].map((row) => row.map(cell).join(",")).join("\n");
  const address = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
  h("a", { href: address, download: `${name}-drop.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
  announce(`Saved. Fit without these: data.drop=${name}-drop.csv`);
}
