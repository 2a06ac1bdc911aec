// Export of the clips that were found: the text that an engine reads, to copy or to save as a file.

import { request } from "../../api.js";
import { announce, h, icon, set } from "../../dom.js";
import { faultLine } from "../../words.js";

/** The name of a file in the header Content-Disposition. */
function fileName(answer, otherwise) {
  return /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? otherwise;
}

/**
 * A choice of format and what to do with it. formats: [{name, about, file}]. ready: whether there is something to export.
 * audio: whether an archive with the clips is wanted; mustHold: it has to be; onAudio(audio): it is, or no longer.
 * ask(as): the body of POST /prompts that the export answers; onFormat(as): another format was chosen.
 */
export function exportBar(formats, as, { ready, audio, mustHold, ask, onFormat, onAudio }) {
  const said = h("span", { class: "visually-hidden", role: "status" });
  const chosen = formats.find((one) => one.name === as) ?? formats[0];
  async function fetched() { return request("/prompts", { json: ask(chosen.name) }); }

  function trouble(error) {
    const dialog = h("dialog", { "aria-labelledby": "export-title" }, h("form", { class: "stack", method: "dialog" }, h("h2", { id: "export-title" }, "Nothing was exported"), h("p", {}, faultLine(error)), h("button", { class: "button" }, "Close")));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  async function copy() {
    try {
      const text = await (await fetched()).text();
      await navigator.clipboard.writeText(text);
      announce("Export copied");
      set(copied, icon("check"), "Copied");
      setTimeout(() => set(copied, icon("copy"), "Copy"), 2000);
    } catch (error) { trouble(error); }
  }

  async function save() {
    try {
      const answer = await fetched(), href = URL.createObjectURL(await answer.blob());
      h("a", { href, download: fileName(answer, chosen.file) }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
      announce("Export saved");
    } catch (error) { trouble(error); }
  }

  const copied = h("button", { class: "button", type: "button", disabled: !ready || audio || chosen.file.endsWith(".zip"), on: { click: copy } }, icon("copy"), "Copy");
  return h("div", { class: "stack export", role: "group", "aria-label": "Export" },
    h("select", { class: "select wide", "aria-label": "Format of the export", value: chosen.name, on: { change: (event) => onFormat(event.target.value) } }, formats.map((one) => h("option", { value: one.name, title: one.about }, one.about.split(":")[0]))),
    h("label", { class: "check", title: "An archive with copies of the clips, at the engine's sample rate" }, h("input", { type: "checkbox", checked: audio, disabled: mustHold, on: { change: (event) => onAudio(event.target.checked) } }), "with audio"),
    h("div", { class: "row" }, copied, h("button", { class: "button", type: "button", disabled: !ready, on: { click: save } }, icon("download"), "Download")), said);
}
