// The query field: text, with a drawing, an image, the camera and a sound as buttons inside it.

import { pad, strokesFromText, strokesToText } from "./draw.js";
import { debounced, h, icon, set } from "./dom.js";
import { keepFile } from "./query.js";
import { itemsOf, nameOf } from "./results.js";
import { suggest } from "./suggest.js";

const WAYS = {
  draw: { title: "Draw", icon: "draw", takes: ["image"] },
  image: { title: "Image", icon: "picture", takes: ["image", "face"] },
  audio: { title: "Audio", icon: "sound", takes: ["audio"] },
};
const KNOWN = new Set(["vectors", "text", ...Object.values(WAYS).flatMap((way) => way.takes)]);

/** Title and icon of a way to ask. */
function wayOf(name) { return WAYS[name] ?? { title: name[0].toUpperCase() + name.slice(1), icon: "upload" }; }

/** The ways besides text that a run has. */
function ways(run) {
  const takes = new Set(Object.values(run.sides).map((side) => side.takes));
  return [...Object.keys(WAYS).filter((name) => WAYS[name].takes.some((one) => takes.has(one))), ...[...takes].filter((one) => !KNOWN.has(one))];
}

/** The classes of a run as suggestions; null where it has no class table, or one too long to list. */
export function classesOf(run) {
  const side = run.classes, column = side && run.sides[side].columns.find((one) => one.name === run.sides[side].display);
  return column?.values.length ? column.values.map((value) => ({ id: String(value), side, text: String(value) })) : null;
}

/**
 * The field: element, and set(inputs). onInput(kind, value, {soon, side}) is called with each new input, "" for none;
 * onRecent(hash) with a recent search.
 */
export function ask(run, onInput, onRecent) {
  const names = ways(run), classes = classesOf(run), sides = Object.values(run.sides);
  const takesText = sides.some((side) => side.takes === "text") && !run.classes, takesFace = sides.some((side) => side.takes === "face");
  const imageKind = sides.some((side) => side.takes === "image") ? "image" : "face";
  let now = null, recording = null, snapping = null, drawing = null;
  const buttons = {}, panels = {};

  // text
  const hint = takesText ? "Describe what you look for" : classes ? `Choose a class: ${classes.slice(0, 3).map((one) => one.text).join(", ")}…`
    : `Search ${Object.keys(run.sides).map((name) => itemsOf(run, name)).join(" and ")} by their text`;
  const field = h("input", { class: "input words", type: "search", placeholder: hint, "aria-label": "Text", autocomplete: "off", spellcheck: takesText ? "true" : "false", maxlength: 2000, enterkeyhint: "search" });
  const soon = debounced(() => onInput("text", field.value.trim(), { soon: true }), 260);
  const ahead = suggest(run, field, { items: !takesText, classes }, (one) => {
    if (one.hash) return onRecent(one.hash);
    field.value = one.text;
    onInput("id", one.id, { side: run.one_table ? "" : one.side, text: one.text });
  });
  field.addEventListener("input", () => { if (takesText || !field.value.trim()) soon(); });
  async function submit(event) {
    event.preventDefault();
    soon.cancel();
    ahead.close();
    const text = field.value.trim();
    if (takesText || !text) return onInput("text", text);
    const found = await ahead.first(text).catch(() => undefined);
    if (found) { field.value = found.text; onInput("id", found.id, { side: run.one_table ? "" : found.side, text: found.text }); } else onInput("none", text);
  }

  // files
  function fileWay(kind, accept, text, ...more) {
    const input = h("input", { type: "file", accept, class: "visually-hidden", tabindex: -1, "aria-hidden": "true", on: { change() { if (input.files[0]) give(kind, input.files[0]); input.value = ""; } } });
    const seen = h("div", { class: "seen" });
    const drop = h("div", { class: "drop" }, seen, h("p", { class: "muted" }, text), h("div", { class: "row" },
      h("button", { class: "button", type: "button", on: { click: () => input.click() } }, icon("upload"), "Choose a file"), more), input);
    drop.seen = seen;
    return drop;
  }

  function give(kind, file) { choose(null); onInput(kind, keepFile(file)); }

  const drawn = debounced((strokes) => onInput("draw", strokes.length ? strokesToText(strokes) : "", { soon: true }), 180);
  const camera = h("button", { class: "button", type: "button", on: { click: snap } }, icon("camera"), "Camera");
  const microphone = h("button", { class: "button", type: "button", on: { click: toggleRecording } }, icon("record"), "Record");
  const level = h("div", { class: "meter", hidden: true }, h("i"));
  const makers = {
    draw() {
      drawing = pad((strokes) => drawn(strokes));
      return h("div", { class: "ask-draw" }, drawing.element, h("p", { class: "quiet" }, "Results follow as you draw. Where and how large does not matter."));
    },
    image: () => fileWay(imageKind, "image/*", "Drop an image here, or paste one.", camera),
    audio() { const panel = fileWay("audio", "audio/*", "Drop a sound here, or record one.", microphone); panel.append(level); return panel; },
  };

  function panelOf(name) {
    if (!panels[name]) {
      panels[name] = (makers[name] ?? (() => fileWay(name, "", `Choose a file of kind ${name}.`)))();
      panels[name].id = `panel-${name}`;
      panels[name].classList.add("ask-panel");
      element.append(panels[name]);
    }
    return panels[name];
  }

  function choose(name, focus) {
    now = name;
    for (const one of names) {
      buttons[one].setAttribute("aria-expanded", String(one === name));
      if (one === name) panelOf(one).hidden = false; else if (panels[one]) panels[one].hidden = true;
    }
    stopCamera();
    if (focus && name) panels[name].querySelector("canvas, button")?.focus();
  }

  function trouble(panel, error) {
    const text = { NotAllowedError: "The browser does not allow this. Allow it in the site settings, then try again.", NotFoundError: "No such device was found. Connect one, or choose a file." }[error.name] ?? "The device could not be opened. Close other programs that use it, or choose a file.";
    set(panelOf(panel).seen, h("p", { class: "note bad", role: "alert" }, text));
  }

  async function toggleRecording() {
    if (recording) {
      const running = recording;
      recording = null;
      set(microphone, icon("record"), "Record");
      level.hidden = true;
      give("audio", await running.stop());
      return;
    }
    try {
      const { record } = await import("./wav.js");
      recording = await record((loud) => level.firstChild.style.setProperty("--share", loud));
      set(microphone, icon("stop"), "Stop and search");
      level.hidden = false;
    } catch (error) { trouble("audio", error); }
  }

  async function snap() {
    if (snapping) {
      const { video } = snapping;
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => { stopCamera(); give(imageKind, new File([blob], "camera.jpg", { type: "image/jpeg" })); }, "image/jpeg", 0.92);
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: takesFace ? "user" : "environment" } });
      const video = h("video", { autoplay: true, playsinline: true, muted: true });
      video.muted = true;
      video.srcObject = stream;
      snapping = { stream, video };
      set(panels.image.seen, video);
      set(camera, icon("camera"), "Take the picture");
    } catch (error) { trouble("image", error); }
  }

  function stopCamera() {
    if (!snapping) return;
    for (const track of snapping.stream.getTracks()) track.stop();
    snapping = null;
    set(panels.image.seen);
    set(camera, icon("camera"), "Camera");
  }

  for (const name of names) {
    const way = wayOf(name);
    buttons[name] = h("button", { class: "icon-button plain", type: "button", "aria-expanded": "false", "aria-controls": `panel-${name}`, title: way.title, "aria-label": way.title, on: { click: () => choose(now === name ? null : name, true) } }, icon(way.icon));
  }
  const form = h("form", { class: "ask-field", role: "search", on: { submit } }, icon("search"), field, names.map((name) => buttons[name]),
    h("button", { class: "button primary", "aria-label": "Search" }, icon("search"), h("span", {}, "Search")));
  const element = h("div", { class: "ask" }, h("div", { class: "ask-line" }, form, ahead.element));

  // anything dropped or pasted anywhere on the page
  const over = (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); element.classList.add("over"); } };
  const take = (transfer) => {
    const file = [...(transfer?.files ?? [])].find((one) => /^(image|audio)\//.test(one.type));
    const kind = file && file.type.split("/")[0];
    if (!file || !names.includes(kind)) return false;
    give(kind === "image" ? imageKind : "audio", file);
    return true;
  };
  const drop = (event) => {
    element.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    if (!take(event.dataTransfer)) onInput("refused", event.dataTransfer.files[0].type || event.dataTransfer.files[0].name, {});
  };
  const leave = (event) => { if (!event.relatedTarget) element.classList.remove("over"); };
  const paste = (event) => { if (take(event.clipboardData)) event.preventDefault(); };
  const listeners = { dragover: over, drop, dragleave: leave, paste };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener);

  return {
    element,
    /** Show what the inputs are: the text in its field, the strokes on the pad. */
    set(inputs, named = "") {
      const of = (kind) => inputs.findLast((input) => input.kind === kind)?.value ?? "";
      const text = of("text") || named;
      if (document.activeElement !== field || !text.startsWith(field.value.trim())) field.value = text;
      if (of("draw") && names.includes("draw") && now !== "draw") choose("draw");
      drawing?.set(of("draw") ? strokesFromText(of("draw")) : []);
    },
    /** Open one of the ways, or close them all with null. */
    choose(name) { if (name === null || names.includes(name)) choose(name); },
    focus() { field.focus(); field.select(); },
    /** What is said of the sides that text cannot ask. */
    note: takesText || classes ? "" : `${Object.keys(run.sides).map((name) => nameOf(run, name)).join(" and ")} came as vectors: text finds an item, and the item finds the others.`,
    stop() {
      for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener);
      drawing?.stop();
      drawn.cancel();
      soon.cancel();
      ahead.close();
      stopCamera();
      recording?.stop();
    },
  };
}
