// Spectrograms of sounds: decibels in mel bands over time, on a canvas. The browser has decoded the sound for its
// waveform already, so that nothing more is asked of the server.

import { h } from "./dom.js";

export const RATE = 16000;    // Hz at which a sound is decoded: bands up to 8 kHz
const SIZE = 1024;            // samples of a window, 64 ms
const BANDS = 64, LOWEST = 50; // mel bands, from LOWEST Hz to RATE / 2
const COLUMNS = 320;          // windows at most
const RANGE = 80;             // decibels below the loudest that are shown
const STOPS = [[0, 0, 4], [61, 15, 99], [150, 44, 121], [224, 82, 96], [253, 161, 102], [252, 253, 191]]; // dark to light

// Slaney's mel scale (Auditory Toolbox 1998): linear to 1 kHz, logarithmic above.
const STEP = Math.log(6.4) / 27;
export const melOf = (hz) => (hz >= 1000 ? 15 + Math.log(hz / 1000) / STEP : (3 * hz) / 200);
export const hzOf = (mel) => (mel >= 15 ? 1000 * Math.exp((mel - 15) * STEP) : (200 * mel) / 3);

/** Edges (bands + 2) of triangular filters, in Hz. */
function edges(bands) {
  const low = melOf(LOWEST), high = melOf(RATE / 2);
  return Float64Array.from({ length: bands + 2 }, (_, i) => hzOf(low + ((high - low) * i) / (bands + 1)));
}

/** Filters as rows of [first bin, weights], with area 1. */
function filters(bands) {
  const at = edges(bands), width = RATE / SIZE;
  return Array.from({ length: bands }, (_, band) => {
    const [left, middle, right] = at.slice(band, band + 3), first = Math.max(0, Math.ceil(left / width)), weights = [];
    for (let bin = first; bin * width < right && bin <= SIZE / 2; bin++) {
      const hz = bin * width;
      weights.push((Math.max(0, Math.min((hz - left) / (middle - left), (right - hz) / (right - middle))) * 2) / (right - left));
    }
    return [first, weights];
  });
}

const window_ = Float64Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE)); // Hann
const turn = { cos: Float64Array.from({ length: SIZE / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / SIZE)), sin: Float64Array.from({ length: SIZE / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / SIZE)) };
const reversed = Uint16Array.from({ length: SIZE }, (_, i) => parseInt(i.toString(2).padStart(Math.log2(SIZE), "0").split("").reverse().join(""), 2));
let bank = null;

/** Fast Fourier transform in place, radix 2 (Cooley and Tukey 1965). real, imaginary: (SIZE,), in reversed bit order. */
function transform(real, imaginary) {
  for (let half = 1; half < SIZE; half *= 2) {
    const stride = SIZE / (2 * half);
    for (let start = 0; start < SIZE; start += 2 * half) {
      for (let i = 0; i < half; i++) {
        const a = start + i, b = a + half, cos = turn.cos[i * stride], sin = turn.sin[i * stride];
        const re = real[b] * cos - imaginary[b] * sin, im = real[b] * sin + imaginary[b] * cos;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
}

/** Decibels (columns × BANDS), 0 at the loudest, of samples at RATE; silence is −RANGE throughout. */
export function decibels(samples) {
  bank ??= filters(BANDS);
  const columns = Math.max(1, Math.min(COLUMNS, Math.ceil(samples.length / (SIZE / 4))));
  const real = new Float64Array(SIZE), imaginary = new Float64Array(SIZE), power = new Float64Array(SIZE / 2 + 1);
  const out = new Float32Array(columns * BANDS);
  let most = 1e-10;
  for (let column = 0; column < columns; column++) {
    const first = Math.round(((column + 0.5) * samples.length) / columns - SIZE / 2);
    for (let i = 0; i < SIZE; i++) real[reversed[i]] = (samples[first + i] ?? 0) * window_[i];
    imaginary.fill(0);
    transform(real, imaginary);
    for (let bin = 0; bin <= SIZE / 2; bin++) power[bin] = real[bin] ** 2 + imaginary[bin] ** 2;
    for (let band = 0; band < BANDS; band++) {
      const [start, weights] = bank[band];
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * power[start + i];
      out[column * BANDS + band] = sum;
      most = Math.max(most, sum);
    }
  }
  return out.map((value) => Math.max(-RANGE, 10 * Math.log10(Math.max(value, 1e-20) / most)));
}

function color(share) {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1), i = Math.min(STOPS.length - 2, Math.floor(at));
  return STOPS[i].map((value, channel) => value + (at - i) * (STOPS[i + 1][channel] - value));
}

/** Draw decibels on a canvas, low bands at the bottom. */
export function paint(canvas, levels) {
  const columns = levels.length / BANDS, picture = new ImageData(columns, BANDS);
  for (let x = 0; x < columns; x++) {
    for (let band = 0; band < BANDS; band++) {
      picture.data.set([...color(1 + levels[x * BANDS + band] / RANGE), 255], 4 * ((BANDS - 1 - band) * columns + x));
    }
  }
  canvas.width = columns;
  canvas.height = BANDS;
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** Frequencies of the axis: where each stands, 0 at the bottom, and how it is written. */
function ticks() {
  const low = melOf(LOWEST), high = melOf(RATE / 2);
  return [100, 500, 1000, 2000, 4000, 8000].map((hz) => [(melOf(hz) - low) / (high - low), hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`]);
}

/**
 * A spectrogram as a figure. name: of the sound. labelled: with axes. fill(samples at RATE, seconds) draws it;
 * until then it keeps its place.
 */
export function spectrogram(name, { labelled = false } = {}) {
  const canvas = h("canvas", { class: "spectrogram-canvas", width: 1, height: 1, role: "img", "aria-label": `Spectrogram of ${name}` });
  const time = h("span", { class: "spectrogram-time number" });
  const element = h("figure", { class: `spectrogram${labelled ? " labelled" : ""}` },
    labelled ? h("span", { class: "spectrogram-hz", "aria-hidden": "true" }, ticks().map(([at, text]) => h("span", { style: { "--at": at } }, text))) : null,
    canvas, labelled ? h("figcaption", { class: "quiet" }, time) : null);
  function fill(samples, seconds) {
    paint(canvas, decibels(samples));
    canvas.setAttribute("aria-label", `Spectrogram of ${name}: ${seconds.toFixed(1)} seconds, ${LOWEST} Hz to ${RATE / 2000} kHz, ${RANGE} dB`);
    time.textContent = `0 to ${seconds.toFixed(1)} s; ${RANGE} dB from dark to light`;
  }
  return { element, fill };
}
