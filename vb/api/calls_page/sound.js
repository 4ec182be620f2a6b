// The recording of a call: where it lies on the time line, how it looks, and how it is listened to.

import { h } from "/calls/elements.js";
import { get } from "/calls/server.js";

const BARS = 600;
const MAX_BYTES = 200 * 1024 * 1024;

export async function loadSound(call, entries, signal) {
  const started = entries.find((entry) => entry.type === "recording.started");
  if (!call.recordingEnabled || !started) return null;
  let blob;
  try {
    blob = await (await get(`/api/calls/${call.callId}/recording`, signal)).blob();
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    return { problem: problem.message };
  }
  const url = URL.createObjectURL(blob);
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  const audio = h("audio", { controls: true, src: url, preload: "metadata", "aria-label": "Recording of the call" });
  const loudest = blob.size <= MAX_BYTES ? await peaks(await blob.arrayBuffer()) : null;
  return { audio, startMs: started.ms, ...loudest };
}

// How loud each short stretch is, by channel, from 0 to 1.
async function peaks(bytes) {
  try {
    const decoded = await new OfflineAudioContext(1, 1, 8000).decodeAudioData(bytes);
    const channels = Array.from({ length: decoded.numberOfChannels }, (_, at) => {
      const samples = decoded.getChannelData(at);
      const step = Math.max(1, Math.floor(samples.length / BARS));
      return Array.from({ length: Math.ceil(samples.length / step) }, (_, bar) => {
        let most = 0;
        for (let index = bar * step; index < Math.min(samples.length, (bar + 1) * step); index += 1) {
          most = Math.max(most, Math.abs(samples[index]));
        }
        return most;
      });
    });
    return { channels, lengthMs: decoded.duration * 1000 };
  } catch {
    return { channels: null, lengthMs: 0 };
  }
}
