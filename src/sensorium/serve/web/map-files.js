// Points of the map as files: CSV and JSON by the server, PNG as the page shows it; and their ids.

import { request } from "./api.js";
import { h } from "./dom.js";

/** Points that are searched at most: their ids stand in the link. */
export const MOST = 5000;

async function points(page, format, chosen, sideOf) {
  const { run, map } = page, rows = {};
  for (const i of chosen ?? []) (rows[sideOf(i).name] ??= []).push(map.rows[i]);
  const generations = Object.fromEntries(map.sides.map((side) => [side.name, side.generation]));
  return request(`/runs/${encodeURIComponent(run.name)}/map/export`, { json: { method: map.method, format, rows: chosen ? rows : null, generations } });
}

/** The ids of points, in their order by side. */
export async function ids(page, chosen, sideOf) {
  return (await (await points(page, "json", chosen, sideOf)).json()).map((one) => one.id);
}

/** Save points, or all, as "csv" or "json", or the map with its legend as "png". legend: [colour, name] each. */
export async function save(page, kind, chosen, sideOf, legend) {
  const blob = kind === "png" ? await new Promise((done) => { picture(page, legend).toBlob(done, "image/png"); }) : await (await points(page, kind, chosen, sideOf)).blob();
  const link = h("a", { href: URL.createObjectURL(blob), download: `${page.run.name}-map.${kind}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function picture(page, legend) {
  const { plot, place } = page, made = plot.picture(), context = made.getContext("2d"), ratio = plot.ratio, style = getComputedStyle(place);
  context.font = `${12 * ratio}px ${style.fontFamily}`;
  context.textBaseline = "middle";
  legend.forEach(([colour, name], i) => {
    const y = (20 + 18 * i) * ratio;
    context.fillStyle = colour;
    context.beginPath();
    context.arc(18 * ratio, y, 5 * ratio, 0, 7);
    context.fill();
    context.fillStyle = style.getPropertyValue("--mark").trim();
    context.fillText(name, 30 * ratio, y);
  });
  return made;
}
