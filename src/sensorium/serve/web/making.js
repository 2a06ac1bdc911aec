// A run in the making: its stages, how far the present one is, and the time left.

import { call } from "./api.js";
import { h, set } from "./dom.js";
import { count, duration } from "./numbers.js";

const STAGES = { load: "Load data", embed: "Embed", fit: "Train", evaluate: "Evaluate", index: "Index" };
const EVERY = 1000; // milliseconds between two looks

/** A line about progress: "Train, 120 of 330 steps, 12 s left". */
export function line(progress) {
  if (!progress.running) return `Interrupted${progress.interrupted_at ? ` at ${progress.interrupted_at}` : ""}`;
  return [STAGES[progress.stage] ?? "Starting", counted(progress), left(progress)].filter(Boolean).join(", ");
}

function counted({ what, done, total }) {
  if (!total) return "";
  return `${count(done)} of ${count(total)}${what === "steps" ? " steps" : ""}`;
}

function left({ seconds_left: seconds, at_most: most }) {
  return seconds === null || seconds === undefined ? "" : `${most ? "at most " : ""}${duration(seconds)} left`;
}

/** What progress looks like: the stages, a bar where something is counted, and a line. */
export function making(progress) {
  if (!progress?.running) {
    return h("div", { class: "making note warn" }, h("strong", {}, "Interrupted. "), progress?.interrupted_at ? `It goes on at ${progress.interrupted_at}. ` : "", "Type its command again: what was done is kept.");
  }
  const names = Object.keys(STAGES), at = names.indexOf(progress.stage), share = progress.total ? progress.done / progress.total : null;
  const text = line(progress);
  return h("div", { class: "making" },
    h("ol", { class: "making-stages", "aria-label": "Stages" }, names.map((name, i) => h("li", { class: i < at ? "done" : i === at ? "now" : "", "aria-current": i === at ? "step" : undefined }, STAGES[name]))),
    h("div", { class: "progress", role: "progressbar", "aria-label": "Progress of this stage", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share === null ? undefined : Math.round(100 * share), "aria-valuetext": text },
      h("div", { class: `meter${share === null ? " unknown" : ""}` }, h("i", { style: { "--share": share ?? 0.3 } }))),
    h("p", { class: "making-line" }, text));
}

/**
 * A panel that follows a run until it is ready: {element, stop}. ready() is called when it is, or when nobody makes
 * it any more.
 */
export function follow(name, ready) {
  const place = h("div"), element = h("div", { class: "making-panel" }, place);
  let timer = 0, stopped = false, was = "";
  const look = async () => {
    const progress = await call(`/runs/${encodeURIComponent(name)}/progress`).catch(() => undefined);
    if (stopped) return;
    const text = JSON.stringify(progress);
    if (progress === null) return ready();
    if (progress && text !== was) { was = text; set(place, making(progress)); }
    timer = setTimeout(look, progress?.running === false ? 3 * EVERY : EVERY);
  };
  look();
  return { element, stop() { stopped = true; clearTimeout(timer); } };
}
