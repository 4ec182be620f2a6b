// The list of calls: filters, pages, and what has come since.

import { h, length, seconds, when } from "/calls/elements.js";
import { local, read } from "/calls/server.js";
import { isAsking } from "/calls/token.js";

const FRESH_MS = 3000;
const FIELDS = [
  ["search", "Search parties, transcript, metadata", "search"],
  ["fromDate", "From", "date"],
  ["toDate", "To", "date"],
  ["durationMin", "At least (seconds)", "number"],
  ["durationMax", "At most (seconds)", "number"],
];
const ORDERS = [["-created", "Newest first"], ["created", "Oldest first"], ["-duration", "Longest first"], ["-ended", "Ended last first"]];

function query(form) {
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const text = value.trim();
    if (text) asked.append(name, name.startsWith("duration") ? `${text}s` : text);
  }
  asked.append("pageSize", "50");
  return asked;
}

const cell = (label, ...content) => h("td", { "data-label": label }, ...content);

function row(call) {
  const open = !call.ended;
  const ending = open ? "goes on" : call.endReason.replaceAll("_", " ");
  const { leg } = call;
  return h("tr", {},
    cell("Created", h("a", { href: `#/${call.callId}` }, when(call.created))),
    cell("Direction", leg.direction === "inbound" ? "in" : "out"),
    cell("From", leg.from ?? ""),
    cell("To", leg.to ?? leg.uri ?? ""),
    cell("Duration", length(seconds(call.billedDuration))),
    cell("End", h("span", { class: open ? "open" : call.endReason === "system_error" ? "fault" : "" }, ending)));
}

export function showList(root, tell, signal) {
  const form = h("form", { class: "filters", role: "search" },
    FIELDS.map(([name, label, type]) => h("div", { class: name === "search" ? "wide" : "" },
      h("label", { for: name }, label),
      h("input", { id: name, name, type, min: type === "number" ? 0 : null, step: type === "number" ? "any" : null, maxlength: 256 }))),
    h("div", {}, h("label", { for: "sort" }, "Order"),
      h("select", { id: "sort", name: "sort" }, ORDERS.map(([value, text]) => h("option", { value }, text)))),
    h("div", {}, h("button", { type: "submit" }, "Search")));
  const body = h("tbody");
  const caption = h("caption", { "aria-live": "polite" });
  const heads = ["Created", "Direction", "From", "To", "Duration", "End"];
  const table = h("table", { class: "calls" }, caption, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))), body);
  const more = h("button", { type: "button", class: "more", hidden: true }, "More calls");
  const empty = h("p", { class: "empty", hidden: true }, "No call matches.");
  root.replaceChildren(form, table, empty, more);

  let asked = query(form);
  let next = null;
  let paged = false;
  let running = null;
  let shown = "";

  async function load({ onward = false } = {}) {
    running?.abort();
    const mine = (running = new AbortController());
    const stop = AbortSignal.any([signal, mine.signal]);
    const link = onward ? local(next) : null;
    try {
      const page = await read(link ? link.pathname + link.search : `/api/calls/details?${asked}`, stop);
      const text = JSON.stringify([page.results, page.total]);
      if (onward) body.append(...page.results.map(row));
      else if (text !== shown) {
        const focused = document.activeElement?.closest?.(".calls a")?.getAttribute("href");
        body.replaceChildren(...page.results.map(row));
        if (focused) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
      }
      if (!onward) shown = text;
      next = page.next;
      more.hidden = !next;
      empty.hidden = body.childElementCount > 0;
      caption.textContent = page.total == null ? "" : `${page.total} ${page.total === 1 ? "call" : "calls"}`;
      tell("");
    } catch (problem) {
      if (problem.name !== "AbortError") tell(problem.message, true);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asked = query(form);
    paged = false;
    load();
  });
  form.addEventListener("change", () => form.requestSubmit());
  more.addEventListener("click", () => {
    paged = true;
    load({ onward: true });
  });
  const timer = setInterval(() => {
    if (!paged && !document.hidden && !isAsking()) load();
  }, FRESH_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  return load();
}
