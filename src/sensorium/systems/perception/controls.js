// The bar below the stage: start, stop, choose, mirror, which camera, a video's place, and where landmarks are computed.

import { h, icon, set } from "../../dom.js";

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/**
 * on: camera(id), stop(), file(file), mirror(), mesh(), faces(n), where("server" or "browser"), seek(). state: source, asking,
 * cameras, mirrored, mesh, faces, where, both: whether there is a choice of where.
 */
export class Controls {
  constructor(on) {
    this.on = on;
    this.element = h("div", { class: "face-bar" });
    this.picker = h("input", { type: "file", accept: "image/*,video/*", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true", on: { change: () => { const [file] = this.picker.files; this.picker.value = ""; if (file) on.file(file); } } });
  }

  draw(state) {
    const { on, element } = this, { source, asking } = state, focus = element.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const button = (name, text, image, run, more = {}) => h("button", { class: "button", type: "button", ...more, dataset: { name }, on: { click: run } }, icon(image), text);
    const small = (name, text, image, run, pressed) => h("button", { class: "icon-button", type: "button", "aria-label": text, title: text, "aria-pressed": pressed === undefined ? undefined : String(pressed), dataset: { name }, on: { click: run } }, icon(image));
    const idle = !source && !asking; // the stage itself has these buttons then
    const camera = idle ? null : source?.kind === "camera" || asking
      ? button("camera", asking ? "Asking for the camera…" : "Stop the camera", "stop", () => on.stop(), { class: "button face-stop", disabled: asking })
      : button("camera", "Start the camera", "camera", () => on.camera());
    const cameras = source?.kind === "camera" && state.cameras.length > 1 ? h("select", { class: "select", "aria-label": "Camera", dataset: { name: "cameras" }, value: source.id ?? "", on: { change: (event) => on.camera(event.target.value) } }, state.cameras.map((one) => h("option", { value: one.id }, one.label))) : null;
    const faces = h("label", { class: "face-many" }, "Faces up to", h("select", { class: "select", dataset: { name: "faces" }, value: state.faces, on: { change: (event) => on.faces(+event.target.value) } }, state.choices.map((n) => h("option", { value: n }, n))));
    const where = state.both ? h("div", { class: "segments", role: "group", "aria-label": "Where landmarks are computed" }, [["server", "On the server"], ["browser", "In this browser"]].map(([name, text]) =>
      h("button", { type: "button", dataset: { name: `in ${name}` }, "aria-pressed": String(state.where === name), on: { click: () => on.where(name) } }, text))) : null;
    set(element, camera, idle ? null : button("file", source && source.kind !== "camera" ? "Another…" : "Image or video…", "upload", () => this.picker.click()), this.picker,
      source && source.kind !== "camera" ? button("close", "Close", "close", () => on.stop(), { class: "button plain" }) : null,
      source?.kind === "video" ? this.player(source) : null, cameras, h("span", { class: "grow" }), faces,
      source ? small("mesh", "Triangles of the landmarks", "mesh", on.mesh, state.mesh) : null, source?.kind === "camera" ? small("mirror", "Mirror the image", "mirror", on.mirror, source.mirrored) : null, where);
    if (focus) element.querySelector(`[data-name="${focus}"]`)?.focus();
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
