// What the page asks of the server. The token stays in this tab.

const KEY = "vb token";
let asking = null;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasToken = () => Boolean(sessionStorage.getItem(KEY));
export const forgetToken = () => sessionStorage.removeItem(KEY);

function ask(problem) {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("ask");
    const input = document.getElementById("token");
    document.getElementById("ask-problem").textContent = problem;
    dialog.addEventListener("close", () => {
      asking = null;
      if (input.value) sessionStorage.setItem(KEY, input.value);
      input.value = "";
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function get(path, signal, request = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const answer = await fetch(path, { ...request, headers: token ? { Authorization: `Bearer ${token}` } : {}, signal });
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => ({}));
    if (answer.status !== 401) throw new Refused(answer.status, body.error ?? answer.statusText);
    forgetToken();
    await ask(token ? "That token was not right." : "");
    if (!hasToken()) throw new Refused(401, "A token is needed.");
  }
}

export const read = async (path, signal) => (await get(path, signal)).json();

export async function send(method, path, body = {}) {
  return (await get(path, undefined, { method, body: method === "DELETE" ? undefined : JSON.stringify(body) })).json();
}

// A script cannot give a WebSocket or a WebTransport session a header: the token goes as a subprotocol beside the
// one that is spoken.
export function tokenProtocol() {
  const token = sessionStorage.getItem(KEY);
  if (!token) return [];
  const bytes = new TextEncoder().encode(token);
  return [`vb.token.${btoa(String.fromCharCode(...bytes)).replace(/[+]/g, "-").replace(/[/]/g, "_").replace(/=+$/, "")}`];
}

export function socket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url, ["vb", ...tokenProtocol()]);
}

// Links name the server as the outside sees it, which may differ from where this page came from.
export const local = (link) => (link ? new URL(link, location.href) : null);

export async function readAll(path, signal, most = 20000) {
  const found = [];
  let next = `${path}?pageSize=500`;
  while (next && found.length < most) {
    const page = await read(next, signal);
    found.push(...page.results);
    const link = local(page.next);
    next = link ? link.pathname + link.search : null;
  }
  return found;
}
