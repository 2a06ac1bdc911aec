// State that all views share: the served runs and the current one.

import { call } from "./api.js";

/** The runs of GET /runs, the views of systems, and the name of the current run. Events: "runs" and "run". */
class Context extends EventTarget {
  runs = [];
  pages = [];
  name = null;
  shown = {}; // by side, the column that names its items in this view, where one was chosen

  /** The current run; undefined while there is none. */
  get run() { return this.runs.find((run) => run.name === this.name); }

  /** Read the list again. */
  async refresh() {
    const { runs, pages, labelling } = await call("/runs");
    Object.assign(this, { runs, pages: pages ?? [], labelling: Boolean(labelling) });
    for (const run of this.runs) for (const side of Object.values(run.sides)) for (const column of side.columns) column.values ??= [];
    if (!this.run) {
      const before = localStorage.getItem("sensorium.run");
      this.name = (this.runs.find((run) => run.name === before) ?? this.runs.find((run) => run.state === "ready") ?? this.runs[0])?.name ?? null;
    }
    this.dispatchEvent(new Event("runs"));
  }

  /** Show the view again once a run (or any) can be searched; polled every few seconds. */
  whenReady(name) {
    clearTimeout(this.timer);
    const hash = location.hash;
    this.timer = setTimeout(async () => {
      if (location.hash !== hash) return;
      await this.refresh().catch(() => {});
      if (this.runs.some((run) => run.state === "ready" && (!name || run.name === name))) window.dispatchEvent(new HashChangeEvent("hashchange"));
      else this.whenReady(name);
    }, 3000);
  }

  /** Make another run the current one; a name that is not served is ignored. */
  choose(name) {
    if (name === this.name || !this.runs.some((run) => run.name === name)) return;
    this.name = name;
    this.shown = {};
    localStorage.setItem("sensorium.run", name);
    this.dispatchEvent(new Event("run"));
  }
}

export const context = new Context();

/** The side that takes one kind and the other side, shown as another kind, as {from, to}; null where a run has no such. */
export function sidesOf(run, takes, kind) {
  const sides = Object.entries(run?.sides ?? {});
  for (const [from, one] of sides) {
    const other = sides.find(([name, each]) => name !== from && each.kind === kind);
    if (one.takes === takes && other) return { from, to: other[0] };
  }
  return null;
}

/** The hash of a page with its parameters: link("search", {q: "arrow"}). */
export function link(page, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${page}${text ? `?${text}` : ""}`;
}

/** Go to a hash; replace: without a new entry in the history. The page is shown anew unless quiet. */
export function go(hash, { replace = false, quiet = false } = {}) {
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  if (!quiet) window.dispatchEvent(new HashChangeEvent("hashchange"));
}
