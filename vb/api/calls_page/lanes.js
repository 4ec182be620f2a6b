// One time line: lanes of what happened at once, drawn to one scale.

import { h, offset, svg } from "/calls/elements.js";

const WIDTH = 1000;
const LEFT = 110;
const LANE = 34;
const NARROW = 420;

const SAMPLE_MS = 5000;

const SPEECH = { "speaking.started": true, "speaking.stopped": false };

function spans(entries, endMs, select) {
  const found = [];
  let from = null;
  for (const entry of entries) {
    const on = select(entry);
    if (on === true && from == null) from = entry.ms;
    if (on === false && from != null) {
      found.push([from, entry.ms]);
      from = null;
    }
  }
  if (from != null) found.push([from, endMs]);
  return found;
}

// When the agent spoke: a turn of one that runs here ends when it is told of; of another one its words are all that is known.
function turnsOf(entries) {
  const told = entries.filter((entry) => entry.type === "agent.turn" && entry.event.played_ms);
  if (told.length) {
    return told.map(({ ms, event }) => ({
      from: ms - event.played_ms, to: ms, waitedMs: event.first_heard_ms, text: `${event.heard}${event.interrupted ? " (interrupted)" : ""}`,
    }));
  }
  return entries.filter((entry) => entry.type === "agent.agent_response" && entry.event.is_final !== false)
    .map(({ ms, waitedMs, event }) => ({ from: ms, to: ms, waitedMs, text: event.text }));
}

export const sampleText = (sample) => [`MOS ${sample.mosScore.toFixed(2)}`, `${sample.packetsLost} of ${sample.packetsLost + sample.packetsReceived} lost`,
  `jitter ${sample.jitterMs.toFixed(1)} ms`, sample.roundTripMs == null ? null : `round trip ${Math.round(sample.roundTripMs)} ms`,
  sample.farLostPercent == null ? null : `far end lost ${sample.farLostPercent} %`].filter(Boolean).join(", ");

export function drawLanes({ startMs, endMs, entries, rooms, quality, sound, seek }) {
  const narrow = innerWidth < 640;
  const width = narrow ? NARROW : WIDTH;
  const left = narrow ? 84 : LEFT;
  const span = Math.max(1, endMs - startMs);
  const x = (ms) => left + Math.min(1, Math.max(0, (ms - startMs) / span)) * (width - left - 10);
  const lanes = [];
  const bar = (kind, [from, to], top, height, text) =>
    svg("rect", { class: kind, x: x(from), y: top, width: Math.max(2, x(to) - x(from)), height, rx: 2 }, svg("title", {}, text));
  const add = (label, draw) => lanes.push([label, draw]);

  const messages = entries.filter((entry) => entry.sip);
  if (messages.length) add("SIP", (top) => messages.map((entry) =>
    svg("circle", { class: `sip-${entry.sip.direction}`, cx: x(entry.ms), cy: top + (entry.sip.direction === "in" ? 10 : 22), r: 4 },
      svg("title", {}, `${offset(entry.ms - startMs)} ${entry.title}`))));
  add("Events", (top) => entries.filter((entry) => entry.event).map((entry) =>
    svg("rect", { class: "event", x: x(entry.ms) - 1.5, y: top + 6, width: 3, height: 20 }, svg("title", {}, `${offset(entry.ms - startMs)} ${entry.type}`))));
  if (rooms.length) {
    add("Rooms", (top) => rooms.map((stay) =>
      bar("room", [Date.parse(stay.joined), stay.left ? Date.parse(stay.left) : endMs], top + 6, 20, `in ${stay.roomId}`)));
  }
  const caller = spans(entries, endMs, (entry) => SPEECH[entry.type]);
  if (caller.length) add("Speaks", (top) => caller.map((from) => bar("speech", from, top + 8, 16, `speaks at ${offset(from[0] - startMs)}`)));
  const turns = turnsOf(entries);
  if (turns.length) {
    add("Agent", (top) => turns.map(({ from, to, waitedMs, text }) => [
      waitedMs ? bar("waited", [from - waitedMs, from], top + 14, 4, `the caller waits ${Math.round(waitedMs)} ms`) : null,
      bar("agent", [from, to], top + 8, 16, `agent at ${offset(from - startMs)}: ${text}`),
    ]));
  }
  if (quality.length) {
    add("Quality", (top) => quality.map((sample, at) => {
      const to = Date.parse(sample.time);
      const from = at ? Date.parse(quality[at - 1].time) : Math.max(startMs, to - SAMPLE_MS);
      const tall = Math.max(2, ((sample.mosScore - 1) / 3.5) * 26);
      const kind = sample.mosScore >= 4 ? "good" : sample.mosScore >= 3 ? "fair" : "poor";
      return bar(`quality ${kind}`, [from, to], top + 30 - tall, tall, `${offset(to - startMs)} ${sampleText(sample)}`);
    }));
  }
  for (const [at, channel] of (sound?.channels ?? []).entries()) {
    const name = sound.channels.length === 2 ? ["Heard", "Said"][at] : "Recording";
    add(name, (top) => {
      const step = sound.lengthMs / channel.length;
      const path = channel.map((peak, index) => {
        const tall = Math.max(0.5, peak * 14);
        return `M${x(sound.startMs + index * step).toFixed(1)} ${(top + 16 - tall).toFixed(1)}v${(2 * tall).toFixed(1)}h1v${(-2 * tall).toFixed(1)}z`;
      });
      return [svg("path", { class: "wave", d: path.join("") }, svg("title", {}, "recording"))];
    });
  }

  const height = lanes.length * LANE + 24;
  const now = svg("line", { class: "now", x1: left, x2: left, y1: 0, y2: height - 24, visibility: "hidden" });
  const marks = narrow ? 3 : 6;
  const rules = Array.from({ length: marks }, (_, at) => {
    const ms = startMs + (span * at) / (marks - 1);
    const anchor = at === 0 ? "start" : at === marks - 1 ? "end" : "middle";
    return [
      svg("line", { class: "rule", x1: x(ms), x2: x(ms), y1: 0, y2: height - 20 }),
      svg("text", { x: x(ms), y: height - 4, "text-anchor": anchor }, offset(ms - startMs).replace(/\d\d$/, "")),
    ];
  });
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: sound?.audio ? "seek" : "",
    "aria-label": `Time line of ${lanes.map(([label]) => label).join(", ")}; the list below tells the same in words` },
  rules, lanes.map(([label, draw], at) => [svg("text", { x: 0, y: at * LANE + 20 }, label), draw(at * LANE)]).flat(), now);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    seek?.(startMs + Math.max(0, (at - left) / (width - left - 10)) * span);
  });
  return {
    node: h("div", { class: "lanes" }, picture),
    point(ms) {
      now.setAttribute("visibility", "visible");
      now.setAttribute("x1", x(ms));
      now.setAttribute("x2", x(ms));
    },
  };
}
