// The face on the map of its run: the run's items as points, and each face as a ring with a trail where it comes from.

import { call, request, url } from "../../api.js";
import { unpack } from "../../arrays.js";
import { colouring, colours, columnOf } from "../../colouring.js";
import { h, set } from "../../dom.js";
import { CATEGORIES, OTHER, SIDES, theme } from "../../palette.js";
import { Plot } from "../../plot.js";
import { label, nameOf } from "../../results.js";
import { explain } from "../../words.js";
import { colourOf } from "./stage.js";

const TRAIL = 50; // places of the way back that are drawn
const FEW = 60; // prompts up to which each is drawn larger than the faces
const COLUMNS = ["label", "emotion", "split"]; // the first that a run has colours the points

/** The plot of the map with the faces on top. */
class Faces extends Plot {
  trails = new Map();

  paintOver() {
    super.paintOver();
    const pen = this.over.getContext("2d"), { ratio } = this;
    for (const [id, { path, mine }] of this.trails) {
      const colour = mine ? getComputedStyle(this.place).getPropertyValue("--mark").trim() : colourOf(id), points = path.map(([x, y]) => this.toPixels(x, y));
      Object.assign(pen, { strokeStyle: colour, lineCap: "round", lineWidth: 2 * ratio });
      for (let i = 1; i < points.length; i++) {
        pen.globalAlpha = (0.7 * i) / points.length;
        pen.beginPath();
        pen.moveTo(...points[i - 1]);
        pen.lineTo(...points[i]);
        pen.stroke();
      }
      pen.globalAlpha = 1;
      const [x, y] = points[points.length - 1];
      for (const [reach, fill] of [[9, colour], [7, colourOf(id)]]) {
        pen.beginPath();
        pen.arc(x, y, reach * ratio, 0, 7);
        pen.fillStyle = fill;
        pen.fill();
      }
    }
  }
}

/** What a side's items are called: as the data call them; faces and prompts where the data have no name for them. */
const many = (run, side) => (nameOf(run, side) === side ? { left: "faces", right: "prompts" }[side] : `${nameOf(run, side)}s`);

/** The panel. */
export class Place {
  constructor() {
    this.box = h("div", { class: `face-map map is-${theme()}` });
    this.note = h("p", { class: "quiet face-map-note" });
    this.legend = h("ul", { class: "face-legend", "aria-label": "Colours" });
    this.tip = h("div", { class: "map-tip card", hidden: true });
    this.element = h("div", { class: "face-map-panel" }, this.box, this.legend, this.note);
    this.themed = () => { this.box.className = `face-map map is-${theme()}`; this.colour(); };
    window.addEventListener("themechange", this.themed);
  }

  /** Load the map of a run. */
  async load(run) {
    const turn = this.turn = {}, base = `/runs/${encodeURIComponent(run.name)}/map`;
    this.leave();
    set(this.legend);
    this.note.textContent = "The map is being drawn…";
    try {
      const { header, arrays } = unpack(await (await request(url(base, { method: "pca" }))).arrayBuffer());
      if (this.turn !== turn) return;
      const names = new Set(Object.values(run.sides).flatMap((side) => side.columns.map((one) => one.name)));
      const by = COLUMNS.find((name) => names.has(name)) ?? "split";
      const columns = await columnOf(run, header.sides, by).catch(() => ({}));
      if (this.turn !== turn) return;
      this.run = run;
      this.base = base;
      this.map = { ...header, xy: arrays.xy, rows: arrays.rows };
      this.made = colouring(this.map, columns);
      const flags = new Uint8Array(arrays.rows.length);
      for (const side of header.sides) if (side.name === "right") flags.fill(1, side.start, side.start + side.points);
      set(this.box, h("div", { class: "plot" }), this.tip);
      this.plot = new Faces(this.box.firstChild, { hover: (i, event) => this.hover(i, event), pick() {}, lasso() {} });
      this.plot.over.setAttribute("aria-label", "Map of the run's items and the faces among them. Arrow keys move, plus and minus zoom, 0 shows all.");
      this.plot.set(arrays.xy, flags);
      const prompts = header.sides.find((side) => side.name === "right");
      if (prompts && header.sides.length > 1 && prompts.points <= FEW) this.plot.choose(Array.from({ length: prompts.points }, (_, i) => prompts.start + i));
      this.plot.put("codes", this.made.codes);
      this.colour();
      this.note.textContent = `Discs are ${many(run, "left")}, diamonds ${many(run, "right")}; PCA${header.explained ? `, ${(100 * (header.explained[0] + header.explained[1])).toFixed(0)} % of the variance` : ""}.`;
    } catch (error) {
      if (this.turn === turn) { this.leave(); this.note.textContent = `There is no map of this run. ${explain(error).text}`; }
    }
  }

  colour() {
    if (!this.plot) return;
    const now = theme(), { legend } = this.made;
    this.plot.put("palette", colours(legend, now, new Set(), null, this.map.rows.length > 20000 ? 0.55 : 0.8));
    const colourOf = (one) => legend.type === "sides" ? SIDES[now][one.right ? 1 : 0] : one.code === 255 ? OTHER[now] : CATEGORIES[now][one.code];
    set(this.legend, (legend.entries ?? []).map((one) => h("li", {}, h("span", { class: "swatch", style: { "--feel": colourOf(one) }, "aria-hidden": "true" }), legend.type === "sides" ? nameOf(this.run, one.name) : one.name)));
  }

  /** faces: with id and place; chosen: the id of the one that the page is about. A face that is gone leaves the map. */
  update(faces, chosen) {
    if (!this.plot) return;
    const now = new Map();
    for (const { id, place } of faces) {
      if (!place) continue;
      const path = this.plot.trails.get(id)?.path ?? [];
      path.push(place);
      if (path.length > TRAIL) path.shift();
      now.set(id, { path, mine: id === chosen });
    }
    this.plot.trails = new Map([...now].sort(([a], [b]) => (a === chosen) - (b === chosen)));
    this.box.dataset.faces = [...now.keys()].join(" ");
    this.plot.paintOver();
  }

  async hover(i, event) {
    const mine = this.hovering = {};
    this.tip.hidden = true;
    if (i < 0) return;
    const bounds = this.box.getBoundingClientRect(), x = event.clientX - bounds.left, y = event.clientY - bounds.top;
    await new Promise((done) => setTimeout(done, 60));
    const side = this.map.sides.find((one) => i >= one.start && i < one.start + one.points);
    if (this.hovering !== mine) return;
    const told = await call(url(`${this.base}/points`, { side: side.name, generation: side.generation, rows: this.map.rows[i] })).catch(() => null);
    if (this.hovering !== mine || !told) return;
    const [item] = told.items;
    set(this.tip, h("span", {}, h("strong", {}, label(item)), h("span", { class: `side-${item.side}` }, nameOf(this.run, item.side))));
    this.tip.hidden = false;
    this.tip.style.setProperty("left", `${Math.max(4, Math.min(x + 12, bounds.width - this.tip.offsetWidth - 4))}px`);
    this.tip.style.setProperty("top", `${y + 16 + this.tip.offsetHeight > bounds.height ? Math.max(4, y - this.tip.offsetHeight - 10) : y + 16}px`);
  }

  leave() {
    this.hovering = null;
    this.plot?.stop();
    this.plot = null;
    set(this.box);
  }

  stop() {
    this.turn = null;
    this.leave();
    window.removeEventListener("themechange", this.themed);
  }
}
