// Runs compared query by query on the same test queries: each against the first.

import { call, url } from "./api.js";
import { context, link } from "./context.js";
import { h, set, state } from "./dom.js";
import { strip } from "./figures.js";
import { arrow, bounds, few, isRank, number, signed } from "./numbers.js";
import { explain } from "./words.js";

/** Show runs others against run a. */
export async function show(root, a, others, keep) {
  const crumbs = [h("nav", { class: "crumbs", "aria-label": "Where you are" }, h("a", { href: link("runs") }, "Runs"), " / Compare"), h("h1", {}, others.length === 1 ? `${others[0]} against ${a}` : `${others.length} runs against ${a}`)];
  set(root, crumbs, state("wait", "", "Comparing query by query…"));
  let found;
  try {
    found = await Promise.all(others.map(async (b) => [b, (await call(url("/compare", { a, b }))).rows]));
  } catch (error) {
    if (keep()) set(root, crumbs, state("error", "These runs cannot be compared", error.status === 409 || error.status === 422 ? "They were measured on other test items, or in another way. Select runs of the same data." : explain(error).text, h("a", { class: "button", href: link("runs") }, "Back to the runs")));
    return;
  }
  if (!keep()) return;
  const sides = context.runs.find((run) => run.name === a)?.sides ?? {}, names = Object.fromEntries(Object.entries(sides).map(([side, { name }]) => [side, name]));
  const rows = found.flatMap(([, each]) => each), warn = rows.some(few);
  set(root, crumbs, h("p", { class: "muted" }, "Query by query on the same test queries; 95 % intervals and p-values by paired bootstrap over groups. Points of percent, except ranks."),
    warn ? h("p", { class: "note warn few-groups" }, "The test split has few groups. Intervals marked so are too narrow.") : null,
    found.map(([b, each]) => section(a, b, each, names, others.length > 1)));
}

function section(a, b, rows, names, titled) {
  const shares = rows.filter((row) => !isRank(row.measure)), most = Math.max(0.01, ...shares.flatMap((row) => [Math.abs(row.low), Math.abs(row.high)])) * 1.05;
  const verdict = { a: `${a} is better`, b: `${b} is better`, undecided: "No difference" };
  return h("section", { class: "compared", "aria-label": `${b} against ${a}` }, titled ? h("h2", {}, b) : null,
    h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": `Comparison of ${b} with ${a}` }, h("table", { class: "compare-table" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Measure"), [a, b, "Difference"].map((name) => h("th", { scope: "col", class: "number" }, name)), h("th", { scope: "col" }, "95 % interval"), h("th", { class: "strip-cell" }, h("span", { class: "visually-hidden" }, "Interval drawn")), h("th", { scope: "col", class: "number" }, "p"), h("th", { scope: "col" }, "Verdict"))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.measure, h("span", { class: "quiet" }, ` ${arrow(row.direction, names)}`)), h("td", { class: "number" }, number(row.measure, row.a)), h("td", { class: "number" }, number(row.measure, row.b)), h("td", { class: "number" }, h("strong", {}, signed(row.measure, row.difference))), h("td", {}, bounds(row, true)),
        h("td", { class: "strip-cell" }, isRank(row.measure) ? null : strip({ ...row, value: row.difference }, { from: -most, to: most, zero: 0 })), h("td", { class: "number" }, row.p < 0.001 ? "< 0.001" : row.p.toFixed(3)), h("td", {}, h("span", { class: `tag ${row.better === "undecided" ? "" : row.better === "b" ? "good" : "warn"}` }, verdict[row.better] ?? row.better))))))));
}
