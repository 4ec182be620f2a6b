// The page: what its buttons do, and what they show.

import { $, tell } from "/calls/page.js";
import { Call } from "/phone/call.js";
import { play, showCall, wireCall } from "/phone/controls.js";
import { listen } from "/phone/events.js";
import { makeKeys } from "/phone/keys.js";
import { People } from "/phone/people.js";
import { listDevices, meterOf, openMicrophone, why } from "/phone/sound.js";

const METER_MS = 100;
const people = new People($("people"), $("nobody"), $("texts"));
let call = null;
let stopEvents = null;
let spoken = null;
let heard = null;

const show = () => showCall(call, ["keys", "text", "send"], []);

function watchMicrophone(stream) {
  spoken?.stop();
  spoken = meterOf(stream);
  stream.getAudioTracks()[0].addEventListener("ended", () => stream === call?.stream && devicesChanged());
}

async function changeMicrophone() {
  const used = call;
  if (!used) return;
  try {
    const stream = await openMicrophone($("microphone").value, $("clean").checked);
    if (used === call) {
      watchMicrophone(stream);
      await used.use(stream);
    } else stream.getTracks().forEach((track) => track.stop());
  } catch (error) {
    if (used === call) tell(why(error), true);
  }
}

// What is unplugged in a call is replaced by what there is.
async function devicesChanged() {
  await listDevices($("microphone"), $("speaker"));
  const sound = $("sound");
  if (sound.sinkId && sound.sinkId !== $("speaker").value) sound.setSinkId($("speaker").value).catch(() => {});
  if (call?.stream.getAudioTracks()[0].readyState !== "ended") return;
  tell("The microphone is gone.", true);
  await changeMicrophone();
  if (call?.stream.getAudioTracks()[0].readyState === "live") tell("The microphone was unplugged: another one is used now.");
}

const told = {
  state: tell,
  sound(stream) {
    play(stream);
    heard?.stop();
    heard = meterOf(stream);
  },
  left() {
    call = null;
    stopEvents?.();
    stopEvents = null;
    spoken?.stop();
    heard?.stop();
    spoken = heard = null;
    play(null);
    people.clear();
    show();
    $("call").focus();
  },
};

async function join() {
  tell("Calling…");
  $("call").disabled = true;
  let begun = null;
  try {
    const stream = await openMicrophone($("microphone").value, $("clean").checked);
    watchMicrophone(stream);
    listDevices($("microphone"), $("speaker"));
    call = begun = new Call($("room").value, $("name").value.trim(), stream, told);
    show();
    $("pressed").value = "";
    $("hangup").focus();
    await begun.makeRoom(); // asks for the token, which the events need as well
    if (begun.over) return;
    stopEvents = listen((event) => people.take(event), () => {
      people.missed();
      begun.check();
    });
    people.watch(begun);
    await begun.begin();
    people.refresh();
  } catch (error) {
    const over = begun?.over; // hung up meanwhile: that is told already
    if (!over) {
      begun?.hangUp();
      tell(why(error), true);
    }
    show();
  }
}

wireCall(() => call, join, show);
for (const id of ["microphone", "clean"]) {
  $(id).addEventListener("change", changeMicrophone);
}
$("speaker").addEventListener("change", () => $("sound").setSinkId($("speaker").value).catch(() => tell("This speaker cannot be used.", true)));
$("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!call || !text) return;
  $("text").value = "";
  const writing = call;
  const { reached, problem } = await people.write(text);
  if (reached) return;
  $("text").value ||= text;
  if (writing === call) tell(problem ? why(problem) : "Nobody here has text in his call.", Boolean(problem));
});
navigator.mediaDevices?.addEventListener("devicechange", devicesChanged);
makeKeys($("keys"), $("pressed"), (key) => Boolean(call?.press(key)));
setInterval(() => {
  $("spoken").value = spoken?.() ?? 0;
  $("heard").value = heard?.() ?? 0;
}, METER_MS);

listDevices($("microphone"), $("speaker"));
show();
tell("");
