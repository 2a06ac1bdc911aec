// The bar below the stage: start, stop, choose, mirror, a video's place; and Options: which camera, how many faces, and
// where landmarks are computed. On a phone it is one row.

import { h, icon, set } from "../../dom.js";
import { popover } from "../../popover.js";

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/**
 * on: camera(id), stop(), file(file), mirror(), mesh(), faces(n), where("server" or "browser"), seek(). state: source, asking,
 * cameras, mirrored, mesh, faces, where, both: whether there is a choice of where.
 */
export class Controls {
  constructor(on) {
    this.on = on;
    this.row = h("div", { class: "face-row" });
    this.picker = h("input", { type: "file", accept: "image/*,video/*", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true", on: { change: () => { const [file] = this.picker.files; this.picker.value = ""; if (file) on.file(file); } } });
    this.options = popover("Options", "options", () => this.settings(), { narrow: true });
    this.options.button.setAttribute("aria-label", "Options");
    this.element = h("div", { class: "face-bar" }, this.row, this.options.element, this.picker);
  }

  draw(state) {
    this.state = state;
    const { on, row } = this, { source, asking } = state, focus = row.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const button = (name, text, image, run, more = {}) => h("button", { class: "button", type: "button", "aria-label": text, title: text, ...more, dataset: { name }, on: { click: run } }, icon(image), h("span", {}, text));
    const small = (name, text, image, run, pressed) => h("button", { class: "icon-button", type: "button", "aria-label": text, title: text, "aria-pressed": String(pressed), dataset: { name }, on: { click: run } }, icon(image));
    const film = source && source.kind !== "camera", idle = !source && !asking; // the stage itself has the first two buttons then
    const camera = idle ? null : asking || !film
      ? button("camera", asking ? "Asking for the camera…" : "Stop the camera", "stop", () => on.stop(), { class: "button face-stop", disabled: asking })
      : button("camera", "Start the camera", "camera", () => on.camera());
    set(row, camera, idle ? null : button("file", film ? "Another…" : "Image or video…", "upload", () => this.picker.click()),
      film ? button("close", "Close", "close", () => on.stop(), { class: "button plain" }) : null,
      source?.kind === "video" ? this.player(source) : h("span", { class: "grow" }),
      source ? small("mesh", "Triangles of the landmarks", "mesh", on.mesh, state.mesh) : null, source?.kind === "camera" ? small("mirror", "Mirror the image", "mirror", on.mirror, source.mirrored) : null);
    if (focus) row.querySelector(`[data-name="${focus}"]`)?.focus();
    this.options.refresh();
  }

  settings() {
    const { on } = this, { source, cameras, faces, choices, both, where } = this.state;
    const select = (text, value, all, run) => h("label", { class: "field" }, h("span", { class: "label" }, text), h("select", { class: "select", "aria-label": text, value, on: { change: (event) => run(event.target.value) } }, all.map(([key, name]) => h("option", { value: key }, name))));
    return h("div", { class: "stack" },
      source?.kind === "camera" && cameras.length > 1 ? select("Camera", source.id ?? "", cameras.map((one) => [one.id, one.label]), (id) => on.camera(id)) : null,
      select("Faces up to", faces, choices.map((n) => [n, n]), (n) => on.faces(+n)),
      both ? select("Landmarks are computed", where, [["server", "On the server"], ["browser", "In this browser"]], (name) => on.where(name)) : null);
  }

  /** Play and pause a video, and its place. */
  player({ element: film }) {
    const play = h("button", { class: "icon-button", type: "button", dataset: { name: "play" }, on: { click: () => { if (film.paused) film.play(); else film.pause(); } } });
    const place = h("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Place in the video", dataset: { name: "place" } }), time = h("span", { class: "quiet number" });
    const now = () => {
      set(play, icon(film.paused ? "play" : "pause"));
      play.setAttribute("aria-label", film.paused ? "Play" : "Pause");
      if (document.activeElement !== place || !film.paused) place.value = String(Math.round((1000 * film.currentTime) / (film.duration || 1)));
      time.textContent = `${clock(film.currentTime)} / ${Number.isFinite(film.duration) ? clock(film.duration) : "–"}`;
      place.setAttribute("aria-valuetext", time.textContent);
    };
    for (const name of ["play", "pause", "timeupdate", "durationchange"]) film.addEventListener(name, now);
    film.addEventListener("seeked", () => this.on.seek());
    place.addEventListener("input", () => { if (Number.isFinite(film.duration)) film.currentTime = (place.value / 1000) * film.duration; });
    now();
    return h("div", { class: "face-player" }, play, place, time);
  }
}
