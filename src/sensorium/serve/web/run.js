// One run: results first, then training, plots, model card and recipe; while it is made, how far it is.

import { call, events, show as showMedia } from "./api.js";
import { chart, hue } from "./chart.js";
import { go, link } from "./context.js";
import { h, icon, set, state } from "./dom.js";
import * as figures from "./figures.js";
import { follow } from "./making.js";
import { markdown } from "./markdown.js";
import { few } from "./numbers.js";
import { stateTag } from "./runs.js";
import { BROKEN, why } from "./words.js";

const SECTIONS = [["results", "Results"], ["training", "Training"], ["plots", "Plots"], ["card", "Model card"], ["recipe", "Recipe"]];
const MEMBERS = 8; // whose curves are drawn, the last ones
/** Plots of a run's folder that the page draws itself, from numbers. */
const DRAWN = /^(ranks|similarities|confusion_matrix|groups|reliability_\w+|training_history)\./;

/** Show a run. page.stops: functions that end what is going on; query.tab: the section to go to. */
export async function show(root, name, query, page, keep, retry) {
  const path = `/runs/${encodeURIComponent(name)}`;
  const [run, history] = await Promise.all([call(path), call(`${path}/history`)]);
  if (!keep()) return;
  const metrics = run.metrics, ready = run.state === "ready", status = h("span", {}, stateTag(run));
  const sections = Object.fromEntries(SECTIONS.map(([key]) => [key, h("div", { class: "run-part" })]));
  const has = { results: ready, training: true, plots: ready, card: Boolean(run.card), recipe: Boolean(run.recipe) };
  const shown = SECTIONS.filter(([key]) => has[key]);
  const jump = (key) => {
    const section = root.querySelector(`#run-${key}`), details = section?.querySelector("details");
    if (details) details.open = true;
    section?.scrollIntoView();
    section?.focus({ preventScroll: true });
  };
  set(root, h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: link("runs") }, "Runs"), " / ", name),
    h("div", { class: "row between head" }, h("div", { class: "row" }, h("h1", {}, name), status), h("div", { class: "row" }, ready ? [
      h("a", { class: "button small", href: link("search", { run: name }) }, icon("search"), "Search"), h("a", { class: "button small", href: link("map", { run: name }) }, icon("map"), "Map"),
      h("a", { class: "button small", href: link(`runs/${encodeURIComponent(name)}/doctor`) }, icon("check"), "Check the data")] : null)),
    metrics?.verdict ? h("p", { class: "verdict" }, metrics.verdict) : null,
    metrics?.leaks?.leaky ? h("p", { class: "note bad" }, h("strong", {}, "Leaky. "), `${metrics.leaks.findings?.filter((one) => one.leaky).map((one) => one.text).join("; ") || "Test items were in the training data"}. These numbers are too high.`) : null,
    run.state === "broken" ? h("div", { class: "note bad" }, h("p", {}, h("strong", {}, `${BROKEN[0]}. `), BROKEN[1]), why(run.detail)) : null,
    shown.length > 1 ? h("nav", { class: "run-nav", "aria-label": "On this page" }, shown.map(([key, title]) => h("a", { href: link(`runs/${encodeURIComponent(name)}`, { tab: key }), on: { click(event) { event.preventDefault(); go(link(`runs/${encodeURIComponent(name)}`, { tab: key }), { replace: true, quiet: true }); jump(key); } } }, title))) : null,
    shown.map(([key, title]) => h("section", { id: `run-${key}`, tabindex: -1, "aria-labelledby": `run-${key}-title` },
      key === "card" || key === "recipe" ? h("details", {}, h("summary", {}, h("h2", { id: `run-${key}-title` }, title)), sections[key]) : [h("h2", { id: `run-${key}-title` }, title), sections[key]])));
  if (has.results) results(sections.results, run);
  training(sections.training, history, run);
  if (has.plots) plots(sections.plots, path, run, keep);
  set(sections.card, h("article", { class: "prose" }, markdown(run.card, { level: 3, image: (target, alt) => picture(path, run, target, run.card.includes(`*${alt}*`) ? "" : alt) }))); // a caption says the same
  set(sections.recipe, h("pre", { tabindex: 0 }, h("code", {}, run.recipe)));
  const wanted = { numbers: "results", curves: "training" }[query.get("tab")] ?? query.get("tab");
  if (has[wanted] && wanted !== "results") jump(wanted);
  watch(path, run, page, keep, retry, (lines) => training(sections.training, lines, run), root, name);
}

/** A run that is made is followed to its end; of another, a new version is looked for. */
function watch(path, run, page, keep, retry, draw, root, name) {
  if (!run.making) {
    const look = async () => {
      const now = await call(path).catch(() => null);
      if (!keep()) return;
      if (now && (now.making || now.state !== run.state)) retry(); else page.timer = setTimeout(look, 4000);
    };
    page.timer = setTimeout(look, 4000);
    return;
  }
  const panel = follow(name, () => { if (keep()) retry(); });
  page.stops.push(panel.stop);
  root.querySelector(".head").after(panel.element);
  if (run.state === "building") panel.element.append(h("p", { class: "quiet" }, run.making.running ? "Results and search open here by themselves when it is done. You can leave this page." : ""));
  if (!run.making.running) return;
  let lines = { header: {}, events: [], running: true };
  page.stops.push(events(`${path}/events`, (type, data) => {
    if (!keep()) return;
    if (type === "restart") lines = { header: {}, events: [], running: true };
    else if (type === "start") lines = { ...lines, header: data };
    else if (type === "epoch") lines = { ...lines, events: [...lines.events, data] };
    else if (type === "end") return retry();
    if (type !== "stage") draw(lines);
  }, () => { if (keep()) page.timer = setTimeout(retry, 1500); }));
}

function results(place, run) {
  const { metrics } = run, rows = metrics?.results ?? [];
  if (!rows.length) return set(place, state("empty", "No results", "This run was not evaluated. Type: sensorium evaluate RUN"));
  const [first] = rows, shown = { results: rows, baselines: metrics.baselines, sides: metrics.sides };
  set(place, rows.some(few) ? h("p", { class: "note warn few-groups" }, "The test split has few groups. Intervals marked so are too narrow.") : null,
    h("div", { class: "card" }, figures.resultsPlot(shown)),
    h("p", { class: "quiet" }, `${first.split} split, ${first.n_queries.toLocaleString("en")} queries the first way. Percent, except ranks; 95 % bootstrap intervals over groups. Baselines are closed forms, fitted without training.`),
    h("details", { class: "card" }, h("summary", {}, "All numbers, with baselines"), figures.numbersTable(shown)),
    figures.ablation(metrics.fit, metrics.validation?.[0]?.n_groups),
    metrics.failures?.length ? failures(run) : null);
}

function failures({ name, metrics }) {
  return h("details", { class: "card" }, h("summary", {}, "Worst failures"), h("p", { class: "muted" }, "Queries whose first relevant item has the highest rank."), h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Worst failures" }, h("table", {}, h("thead", {}, h("tr", {}, ["Query", "Relevant", "At rank", "Top result"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, metrics.failures.slice(0, 20).map((one) => h("tr", {}, h("td", {}, h("a", { href: link("search", { run: name, id: one.id, from: one.direction?.startsWith("right") ? "right" : "left" }) }, one.id)), h("td", {}, String(one.wanted)), h("td", { class: "number" }, String(one.rank)), h("td", {}, String(one.found))))))));
}

/** Curves of the fit so far, or why there are none. */
export function training(place, { header, events: all, running }, run) {
  const seen = all.filter((event) => event.member !== "all");
  if (!seen.length) {
    const closed = run.metrics?.fit?.mixture ? "Its members were solved in closed form; there is no curve." : "This head was solved in closed form, in one pass; it has no curve.";
    return set(place, h("p", { class: "muted" }, running || run.making?.running ? "The first epoch has not ended yet." : run.metrics ? closed : "There is no history here."));
  }
  const x = seen[0].epoch !== undefined ? "epoch" : "step", of = (name) => seen.map((event) => [event[x], event[name]]);
  const monitor = header.monitor ?? "validation", best = running ? null : run.metrics?.fit?.best_epoch ?? null, last = seen[seen.length - 1];
  const shares = Object.keys(last).filter((name) => /@|MRR|mAP|nDCG|accuracy|UA|F1/.test(name)), members = [...new Set(seen.map((event) => event.member))];
  const colours = ["var(--left)", "var(--right)", "var(--good)", "var(--warn)", "var(--ink-3)"], total = header.epochs;
  const facts = [["Epochs", running ? `${last[x]} of ${total ?? "?"}` : seen.filter((event) => event.loss !== undefined).length], ["Best", best === null ? null : `${x} ${best}`], ["Members", header.members ?? (members.length > 1 ? members.length : null)], ["Pairs", header.pairs?.toLocaleString("en")], ["Batch size", header.batch],
    ["Parameters", header.parameters?.toLocaleString("en")], ["Objective", header.objective], ["Speed", last.pairs_per_second ? `${Math.round(last.pairs_per_second).toLocaleString("en")} pairs/s` : null], ["Precision", header.precision]].filter(([, value]) => value !== undefined && value !== null);
  const each = (measure) => members.slice(-MEMBERS).map((member, i) => { // one curve a member, each from its own beginning
    const own = seen.filter((event) => event.member === member), from = own[0][x] - 1;
    return { name: String(member), colour: hue(i), points: own.map((event) => [event[x] - from, event[measure] ?? event.validation]) };
  });
  const drawn = (members.length > 1 ? [chart("Loss", each("loss"), { x }), chart(`${monitor} on the validation split`, each(monitor), { x })]
    : [chart("Loss", [{ name: "train", colour: colours[0], points: of("loss") }], { x, best }),
      chart("On the validation split", shares.length ? shares.map((name, i) => ({ name, colour: colours[i % colours.length], points: of(name), dashed: name !== monitor && shares.includes(monitor) })) : [{ name: monitor, colour: colours[1], points: of("validation") }], { x, best }),
      chart("Learning rate", [{ name: "lr", colour: colours[4], points: of("lr") }], { x })]).filter(Boolean);
  set(place, h("dl", { class: "facts-row" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))), h("div", { class: "charts" }, drawn.map((one) => h("div", { class: "card" }, one))));
}

/** A picture of the run's plots; null for another. */
function picture(path, run, target, alt) {
  const name = target.replace(/^plots\//, "");
  if (!run.plots.includes(name)) return null;
  const image = h("img", { class: "plot-picture", alt, loading: "lazy" });
  showMedia(image, `${path}/plots/${encodeURIComponent(name)}`);
  return image;
}

async function plots(place, path, run, keep) {
  const { metrics } = run, more = await call(`${path}/charts`).catch(() => ({ ranks: [] }));
  if (!keep()) return;
  const captions = Object.fromEntries([...run.card.matchAll(/!\[([^\]]*)\]\(plots\/([^)]+)\)/g)].map(([, alt, name]) => [name, alt]));
  const matrix = metrics.classes ?? (metrics.protocol?.confusion?.counts ? { names: metrics.protocol.confusion.names, confusion: metrics.protocol.confusion.counts } : null);
  const drawn = [matrix?.confusion ? figures.confusion(matrix) : null, figures.ranks(more.ranks, metrics.sides), figures.calibration(metrics.calibration, metrics.sides), more.scores ? figures.histogram(more.scores) : null, metrics.breakdown?.worst ? figures.groups(metrics.breakdown) : null].filter(Boolean);
  const pictures = run.plots.filter((name) => !DRAWN.test(name)).map((name) => h("figure", { class: "chart" }, picture(path, run, name, ""), h("figcaption", {}, captions[name] ?? name)));
  set(place, drawn.length || pictures.length ? h("div", { class: "charts" }, [...drawn, ...pictures].map((one) => h("div", { class: "card" }, one))) : h("p", { class: "muted" }, "Nothing to draw: the run was not evaluated."));
}
