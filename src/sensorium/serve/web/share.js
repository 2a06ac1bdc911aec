// A search for elsewhere: its link, the same search in Python and for curl, its results as CSV and JSON.

import { at, currentToken } from "./api.js";
import { announce, h, icon } from "./dom.js";
import { fileOf, isFile, requests } from "./query.js";

/** A JSON value as a Python literal. */
export function python(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${python(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

const FILE = "FILE"; // stands for a file of this computer, whose path a page does not know

/** The search as Python. */
export function asPython(run, query, body) {
  const [first] = query.inputs, { queries, run: name, to, k, where, corrected, mmr, collapse, min_score: least, fallback, from } = body;
  const open = `import sensorium\n\nrun = sensorium.open("runs/${name}")\n`;
  if (queries) {
    const sum = queries.map(({ weight, from: side, ...input }, i) => `    (${python(isFile(query.inputs[i].kind) || query.inputs[i].kind === "draw" ? { [Object.keys(input)[0]]: FILE } : input)}, ${weight}),`).join("\n");
    return `# several inputs are combined by the server\nimport requests\n\ninputs = [\n${sum}\n]\nanswer = requests.post("${address()}", json={"run": "${name}", "queries": [{**one, "weight": weight} for one, weight in inputs], "k": ${k}${to ? `, "to": "${to}"` : ""}})\nhits = answer.json()["hits"]\n`;
  }
  const asked = first.kind === "text" ? python(first.value) : first.kind === "id" ? `id=${python(first.value)}` : python(FILE);
  const more = { side: from, to, k, where, corrected: corrected ? undefined : false, mmr, collapse, min_score: least, fallback };
  const args = Object.entries(more).filter(([, value]) => value !== undefined && value !== "").map(([key, value]) => `, ${key}=${python(value)}`).join("");
  return `${open}for hit in run.search(${asked}${args}):\n    print(hit["rank"], hit["id"], hit["score"])\n`;
}

function address() { return at("/search"); }

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The search for curl. */
export function asCurl(query, body) {
  const token = currentToken() ? ` -H "Authorization: Bearer $SENSORIUM_TOKEN"` : "", [first] = query.inputs;
  if (query.inputs.length === 1 && (isFile(first.kind) || first.kind === "draw")) {
    const kind = first.kind === "draw" ? "image" : first.kind, { [kind]: _, ...rest } = body;
    return `curl -s ${quoted(address())}${token} -F query=${quoted(JSON.stringify(rest))} -F ${kind}=@${FILE}`;
  }
  return `curl -s ${quoted(address())}${token} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`;
}

const cell = (value) => {
  const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Hits as CSV (RFC 4180): rank, id, side, score, probability where there is one, and every column. */
export function asCsv(hits) {
  const columns = [...new Set(hits.flatMap((hit) => Object.keys(hit.columns)))];
  const own = ["rank", "id", "side", "score", ...(hits.some((hit) => hit.probability !== undefined && hit.probability !== null) ? ["probability"] : [])];
  const head = [...own, ...columns.map((name) => (own.includes(name) ? `column ${name}` : name))];
  return [head, ...hits.map((hit) => [...own.map((name) => hit[name]), ...columns.map((name) => hit.columns[name])])].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Copy a text; where a page over http may not, by a selection. */
export async function copy(text) {
  try { await navigator.clipboard.writeText(text); return; } catch { /* not allowed, or an insecure address */ }
  const field = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  field.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

function save(name, type, text) {
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** The nodes of the panel. answers: of the lists that are shown. actions: added(item), close(). */
export async function share(run, query, answers, { added, close }) {
  const body = async () => (await requests(run, query))[0].body;
  const hits = answers.flatMap((one) => one.answer?.hits ?? []), name = `${run.name}-results`;
  const row = (text, sign, act, done) => {
    const words = h("span", {}, text);
    return h("button", { class: "menu-row", type: "button", on: { async click() {
      try { await act(); words.textContent = done ?? text; announce(done ?? text); } catch { words.textContent = "The file of this link is gone; choose it again"; }
    } } }, icon(sign), words);
  };
  return h("div", { class: "menu" },
    query.inputs.some((input) => isFile(input.kind) && fileOf(input.value)) ? null : row("Copy link", "copy", () => copy(location.href), "Link copied"),
    row("Copy as Python", "copy", async () => copy(asPython(run, query, await body())), "Python copied"),
    row("Copy as curl", "copy", async () => copy(asCurl(query, await body())), "Command copied"),
    hits.length ? row("Export CSV", "download", () => save(`${name}.csv`, "text/csv", asCsv(hits))) : null,
    hits.length ? row("Export JSON", "download", () => save(`${name}.json`, "application/json", JSON.stringify(hits, null, 2))) : null,
    Object.values(run.sides).some((side) => side.takes !== "vectors") ? h("button", { class: "menu-row", type: "button", on: { async click() { close(); (await import("./additem.js")).addItem(run, added); } } }, icon("plus"), h("span", {}, "Add an item…")) : null);
}
