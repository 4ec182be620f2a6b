// The story of one call: its facts, one time line, and everything in order.

import { h, length, millis, offset, seconds, when } from "/calls/elements.js";
import { drawLanes, sampleText } from "/calls/lanes.js";
import { read, readAll } from "/calls/server.js";
import { loadSound } from "/calls/sound.js";

const KINDS = [["sip", "SIP"], ["event", "Events"], ["said", "Transcript"]];
const SAID = {
  "stt.text": "Caller", "agent.user_transcript": "Caller", "agent.agent_response": "Agent", "rtt.received": "Typed",
};

function titleOf(entry) {
  if (entry.sip) {
    const [line, ...rest] = entry.sip.text.split("\r\n");
    const method = /^CSeq:\s*\d+\s+(\S+)/im.exec(rest.join("\r\n"))?.[1] ?? "";
    return line.startsWith("SIP/2.0 ") ? `${line.slice(8)} (${method})` : line.split(" ")[0];
  }
  return entry.type;
}

const STEPS = [["transcript_ms", "transcript"], ["endpointing_ms", "end of turn"], ["first_words_ms", "first words"], ["first_audio_ms", "first audio"]];

const stepsOf = (turn) => STEPS.filter(([name]) => turn[name] != null).map(([name, text]) => `${text} ${Math.round(turn[name])}`);

function turnGist(event) {
  const steps = stepsOf(event);
  return [
    `turn ${event.turn}`,
    event.first_heard_ms == null ? null : `heard after ${Math.round(event.first_heard_ms)} ms${steps.length ? ` (${steps.join(", ")})` : ""}`,
    event.server_ms == null ? null : `policy ${event.policy_ms}, providers ${event.provider_ms}, server ${event.server_ms} ms`,
    event.played_ms == null ? null : `spoke ${length(event.played_ms / 1000)}`,
    event.interrupted ? "interrupted" : null,
  ].filter(Boolean);
}

function gist(event) {
  const shown = ["room_id", "digit", "from", "to", "url", "file", "result", "error", "codec", "provider", "reason", ...(event.turn == null ? ["text"] : [])];
  const parts = shown.filter((name) => event[name] != null && event[name] !== "").map((name) => `${name.replace("_id", "")} ${event[name]}`);
  if (event.parts_ms) parts.push(...Object.entries(event.parts_ms).map(([name, ms]) => `${name.replaceAll("_", " ")} ${Math.round(ms)} ms`));
  if (event.turn != null) parts.push(...turnGist(event));
  if (event.cdr) parts.push(`${event.cdr.reason} after ${length(event.cdr.duration_total)}`);
  return parts.join(", ");
}

function kindOf(entry) {
  if (entry.sip) return "sip";
  return SAID[entry.type] && isFinal(entry) ? "said" : "event";
}

const isFinal = (entry) => entry.event.is_final !== false;

// How long the caller waited for each answer. An agent that runs here tells so itself, in the turn that comes with what was
// heard of it; of another one is known when its words came after the end of what was said.
function timeTurns(entries) {
  let since = null;
  let answer = null;
  for (const entry of entries) {
    const ends = entry.type === "speaking.stopped" || (SAID[entry.type] === "Caller" && isFinal(entry));
    if (entry.type === "speaking.started") since = null;
    else if (ends) since ??= entry.ms;
    else if (SAID[entry.type] === "Agent" && isFinal(entry)) {
      answer = entry;
      if (since != null) entry.waitedMs = entry.ms - since;
      since = null;
    } else if (entry.type === "agent.turn") {
      if (answer && answer.event.text === entry.event.heard) {
        answer.waitedMs = entry.event.first_heard_ms;
        answer.turn = entry.event;
      }
      answer = null;
    }
  }
}

function lateness(entry) {
  const parts = entry.waitedMs == null ? [] : [`answered after ${Math.round(entry.waitedMs)} ms`];
  const steps = entry.turn ? stepsOf(entry.turn) : [];
  if (parts.length && steps.length) parts[0] += ` (${steps.join(", ")})`;
  if (entry.turn?.interrupted) parts.push("interrupted");
  return parts.length ? ` ${parts.join(", ")}` : "";
}

function content(entry) {
  if (entry.sip) {
    const incoming = entry.sip.direction === "in";
    return h("details", {},
      h("summary", { class: `ladder ${entry.sip.direction}` },
        h("span", { class: "end" }, "far end"), h("span", { class: "arrow" }, entry.title), h("span", { class: "end" }, "vb")),
      h("pre", { tabindex: 0, "aria-label": `${incoming ? "Received" : "Sent"} ${entry.title}` }, entry.sip.text));
  }
  if (kindOf(entry) === "said") {
    return h("p", { class: "said" }, h("b", {}, `${SAID[entry.type]}: `), entry.event.text ?? "", h("span", { class: "late" }, lateness(entry)));
  }
  const more = gist(entry.event);
  return h("details", {}, h("summary", {}, more ? `${entry.type} · ${more}` : entry.type),
    h("pre", { tabindex: 0, "aria-label": entry.type }, JSON.stringify(entry.event, null, 2)));
}

const middle = (values) => values.toSorted((one, other) => one - other)[Math.floor((values.length - 1) / 2)];

function facts(call, waited) {
  const { leg } = call;
  const quality = leg.quality;
  const rows = [
    ["From", leg.from], ["To", leg.to ?? leg.uri], ["Direction", leg.direction], ["Created", when(call.created)],
    ["Answered", when(call.joined)], ["Ended", call.ended ? when(call.ended) : "goes on"],
    ["Duration", length(seconds(call.billedDuration))], ["End", leg.reason ? `${call.endReason} (${leg.reason})` : ""],
    ["MOS", quality?.mos_score?.toFixed(2)], ["Packets received", quality?.rtp_packets_received],
    ["Packets lost", quality?.rtp_packets_lost], ["Jitter", quality && `${quality.rtp_jitter_ms.toFixed(1)} ms`],
    ["Far end", call.clientVersion], ["Application", leg.appId], ["Agent", call.agent.name || leg.agents.map((agent) => agent.name ?? agent.provider).filter(Boolean).join(", ")],
    ["Agent answers after", waited.length ? `${Math.round(middle(waited))} ms` : ""], ["Server", leg.instanceId],
    ...Object.entries(call.metadata),
  ];
  return h("dl", { class: "facts" }, rows.filter(([, value]) => value != null && value !== "")
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
}

export async function showStory(root, id, tell, signal) {
  root.replaceChildren(h("p", { class: "empty" }, "Loading…"));
  try {
    const [call, found, quality] = await Promise.all([read(`/api/calls/${id}`, signal), readAll(`/api/calls/${id}/events`, signal),
      read(`/api/calls/${id}/quality`, signal)]);
    const entries = found.map((entry) => ({ ...entry, ms: millis(entry.timestamp), title: titleOf(entry) }));
    entries.sort((one, other) => one.ms - other.ms || one.number - other.number);
    timeTurns(entries);
    draw(root, call, entries, quality.results, await loadSound(call, entries, signal), signal);
    tell("");
  } catch (problem) {
    if (problem.name === "AbortError") return;
    root.replaceChildren(h("p", { class: "empty" }, problem.message), h("p", {}, h("a", { href: "#/" }, "Back to the list")));
    tell(problem.message, true);
  }
}

function draw(root, call, entries, quality, sound, signal) {
  const startMs = Math.min(Date.parse(call.created), entries[0]?.ms ?? Infinity);
  const endMs = Math.max(call.ended ? Date.parse(call.ended) : Date.now(), entries.at(-1)?.ms ?? 0);
  const seek = sound?.audio && ((ms) => {
    sound.audio.currentTime = Math.max(0, (ms - sound.startMs) / 1000);
    sound.audio.play().catch(() => {});
  });
  const view = { startMs, endMs, entries, rooms: call.leg.rooms, quality, sound, seek };
  let lanes = drawLanes(view);
  const place = h("div", {}, lanes.node);
  let wide = innerWidth >= 640;
  addEventListener("resize", () => {
    if (wide === innerWidth >= 640) return;
    wide = !wide;
    lanes = drawLanes(view);
    place.replaceChildren(lanes.node);
  }, { signal });
  sound?.audio?.addEventListener("timeupdate", () => lanes.point(sound.startMs + sound.audio.currentTime * 1000));

  const list = h("ol", { class: "story", "aria-label": "Everything that happened, in order" }, entries.map((entry) => {
    const text = offset(entry.ms - startMs);
    const at = seek ? h("button", { type: "button", class: "at", title: "Listen from here", onclick: () => seek(entry.ms) }, text) : h("span", { class: "at" }, text);
    return h("li", { "data-kind": kindOf(entry) }, at, content(entry));
  }));
  const kinds = KINDS.filter(([kind]) => entries.some((entry) => kindOf(entry) === kind));
  const choice = h("fieldset", { class: "show", "aria-label": "What is listed" }, kinds.map(([kind, label]) => h("label", {},
    h("input", { type: "checkbox", checked: true, onchange: (event) => {
      for (const item of list.querySelectorAll(`[data-kind="${kind}"]`)) item.hidden = !event.target.checked;
    } }), label)));

  root.replaceChildren(...[
    h("p", {}, h("a", { href: "#/" }, "All calls")),
    h("h2", {}, `${call.leg.from ?? "unknown"} → ${call.leg.to ?? call.leg.uri ?? "unknown"}`),
    facts(call, entries.map((entry) => entry.waitedMs).filter((ms) => ms != null)),
    h("h2", {}, "Time line"),
    place,
    quality.length ? h("details", { class: "sounded" }, h("summary", {}, "How it sounded"), h("ul", {}, quality.map((sample) =>
      h("li", {}, `${offset(Date.parse(sample.time) - startMs)} ${sampleText(sample)}`)))) : null,
    sound?.audio ? h("div", { class: "player" }, sound.audio) : sound?.problem ? h("p", {}, `Recording: ${sound.problem}`) : null,
    h("h2", {}, "What happened"),
    choice,
    list,
  ].filter(Boolean));
}
