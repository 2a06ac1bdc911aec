// Elements made from plain values: text becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function put(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

function fill(element, children) {
  for (const child of children.flat(3)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** An HTML element: h("p", {class: "muted", on: {click}}, "text", child). */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  put(element, props);
  fill(element, children);
  if (tag === "select" && props.value !== undefined) element.value = props.value; // its options are there only now
  return element;
}

/** An SVG element. */
export function s(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  put(element, props);
  fill(element, children);
  return element;
}

/** Replace everything inside an element. */
export function set(element, ...children) {
  element.replaceChildren();
  fill(element, children);
  return element;
}

const ICONS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16.5 16.5 21 21",
  map: "M5 17a1.5 1.5 0 1 0 .01 0M10 8a1.5 1.5 0 1 0 .01 0M18 6a1.5 1.5 0 1 0 .01 0M15 15a1.5 1.5 0 1 0 .01 0M20 19a1 1 0 1 0 .01 0M4 5a1 1 0 1 0 .01 0",
  runs: "M4 19h16M5 15l4-5 4 3 6-8",
  system: "M3 12h4l2.5-7 5 14L17 12h4",
  live: "M12 4a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V7a3 3 0 0 0-3-3zM6 11.5a6 6 0 0 0 12 0M12 17.5V21",
  outfits: "M12 7.500a2 2 0 1 0-2-2M12 7.500V10L3.500 16.500c-.9.700-.4 2 .7 2h15.600c1.100 0 1.600-1.300.7-2L12 10",
  voices: "M4 13v-2M7.500 16V8M11 19V5M14.500 15V9M18 5.500a9 9 0 0 1 0 13M16.500 9a5 5 0 0 1 0 6",
  face: "M4 8V5.500A1.500 1.500 0 0 1 5.500 4H8M16 4h2.500A1.500 1.500 0 0 1 20 5.500V8M20 16v2.500a1.500 1.500 0 0 1-1.500 1.500H16M8 20H5.500A1.500 1.500 0 0 1 4 18.500V16M9 9.500v1M15 9.500v1M8.800 14.300q3.200 2.700 6.400 0",
  person: "M12 4a4 4 0 1 0 .01 0M4.500 20a7.500 7.500 0 0 1 15 0",
  play: "M8 5.500v13l10.500-6.500z",
  pause: "M8.500 6v12M15.500 6v12",
  check: "M5 12.500 10 17.500 19 7",
  near: "M4 12c2.700-4 5.300-4 8 0s5.300 4 8 0",
  unknown: "M9 9a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 17.500v.2",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  swap: "M4 8h13l-3-3M20 16H7l3 3",
  draw: "M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19zM14.5 6.5l3 3",
  picture: "M4 5h16v14H4zM8.5 9.5a1 1 0 1 0 .01 0M4 16l4.5-4.5 4 4 3-3L20 17",
  sound: "M4 10v4M8 7v10M12 4v16M16 8v8M20 10.5v3",
  words: "M4 6h16M4 11h10M4 16h13M4 21h6",
  close: "M6 6l12 12M18 6 6 18",
  options: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4",
  share: "M12 15V4M8 7.500 12 3.500l4 4M6 12v8h12v-8",
  similar: "M9 6.500a5.500 5.500 0 1 0 .010 0M15 6.500a5.500 5.500 0 1 0 .010 0",
  group: "M4 5h7v7H4zM14 5h6M14 9h6M4 16h16M4 20h16",
  undo: "M8 5 4 9l4 4M4 9h10a5 5 0 0 1 0 10h-4",
  bin: "M5 7h14M10 7V5h4v2M7 7l1 13h8l1-13",
  camera: "M4 8h4l1.5-2.5h5L16 8h4v11H4zM12 10.2a3.1 3.1 0 1 0 .01 0",
  mesh: "M12 4 4 10l3 9h10l3-9zM12 4v6.500M4 10l8 .500 8-.500M12 10.500 7 19M12 10.500 17 19",
  mirror: "M12 4v16M9 8 4 12l5 4zM15 8l5 4-5 4z",
  record: "M12 6a6 6 0 1 0 .01 0",
  stop: "M7 7h10v10H7z",
  upload: "M12 16V5M7.5 9 12 4.5 16.5 9M4 19.5h16",
  filter: "M4 6h16M7 12h10M10 18h4",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  sun: "M12 8a4 4 0 1 0 .01 0M12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M5 5l1.7 1.7M17.3 17.3 19 19M19 5l-1.7 1.7M6.7 17.3 5 19",
  lasso: "M12 4.5c5 0 8.5 2.2 8.5 5.5s-3.5 5.5-8.5 5.5-8.500-2.200-8.500-5.500S7 4.500 12 4.500zM7 15c-1.500 1 -1.500 3 0 3.500s2 1.500 1 3",
  hand: "M5 12h14M12 5v14M5 12l2.500-2.500M5 12l2.500 2.500M19 12l-2.500-2.500M19 12l-2.500 2.500M12 5 9.500 7.500M12 5l2.500 2.500M12 19l-2.500-2.500M12 19l2.500-2.500",
  home: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  shuffle: "M4 7h3c5 0 5 10 10 10h3M4 17h3c5 0 5-10 10-10h3M17 4l3 3-3 3M17 14l3 3-3 3",
  download: "M12 4v11M7.500 11 12 15.500 16.500 11M4 19.500h16",
};

/** A small line icon; decoration only, so hidden from screen readers. */
export function icon(name) {
  return s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] ?? "" }));
}

/** Announce a text to screen readers without moving the focus. */
export function announce(text) {
  set(document.getElementById("announce"), text);
}

/** A centred message for a place that has nothing to show: kind is "error", "empty" or "wait". */
export function state(kind, title, detail, ...actions) {
  // "waiting": the class "wait" is the spinner's alone
  const head = kind === "wait" ? h("div", { class: "wait", role: "img", "aria-label": "Loading" }) : title instanceof Node ? title : h("h2", {}, title);
  return h("div", { class: `state ${kind === "wait" ? "waiting" : kind}`, role: kind === "error" ? "alert" : undefined }, head,
    detail ? h("p", {}, detail) : null, actions.length ? h("div", { class: "row" }, actions) : null);
}

/** Debounce: call a function after some milliseconds without another call. */
export function debounced(run, ms) {
  let timer = 0;
  const later = (...values) => { clearTimeout(timer); timer = setTimeout(() => run(...values), ms); };
  later.cancel = () => clearTimeout(timer);
  return later;
}
