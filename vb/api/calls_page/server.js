// What the page asks of the server, with the token where one is needed.

import { askForToken, forgetToken, hasToken, token, tokenBytes } from "/calls/token.js";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const tokenHeader = () => (hasToken() ? { Authorization: `Bearer ${tokenBytes()}` } : {});

// What is begun with a token can be ended with it, though it may be forgotten by then.
export function canDelete() {
  const headers = tokenHeader();
  return (path) => fetch(path, { method: "DELETE", headers });
}

export async function get(path, signal, request = {}) {
  for (;;) {
    const sent = token();
    const headers = tokenHeader();
    const answer = await fetch(path, { ...request, headers, signal }).catch((error) => {
      throw error instanceof TypeError ? new Error("The server cannot be reached.") : error;
    });
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => ({}));
    if (answer.status !== 401) throw new Refused(answer.status, body.error || answer.statusText || `The server answers ${answer.status}.`);
    if (token() === sent) forgetToken(); // a late answer says nothing of the token that was given since
    if (!hasToken()) await askForToken(sent ? "That token was not right." : "");
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
  if (!hasToken()) return [];
  return [`vb.token.${btoa(tokenBytes()).replace(/[+]/g, "-").replace(/[/]/g, "_").replace(/=+$/, "")}`];
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
