// Which view is shown: the list, or the story of the call that the fragment names.

import { showList } from "/calls/list.js";
import { $, tell, wireHead } from "/calls/page.js";
import { showStory } from "/calls/story.js";
import { forgetToken } from "/calls/token.js";

const root = $("content");
let view = null;

async function show() {
  view?.abort();
  view = new AbortController();
  const call = /^#\/([\w-]+)$/.exec(location.hash)?.[1];
  tell("");
  const moved = root.childElementCount > 0;
  await (call ? showStory(root, call, tell, view.signal) : showList(root, tell, view.signal));
  if (moved) root.focus({ preventScroll: true });
}

wireHead(() => {
  forgetToken();
  location.hash = "#/";
  show();
});
addEventListener("hashchange", show);
show();
