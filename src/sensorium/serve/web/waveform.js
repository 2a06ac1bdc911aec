// Sounds of items as waveforms: play, pause, seek; one sound of the page plays at a time.

import { request } from "./api.js";
import { h, icon, s, set } from "./dom.js";
import { RATE, spectrogram } from "./spectrogram.js";

const BARS = 96;              // of a waveform
const LONGEST = 120;          // seconds up to which one is drawn
const AT_ONCE = 3;            // sounds that are fetched at the same time
const KEPT = 120;             // sounds in memory
const QUIET = 0.05;           // peak below which a waveform is not stretched to the full height

const known = new Map();      // media path → promise of { url, peaks, seconds }
const waiting = [];
const voice = new Audio();
let playing = null, busy = 0;

/** The loudest sample of each of ``bars`` parts, 0…1 of the sound's own peak. */
export function peaksOf(samples, bars = BARS) {
  const peaks = new Float32Array(bars);
  for (let bar = 0; bar < bars; bar++) {
    const end = Math.floor(((bar + 1) * samples.length) / bars);
    for (let i = Math.floor((bar * samples.length) / bars); i < end; i++) peaks[bar] = Math.max(peaks[bar], Math.abs(samples[i]));
  }
  const most = Math.max(QUIET, ...peaks);
  return peaks.map((peak) => peak / most);
}

/** The samples of a sound at RATE, its first channel, and its length in seconds. */
async function decode(blob) {
  const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
  return { samples: decoded.getChannelData(0), seconds: decoded.duration };
}

async function load(path) {
  const blob = typeof path === "string" ? await (await request(path)).blob() : path;
  const found = { url: URL.createObjectURL(blob), blob, peaks: null, seconds: 0 };
  try {
    const { samples, seconds } = await decode(blob);
    found.seconds = seconds;
    if (seconds <= LONGEST) found.peaks = peaksOf(samples);
  } catch { /* a container that this browser does not decode; it may play all the same */ }
  return found;
}

/** A sound by its path, fetched once; a few at a time, the newest first. */
function fetched(path, now = false) {
  if (!known.has(path)) {
    known.set(path, new Promise((done, failed) => {
      const run = () => { busy++; load(path).then(done, failed).finally(() => { busy--; waiting.pop()?.(); }); };
      if (now || busy < AT_ONCE) run(); else waiting.push(run);
    }));
    known.get(path).catch(() => known.delete(path));
    if (known.size > KEPT) forget();
  }
  return known.get(path);
}

/** Drop the oldest sound that is not the one in use. */
function forget() {
  for (const [path, found] of known) {
    if (path === playing?.path) continue;
    known.delete(path);
    found.then(({ url }) => URL.revokeObjectURL(url), () => {});
    return;
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    entry.target.dispatchEvent(new Event("seen"));
  }
}, { rootMargin: "200px" });

function tick() {
  if (!playing) return;
  playing.draw();
  if (!voice.paused) requestAnimationFrame(tick);
}

for (const type of ["play", "pause", "ended", "seeked"]) voice.addEventListener(type, () => { playing?.draw(); if (type === "play") tick(); });

/** Stop the sound that plays. */
export function stopSound() { voice.pause(); }

/**
 * A player of a sound: element (a button and a waveform), and toggle(). item.media: its path, or a file of this computer.
 * seconds: how long it is, where known.
 */
export function sound(item, name, seconds = 0) {
  const self = { path: item.media, seconds };
  const button = h("button", { class: "icon-button play", type: "button", "aria-label": `Play ${name}`, on: { click: () => toggle() } }, icon("play"));
  const bars = s("path", { class: "wave-bars" }), done = s("path", { class: "wave-bars played" });
  const drawing = s("svg", { class: "wave", viewBox: `0 0 ${BARS} 32`, preserveAspectRatio: "none", "aria-hidden": "true" }, bars, done);
  const place = h("input", { class: "wave-place", type: "range", min: 0, max: 1000, step: 10, value: 0, tabindex: -1, "aria-label": `Place in ${name}`, on: { input: () => seek(+place.value / 1000) } });
  const time = h("span", { class: "wave-time number" }, seconds ? `${seconds.toFixed(1)} s` : "");
  const trouble = h("span", { class: "wave-trouble", role: "status", hidden: true });
  const element = h("div", { class: "sound" }, button, h("div", { class: "wave-box" }, drawing, place, trouble), time);

  function outline(peaks) {
    const line = [...peaks].map((peak, i) => { const high = Math.max(0.6, 15 * peak); return `M${i + 0.5} ${(16 - high).toFixed(1)}V${(16 + high).toFixed(1)}`; }).join("");
    bars.setAttribute("d", line);
    done.setAttribute("d", line);
  }

  function draw() {
    const mine = playing === self, runs = mine && !voice.paused && !voice.ended;
    const whole = (Number.isFinite(voice.duration) && voice.duration) || self.seconds, at = mine && !voice.ended && whole ? Math.min(1, voice.currentTime / whole) : 0;
    element.style.setProperty("--at", `${(100 * at).toFixed(2)}%`);
    if (document.activeElement !== place || runs) place.value = 1000 * at;
    place.setAttribute("aria-valuetext", `${(at * whole).toFixed(1)} of ${whole.toFixed(1)} seconds`);
    if (whole) time.textContent = runs || at ? `${(at * whole).toFixed(1)} / ${whole.toFixed(1)} s` : `${whole.toFixed(1)} s`;
    if (element.classList.toggle("playing", runs) !== (button.dataset.shown === "pause")) {
      button.dataset.shown = runs ? "pause" : "play";
      button.setAttribute("aria-label", `${runs ? "Pause" : "Play"} ${name}`);
      set(button, icon(button.dataset.shown));
    }
  }
  self.draw = draw;

  function say(text) { trouble.hidden = !text; trouble.textContent = text; }

  async function take() {
    const before = playing, found = await fetched(item.media, true);
    if (playing === self) return;
    playing = self;
    before?.draw();
    self.seconds ||= found.seconds;
    voice.src = found.url;
  }

  async function toggle() {
    try {
      if (playing === self && !voice.paused) return voice.pause();
      await take();
      say("");
      await voice.play();
    } catch (error) {
      if (error.name !== "AbortError") say(error.name === "NotSupportedError" ? "This browser cannot play this sound." : "The sound cannot be had.");
    }
  }

  async function seek(share) {
    try {
      await take();
      const whole = (Number.isFinite(voice.duration) && voice.duration) || self.seconds;
      if (whole) voice.currentTime = share * whole;
      draw();
    } catch { say("The sound cannot be had."); }
  }

  outline(new Float32Array(BARS));
  element.addEventListener("seen", async () => {
    try {
      const found = await fetched(item.media);
      self.seconds ||= found.seconds;
      if (found.peaks) outline(found.peaks);
      draw();
    } catch { say("The sound cannot be had."); }
  });
  seen.observe(element);
  return { element, toggle, button };
}

/** A sound's spectrogram, computed when it is first seen. labelled: with axes. */
export function spectrum(item, name, labelled = false) {
  const drawing = spectrogram(name, { labelled });
  drawing.element.addEventListener("seen", async () => {
    try {
      const { blob, seconds } = await fetched(item.media);
      if (!seconds || seconds > LONGEST) return drawing.element.remove();
      drawing.fill((await decode(blob)).samples, seconds);
    } catch { drawing.element.remove(); } // its player says that the sound cannot be had
  });
  seen.observe(drawing.element);
  return drawing.element;
}
