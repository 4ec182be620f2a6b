// Which view is shown: the list, or the story of the call that the fragment names.

import { forgetToken, hasToken } from "/calls/server.js";
import { showList } from "/calls/list.js";
import { showStory } from "/calls/story.js";

const root = document.getElementById("content");
const state = document.getElementById("state");
const forget = document.getElementById("forget");
let view = null;

function tell(text, bad = false) {
  state.textContent = text;
  state.className = bad ? "bad" : "";
  forget.hidden = !hasToken();
}

async function show() {
  view?.abort();
  view = new AbortController();
  const call = /^#\/([\w-]+)$/.exec(location.hash)?.[1];
  tell("");
  const moved = root.childElementCount > 0;
  await (call ? showStory(root, call, tell, view.signal) : showList(root, tell, view.signal));
  if (moved) root.focus({ preventScroll: true });
}

forget.addEventListener("click", () => {
  forgetToken();
  location.hash = "#/";
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  root.focus();
});
addEventListener("hashchange", show);
show();
