// From columns of both sides to a colour for every point, and its legend.

import { request, url } from "./api.js";
import { unpack } from "./arrays.js";
import { CATEGORIES, continuous, OTHER, rgb, SIDES } from "./palette.js";

const REST = 255; // the code of "everything else"

const USUAL = ["label", "class", "category", "masterCategory", "emotion", "genre", "species", "type"];

/** The column to colour by at first: a class by its usual name, else the first with a few values; "side" without any. */
export function usefulColumn(run) {
  const columns = Object.values(run.sides).flatMap((side) => side.columns).filter(({ values }) => values.length > 1);
  return (USUAL.map((name) => columns.find((one) => one.name === name)).find(Boolean) ?? columns.find(({ values, name }) => values.length <= 30 && name !== "split"))?.name ?? "side";
}

/** A column of every side (of the map's) that has it: {type, values} per side; sides without it are left out. */
export async function columnOf(run, sides, name) {
  const found = {};
  await Promise.all(sides.map(async ({ name: side, generation }) => {
    if (name !== "split" && !run.sides[side].columns.some((column) => column.name === name)) return;
    const answer = await request(url(`/runs/${encodeURIComponent(run.name)}/map/column`, { side, name, generation }));
    found[side] = unpack(await answer.arrayBuffer());
  }));
  return found;
}

function merged(columns) {
  const counts = new Map();
  for (const { header } of Object.values(columns)) for (const { name, count } of header.values ?? []) counts.set(name, (counts.get(name) ?? 0) + count);
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, CATEGORIES.light.length);
}

/** Codes of all points and a legend. map: header and rows of the map; columns: of columnOf; {} colours by side. */
export function colouring(map, columns) {
  const codes = new Uint8Array(map.rows.length);
  const kinds = new Set(Object.values(columns).map(({ header }) => header.type));
  if (!kinds.size) {
    return { codes, legend: { type: "sides", entries: map.sides.map((side) => ({ name: side.name, count: side.points, right: side.name === "right" })) } };
  }
  codes.fill(REST);
  const each = (run) => {
    for (const side of map.sides) {
      const column = columns[side.name];
      if (column) for (let i = side.start; i < side.start + side.points; i++) run(i, map.rows[i], column);
    }
  };
  if (kinds.has("number") && kinds.size === 1) {
    const low = Math.min(...Object.values(columns).map(({ header }) => header.low)), high = Math.max(...Object.values(columns).map(({ header }) => header.high));
    each((i, row, { arrays }) => {
      const value = arrays.values[row];
      if (Number.isFinite(value)) codes[i] = Math.round(Math.min(1, Math.max(0, (value - low) / (high - low || 1))) * 254);
    });
    return { codes, legend: { type: "number", low, high } };
  }
  const names = merged(columns), place = new Map(names.map(([name], i) => [name, i]));
  const codeOf = new Map(Object.entries(columns).map(([side, { header }]) => [side, (header.values ?? []).map(({ name }) => place.get(name) ?? REST)]));
  const counts = new Array(256).fill(0);
  for (const side of map.sides) {
    const column = columns[side.name];
    if (!column?.arrays.codes) continue;
    const table = codeOf.get(side.name);
    for (let i = side.start; i < side.start + side.points; i++) {
      codes[i] = table[column.arrays.codes[map.rows[i]]] ?? REST;
    }
  }
  for (const code of codes) counts[code]++;
  const entries = names.map(([name], code) => ({ name: name === "" ? "(empty)" : name, code, count: counts[code] }));
  if (counts[REST]) entries.push({ name: "everything else", code: REST, count: counts[REST] });
  return { codes, legend: { type: "category", entries } };
}

/** 256 colours for each side, as RGBA bytes. hidden: side names; alone: the only code that keeps its colour, or null. */
export function colours(legend, theme, hidden, alone, alpha) {
  const rgba = new Uint8Array(2 * 256 * 4);
  for (const [line, side] of ["left", "right"].entries()) {
    for (let code = 0; code < 256; code++) {
      let colour = rgb(OTHER[theme]), a = alpha;
      if (legend.type === "sides") colour = rgb(SIDES[theme][line]);
      else if (code === REST) a = alpha * 0.55;
      else if (legend.type === "number") colour = continuous(code / 254, theme);
      else if (code < CATEGORIES[theme].length) colour = rgb(CATEGORIES[theme][code]);
      if (alone !== null && alone !== (legend.type === "sides" ? line : code)) a *= 0.08;
      rgba.set([...colour, hidden.has(side) ? 0 : Math.max(1, Math.round(a * 255))], 4 * (256 * line + code));
    }
  }
  return rgba;
}
