// The keys of a telephone, by pointer and by keyboard.

import { h } from "/calls/elements.js";

const KEYS = "123456789*0#";
const NAMES = { "*": "star", "#": "hash" };
const MOST_SHOWN = 32;

export function makeKeys(pad, shown, press) {
  const use = (key) => {
    if (!pad.disabled && press(key)) shown.value = (shown.value + key).slice(-MOST_SHOWN);
  };
  pad.append(...[...KEYS].map((key) => h("button", { type: "button", "aria-label": NAMES[key] ?? key, onclick: () => use(key) }, key)));
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key.length === 1 && KEYS.includes(event.key)) use(event.key);
  });
}
