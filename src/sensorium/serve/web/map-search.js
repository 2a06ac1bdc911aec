// Search on the map: from words to points.

import { call, request } from "./api.js";
import { unpack } from "./arrays.js";

const HITS = 50;

/** Points of a map that a text finds: the nearest, or those whose text contains it where no encoder takes text. */
export async function hits({ run, map }, q) {
  const from = Object.keys(run.sides).find((name) => run.sides[name].takes === "text");
  const points = new Map(), found = [];
  for (const side of map.sides) for (let i = side.start; i < side.start + side.points; i++) points.set(`${side.name} ${map.rows[i]}`, i);
  const rows = async (side, where) => unpack(await (await request(`/runs/${encodeURIComponent(run.name)}/map/rows`, { json: { side: side.name, ...where, generation: side.generation } })).arrayBuffer()).arrays.rows;
  for (const side of map.sides) {
    if (from && !run.one_table && side.name === from) continue; // words are near the other side
    let where = null;
    if (from) {
      const { hits: nearest } = await call("/search", { json: { run: run.name, text: q, k: HITS, ...(run.one_table ? {} : { from, to: side.name }) } });
      where = { ids: nearest.map((hit) => hit.id) };
    } else {
      const column = run.sides[side.name].display ?? run.sides[side.name].columns.find((one) => one.type === "text")?.name;
      if (column) where = { where: { [column]: { contains: q } } };
    }
    if (where) for (const row of await rows(side, where)) found.push(points.get(`${side.name} ${row}`));
  }
  return found.filter((i) => i !== undefined);
}
