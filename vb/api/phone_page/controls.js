// What pages that call have in common: joining, mute, hanging up, the sound of the others.

import { $, tell, wireHead } from "/calls/page.js";
import { forgetToken } from "/calls/token.js";

// current: gives the call, null when there is none; join: begins one; shown: shows whether there is one.
export function wireCall(current, join, shown) {
  $("room").value = new URLSearchParams(location.search).get("room") ?? $("room").value;
  $("join").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!current() && !$("call").disabled) join();
  });
  $("hangup").addEventListener("click", () => current()?.hangUp());
  $("mute").addEventListener("click", () => {
    current()?.mute(!current().muted);
    shown();
  });
  addEventListener("pagehide", () => current()?.hangUp());
  wireHead(() => {
    current()?.hangUp(); // with the token, which this takes for the last time
    forgetToken();
    tell("");
  });
}

// during, before: elements that can be used while there is a call, and while there is none.
export function showCall(call, during, before) {
  for (const id of ["mute", "hangup", ...during]) $(id).disabled = !call;
  for (const id of ["room", "name", "call", ...before]) $(id).disabled = Boolean(call);
  $("mute").setAttribute("aria-pressed", String(Boolean(call?.muted)));
  $("mute").textContent = call?.muted ? "Unmute" : "Mute";
}

export function play(stream) {
  $("sound").srcObject = stream;
  if (stream) $("sound").play().catch(() => {});
}
