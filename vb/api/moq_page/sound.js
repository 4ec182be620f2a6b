// Microphone to Opus, and Opus to the loudspeaker: 48 kHz, one channel, frames of 20 ms.

import { meterOf } from "/phone/sound.js";

const RATE_HZ = 48000;
const FRAME_US = 20000;
const OPUS = { codec: "opus", sampleRate: RATE_HZ, numberOfChannels: 1 };

export class Sound {
  // said: gets each frame of the microphone; failed: told why there is no sound any more.
  constructor(stream, said, failed) {
    Object.assign(this, { stream, said, failed });
    this.context = new AudioContext({ sampleRate: RATE_HZ });
    this.spoken = meterOf(stream);
    this.time = 0;
    this.heardTime = 0;
  }

  async start() {
    const context = this.context;
    await Promise.all([context.audioWorklet.addModule("/moq/microphone.js"), context.audioWorklet.addModule("/moq/speaker.js")]);
    await context.resume();
    this.encoder = new AudioEncoder({ output: (chunk) => this.encoded(chunk), error: this.failed });
    this.encoder.configure({ ...OPUS, bitrate: 24000, opus: { frameDuration: FRAME_US, application: "voip" } });
    this.decoder = new AudioDecoder({ output: (data) => this.decoded(data), error: this.failed });
    this.decoder.configure(OPUS);
    const microphone = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    microphone.port.onmessage = ({ data }) => this.encode(data);
    context.createMediaStreamSource(this.stream).connect(microphone);
    this.speaker = new AudioWorkletNode(context, "speaker", { numberOfInputs: 0, outputChannelCount: [1] });
    const out = context.createMediaStreamDestination();
    this.speaker.connect(out);
    this.played = out.stream;
    this.heard = meterOf(out.stream);
  }

  encode(samples) {
    if (this.encoder?.state !== "configured") return;
    const data = new AudioData({
      format: "f32-planar", sampleRate: RATE_HZ, numberOfFrames: samples.length, numberOfChannels: 1, timestamp: this.time, data: samples,
    });
    this.time += FRAME_US;
    this.encoder.encode(data);
    data.close();
  }

  encoded(chunk) {
    const frame = new Uint8Array(chunk.byteLength);
    chunk.copyTo(frame);
    this.said(frame);
  }

  hear(frame) {
    if (this.decoder?.state !== "configured") return;
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this.heardTime, data: frame }));
    this.heardTime += FRAME_US;
  }

  decoded(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    data.close();
    this.speaker.port.postMessage(samples, [samples.buffer]);
  }

  mute(muted) {
    this.stream.getAudioTracks().forEach((track) => { track.enabled = !muted; });
  }

  stop() {
    this.spoken.stop();
    this.heard?.stop();
    this.stream.getTracks().forEach((track) => track.stop());
    for (const codec of [this.encoder, this.decoder]) if (codec && codec.state !== "closed") codec.close();
    this.encoder = this.decoder = null;
    this.context.close().catch(() => {});
  }
}
