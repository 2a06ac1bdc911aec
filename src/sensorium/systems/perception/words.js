// What the stage says while it shows no picture: how to begin, or why there is none and what to do.

import { h, icon, set } from "../../dom.js";

/** A line to type, with a button that copies it. */
function line(text) {
  const copied = h("button", { class: "icon-button plain tiny", type: "button", "aria-label": `Copy: ${text}`, title: "Copy", on: { async click() {
    try { await navigator.clipboard.writeText(text); } catch { getSelection().selectAllChildren(code); return; } // no clipboard at an insecure address: marked, to be copied by hand
    set(copied, icon("check"));
    setTimeout(() => set(copied, icon("copy")), 1500);
  } } }, icon("copy"));
  const code = h("code", {}, text);
  return h("div", { class: "face-line" }, code, copied);
}

/** How to begin. acts: camera(), file(). */
export function welcome({ camera, file }) {
  return h("div", { class: "face-welcome" }, h("span", { class: "face-mark", "aria-hidden": "true" }, icon("face")), h("h2", {}, "Show a face"),
    h("p", {}, "Start the camera, or drop or paste an image or a video here."),
    h("div", { class: "row" }, h("button", { class: "button primary", type: "button", on: { click: camera } }, icon("camera"), "Start the camera"), h("button", { class: "button", type: "button", on: { click: file } }, icon("upload"), "Choose a file")));
}

/** Why there is no picture: title, message and ways, each a text and a line to type. */
export function trouble({ title, message, detail, ways = [] }, ...acts) {
  return h("div", { class: "face-welcome face-trouble", role: "alert" }, h("h2", {}, title), h("p", {}, detail ?? message),
    ways.length ? h("ol", { class: "face-ways" }, ways.map(([text, typed]) => h("li", {}, h("span", {}, text), typed ? line(typed) : null))) : null, acts.length ? h("div", { class: "row" }, acts) : null);
}
