// A button that opens a panel below it; on a phone the panel is a sheet at the bottom of the screen.

import { h, icon, set } from "./dom.js";

let open = null; // the popover that is open: one at a time

document.addEventListener("pointerdown", (event) => { if (open && !open.element.contains(event.target)) open.close(); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !open || event.defaultPrevented) return;
  const { button } = open;
  open.close();
  button.focus();
  event.preventDefault();
});

/**
 * A popover: element, button, mark(text) for a count beside the title, refresh() to draw its content anew, close().
 * content(): the nodes of the panel, or a promise of them, asked for each time it is drawn.
 */
export function popover(title, sign, content, { narrow = false } = {}) {
  const tag = h("span", { class: "tag", hidden: true });
  const button = h("button", { class: "button", type: "button", "aria-expanded": "false", "aria-haspopup": "dialog", on: { click: () => (open === self ? self.close() : show()) } }, icon(sign), h("span", {}, title), tag);
  const panel = h("div", { class: `pop-panel${narrow ? " narrow" : ""}`, role: "dialog", "aria-label": title, hidden: true });
  const element = h("div", { class: "pop" }, button, panel);

  async function draw() {
    const places = "button, input, select", at = [...panel.querySelectorAll(places)].indexOf(document.activeElement);
    const nodes = await content();
    if (open !== self || panel.querySelector("input:active")) return; // a slider stays under the finger
    const scrolled = panel.scrollTop;
    set(panel, nodes);
    panel.scrollTop = scrolled;
    if (at >= 0) panel.querySelectorAll(places)[at]?.focus();
  }

  function show() {
    open?.close();
    open = self;
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    return draw();
  }

  const self = {
    element, button, panel, show,
    mark(text) { tag.hidden = !text; tag.textContent = text; },
    refresh() { if (open === self) draw(); },
    close() {
      if (open === self) open = null;
      panel.hidden = true;
      button.setAttribute("aria-expanded", "false");
    },
  };
  return self;
}
