// Sound for the stream: the microphone, or a file decoded in the page at its own rate.

import { Plain } from "./api.js";
import { file } from "./files.js";

/** The reason why there is no microphone, and what can be done. */
export class NoMicrophone extends Plain {}

const WHY = {
  NotAllowedError: ["The microphone was not allowed", "Allow it in the browser's site settings, at the left of the address, and listen again. A recording can be dropped here without it."],
  NotFoundError: ["No microphone was found", "Connect one, or drop a recording here."],
  NotReadableError: ["The microphone is in use", "Another program holds it. Close that program and listen again."],
};

const STALLED = 1500; // milliseconds without sound after which it is suspended, whatever the browser says

/**
 * Open the microphone without noise suppression, as training had none. block(Float32Array) gets 20 ms at a time; ended() is
 * called when it goes away, running(true or false) when sound is suspended (a call, another tab, a muted track) or goes on.
 * resume() of what it returns asks the browser to go on, as a click on a button may have to.
 */
export async function microphone(block, ended, running) {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    throw new NoMicrophone("This page may not use the microphone",
      `Browsers give it to pages over https and on this machine only, and ${location.origin} is neither. Reach the server through a tunnel (ssh -L 8000:localhost:8000 …) or serve over https (--tls-cert). A recording can be dropped here either way.`);
  }
  let media;
  try {
    media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  } catch (error) {
    throw new NoMicrophone(...(WHY[error.name] ?? ["The microphone could not be opened", "Check that it is connected and that the browser may use it; or drop a recording here."]));
  }
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(file("/pcm-worklet.js"));
    await context.resume();
  } catch (error) {
    media.getTracks().forEach((track) => track.stop());
    await context.close();
    throw new NoMicrophone("The sound could not be read", "Reload the page, then listen again; or drop a recording here.");
  }
  let stopped = false, heard = performance.now(), going = true;
  const tracks = media.getTracks(), node = new AudioWorkletNode(context, "pcm", { numberOfOutputs: 0 });
  const resume = () => context.resume().catch(() => {}); // goes on when the browser allows it
  const look = () => {
    if (stopped) return;
    const now = context.state === "running" && !tracks.some((track) => track.muted) && performance.now() - heard < STALLED;
    if (now !== going) running(going = now);
    if (!now && context.state !== "running") resume();
  };
  const seen = () => { if (document.visibilityState === "visible") { heard = Math.max(heard, performance.now() - STALLED / 2); look(); } };
  const timer = setInterval(look, STALLED / 3);
  context.addEventListener("statechange", look);
  document.addEventListener("visibilitychange", seen);
  node.port.onmessage = ({ data }) => { heard = performance.now(); if (!going) look(); block(data); };
  for (const track of tracks) {
    track.addEventListener("ended", ended); // not upon stop() below
    for (const event of ["mute", "unmute"]) track.addEventListener(event, look);
  }
  context.createMediaStreamSource(media).connect(node);
  return {
    rate: context.sampleRate,
    resume,
    async stop() {
      stopped = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", seen);
      node.port.onmessage = null;
      tracks.forEach((track) => track.stop());
      await context.close();
    },
  };
}

/** The sampling rate in a file's header, so that decoding does not resample; 48000 where it is not known. */
export function rateOf(buffer) {
  const view = new DataView(buffer), word = (at) => String.fromCharCode(...new Uint8Array(buffer, at, Math.min(4, Math.max(0, view.byteLength - at))));
  if (view.byteLength < 44) return 48000;
  if (word(0) === "RIFF" || word(0) === "RF64") {
    for (let at = 12; at + 16 < view.byteLength; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) & 1)) {
      if (word(at) === "fmt ") return view.getUint32(at + 12, true);
    }
  }
  if (word(0) === "fLaC") return view.getUint32(18) >>> 12;
  if (word(0) === "OggS" && word(29) === "vorb") return view.getUint32(40, true);
  return 48000;
}

const WIDTHS = {
  "1/8": [1, (view, at) => (view.getUint8(at) - 128) / 128], "1/16": [2, (view, at) => view.getInt16(at, true) / 32768],
  "1/24": [3, (view, at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 8388608], "1/32": [4, (view, at) => view.getInt32(at, true) / 2147483648],
  "3/32": [4, (view, at) => view.getFloat32(at, true)], "3/64": [8, (view, at) => view.getFloat64(at, true)],
};

/**
 * The samples of a plain WAV file, exactly as they are in it; null for anything else. Browsers' own decoders scale
 * what lies above zero a little differently from what lies below.
 */
export function wavSamples(buffer) {
  const view = new DataView(buffer), word = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (view.byteLength < 44 || word(0) !== "RIFF" || word(8) !== "WAVE") return null;
  let kind = null, channels = 0, rate = 0;
  for (let at = 12; at + 8 <= view.byteLength;) {
    const size = view.getUint32(at + 4, true), from = at + 8;
    if (word(at) === "fmt " && from + 16 <= view.byteLength) {
      const code = view.getUint16(from, true), extended = code === 0xfffe && size >= 26 ? view.getUint16(from + 24, true) : code;
      kind = WIDTHS[`${extended}/${view.getUint16(from + 14, true)}`] ?? null;
      [channels, rate] = [view.getUint16(from + 2, true), view.getUint32(from + 4, true)];
    } else if (word(at) === "data") {
      if (!kind || !channels) return null;
      const [width, read] = kind, samples = new Float32Array(Math.floor(Math.min(size, view.byteLength - from) / (width * channels)));
      for (let i = 0, place = from; i < samples.length; i++) {
        let sum = 0;
        for (let c = 0; c < channels; c++, place += width) sum += read(view, place);
        samples[i] = sum / channels;
      }
      return { samples, rate };
    }
    at = from + size + (size & 1);
  }
  return null;
}

/** A file as {samples, rate}: mono, the mean of its channels. */
export async function decode(file) {
  const buffer = await file.arrayBuffer(), plain = wavSamples(buffer), stated = rateOf(buffer);
  if (plain?.samples.length) return plain;
  const rate = stated >= 8000 && stated <= 96000 ? stated : 48000;
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer);
  } catch {
    throw new Plain("This recording cannot be read", `${file.name} is damaged or no sound. Choose a WAV, FLAC, MP3 or OGG file.`);
  }
  const samples = sound.getChannelData(0).slice(), n = sound.numberOfChannels;
  for (let c = 1; c < n; c++) sound.getChannelData(c).forEach((x, i) => { samples[i] += x; });
  if (n > 1) samples.forEach((x, i) => { samples[i] = x / n; });
  return { samples, rate };
}
