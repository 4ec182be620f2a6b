// Who is in the room, who speaks, and what they write.

import { h } from "/calls/elements.js";
import { read, send } from "/calls/server.js";

const KINDS = {
  webrtc: "browser", sip_inbound: "phone", sip_outbound: "phone", websocket_in: "program", websocket_out: "program",
};
const NEWS = new Set(["leg.connected", "leg.muted", "leg.unmuted", "leg.hold", "leg.unhold"]);
const TEXTS = 200;

export class People {
  constructor(list, nobody, texts) {
    Object.assign(this, { list, nobody, texts });
    this.names = new Map();
    this.clear();
  }

  clear() {
    this.call = null;
    this.legs = [];
    this.speaking = new Set();
    this.show();
  }

  watch(call) {
    this.call = call;
    this.texts.replaceChildren();
    return this.refresh();
  }

  async refresh() {
    const call = this.call;
    if (!call) return;
    const asked = (this.asked = {});
    try {
      const { participants } = await read(`/v1/rooms/${encodeURIComponent(call.room)}`);
      if (asked !== this.asked || call !== this.call) return;
      this.legs = participants;
      this.show();
    } catch { /* asked again with the next event, or once events flow again */ }
  }

  // Events were missed, ends of speaking among them.
  missed() {
    this.speaking.clear();
    return this.refresh();
  }

  take(event) {
    if (!this.call) return;
    const leg = event.leg_id;
    if (event.type === "leg.ringing" && event.from) this.names.set(leg, event.from);
    else if (event.type === "speaking.started") this.speaks(leg, true);
    else if (event.type === "speaking.stopped") this.speaks(leg, false);
    else if (event.type === "leg.joined_room" || event.type === "leg.left_room") {
      this.speaking.delete(leg);
      if (event.room_id === this.call.room) this.refresh();
    } else if (event.type === "leg.disconnected") {
      this.speaking.delete(leg);
      this.names.delete(leg);
      if (this.has(leg)) this.refresh();
      if (leg === this.call.leg) this.call.gone(event.cdr?.reason);
    } else if (event.type === "rtt.received" && this.has(leg)) this.wrote(leg, event.text);
    else if (NEWS.has(event.type) && this.has(leg)) this.refresh();
  }

  has(id) {
    return this.legs.some((leg) => leg.id === id);
  }

  speaks(leg, does) {
    if (does) this.speaking.add(leg);
    else this.speaking.delete(leg);
    this.show();
  }

  nameOf(leg) {
    return leg.app_id || this.names.get(leg.id) || `${KINDS[leg.type] ?? leg.type} ${leg.id.slice(0, 4)}`;
  }

  show() {
    this.nobody.hidden = Boolean(this.legs.length);
    this.list.replaceChildren(...this.legs.map((leg) => {
      const speaks = this.speaking.has(leg.id) && !leg.muted;
      const says = leg.muted ? "muted" : leg.held ? "on hold" : leg.state !== "connected" ? leg.state : speaks ? "speaks" : "";
      return h("li", { class: speaks ? "speaks" : "", "data-leg": leg.id },
        h("span", { class: "light", "aria-hidden": "true" }),
        h("span", {}, this.nameOf(leg), " ", h("small", {}, leg.id === this.call?.leg ? "you" : KINDS[leg.type] ?? leg.type)),
        h("span", { class: "says" }, says));
    }));
  }

  // Real-time text comes in pieces: those of one person go on in one line until he ends it.
  wrote(leg, text) {
    const known = this.legs.find((item) => item.id === leg);
    let line = [...this.texts.children].findLast((item) => item.dataset.leg === leg && !item.dataset.whole);
    for (const character of text) {
      if ("\n\r\u2028".includes(character)) {
        if (line) line.dataset.whole = "yes";
        line = null;
      } else if (character !== "\b") {
        line ??= this.line(leg, known ? this.nameOf(known) : "");
        line.lastElementChild.textContent += character;
      } else if (line) {
        line.lastElementChild.textContent = [...line.lastElementChild.textContent].slice(0, -1).join("");
      }
    }
    this.texts.scrollTop = this.texts.scrollHeight;
  }

  line(leg, name) {
    const line = h("li", { "data-leg": leg }, h("b", {}, `${name}: `), h("span"));
    this.texts.append(line);
    while (this.texts.childElementCount > TEXTS) this.texts.firstElementChild.remove();
    this.texts.scrollTop = this.texts.scrollHeight; // of the list alone: the page stays where it is read
    return line;
  }

  // Returns how many have got it, and what went wrong besides that somebody has no text.
  async write(text) {
    const others = this.legs.filter((leg) => leg.id !== this.call.leg);
    const sent = await Promise.allSettled(others.map((leg) => send("POST", `/v1/legs/${leg.id}/rtt`, { text: `${text}\n` })));
    const reached = sent.filter((item) => item.status === "fulfilled").length;
    if (reached) {
      const line = this.line("", "You");
      line.dataset.whole = "yes";
      line.lastElementChild.textContent = text;
    }
    const problem = sent.find((item) => item.status === "rejected" && ![404, 409].includes(item.reason.status));
    return { reached, problem: problem?.reason };
  }
}
