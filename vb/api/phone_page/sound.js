// Devices, and how loud a stream is.

const QUIETEST_DB = -60;
let context = null;

export function openMicrophone(device, clean) {
  if (!navigator.mediaDevices) throw new Error("Browsers give the microphone to pages of https and of localhost only.");
  return navigator.mediaDevices.getUserMedia({
    audio: { ...(device ? { deviceId: { exact: device } } : {}), echoCancellation: clean, noiseSuppression: clean, autoGainControl: clean },
  });
}

export const why = (error) => ({
  NotAllowedError: "The browser does not let this page use the microphone.",
  NotFoundError: "There is no microphone.",
  OverconstrainedError: "This microphone is not there any more.",
  NotReadableError: "The microphone is in use by another program.",
}[error.name] ?? (error.message || error.name));

// Returns a function that tells the level of a stream: 0 for silence, 1 for full scale.
export function meterOf(stream) {
  context ??= new AudioContext();
  context.resume();
  const analyser = context.createAnalyser();
  const source = context.createMediaStreamSource(stream);
  source.connect(analyser);
  analyser.fftSize = 1024;
  const samples = new Float32Array(analyser.fftSize);
  const level = () => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    return power ? Math.max(0, 1 - (10 * Math.log10(power)) / QUIETEST_DB) : 0;
  };
  level.stop = () => source.disconnect();
  return level;
}

// Names of devices are only told once the microphone may be used.
export async function listDevices(microphone, speaker) {
  const found = await (navigator.mediaDevices?.enumerateDevices() ?? []);
  for (const [select, kind] of [[microphone, "audioinput"], [speaker, "audiooutput"]]) {
    const chosen = select.value;
    const known = found.filter((item) => item.kind === kind && item.deviceId && item.deviceId !== "default");
    select.replaceChildren(new Option("Default", ""), ...known.map((item, at) => new Option(item.label || `${at + 1}`, item.deviceId)));
    select.value = known.some((item) => item.deviceId === chosen) ? chosen : "";
  }
  speaker.disabled = !("setSinkId" in HTMLMediaElement.prototype);
}
