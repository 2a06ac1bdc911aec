// Hands the microphone's samples to the page in blocks of 20 ms, first channel or the mean of all.
class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 50);
    this.block = new Float32Array(this.size);
    this.at = 0;
  }

  process([input]) {
    const n = input[0]?.length ?? 0;
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (const channel of input) sum += channel[i];
      this.block[this.at++] = sum / input.length;
      if (this.at === this.size) {
        this.port.postMessage(this.block, [this.block.buffer]);
        this.block = new Float32Array(this.size);
        this.at = 0;
      }
    }
    return true;
  }
}
registerProcessor("pcm", Pcm);
