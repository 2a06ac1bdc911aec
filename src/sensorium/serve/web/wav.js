// Sound from the microphone as a WAV file.

import { file } from "./files.js";

/** Mono samples (-1…1) as 16-bit PCM in a RIFF file: an ArrayBuffer. */
export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + samples.length * 2, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, samples.length * 2, true);
  for (let i = 0; i < samples.length; i++) {
    const x = Math.max(-1, Math.min(1, samples[i] || 0));
    view.setInt16(44 + 2 * i, Math.round(x < 0 ? x * 32768 : x * 32767), true);
  }
  return view.buffer;
}

/** Record until stop() is called, which answers with a File; level(0…1) is called as sound comes in. */
export async function record(level) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  const parts = [];
  await context.audioWorklet.addModule(file("/record-worklet.js"));
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  tap.port.onmessage = ({ data }) => {
    parts.push(data);
    level(Math.min(1, 4 * Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length)));
  };
  context.createMediaStreamSource(stream).connect(tap);
  return {
    async stop() {
      for (const track of stream.getTracks()) track.stop();
      const rate = context.sampleRate;
      await context.close();
      const whole = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
      let at = 0;
      for (const part of parts) { whole.set(part, at); at += part.length; }
      return new File([wav(whole, rate)], "recording.wav", { type: "audio/wav" });
    },
  };
}
