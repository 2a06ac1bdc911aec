// The eight emotions: a drawn face for each.

import { s } from "./dom.js";

const eyes = (ry = 3.2, y = 28) => [22, 42].map((x) => s("ellipse", { class: "ink", cx: x, cy: y, rx: 2.7, ry }));
const wide = () => [22, 42].flatMap((x) => [
  s("circle", { class: "white", cx: x, cy: 28, r: 5.4 }), s("circle", { class: "ink", cx: x, cy: 28, r: 2.2 })]);
const line = (d) => s("path", { class: "line", d });
const hole = (d) => s("path", { class: "ink", d });

const FACES = {
  neutral: () => [...eyes(), line("M17 21h9M38 21h9"), line("M23 44h18")],
  calm: () => [line("M17 28q5 4.500 10 0M37 28q5 4.500 10 0"), line("M18 21q4-2 8-1M38 20q4-1 8 1"), line("M23 42q9 6 18 0")],
  happy: () => [line("M17 30q5-7 10 0M37 30q5-7 10 0"), line("M17 20q4-4 9-2M38 18q5-2 9 2"), hole("M19 38q13 19 26 0z")],
  sad: () => [...eyes(3, 30), line("M16 24l10-5M38 19l10 5"), line("M23 48q9-9 18 0"), s("path", { class: "tear", d: "M46 34q4.500 6 0 8.500q-4.500-2.500 0-8.500z" })],
  angry: () => [...eyes(2.6, 30), line("M16 20l11 6M48 20l-11 6"), line("M22 48q10-7 20 0"), line("M30 24v-4M34 24v-4")],
  fearful: () => [...wide(), line("M15 22q5-5 11-5M38 17q6 0 11 5"), hole("M22 47q2-8 10-8t10 8q-3-2.500-5 0q-2.500-2.500-5 0q-2.500-2.500-5 0q-2-2.500-5 0z")],
  disgust: () => [line("M17 28h9M38 27q5 4 9 0"), line("M16 22l10 2.500M38 22q5-4 10-2"), line("M29 34q3-2.500 6 0"), line("M21 46q5-6 11-3t11-2"), s("path", { class: "tongue", d: "M29 43.500q5 2 8-.5q1 8-3.500 8t-4.500-7.500z" })],
  surprised: () => [...wide(), line("M15 18q6-6 12-1M37 17q6-5 12 1"), s("ellipse", { class: "ink", cx: 32, cy: 45, rx: 5, ry: 6.5 })],
};

/** A face as an SVG; an emotion that has none is a plain disc. emotion: as the server calls it, in GET /runs. */
export function face(emotion, props = {}) {
  return s("svg", { viewBox: "0 0 64 64", role: "img", "aria-label": emotion, ...props, class: `face ${props.class ?? ""}` },
    s("circle", { class: `skin feel-${emotion}`, cx: 32, cy: 32, r: 28 }), FACES[emotion]?.() ?? []);
}
