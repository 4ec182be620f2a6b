// The token of the server: asked for once it is needed, and kept in this tab.

import { h } from "/calls/elements.js";

const KEY = "vb token";
let asking = null;

export const token = () => sessionStorage.getItem(KEY);
export const hasToken = () => Boolean(token());
export const forgetToken = () => sessionStorage.removeItem(KEY);
// Headers take bytes only: those of the token in UTF-8, as the server has it.
export const tokenBytes = () => String.fromCharCode(...new TextEncoder().encode(token()));
export const isAsking = () => asking !== null;

function makeDialog(problem, input) {
  return h("dialog", { id: "ask", "aria-labelledby": "ask-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "ask-title" }, "A token is needed"),
      h("p", { id: "ask-problem", role: "alert" }, problem),
      h("label", { for: "token" }, "Token of the server (VB_API_TOKENS)"),
      input,
      h("button", { type: "submit" }, "Open")));
}

export function askForToken(problem) {
  asking ??= new Promise((resolve) => {
    const input = h("input", { id: "token", type: "password", autocomplete: "off", required: true });
    const dialog = makeDialog(problem, input);
    dialog.addEventListener("close", () => {
      asking = null;
      const given = input.value.trim(); // what is pasted often has a blank at its end
      if (given) sessionStorage.setItem(KEY, given);
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
