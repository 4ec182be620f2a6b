// What every page has: its elements by name, the line that tells how it stands, and what its head does.

import { hasToken } from "/calls/token.js";

export const $ = (id) => document.getElementById(id);

export function tell(text, bad = false) {
  $("state").textContent = text;
  $("state").className = bad ? "bad" : "";
  $("forget").hidden = !hasToken();
}

export function wireHead(forget) {
  $("forget").addEventListener("click", forget);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("content").focus();
  });
}
