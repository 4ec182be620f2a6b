// One call: an offer, its answer, candidates both ways, and a new start whenever the network was lost.

import { Refused, canDelete, read, send } from "/calls/server.js";

const SILENT_MS = 3000;
const RETRY_MS = [0, 1000, 2000, 4000, 8000];
const GIVE_UP_MS = 120000;
const TELL_AGAIN_MS = 1000;
const CANDIDATES_MS = 250;
const LATE_MS = 250;
const LATE_ASKS = 4;
const ENDED = "api_hangup";
const GONE = new Set([404, 409]);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Call {
  // told: { state(text, bad), sound(stream), left() }
  constructor(room, name, stream, told) {
    Object.assign(this, { room, name, stream, told });
    this.leg = null;
    this.inRoom = false;
    this.peer = null;
    this.over = false;
    this.mending = false;
    this.muted = false;
    this.heardWhole = false;
    this.hasNetwork = () => this.inRoom && this.mend();
    addEventListener("online", this.hasNetwork);
  }

  // The first time: what is lost meanwhile is mended after it, not beside it.
  async begin() {
    this.mending = true;
    await this.dial();
    this.mending = false;
    if (["failed", "closed"].includes(this.peer.connectionState)) this.mend();
  }

  async start() {
    await this.makeRoom();
    await this.dial();
  }

  async makeRoom() {
    try {
      const room = await read(`/v1/rooms/${encodeURIComponent(this.room)}`);
      this.heardWhole = room.sample_rate > 16000;
    } catch (error) {
      if (error.status !== 404 || this.over) throw error;
      await send("POST", "/v1/rooms", { id: this.room }).catch((problem) => {
        if (problem.status !== 409) throw problem; // somebody else has just made it
      });
    }
  }

  async dial() {
    this.peer?.close();
    if (this.over) throw new Refused(0, "hung up");
    this.leg = null;
    this.inRoom = false;
    const peer = new RTCPeerConnection();
    this.peer = peer;
    this.early = [];
    this.sender = peer.addTrack(this.stream.getAudioTracks()[0], this.stream);
    peer.ontrack = ({ track }) => this.told.sound(new MediaStream([track]));
    peer.onicecandidate = ({ candidate }) => {
      if (!candidate || peer !== this.peer) return;
      if (this.leg) this.give(candidate);
      else this.early.push(candidate.toJSON());
    };
    peer.onconnectionstatechange = () => peer === this.peer && this.changed(peer.connectionState);
    await this.exchange();
    await send("POST", `/v1/rooms/${encodeURIComponent(this.room)}/legs`, { leg_id: this.leg });
    this.inRoom = true;
    if (this.muted) this.mute(true);
  }

  async exchange(options) {
    const peer = this.peer;
    await peer.setLocalDescription(await peer.createOffer(options));
    const drop = canDelete();
    const answer = await send("POST", "/v1/webrtc/offer", {
      sdp: peer.localDescription.sdp,
      ...(this.heardWhole ? { max_playback_rate: 48000 } : {}),
      ...(this.leg ? { leg_id: this.leg } : { speech_detection: true, ...(this.name ? { app_id: this.name } : {}) }),
    });
    if (this.over || peer !== this.peer) {
      if (!this.leg) await drop(`/v1/legs/${answer.leg_id}`).catch(() => {});
      throw new Refused(0, "hung up");
    }
    this.leg = answer.leg_id;
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    this.early.splice(0).forEach((candidate) => this.give(candidate));
    this.takeCandidates(peer, this.leg);
  }

  give(candidate) {
    send("POST", `/v1/legs/${this.leg}/ice-candidates`, candidate).catch(() => {});
  }

  async takeCandidates(peer, leg) {
    try {
      while (peer === this.peer && !this.over) {
        const found = await read(`/v1/legs/${leg}/ice-candidates`);
        for (const candidate of found.candidates) await peer.addIceCandidate(candidate).catch(() => {});
        if (found.done) return;
        await pause(CANDIDATES_MS);
      }
    } catch { /* the leg is gone, or the network is: both are noticed elsewhere */ }
  }

  changed(state) {
    clearTimeout(this.silent);
    if (state === "connected") {
      this.told.state("Connected");
    } else if (state === "disconnected") {
      this.told.state("The network does not answer…", true);
      this.silent = setTimeout(() => this.mend(), SILENT_MS);
    } else if (state === "failed" || state === "closed") this.mend();
  }

  // Ask for an ICE restart; where the server has given the leg up already, call again.
  async mend(again = false) {
    if (this.over || this.mending || (!again && this.peer?.connectionState === "connected")) return;
    this.mending = true;
    const began = Date.now();
    for (let at = 0; !this.over; at += 1) {
      this.told.state("Reconnecting…", true);
      await pause(RETRY_MS[Math.min(at, RETRY_MS.length - 1)]);
      if (this.over) break;
      try {
        await this.again();
        if (await this.comesUp()) break;
      } catch (error) {
        if (GONE.has(error.status)) {
          if (this.leg && (await this.endOf(this.leg, true)) === ENDED) this.gone(ENDED);
          this.leg = null;
        }
      }
      if (Date.now() - began > GIVE_UP_MS) {
        this.end("The connection is lost");
        break;
      }
    }
    this.mending = false;
  }

  async again() {
    const goesOn = this.inRoom && !["failed", "closed"].includes(this.peer.connectionState);
    const leg = this.leg;
    if (leg && goesOn) await this.exchange({ iceRestart: true });
    else if (leg && (await this.endOf(leg)) === ENDED) this.gone(ENDED);
    else if (leg) {
      this.leg = null; // its end is no news
      await send("DELETE", `/v1/legs/${leg}`).catch(() => {});
      await this.dial();
    } else await this.start();
  }

  async comesUp() {
    for (let at = 0; at < 50 && !this.over; at += 1) {
      if (this.peer.connectionState === "connected") {
        this.told.state("Connected");
        return true;
      }
      if (this.peer.connectionState === "failed") return false;
      await pause(100);
    }
    return this.over;
  }

  // The server says that the leg is over: hung up by somebody, or given up because of the network.
  gone(reason) {
    if (this.over) return;
    this.leg = null;
    if (reason === "ice_failure") this.mend(true);
    else this.end(reason === ENDED ? "The other side hung up" : `The call ended (${reason})`);
  }

  // Events were missed: look whether the leg is still there.
  async check() {
    const leg = this.leg;
    if (!leg || this.mending) return;
    try {
      await read(`/v1/legs/${leg}`);
    } catch (error) {
      if (error.status !== 404) return;
      const reason = await this.endOf(leg, true);
      if (leg === this.leg && (reason === ENDED || !this.mending)) this.gone(reason);
    }
  }

  // Where no event tells why a call is over the history does: one that somebody has ended is not begun again.
  // It is written a moment later than a leg goes: of one that is gone already its end is waited for.
  async endOf(leg, isGone = false) {
    for (let asked = 1; ; asked += 1) {
      const found = await read(`/api/calls/${leg}`).catch(() => null);
      if (found?.endReason === "agent_hangup") return ENDED;
      if (!isGone || !found || found.endReason || this.over || asked === LATE_ASKS) return "ice_failure";
      await pause(LATE_MS);
    }
  }

  // Silenced here, so that nothing leaves this machine; the server is told for the others to see.
  mute(muted) {
    this.muted = muted;
    this.stream.getAudioTracks().forEach((track) => { track.enabled = !muted; });
    this.tellMute();
  }

  // One request at a time, until the server knows: whom it holds for muted nobody hears, whatever this page shows.
  async tellMute() {
    if (this.telling) return;
    this.telling = true;
    // A leg that was begun anew meanwhile knows nothing of what its predecessor was told.
    for (let known = null, whose = null; (known !== this.muted || whose !== this.leg) && this.leg && !this.over;) {
      const { muted, leg } = this;
      try {
        await send(muted ? "POST" : "DELETE", `/v1/legs/${leg}/mute`);
        [known, whose] = [muted, leg];
      } catch (error) {
        if (!error.status) await pause(TELL_AGAIN_MS);
        else if (leg === this.leg) break; // it has answered
      }
    }
    this.telling = false;
  }

  press(key) {
    if (!this.sender?.dtmf?.canInsertDTMF) return false;
    this.sender.dtmf.insertDTMF(this.sender.dtmf.toneBuffer + key, 120, 80);
    return true;
  }

  async use(stream) {
    const old = this.stream;
    this.stream = stream;
    stream.getAudioTracks().forEach((track) => { track.enabled = !this.muted; });
    await this.sender?.replaceTrack(stream.getAudioTracks()[0]);
    old.getTracks().forEach((track) => track.stop());
  }

  hangUp() {
    const leg = this.leg;
    this.end("Hung up");
    if (leg) send("DELETE", `/v1/legs/${leg}`).catch(() => {});
  }

  end(text) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.silent);
    removeEventListener("online", this.hasNetwork);
    this.peer?.close();
    this.stream.getTracks().forEach((track) => track.stop());
    this.told.state(text);
    this.told.left();
  }
}
