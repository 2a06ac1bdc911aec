// The Markdown of cards as elements: headings, paragraphs, lists, tables, code, pictures of the run, links.

import { h } from "./dom.js";

const INLINE = /(`[^`]+`)|(!\[[^\]]*\]\([^)\s]+\))|(\[[^\]]+\]\([^)\s]+\))|(\*\*[^*]+\*\*)|(\*[^*]+\*)/;

/** A link that may be followed: https, http, mailto or a place in the page; anything else is undefined. */
export function safe(target) {
  return /^(https?:|mailto:|#)/i.test(target) ? target : undefined;
}

function inline(text, image) {
  const found = [];
  for (let rest = text; rest;) {
    const match = INLINE.exec(rest);
    if (!match) { found.push(rest); break; }
    if (match.index) found.push(rest.slice(0, match.index));
    const [whole] = match;
    if (match[1]) found.push(h("code", {}, whole.slice(1, -1)));
    else if (match[2]) {
      const [, alt, target] = /!\[([^\]]*)\]\(([^)]+)\)/.exec(whole);
      found.push(image(target, alt) ?? alt);
    } else if (match[3]) {
      const [, name, target] = /\[([^\]]+)\]\(([^)]+)\)/.exec(whole), href = safe(target);
      found.push(href ? h("a", { href, rel: "noreferrer" }, inline(name, image)) : name);
    } else if (match[4]) found.push(h("strong", {}, inline(whole.slice(2, -2), image)));
    else found.push(h("em", {}, inline(whole.slice(1, -1), image)));
    rest = rest.slice(match.index + whole.length);
  }
  return found;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function list(lines, image) {
  const root = h("ul"), stack = [[-1, root]];
  for (const line of lines) {
    const [, space, text] = /^(\s*)(?:[-*+]|\d+\.)\s+(.*)$/.exec(line);
    while (stack.length > 1 && space.length <= stack[stack.length - 1][0]) stack.pop();
    let place = stack[stack.length - 1][1];
    if (stack.length > 1 || place.lastElementChild) {
      if (space.length > (stack[stack.length - 1].depth ?? 0) && place.lastElementChild && space.length > 0) {
        const inner = h("ul");
        place.lastElementChild.append(inner);
        const entry = [space.length - 1, inner];
        entry.depth = space.length;
        stack.push(entry);
        place = inner;
      }
    }
    place.append(h("li", {}, inline(text, image)));
  }
  return root;
}

/** A fragment for a text. image(target, alt) makes the element for a picture, or null. level: of a first heading. */
export function markdown(text, { image = () => null, level = 2 } = {}) {
  const lines = text.replaceAll("\r\n", "\n").split("\n"), out = document.createDocumentFragment();
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    const heading = /^(#{1,6})\s+(.*)$/.exec(line);
    if (!line.trim()) i++;
    else if (line.startsWith("```")) {
      const from = ++i;
      while (i < lines.length && !lines[i].startsWith("```")) i++;
      out.append(h("pre", { tabindex: 0 }, h("code", {}, lines.slice(from, i++).join("\n"))));
    } else if (heading) {
      out.append(h(`h${Math.min(6, heading[1].length + level - 1)}`, {}, inline(heading[2], image)));
      i++;
    } else if (line.includes("|") && /^\s*\|?\s*:?-+/.test(lines[i + 1] ?? "") && lines[i + 1].includes("-")) {
      const head = cells(line), right = cells(lines[i + 1]).map((cell) => cell.endsWith(":"));
      const rows = [];
      for (i += 2; i < lines.length && lines[i].includes("|"); i++) rows.push(cells(lines[i]));
      const cell = (tag) => (value, c) => h(tag, { class: right[c] ? "number" : undefined, scope: tag === "th" ? "col" : undefined }, inline(value, image));
      out.append(h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": `Table ${out.querySelectorAll(".table-wrap").length + 1}` }, h("table", {}, h("thead", {}, h("tr", {}, head.map(cell("th")))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell("td"))))))));
    } else if (/^\s*([-*+]|\d+\.)\s+/.test(line)) {
      const from = i;
      while (i < lines.length && /^\s*([-*+]|\d+\.)\s+/.test(lines[i])) i++;
      out.append(list(lines.slice(from, i), image));
    } else {
      const from = i;
      while (i < lines.length && lines[i].trim() && !/^(#{1,6}\s|```|\s*[-*+]\s)/.test(lines[i])) i++;
      if (i === from) i++;
      out.append(h("p", {}, inline(lines.slice(from, i).join(" "), image)));
    }
  }
  return out;
}
