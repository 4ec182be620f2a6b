// Runs beside the page: plays frames as they come, with a little in hand against what comes late.

const IN_HAND = 2880; // samples: 60 ms
const MOST = 14400; // 300 ms

class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.waiting = [];
    this.held = 0;
    this.at = 0;
    this.plays = false;
    this.port.onmessage = ({ data }) => {
      this.waiting.push(data);
      this.held += data.length;
      while (this.held > MOST) this.drop();
    };
  }

  drop() {
    this.held -= this.waiting.shift().length - this.at;
    this.at = 0;
  }

  process(_, [output]) {
    const samples = output[0];
    this.plays ||= this.held >= IN_HAND;
    if (!this.plays) return true;
    let filled = 0;
    while (filled < samples.length && this.waiting.length) {
      const frame = this.waiting[0];
      const count = Math.min(samples.length - filled, frame.length - this.at);
      samples.set(frame.subarray(this.at, this.at + count), filled);
      filled += count;
      this.at += count;
      this.held -= count;
      if (this.at === frame.length) {
        this.waiting.shift();
        this.at = 0;
      }
    }
    if (filled < samples.length) this.plays = false;
    return true;
  }
}

registerProcessor("speaker", Speaker);
