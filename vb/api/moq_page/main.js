// The page: what its buttons do, and what they show.

import { forgetToken, hasToken } from "/calls/server.js";
import { Call } from "/moq/call.js";
import { wanted } from "/phone/sound.js";

const METER_MS = 100;
const $ = (id) => document.getElementById(id);
let call = null;

function tell(text, bad = false) {
  $("state").textContent = text;
  $("state").className = bad ? "bad" : "";
  $("forget").hidden = !hasToken();
}

function show() {
  for (const id of ["mute", "hangup"]) $(id).disabled = !call;
  for (const id of ["room", "name", "clean", "call"]) $(id).disabled = Boolean(call);
  $("mute").setAttribute("aria-pressed", String(Boolean(call?.muted)));
  $("mute").textContent = call?.muted ? "Unmute" : "Mute";
}

const why = (error) => ({
  NotAllowedError: "The browser does not let this page use the microphone.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is in use by another program.",
}[error.name] ?? error.message);

function check() {
  if (!navigator.mediaDevices) throw new Error("Browsers give the microphone to pages of https and of localhost only.");
  if (!("WebTransport" in window && "AudioEncoder" in window)) throw new Error("This browser has no WebTransport or no WebCodecs.");
}

const told = {
  state: tell,
  sound(stream) {
    $("sound").srcObject = stream;
    $("sound").play().catch(() => {});
  },
  left() {
    call = null;
    $("sound").srcObject = null;
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
    const stream = await navigator.mediaDevices.getUserMedia(wanted("", $("clean").checked));
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

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!call && !$("call").disabled) join();
});
$("hangup").addEventListener("click", () => call?.hangUp());
$("mute").addEventListener("click", () => {
  call?.mute(!call.muted);
  show();
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
setInterval(() => {
  $("spoken").value = call?.sound?.spoken() ?? 0;
  $("heard").value = call?.sound?.heard?.() ?? 0;
  const figures = call?.session?.figures;
  $("figures").textContent = figures ? `Frames: ${figures.sent} sent, ${figures.heard} heard, ${figures.dropped} dropped` : "";
}, METER_MS);

$("room").value = new URLSearchParams(location.search).get("room") ?? $("room").value;
show();
tell("");
