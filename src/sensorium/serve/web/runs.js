// The runs: cards of all; one with its training curves, also during training; two compared.

import { call, events, show as showMedia, url } from "./api.js";
import { chart, interval } from "./chart.js";
import { context, go, link } from "./context.js";
import { h, icon, set, state } from "./dom.js";
import { markdown } from "./markdown.js";
import { MANY, nameOf } from "./results.js";

const STAGES = { embed: "embedding", fit: "training", evaluate: "evaluating", index: "indexing" };
const TABS = [["curves", "Training"], ["numbers", "Numbers"], ["plots", "Plots"], ["card", "Card"], ["recipe", "Recipe"]];
let page = null;

/** Show all runs, one (#/runs/NAME) or a comparison (#/runs?a=NAME&b=NAME). */
export async function show(root, { rest, query, again }) {
  leave();
  const mine = page = { stops: [], timer: 0 };
  const shown = again ? root : set(root);
  const keep = () => mine === page;
  await context.refresh();
  if (!keep()) return;
  if (query.get("a") && query.get("b")) return comparison(shown, query.get("a"), query.get("b"), keep);
  if (rest[1] === "doctor") {
    const module = await import("./doctor.js");
    if (keep()) { page.stops.push(() => module.hide()); await module.show(set(shown), { rest, query, again: false }); }
    return;
  }
  if (rest[0]) return one(shown, rest[0], query.get("tab") ?? "curves", keep, again);
  return all(shown, keep);
}

export function hide() { leave(); }

export function retry() { window.dispatchEvent(new HashChangeEvent("hashchange")); }

function leave() {
  for (const stop of page?.stops ?? []) stop();
  clearTimeout(page?.timer);
  page = null;
}

function percent(result, x = result.value) {
  if (x === null || x === undefined) return "–";
  return /rank/.test(result.measure) ? String(Number(x.toPrecision(3))) : `${(100 * x).toFixed(1)}`;
}

/** A result's interval, with a warning where its groups are too few for one. */
function bounds(result) {
  const text = `${percent(result, result.low)} – ${percent(result, result.high)}`, n = result.n_groups;
  if (!few(result)) return text;
  return [text, " ", h("span", { class: "tag warn", title: FEW_TEXT }, n === undefined ? "few groups" : `${n} group${n === 1 ? "" : "s"}`)];
}

const FEW = 10, FEW_TEXT = "This interval rests on few groups and is too narrow; more groups would widen it.";
const few = (result) => result.few_groups ?? (result.n_groups !== undefined && result.n_groups < FEW);

/** The names of a served run's sides, {left, right}. */
const namesOf = (name) => {
  const run = context.runs.find((one) => one.name === name);
  return Object.fromEntries(Object.keys(run?.sides ?? {}).map((side) => [side, nameOf(run, side)]));
};
const arrow = (direction, names) => direction.split("->").map((side) => names?.[side] ?? (side === "right" ? names?.left : undefined) ?? side).join(" → ");

function stateTag(run) {
  if (run.state === "broken") return h("span", { class: "tag bad" }, "cannot be opened");
  if (run.remaking) return h("span", { class: "tag warn" }, run.state === "ready" ? "being remade" : "being made");
  return run.state === "building" ? h("span", { class: "tag warn" }, "interrupted") : h("span", { class: "tag good" }, "ready");
}

async function all(root, keep) {
  const chosen = new Set();
  const compare = h("button", { class: "button", type: "button", disabled: true, on: { click: () => { const [a, b] = chosen; go(link("runs", { a, b })); } } }, icon("compare"), "Compare two");
  const card = (run) => {
    const best = run.results.filter((result) => ["hit@1", "hit@10", "MRR"].includes(result.measure)).slice(0, 6);
    return h("li", { class: "card run-card" }, h("div", { class: "row between" }, h("h2", {}, h("a", { href: link(`runs/${encodeURIComponent(run.name)}`) }, run.name)), stateTag(run)),
      run.detail ? h("p", { class: `note ${run.state === "building" ? "warn" : "bad"}` }, run.detail) : null,
      Object.keys(run.sides).length ? h("p", { class: "muted" }, Object.entries(run.sides).map(([name, side], i) => [i ? " and " : "", h("span", { class: `side-${name}` }, `${side.items.toLocaleString("en")} ${MANY[side.kind]}`)])) : null,
      best.length ? h("dl", { class: "numbers" }, best.map((result) => h("div", {}, h("dt", {}, `${result.measure}, ${arrow(result.direction, namesOf(run.name))}`), h("dd", {}, percent(result), h("span", { class: "quiet" }, " ", bounds(result)))))) : null,
      h("div", { class: "row between" }, h("a", { class: "button small", href: link(`runs/${encodeURIComponent(run.name)}`) }, "Open"),
        run.state === "ready" && context.runs.length > 1 ? h("label", { class: "check quiet" }, h("input", { type: "checkbox", on: { change: (event) => {
          if (event.target.checked) chosen.add(run.name); else chosen.delete(run.name);
          compare.disabled = chosen.size !== 2;
        } } }), "compare") : null));
  };
  set(root, h("div", { class: "row between head" }, h("h1", {}, "Runs"), context.runs.length > 1 ? compare : null),
    context.runs.length ? h("ul", { class: "run-cards" }, context.runs.map(card)) : state("empty", "No run is served", "Start the server with one: sensorium serve runs/glyphs"));
  const again = async () => {
    if (!keep()) return;
    const before = JSON.stringify(context.runs);
    await context.refresh().catch(() => {});
    if (!keep()) return;
    if (JSON.stringify(context.runs) !== before) all(root, keep); else page.timer = setTimeout(again, 4000);
  };
  page.timer = setTimeout(again, 4000);
}

async function one(root, name, tab, keep, again) {
  if (!again) set(root, state("wait"));
  const path = `/runs/${encodeURIComponent(name)}`;
  const [run, history] = await Promise.all([call(path), call(`${path}/history`)]);
  if (!keep()) return;
  const place = h("div", { class: "run-body", role: "tabpanel", "aria-labelledby": `run-tab-${tab}`, tabindex: -1 });
  const status = h("span", {}, stateTag({ ...run, remaking: run.building }));
  const choose = (to) => go(link(`runs/${encodeURIComponent(name)}`, { tab: to === "curves" ? "" : to }), { replace: true });
  const tabs = h("div", { class: "segments", role: "tablist", "aria-label": `About ${name}`, on: { keydown(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], at = TABS.findIndex(([key]) => key === tab);
    if (step) { event.preventDefault(); choose(TABS[(at + step + TABS.length) % TABS.length][0]); }
  } } }, TABS.map(([key, title]) => h("button", { type: "button", role: "tab", id: `run-tab-${key}`, "aria-selected": String(key === tab), tabindex: key === tab ? 0 : -1, on: { click: () => choose(key) } }, title)));
  const focused = document.activeElement?.getAttribute("role") === "tab";
  set(root, h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: link("runs") }, "Runs"), " / ", name),
    h("div", { class: "row between head" }, h("div", { class: "row" }, h("h1", {}, name), status), h("div", { class: "row" },
      run.state === "ready" ? [h("a", { class: "button small", href: link("search", { run: name }) }, icon("search"), "Search"), h("a", { class: "button small", href: link("map", { run: name }) }, icon("map"), "Map"),
        h("a", { class: "button small", href: link(`runs/${encodeURIComponent(name)}/doctor`) }, icon("check"), "Check the data")] : null)),
    run.metrics?.verdict ? h("p", { class: "verdict" }, run.metrics.verdict) : null,
    run.metrics?.leaks?.leaky ? h("p", { class: "note bad" }, h("strong", {}, "Leaky. "), `${run.metrics.leaks.findings?.filter((one) => one.leaky).map((one) => one.text).join("; ") || "Test items were in the training data"}. These numbers are too high.`) : null,
    h("div", { class: "tabs-row" }, tabs), place);
  if (focused) tabs.querySelector('[aria-selected="true"]').focus();
  const draw = {
    curves: () => curves(place, history, run, keep),
    numbers: () => numbers(place, run),
    plots: () => plots(place, path, run),
    card: () => set(place, h("article", { class: "card prose" }, markdown(run.card || "This run has no card yet.", { image: (target, alt) => plotOf(path, run, target, alt) }))),
    recipe: () => set(place, h("pre", { class: "card", tabindex: 0 }, h("code", {}, run.recipe))),
  };
  (draw[tab] ?? draw.curves)();
  follow(path, status, run, keep, (lines, stage) => { if ((TABS.some(([key]) => key === tab) ? tab : "curves") === "curves") curves(place, lines, run, keep, stage); });
}

/** Follow the events of a run in training; poll for one otherwise. */
function follow(path, status, run, keep, drawn) {
  if (!run.building) {
    const look = async () => {
      if (!keep()) return;
      const now = await call(path).catch(() => null);
      if (!keep()) return;
      if (now && (now.building || now.state !== run.state)) retry(); else page.timer = setTimeout(look, 3000);
    };
    page.timer = setTimeout(look, 3000);
    return;
  }
  let lines = { header: {}, events: [], running: true }, stage = run.stage;
  page.stops.push(events(`${path}/events`, (type, data) => {
    if (!keep()) return;
    if (type === "stage") stage = data.stage;
    else if (type === "restart") lines = { header: {}, events: [], running: true };
    else if (type === "start") lines = { ...lines, header: data };
    else if (type === "epoch") lines = { ...lines, events: [...lines.events, data] };
    else if (type === "end") { retry(); return; }
    set(status, h("span", { class: "tag warn", role: "status" }, STAGES[stage] ?? "being made"));
    drawn(lines, stage);
  }, () => { if (keep()) page.timer = setTimeout(retry, 1500); }));
}

function curves(place, { header, events: seen, running }, run, keep, stage = run.stage) {
  if (!seen.length) {
    set(place, running || run.building ? state("wait", "", `No epoch yet: ${STAGES[stage] ?? "starting"}.`)
      : state("empty", "Nothing was trained", run.metrics ? "This head was solved in closed form, in one pass; it has no curve." : "There is no history here."));
    return;
  }
  const x = seen[0].epoch !== undefined ? "epoch" : "step";
  const of = (name) => seen.map((event) => [event[x], event[name]]);
  const monitor = header.monitor ?? "validation", best = run.metrics?.fit?.best_epoch ?? null;
  const shares = Object.keys(seen[seen.length - 1]).filter((name) => /@|MRR|mAP|nDCG|accuracy|UA|F1/.test(name));
  const colours = ["var(--left)", "var(--right)", "var(--good)", "var(--warn)", "var(--ink-3)"];
  const total = header.epochs, last = seen[seen.length - 1];
  const facts = [["epochs", running ? `${last[x]} of ${total ?? "?"}` : `${seen.filter((event) => event.loss !== undefined).length}${total ? ` of ${total}` : ""}`], ["members", header.members], ["pairs", header.pairs?.toLocaleString("en")], ["parameters", header.parameters?.toLocaleString("en")],
    ["objective", header.objective], ["speed", last.pairs_per_second ? `${Math.round(last.pairs_per_second).toLocaleString("en")} pairs/s` : undefined], ["precision", header.precision], ["best", best !== null && !running ? `${x} ${best}` : undefined]].filter(([, value]) => value !== undefined && value !== null);
  set(place, running && total ? h("div", { class: "progress", role: "progressbar", "aria-label": "Epochs done", "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": last[x] }, h("div", { class: "meter" }, h("i", { style: { "--share": last[x] / total } }))) : null,
    h("dl", { class: "facts-row" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("div", { class: "charts" },
      h("div", { class: "card" }, chart("Loss", [{ name: "train", colour: colours[0], points: of("loss") }], { x, best: running ? null : best })),
      shares.length || seen.some((event) => event.validation !== undefined) ? h("div", { class: "card" }, chart("On the validation split", shares.length
        ? shares.map((name, i) => ({ name, colour: colours[i % colours.length], points: of(name), dashed: name !== monitor && shares.includes(monitor) }))
        : [{ name: monitor, colour: colours[1], points: of("validation") }], { x, best: running ? null : best })) : null,
      seen.some((event) => event.lr !== undefined) ? h("div", { class: "card" }, chart("Learning rate", [{ name: "lr", colour: colours[4], points: of("lr") }], { x })) : null));
}

function numbers(place, run) {
  const results = run.metrics?.results ?? [];
  if (!results.length) return set(place, state("empty", "No numbers yet", run.state === "ready" ? "This run was not evaluated." : "They come when the run is done."));
  const baselines = Object.entries(run.metrics.baselines ?? {});
  const find = (list, result) => list.find((one) => one.direction === result.direction && one.measure === result.measure);
  const first = results[0];
  set(place, h("p", { class: "muted" }, `${first.split} split, ${first.n_queries.toLocaleString("en")} queries the first way; percent, except ranks; 95 % bootstrap intervals over groups. The other columns are closed-form baselines, fitted without training.`),
    results.some(few) ? h("p", { class: "note warn few-groups" }, `The test split has few groups: intervals marked so are too narrow.`) : null,
    h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Numbers" }, h("table", { class: "numbers-table" }, h("thead", {}, h("tr", {}, ["direction", "measure"].map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col", class: "number" }, "value"), h("th", { scope: "col" }, "95 % interval"), h("th", {}, h("span", { class: "visually-hidden" }, "interval drawn")), baselines.map(([name]) => h("th", { scope: "col", class: "number" }, name)))),
      h("tbody", {}, results.map((result) => {
        const rank = /rank/.test(result.measure), colour = result.direction.startsWith("left") ? "var(--left)" : "var(--right)";
        return h("tr", {}, h("td", {}, arrow(result.direction, run.metrics.sides)), h("td", {}, result.measure), h("td", { class: "number" }, h("strong", {}, percent(result))), h("td", {}, bounds(result)),
          h("td", { class: "interval-cell" }, rank ? null : interval(result, 0, 1, colour)), baselines.map(([, one]) => h("td", { class: "number" }, percent(result, find(one.results ?? [], result)?.value))));
      })))),
    run.metrics.failures?.length ? h("details", { class: "card" }, h("summary", {}, "Worst failures"), h("p", { class: "muted" }, "Queries whose first relevant item has the highest rank."), h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Worst failures" }, h("table", {}, h("thead", {}, h("tr", {}, ["query", "relevant", "at rank", "top hit"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, run.metrics.failures.slice(0, 20).map((failure) => h("tr", {}, h("td", {}, h("a", { href: link("search", { run: run.name, id: failure.id, from: failure.direction?.startsWith("right") ? "right" : "left" }) }, failure.id)), h("td", {}, String(failure.wanted)), h("td", { class: "number" }, String(failure.rank)), h("td", {}, String(failure.found)))))))) : null);
}

function plotOf(path, run, target, alt) {
  const name = target.replace(/^plots\//, "");
  if (!run.plots.includes(name)) return null;
  const image = h("img", { class: "plot-picture", alt, loading: "lazy" });
  showMedia(image, `${path}/plots/${encodeURIComponent(name)}`);
  return image;
}

function plots(place, path, run) {
  if (!run.plots.length) return set(place, state("empty", "No plots", "They are drawn when the run is evaluated."));
  const captions = Object.fromEntries([...run.card.matchAll(/!\[([^\]]*)\]\(plots\/([^)]+)\)/g)].map(([, alt, name]) => [name, alt]));
  set(place, h("div", { class: "plots" }, run.plots.map((name) => h("figure", { class: "card" }, plotOf(path, run, name, captions[name] ?? name), h("figcaption", { class: "muted" }, captions[name] ?? name)))));
}

async function comparison(root, a, b, keep) {
  set(root, state("wait"));
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: link("runs") }, "Runs"), " / compare");
  let rows;
  try {
    ({ rows } = await call(url("/compare", { a, b })));
  } catch (error) {
    if (keep()) set(root, crumbs, state("error", "These two cannot be compared", error.message, h("a", { class: "button", href: link("runs") }, "Back to the runs")));
    return;
  }
  if (!keep()) return;
  const sign = (row, x) => (/rank/.test(row.measure) ? "" : "") + (x > 0 ? "+" : "") + (/rank/.test(row.measure) ? Number(x.toPrecision(3)) : (100 * x).toFixed(1));
  const verdict = { a: `${a} is better`, b: `${b} is better`, undecided: "undecided" };
  set(root, crumbs, h("h1", {}, `${b} against ${a}`), h("p", { class: "muted" }, "Query by query on the same test queries; 95 % intervals and p-values by paired bootstrap over groups. Percent, except ranks."),
    h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Comparison" }, h("table", {}, h("thead", {}, h("tr", {}, ["direction", "measure"].map((name) => h("th", { scope: "col" }, name)), [a, b, "difference"].map((name) => h("th", { scope: "col", class: "number" }, name)), ["95 % interval", "p", ""].map((name) => h("th", { scope: "col" }, name || h("span", { class: "visually-hidden" }, "verdict"))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("td", {}, arrow(row.direction, namesOf(a))), h("td", {}, row.measure), h("td", { class: "number" }, percent(row, row.a)), h("td", { class: "number" }, percent(row, row.b)), h("td", { class: "number" }, h("strong", {}, sign(row, row.difference))), h("td", {}, `${sign(row, row.low)} – ${sign(row, row.high)}`), h("td", { class: "number" }, row.p < 0.001 ? "< 0.001" : row.p.toFixed(3)), h("td", {}, h("span", { class: `tag ${row.better === "undecided" ? "" : row.better === "b" ? "good" : "warn"}` }, verdict[row.better] ?? row.better))))))));
}
