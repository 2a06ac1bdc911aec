// The system: load and latency of the server, and the state of runs, indexes and stores.

import { call } from "./api.js";
import { h, set, state } from "./dom.js";
import { BROKEN, fault, why } from "./words.js";

const EVERY = 2000;
let timer = 0, turn = 0;

export async function show(root) {
  clearTimeout(timer);
  const mine = ++turn;
  await draw(root, mine);
}

export function hide() { turn++; clearTimeout(timer); }

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1000; i++; }
  return `${n < 10 && i ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

function ms(x) { return x === null || x === undefined ? "–" : x < 10 ? x.toFixed(1) : Math.round(x).toLocaleString("en"); }

function since(when) {
  const began = typeof when === "number" ? when * 1000 : Date.parse(when);
  if (!Number.isFinite(began)) return "";
  const minutes = Math.max(0, Math.round((Date.now() - began) / 60000));
  return minutes < 60 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1440)} days`;
}

async function draw(root, mine) {
  let status;
  try { status = await call("/system"); } catch (error) {
    if (mine !== turn) return;
    if (!root.querySelector(".facts-row")) set(root, fault(error));
    timer = setTimeout(() => draw(root, mine), EVERY);
    return;
  }
  if (mine !== turn) return;
  const facts = [["Version", status.version], ["Uptime", since(status.started)], ["Load (1, 5, 15 min)", status.load.map((x) => x.toFixed(2)).join("  ")], ["Memory", bytes(status.memory)], ["In flight", status.under_way]];
  const latency = Object.entries(status.latency ?? {}).sort((a, b) => (b[1].count ?? 0) - (a[1].count ?? 0));
  const scrolled = window.scrollY, focused = document.activeElement?.id;
  set(root, h("div", { class: "head" }, h("h1", {}, "System"), h("p", { class: "muted" }, "Refreshes every 2 s")),
    h("dl", { class: "facts-row" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))),
    h("section", { class: "stack tight", "aria-labelledby": "latency" }, h("h2", { id: "latency" }, "Latency"), latency.length ? h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Latency by route", id: "latency-table" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Route"), ["Requests", "p50, ms", "p95, ms", "p99, ms"].map((name) => h("th", { scope: "col", class: "number" }, name)))),
      h("tbody", {}, latency.map(([route, one]) => h("tr", {}, h("td", {}, h("code", {}, route)), h("td", { class: "number" }, (one.count ?? 0).toLocaleString("en")), [one.p50, one.p95, one.p99].map((x) => h("td", { class: "number" }, ms(x)))))))) : h("p", { class: "muted" }, "No request has been answered yet.")),
    status.runs.map((run) => h("section", { class: "card stack tight" }, h("div", { class: "row between" }, h("h2", {}, run.name), h("span", { class: `tag ${{ ready: "good", building: "warn", broken: "bad" }[run.state]}` }, run.state)),
      run.fault ? h("div", { class: "note bad" }, h("p", {}, BROKEN[1]), why(run.fault)) : null,
      run.sides ? h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": `State of ${run.name}` }, h("table", {}, h("thead", {}, h("tr", {}, ["Side", "Index"].map((name) => h("th", { scope: "col" }, name)), ["Items", "Live changes", "Journal", "Waiting", "Searches (batch size)", "Encodings (batch size)"].map((name) => h("th", { scope: "col", class: "number" }, name)), ["Store", "Media"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, Object.entries(run.sides).map(([name, side]) => h("tr", {}, h("td", { class: `side-${name}` }, name), h("td", {}, side.index), [side.items.toLocaleString("en"), side.live_changes, bytes(side.journal_bytes), side.waiting, perPass(side.searches, side.search_batches), perPass(side.encodings, side.encoding_batches)].map((value) => h("td", { class: "number" }, String(value))), h("td", {}, side.store ? "beside the run" : "none"), h("td", {}, side.media ? "stored" : "none")))))) : null)));
  window.scrollTo(0, scrolled);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  timer = setTimeout(() => draw(root, mine), EVERY);
}

function perPass(n, passes) { return passes ? `${n.toLocaleString("en")} (${(n / passes).toFixed(1)})` : "0"; }
