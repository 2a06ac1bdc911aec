// What every page shares: the runs that are served and the one that is looked at.

import { call } from "./api.js";

/** Runs as GET /runs tells them, and the name of the current one. Tells of "runs" and "run". */
class Context extends EventTarget {
  runs = [];
  name = null;

  /** The run that is looked at; undefined while there is none. */
  get run() { return this.runs.find((run) => run.name === this.name); }

  /** Read the list again. */
  async refresh() {
    this.runs = (await call("/runs")).runs;
    for (const run of this.runs) for (const side of Object.values(run.sides)) for (const column of side.columns) column.values ??= [];
    if (!this.run) {
      const kept = localStorage.getItem("sensorium.run");
      this.name = (this.runs.find((run) => run.name === kept) ?? this.runs.find((run) => run.state === "ready") ?? this.runs[0])?.name ?? null;
    }
    this.dispatchEvent(new Event("runs"));
  }

  /** Look at another run; a name that is not served is ignored. */
  choose(name) {
    if (name === this.name || !this.runs.some((run) => run.name === name)) return;
    this.name = name;
    localStorage.setItem("sensorium.run", name);
    this.dispatchEvent(new Event("run"));
  }
}

export const context = new Context();

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
