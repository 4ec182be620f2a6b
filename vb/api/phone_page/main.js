// The page: what its buttons do, and what they show.

import { forgetToken, hasToken } from "/calls/server.js";
import { Call } from "/phone/call.js";
import { listen } from "/phone/events.js";
import { makeKeys } from "/phone/keys.js";
import { People } from "/phone/people.js";
import { listDevices, meterOf, wanted } from "/phone/sound.js";

const METER_MS = 100;
const $ = (id) => document.getElementById(id);
const people = new People($("people"), $("nobody"), $("texts"));
let call = null;
let stopEvents = null;
let spoken = null;
let heard = null;

function tell(text, bad = false) {
  $("state").textContent = text;
  $("state").className = bad ? "bad" : "";
  $("forget").hidden = !hasToken();
}

function show() {
  for (const id of ["mute", "hangup", "keys", "text", "send"]) $(id).disabled = !call;
  for (const id of ["room", "name", "call"]) $(id).disabled = Boolean(call);
  $("mute").setAttribute("aria-pressed", String(Boolean(call?.muted)));
  $("mute").textContent = call?.muted ? "Unmute" : "Mute";
}

const why = (error) => ({
  NotAllowedError: "The browser does not let this page use the microphone.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is in use by another program.",
}[error.name] ?? error.message);

async function openMicrophone() {
  if (!navigator.mediaDevices) throw new Error("Browsers give the microphone to pages of https and of localhost only.");
  const stream = await navigator.mediaDevices.getUserMedia(wanted($("microphone").value, $("clean").checked));
  spoken?.stop();
  spoken = meterOf(stream);
  return stream;
}

const told = {
  state: tell,
  sound(stream) {
    $("sound").srcObject = stream;
    $("sound").play().catch(() => {});
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
    $("sound").srcObject = null;
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
    const stream = await openMicrophone();
    listDevices($("microphone"), $("speaker"));
    begun = new Call($("room").value, $("name").value.trim(), stream, told);
    await begun.makeRoom();
    call = begun;
    show();
    $("pressed").value = "";
    $("hangup").focus();
    stopEvents = listen((event) => people.take(event), () => {
      people.refresh();
      begun.check();
    });
    people.watch(begun);
    await begun.start();
    people.refresh();
  } catch (error) {
    if (begun && !begun.over) begun.hangUp();
    if (!begun || error.status) tell(why(error), true);
    show();
  }
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!call && !$("call").disabled) join();
});
$("hangup").addEventListener("click", () => call?.hangUp());
$("mute").addEventListener("click", () => {
  call?.mute(!call.muted);
  show();
});
for (const id of ["microphone", "clean"]) {
  $(id).addEventListener("change", async () => {
    if (!call) return;
    try {
      await call.use(await openMicrophone());
    } catch (error) {
      tell(why(error), true);
    }
  });
}
$("speaker").addEventListener("change", () => $("sound").setSinkId($("speaker").value).catch((error) => tell(why(error), true)));
$("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!call || !text) return;
  $("text").value = "";
  if (!(await people.write(text))) tell("Nobody here has text in his call.");
});
$("forget").addEventListener("click", () => {
  forgetToken();
  call?.hangUp();
  tell("");
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("content").focus();
});
addEventListener("pagehide", () => call?.hangUp());
navigator.mediaDevices?.addEventListener("devicechange", () => listDevices($("microphone"), $("speaker")));
makeKeys($("keys"), $("pressed"), (key) => Boolean(call?.press(key)));
setInterval(() => {
  $("spoken").value = spoken?.() ?? 0;
  $("heard").value = heard?.() ?? 0;
}, METER_MS);

$("room").value = new URLSearchParams(location.search).get("room") ?? $("room").value;
listDevices($("microphone"), $("speaker"));
show();
tell("");
