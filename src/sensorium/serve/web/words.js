// Errors in plain words by their cause: a title, what to do, and no word of HTTP or of recipes.

import { causeOf, Gone, Plain, Problem } from "./api.js";
import { h, state } from "./dom.js";

const UNREADABLE = {
  image: ["This image cannot be read", "Choose a PNG, JPEG, WebP or GIF file."],
  face: ["This image cannot be read", "Choose a PNG, JPEG, WebP or GIF file."],
  audio: ["This sound cannot be read", "Choose a WAV, FLAC, OGG or MP3 file."],
};

/** What an error of a search, or of one of its parts, means: { title, text }. input: the input it is about, if any. */
export function explain(error, input = null) {
  if (error instanceof Gone || !(error instanceof Problem)) return said(error);
  const { status } = error;
  if (status === 404 && input?.kind === "id") return { title: `There is no item “${input.value}”`, text: "It may have been removed since the link was made. Type to search, or choose another item." };
  const meant = status === 404 && /did you mean '([^']+)'/.exec(error.detail);
  if (meant) return { title: causeOf(status)[0], text: `Did you mean “${meant[1]}”?` };
  if (status === 422 && UNREADABLE[input?.kind]) { const [title, text] = UNREADABLE[input.kind]; return { title, text }; }
  if (input?.classes && input.kind === "text" && status >= 400 && status < 500) {
    return { title: `“${input.value}” is not a class of this run`, text: `Choose one of: ${input.classes.join(", ")}.` };
  }
  if (status === 400 && input?.mixed) return { title: "These inputs belong to both sides", text: "Choose above the results which side to search." };
  const lost = /^no (item|clip|speaker) '(.+?)'/.exec(error.detail);
  if (lost) return { title: `There is no ${lost[1]} “${lost[2]}”`, text: "It may have been removed since the link was made." };
  return said(error);
}

/** Title and text of an error that is no matter of what was asked. What is no error for readers is a fault of the page. */
function said(error) {
  if (error instanceof Plain) return { title: error.title, text: error.message };
  if (/module|import/i.test(error.message)) return { title: "Part of the page did not load", text: "Try again; if that does not help, reload the page." };
  console.error(error);
  return { title: "That did not work", text: "The page has a fault. Reload it, then try again." };
}

/** The message of an error for a place that has nothing else to show. input: as in explain(). actions: what helps. */
export function fault(error, input = null, ...actions) {
  const { title, text } = explain(error, input);
  return state("error", title, text, ...actions);
}

/** The same as one line. */
export function faultLine(error, input = null) {
  const { title, text } = explain(error, input);
  return h("span", { class: "note bad", role: "alert" }, h("strong", {}, `${title}. `), text);
}

/** The server's own words about a run that cannot be opened, behind a summary. */
export function why(detail) { return detail ? h("details", {}, h("summary", {}, "What the server says"), h("p", { class: "quiet" }, detail)) : null; }

/** Title and text of a run that cannot be opened. */
export const BROKEN = ["This run cannot be opened", "A file of it is missing or damaged, or a package that it needs is not installed. Nothing of it was changed."];

const LIKELY = 0.5, POSSIBLE = 0.15; // of the first result
const MANY = 1, SOME = 0.3;          // expected number of right results: the sum of their probabilities

/**
 * What calibrated probabilities say of a list: "Likely match", "Possible match" or "No reliable match"; "" without any.
 * Their sum is the expected number of right results, whether they depend on each other or not.
 */
export function verdict(hits, noMatch) {
  if (noMatch) return "No reliable match";
  const p = hits.map((hit) => hit.probability).filter((one) => typeof one === "number");
  if (!p.length) return "";
  const first = p[0], expected = p.reduce((sum, one) => sum + one, 0);
  if (first >= LIKELY || expected >= MANY) return "Likely match";
  return first >= POSSIBLE || expected >= SOME ? "Possible match" : "No reliable match";
}

/** A probability as text, such as 84%. */
export function percent(p) {
  const value = 100 * p;
  return value >= 99.95 ? "> 99.9%" : value >= 99.5 ? `${value.toFixed(1)}%` : value < 1 ? (value < 0.05 ? "< 0.1%" : `${value.toFixed(1)}%`) : `${Math.round(value)}%`;
}
