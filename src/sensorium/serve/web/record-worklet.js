// Hands the microphone's samples to the page, some 40 ms at a time.
class Tap extends AudioWorkletProcessor {
  constructor() { super(); this.buffer = new Float32Array(2048); this.at = 0; }

  process([input]) {
    const channel = input[0];
    if (channel) {
      for (const x of channel) {
        this.buffer[this.at++] = x;
        if (this.at === this.buffer.length) { this.port.postMessage(this.buffer.slice()); this.at = 0; }
      }
    }
    return true;
  }
}
registerProcessor("tap", Tap);
