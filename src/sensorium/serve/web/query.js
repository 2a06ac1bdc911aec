// A search as data: its inputs and options, to and from a link, and as requests for the server.

import { Plain } from "./api.js";
import { picture, strokesFromText } from "./draw.js";

/** Files that were dropped, snapped or recorded, by a short key; links name the key, as files do not fit in one. */
const files = new Map();

export function keepFile(file) {
  const key = `f${files.size + 1}`;
  files.set(key, file);
  return key;
}

export function fileOf(key) { return files.get(key); }

/** Whether a kind of input is a file: every modality but text is; an id and a drawing are not. */
export function isFile(kind) { return !["text", "id", "draw"].includes(kind); }

/** Items of a group that an answer holds, where results are one a group. */
const GROUP = 7;

/** An empty search. inputs: {kind: text|id|draw|a modality of files, value, side?, weight}. */
export function blank() {
  return { inputs: [], to: "", k: 12, where: {}, corrected: true, mmr: 0, beside: "", collapse: "", min_score: null, fallback: null, show: "" };
}

/** The query of a link's parameters. */
export function fromParams(params) {
  const query = blank();
  if (params.get("q")) query.inputs.push({ kind: "text", value: params.get("q"), side: "", weight: 1 });
  if (params.get("id")) query.inputs.push({ kind: "id", value: params.get("id"), side: params.get("from") ?? "", weight: 1 });
  for (const text of params.getAll("in")) {
    const [kind, weight, side, ...rest] = text.split(":");
    if (/^[a-z]\w*$/.test(kind)) query.inputs.push({ kind, value: rest.join(":"), side, weight: Number.isFinite(+weight) ? +weight : 1 });
  }
  query.to = ["left", "right"].includes(params.get("to")) ? params.get("to") : "";
  query.k = Math.min(200, Math.max(1, parseInt(params.get("k"), 10) || 12));
  query.corrected = params.get("raw") !== "1";
  query.mmr = Math.min(1, Math.max(0, parseFloat(params.get("vary")) || 0));
  query.beside = ["correction", "encoder"].includes(params.get("beside")) ? params.get("beside") : "";
  query.where = filterOf(params.get("where")) ?? {};
  query.collapse = params.get("collapse") ?? "";
  query.min_score = params.has("min_score") && Number.isFinite(parseFloat(params.get("min_score"))) ? parseFloat(params.get("min_score")) : null;
  query.fallback = filterOf(params.get("fallback"));
  query.show = params.get("show") ?? "";
  return query;
}

/** A filter of a link; null for none, and for one that was cut. */
export function filterOf(text) {
  try {
    const found = JSON.parse(text ?? "null");
    return found && typeof found === "object" && !Array.isArray(found) ? found : null;
  } catch { return null; }
}

/** The parameters of a link to the same query. */
export function toParams(run, query) {
  const params = new URLSearchParams({ run });
  const [first] = query.inputs;
  if (query.inputs.length === 1 && first.kind === "text" && first.weight === 1 && !first.side) params.set("q", first.value);
  else if (query.inputs.length === 1 && first.kind === "id" && first.weight === 1) {
    params.set("id", first.value);
    if (first.side) params.set("from", first.side);
  } else for (const { kind, weight, side, value } of query.inputs) params.append("in", [kind, weight, side ?? "", value].join(":"));
  if (query.to) params.set("to", query.to);
  if (query.k !== 12) params.set("k", query.k);
  if (!query.corrected) params.set("raw", "1");
  if (query.mmr) params.set("vary", query.mmr);
  if (query.beside) params.set("beside", query.beside);
  if (Object.keys(query.where).length) params.set("where", JSON.stringify(query.where));
  if (query.collapse) params.set("collapse", query.collapse);
  if (query.min_score !== null) params.set("min_score", query.min_score);
  if (query.fallback) params.set("fallback", JSON.stringify(query.fallback));
  if (query.show) params.set("show", query.show);
  return params;
}

/** The side that takes an input, as far as it is evident; "" otherwise. */
export function sideOf(run, input) {
  if (input.side) return input.side;
  const kind = { draw: "image", id: null }[input.kind] ?? input.kind;
  const sides = Object.entries(run.sides).filter(([, side]) => side.takes === kind).map(([name]) => name);
  return sides.length === 1 || run.one_table ? sides[0] ?? "" : "";
}

/** The side that is searched. */
export function targetOf(run, query) {
  if (run.one_table) return "left";
  if (query.to) return query.to;
  const from = query.inputs.length ? sideOf(run, query.inputs[0]) : "";
  return from === "right" ? "left" : "right";
}

/** A file's bytes in base64. */
export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}

async function inputBody(run, input) {
  const side = sideOf(run, input);
  const from = side && !run.one_table ? { from: side } : {};
  if (input.kind === "text" || input.kind === "id") return { [input.kind]: input.value, ...from };
  if (input.kind === "draw") return { image: picture(strokesFromText(input.value)).toDataURL("image/png").split(",")[1], ...from };
  const file = fileOf(input.value);
  if (!file) throw new Plain("The file of this link is no longer here", "Choose it again.");
  return { [input.kind]: await base64(file), ...from };
}

/** The lists that a search shows: each with a title, a note and the body for POST /search. */
export async function requests(run, query) {
  const inputs = query.inputs.filter((input) => input.value !== "");
  const parts = await Promise.all(inputs.map((input) => inputBody(run, input)));
  const inputFields = parts.length === 1 ? parts[0] : { queries: parts.map((part, i) => ({ ...part, weight: inputs[i].weight })) };
  const to = targetOf(run, query);
  const body = { run: run.name, ...inputFields, k: query.k, corrected: query.corrected };
  if (!run.one_table) body.to = to;
  if (Object.keys(query.where).length) body.where = query.where;
  if (query.collapse) Object.assign(body, { collapse: query.collapse, collapse_size: GROUP });
  if (query.min_score !== null) body.min_score = query.min_score;
  if (query.fallback) body.fallback = query.fallback;
  if (query.mmr) body.mmr = 1 - query.mmr; // the page's slider goes from near to varied, λ the other way
  if (query.beside === "correction") {
    return [{ title: "With correction", note: "items that are near to everything ranked lower", body: { ...body, corrected: true } },
      { title: "Without correction", note: "similarity as it is", body: { ...body, corrected: false } }];
  }
  if (query.beside === "encoder") {
    const own = sideOf(run, inputs[0]) || to;
    const raw = { ...body, space: "encoder" };
    if (!run.one_table) { body.to = own; raw.to = own; }
    delete raw.mmr;
    return [{ title: "Fitted head", note: "as this run searches", body }, { title: "Encoder alone", note: "without any fit", body: raw }];
  }
  return [{ title: "", note: "", body }];
}
