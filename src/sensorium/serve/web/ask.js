// Input panel of the search: words, a drawing, a picture, a sound or another file as inputs of a query.

import { pad, strokesFromText, strokesToText } from "./draw.js";
import { debounced, h, icon, set } from "./dom.js";
import { keepFile } from "./query.js";
import { record } from "./wav.js";

const TABS = {
  words: { title: "Words", icon: "words", takes: ["text"] },
  draw: { title: "Draw", icon: "draw", takes: ["image"] },
  picture: { title: "Picture", icon: "picture", takes: ["image", "face"] },
  sound: { title: "Sound", icon: "sound", takes: ["audio"] },
};
const ITEM = { title: "Item", icon: "search" };
const KNOWN = new Set(["vectors", ...Object.values(TABS).flatMap((tab) => tab.takes)]);
const TAB_OF = { text: "words", draw: "draw", image: "picture", face: "picture", audio: "sound" };

/** Title and icon of a tab. */
function tab(name) {
  return TABS[name] ?? (name === "item" ? ITEM : { title: name[0].toUpperCase() + name.slice(1), icon: "upload" });
}

/** The tabs that a run has. */
export function ways(run) {
  const takes = new Set(Object.values(run.sides).map((side) => side.takes));
  const found = Object.keys(TABS).filter((name) => TABS[name].takes.some((one) => takes.has(one)));
  found.push(...[...takes].filter((one) => !KNOWN.has(one))); // other modalities: a file each
  return found.length ? found : ["item"]; // vectors cannot be typed or drawn, but items can be named
}

/** The panel: element, and set(inputs). onInput(kind, value, {soon, pushed}) is called with each new input, "" for none. */
export function ask(run, onInput) {
  const names = ways(run);
  const takesFace = Object.values(run.sides).some((side) => side.takes === "face");
  const pictureKind = Object.values(run.sides).some((side) => side.takes === "image") ? "image" : "face";
  // for an encoder of drawings, the pad is shown first
  const inked = names.includes("draw") && Object.values(run.sides).some((side) => side.encoder === "hog");
  let now = inked ? "draw" : names[0], recording = null, snapping = null;
  const buttons = {}, panels = {};

  function choose(name, focus) {
    now = name;
    for (const one of names) {
      buttons[one].setAttribute("aria-selected", String(one === name));
      buttons[one].tabIndex = one === name ? 0 : -1;
      panels[one].hidden = one !== name;
    }
    if (focus) panels[name].querySelector("input:not([type=file]), canvas, button")?.focus();
    stopCamera();
  }

  // words
  const words = h("input", { class: "input words", type: "search", placeholder: "Describe what you look for", "aria-label": "Words to search by", autocomplete: "off", spellcheck: "true", maxlength: 2000 });
  const soon = debounced(() => onInput("text", words.value.trim(), { soon: true }), 260);
  words.addEventListener("input", soon);
  panels.words = h("form", { class: "ask-words", role: "search" }, words, h("button", { class: "button primary", "aria-label": "Search" }, icon("search")));
  panels.words.addEventListener("submit", (event) => { event.preventDefault(); soon.cancel(); onInput("text", words.value.trim(), { pushed: true }); });

  // an item by its id, where there is no other input
  const id = h("input", { class: "input words", type: "search", placeholder: "Id of an item", "aria-label": "Id of an item to search by", autocomplete: "off" });
  panels.item = h("form", { class: "ask-words", role: "search" }, id, h("button", { class: "button primary", "aria-label": "Search" }, icon("search")));
  panels.item.addEventListener("submit", (event) => { event.preventDefault(); onInput("id", id.value.trim(), { pushed: true }); });

  // drawing
  const drawn = debounced((strokes) => onInput("draw", strokes.length ? strokesToText(strokes) : "", { soon: true }), 180);
  const drawing = pad((strokes) => drawn(strokes));
  panels.draw = h("div", {}, drawing.element, h("p", { class: "quiet" }, "Results follow as you draw. Where and how large does not matter."));

  // pictures and sounds
  function fileWay(kind, accept, text, ...more) {
    const input = h("input", { type: "file", accept, class: "visually-hidden", tabindex: -1, "aria-hidden": "true", on: { change() { if (input.files[0]) give(kind, input.files[0]); input.value = ""; } } });
    const seen = h("div", { class: "seen" });
    const drop = h("div", { class: "drop" }, seen, h("p", { class: "muted" }, text), h("div", { class: "row" },
      h("button", { class: "button", type: "button", on: { click: () => input.click() } }, icon("upload"), "Choose a file"), more), input);
    drop.seen = seen;
    return drop;
  }

  function give(kind, file) { onInput(kind, keepFile(file), { pushed: true }); }

  const camera = h("button", { class: "button", type: "button", on: { click: snap } }, icon("camera"), "Snap");
  panels.picture = fileWay(pictureKind, "image/*", "Drop a picture here, or paste one.", camera);
  const microphone = h("button", { class: "button", type: "button", on: { click: toggleRecording } }, icon("record"), "Record");
  const level = h("div", { class: "meter", hidden: true }, h("i"));
  panels.sound = fileWay("audio", "audio/*", "Drop a sound here, or record one.", microphone);
  panels.sound.append(level);
  for (const kind of names.filter((name) => !TABS[name] && name !== "item")) panels[kind] = fileWay(kind, "", `Choose a ${kind} file.`);

  function trouble(panel, error) {
    const text = error.name === "NotAllowedError" ? "The browser does not allow this." : error.name === "NotFoundError" ? "No such device was found." : error.message;
    set(panels[panel].seen, h("p", { class: "note bad", role: "alert" }, text));
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
      recording = await record((loud) => level.firstChild.style.setProperty("--share", loud));
      set(microphone, icon("stop"), "Stop and search");
      level.hidden = false;
    } catch (error) { trouble("sound", error); }
  }

  async function snap() {
    if (snapping) {
      const { video } = snapping;
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => { stopCamera(); give(pictureKind, new File([blob], "snapshot.jpg", { type: "image/jpeg" })); }, "image/jpeg", 0.92);
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: takesFace ? "user" : "environment" } });
      const video = h("video", { autoplay: true, playsinline: true, muted: true });
      video.muted = true;
      video.srcObject = stream;
      snapping = { stream, video };
      set(panels.picture.seen, video);
      set(camera, icon("camera"), "Take it");
    } catch (error) { trouble("picture", error); }
  }

  function stopCamera() {
    if (!snapping) return;
    for (const track of snapping.stream.getTracks()) track.stop();
    snapping = null;
    set(panels.picture.seen);
    set(camera, icon("camera"), "Snap");
  }

  for (const name of names) {
    buttons[name] = h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, on: { click: () => choose(name) } }, icon(tab(name).icon), tab(name).title);
    if (panels[name].tagName === "FORM") panels[name] = h("div", {}, panels[name]);
    panels[name].id = `panel-${name}`;
    panels[name].classList.add("ask-panel");
    panels[name].setAttribute("role", "tabpanel");
    panels[name].setAttribute("aria-labelledby", `tab-${name}`);
  }
  const tabs = h("div", { class: "segments", role: "tablist", "aria-label": "What to search by", on: { keydown(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = names[(names.indexOf(now) + step + names.length) % names.length];
    choose(next);
    buttons[next].focus();
    event.preventDefault();
  } } }, names.map((name) => buttons[name]));
  const element = h("div", { class: "ask" }, tabs, names.map((name) => panels[name]));
  choose(now);

  // anything dropped or pasted anywhere on the page
  const over = (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); element.classList.add("over"); } };
  const take = (transfer) => {
    const file = [...(transfer?.files ?? [])].find((one) => /^(image|audio)\//.test(one.type));
    const kind = file && (file.type.startsWith("image/") ? "picture" : "sound");
    if (!file || !names.includes(kind)) return false;
    choose(kind);
    give(kind === "picture" ? pictureKind : "audio", file);
    return true;
  };
  const drop = (event) => {
    element.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    if (!take(event.dataTransfer)) onInput("refused", event.dataTransfer.files[0].type || "this file", {});
  };
  const leave = (event) => { if (!event.relatedTarget) element.classList.remove("over"); };
  const paste = (event) => { if (take(event.clipboardData)) event.preventDefault(); };
  const listeners = { dragover: over, drop, dragleave: leave, paste };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener);

  return {
    element,
    /** Show what the inputs are: the text in its field, the strokes on the pad. */
    set(inputs) {
      const of = (kind) => inputs.findLast((input) => input.kind === kind)?.value ?? "";
      if (document.activeElement !== words || !of("text").startsWith(words.value.trim())) words.value = of("text");
      id.value = of("id");
      drawing.set(of("draw") ? strokesFromText(of("draw")) : []);
      const last = inputs.at(-1)?.kind, way = TAB_OF[last] ?? last;
      if (way && names.includes(way) && way !== now) choose(way);
    },
    /** Show one of the tabs. */
    choose(name, focus) { if (names.includes(name)) choose(name, focus); },
    get now() { return now; },
    stop() {
      for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener);
      drawing.stop();
      drawn.cancel();
      soon.cancel();
      stopCamera();
      recording?.stop();
    },
  };
}
