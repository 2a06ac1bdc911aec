// A run in the making: its stages, how far the present one is, and the time left.

import { call } from "./api.js";
import { context, link } from "./context.js";
import { h, set, state } from "./dom.js";
import { count, duration } from "./numbers.js";
import { BROKEN } from "./words.js";

const STAGES = { load: "Load data", embed: "Embed", fit: "Train", evaluate: "Evaluate", index: "Index" };
const EVERY = 1000; // milliseconds between two looks

/** A line about progress: "Embedding image, 30 of 120, 12 s left". */
export function line(progress) {
  if (!progress.running) return `Interrupted${progress.interrupted_at ? ` at ${progress.interrupted_at}` : ""}`;
  const { stage, what, done, total, seconds_left: seconds, at_most: most } = progress, steps = what === "steps";
  const doing = what && !steps ? what.charAt(0).toUpperCase() + what.slice(1) : STAGES[stage] ?? "Starting";
  const left = seconds === null || seconds === undefined || (done === total && !most) ? "" : `${most ? "at most " : ""}${duration(seconds)} left`;
  return [doing, total ? `${count(done)} of ${count(total)}${steps ? " steps" : ""}` : "", left].filter(Boolean).join(", ");
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
 * it any more. It also stops when it is no longer on the page.
 */
export function follow(name, ready = () => {}) {
  const place = h("div"), element = h("div", { class: "making-panel" }, place);
  let timer = 0, stopped = false, was = "";
  const look = async () => {
    const progress = await call(`/runs/${encodeURIComponent(name)}/progress`).catch(() => undefined);
    if (stopped || !element.isConnected) return;
    const text = JSON.stringify(progress);
    if (progress === null) return ready();
    if (progress && text !== was) { was = text; set(place, making(progress)); }
    timer = setTimeout(look, progress?.running === false ? 3 * EVERY : EVERY);
  };
  look();
  return { element, stop() { stopped = true; clearTimeout(timer); } };
}

/** What a view, such as "The search", shows in place of a run that cannot be searched; it opens by itself when it can. */
export function instead(root, title, run) {
  const { name, state: now } = run ?? {};
  if (now !== "ready") context.whenReady(name);
  if (now !== "building") {
    const said = { ready: ["This run has no index", "There is nothing to search until it has one: sensorium index RUN"], broken: BROKEN }[now] ?? ["No run is served", "Start the server with one: sensorium serve runs/glyphs"];
    return set(root, h("h1", { class: "visually-hidden" }, title), state(now === "broken" ? "error" : "empty", ...said, h("a", { class: "button", href: link("runs") }, "Go to the runs")));
  }
  return set(root, h("div", { class: "making-view" }, h("h1", {}, `${name} is being made`), follow(name).element,
    h("p", { class: "muted" }, `${title} opens here by itself when it is done. You can leave this page.`),
    h("a", { class: "button", href: link(`runs/${encodeURIComponent(name)}`) }, "Show training")));
}
