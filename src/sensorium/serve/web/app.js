// The page's frame: hash routes to modules with show(root, params) and perhaps hide() and retry().

import { connection, request } from "./api.js";
import { context, go, link, sidesOf } from "./context.js";
import { h, icon, set, state } from "./dom.js";
import { view } from "./files.js";

/** Every page: its name in the hash, its title, when it is in the navigation, and its module. */
const PAGES = [
  { name: "search", title: "Search", load: () => import("./search.js") },
  { name: "map", title: "Map", load: () => import("./map.js") },
  { name: "runs", title: "Runs", load: () => import("./runs.js") },
  { name: "live", title: "Live", load: () => import("./live.js"), when: () => context.runs.some((run) => run.streams) },
  { name: "system", title: "System", load: () => import("./system.js") },
];

/** The pages above, and those that systems bring: GET /runs names their scripts. */
function pages() {
  const own = new Set(PAGES.map((page) => page.name));
  return [...PAGES, ...context.pages.filter((page) => !own.has(page.name)).map((page) => extra(page))];
}

const extras = new Map();

function extra({ name, title, script, column, kinds, side }) {
  const has = (run) => Object.values(run.sides ?? {}).some((one) => one.takes === side || one.name === side);
  const when = () => (!column || (context.run?.one_table && Object.values(context.run.sides ?? {}).some((side) => side.columns.some((one) => one.name === column))))
    && (!kinds || Boolean(sidesOf(context.run, ...kinds))) && (!side || context.runs.some(has));
  if (!extras.has(name)) extras.set(name, { name, title, when, load: () => view(script) });
  return extras.get(name);
}

const root = document.getElementById("main");
let shown = null, turn = 0, waiting = 0;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { page: pages().find((page) => page.name === name), name, rest: rest.map(decodeURIComponent), query: new URLSearchParams(query) };
}

function navigation() {
  const { name } = route();
  set(document.getElementById("nav"), pages().filter((page) => !page.when || page.when()).map((page) =>
    h("a", { href: link(page.name), "aria-current": page.name === (name || "search") ? "page" : undefined }, icon(page.name), page.title)));
}

function runChoice() {
  const end = document.getElementById("top-end");
  const choice = context.runs.length < 2 ? null : h("select", {
    class: "select", "aria-label": "Run", value: context.name,
    on: { change: (event) => { context.choose(event.target.value); go(link(route().name || "search", { run: context.name })); } },
  }, context.runs.map((run) => h("option", { value: run.name }, run.name)));
  set(end, choice, themeButton());
}

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

function themeButton() {
  const now = document.documentElement.dataset.theme ?? "auto";
  const next = { auto: "dark", dark: "light", light: "auto" }[now];
  const text = `Colours: ${THEMES[now]}; switch to ${THEMES[next]}`;
  return h("button", { class: "icon-button plain", "aria-label": text, title: text, on: { click() { theme(next); runChoice(); document.querySelector("#top-end button").focus(); } } }, icon("sun"));
}

function theme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  localStorage.setItem("sensorium.theme", name);
  window.dispatchEvent(new Event("themechange"));
}

async function showRoute() {
  const mine = ++turn, { page, name, rest, query } = route();
  if (!name) return go(link("search"), { replace: true });
  context.choose(query.get("run"));
  navigation();
  if (!page) {
    shown?.module.hide?.();
    shown = null;
    root.className = "";
    set(root, state("empty", h("h1", {}, "There is no such page"), `The address names a page “${name}”, which is not here.`, h("a", { class: "button", href: link("search") }, "Go to the search")));
    return;
  }
  const again = shown?.page === page;
  if (!again) {
    shown?.module.hide?.();
    shown = null;
    waiting = setTimeout(() => { if (mine === turn) { root.className = ""; set(root, state("wait")); } }, 250); // no flash before a view that is there at once
  }
  document.title = `${page.title} · Sensorium`;
  try {
    const module = await page.load();
    if (mine !== turn) return;
    clearTimeout(waiting);
    if (!again) { root.className = ""; set(root); }
    shown = { page, module };
    await module.show(root, { rest, query, again });
    if (!again && !root.contains(document.activeElement) && document.activeElement !== document.body) root.focus({ preventScroll: true });
  } catch (error) {
    clearTimeout(waiting);
    if (mine !== turn) return;
    shown = null;
    const { fault } = await import("./words.js");
    set(root, fault(error, null, h("button", { class: "button", on: { click: showRoute } }, "Try again")));
  }
}

const banner = document.getElementById("banner");
connection.addEventListener("down", () => {
  banner.dataset.kind = "warn";
  set(banner, "The server does not answer. Trying again until it does…");
  banner.hidden = false;
});
connection.addEventListener("back", async () => {
  banner.dataset.kind = "good";
  set(banner, "The server is back.");
  setTimeout(() => { if (banner.dataset.kind === "good") banner.hidden = true; }, 2500);
  await context.refresh().catch(() => {});
  if (shown?.module.retry) shown.module.retry();
  else showRoute();
});
connection.addEventListener("token", ({ detail }) => {
  const field = h("input", { class: "input", type: "password", autocomplete: "off", required: true, id: "token" });
  const dialog = h("dialog", { "aria-labelledby": "token-title" }, h("form", { class: "stack", method: "dialog" },
    h("h2", { id: "token-title" }, "This server needs a token"),
    h("p", { class: "muted" }, detail.wrong ? "That token was not the right one." : "It is stored until this tab is closed, and sent with each request."),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), field),
    h("div", { class: "row" }, h("button", { class: "button primary" }, "Continue"))));
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => { dialog.remove(); detail.give(field.value.trim()); });
  document.body.append(dialog);
  dialog.showModal();
});

document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); root.focus(); });
let known = "";
context.addEventListener("runs", () => {
  if (context.labelling) import("./label.js");
  const now = JSON.stringify([context.runs.map((run) => [run.name, run.streams]), context.pages]);
  if (now === known) return; // what is under the pointer stays there
  known = now;
  navigation();
  runChoice();
});
context.addEventListener("run", runChoice);
window.addEventListener("hashchange", showRoute);

theme(localStorage.getItem("sensorium.theme") ?? "auto");
set(root, state("wait"));
navigation();
runChoice();
try {
  await context.refresh();
} catch { /* the banner says so, and the page comes when the server does */ }
await showRoute();
setTimeout(() => { // the map is begun, so that it is there when it is looked at
  const { run } = context, items = Object.values(run?.sides ?? {}).reduce((sum, side) => sum + side.items, 0);
  if (run?.state === "ready" && items > 20) request(`/runs/${encodeURIComponent(run.name)}/map?method=tsne`, { method: "HEAD" }).catch(() => {});
}, 1500);
