// The page's own files where each is sent as it is written; in bundles another module stands here, see serve/built.py.

import { at } from "./api.js";
import { h } from "./dom.js";

/** The module of a system's view. */
export const view = (path) => import(at(path));

/** The address of a script that runs alone, as in a worker. */
export const file = at;

const sheets = new Map();

/** A style sheet, loaded. */
export function sheet(path) {
  if (!sheets.has(path)) sheets.set(path, new Promise((done) => document.head.append(h("link", { rel: "stylesheet", href: at(path), on: { load: done, error: done } }))));
  return sheets.get(path);
}
