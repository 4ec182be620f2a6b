// The page: what its buttons do, and what they show.

import { $, tell } from "/calls/page.js";
import { Call } from "/moq/call.js";
import { play, showCall, wireCall } from "/phone/controls.js";
import { openMicrophone, why } from "/phone/sound.js";

const METER_MS = 100;
let call = null;

const show = () => showCall(call, [], ["clean"]);

// Where browsers give no microphone they have none of these either, and the microphone's error says why.
function check() {
  const able = "WebTransport" in window && "AudioEncoder" in window;
  if (navigator.mediaDevices && !able) throw new Error("This browser has no WebTransport or no WebCodecs.");
}

const told = {
  state: tell,
  sound: play,
  left() {
    call = null;
    play(null);
    show();
    $("call").focus();
  },
};

async function join() {
  tell("Calling…");
  $("call").disabled = true;
  let begun = null;
  try {
    check();
    const stream = await openMicrophone("", $("clean").checked);
    call = begun = new Call($("room").value, $("name").value.trim(), stream, told);
    show();
    $("hangup").focus();
    await begun.start();
  } catch (error) {
    const over = begun?.over;
    begun?.hangUp();
    if (!over) tell(why(error), true);
    show();
  }
}

wireCall(() => call, join, show);
setInterval(() => {
  $("spoken").value = call?.sound?.spoken() ?? 0;
  $("heard").value = call?.sound?.heard?.() ?? 0;
  const figures = call?.session?.figures;
  $("figures").textContent = figures ? `Frames: ${figures.sent} sent, ${figures.heard} heard, ${figures.dropped} dropped` : "";
}, METER_MS);

show();
tell("");
