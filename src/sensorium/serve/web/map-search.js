// Search on the map: from words to points.

import { call, request, url } from "./api.js";
import { unpack } from "./arrays.js";

const HITS = 50;

/** Points of a map that a text finds: the nearest, or those whose text, or id, holds every word where no encoder takes text. */
export async function hits({ run, map }, q) {
  const from = Object.keys(run.sides).find((name) => run.sides[name].takes === "text");
  const points = new Map(), found = new Set();
  for (const side of map.sides) for (let i = side.start; i < side.start + side.points; i++) points.set(`${side.name} ${map.rows[i]}`, i);
  const rows = async (side, where) => unpack(await (await request(`/runs/${encodeURIComponent(run.name)}/map/rows`, { json: { side: side.name, ...where, generation: side.generation } })).arrayBuffer()).arrays.rows;
  for (const side of map.sides) {
    if (from && !run.one_table && side.name === from) continue; // words are near the other side
    const wanted = [];
    if (from) {
      const { hits: nearest } = await call("/search", { json: { run: run.name, text: q, k: HITS, ...(run.one_table ? {} : { from, to: side.name }) } });
      wanted.push({ ids: nearest.map((hit) => hit.id) });
    } else {
      const column = run.sides[side.name].display ?? run.sides[side.name].columns.find((one) => one.type === "text")?.name;
      if (column) wanted.push({ where: { [column]: { contains: q } } });
      const { items } = await call(url(`/runs/${encodeURIComponent(run.name)}/suggest`, { q, side: side.name, n: HITS })); // words in any order, and ids
      if (items.length) wanted.push({ ids: items.map((item) => item.id) });
    }
    for (const where of wanted) for (const row of await rows(side, where)) found.add(points.get(`${side.name} ${row}`));
  }
  found.delete(undefined);
  return [...found];
}
