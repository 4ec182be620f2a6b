// One call: a WebTransport session, the MoQ session on it, and the sound of both.

import { read, tokenProtocol } from "/calls/server.js";
import { Session } from "/moq/session.js";
import { Sound } from "/moq/sound.js";

const PROTOCOL = "moq-00";

export class Call {
  // told: { state(text, bad), sound(stream), left() }
  constructor(room, name, stream, told) {
    Object.assign(this, { room, name, stream, told });
    this.over = false;
    this.muted = false;
  }

  async start() {
    const { url, sha256 } = await read("/moq/listener");
    if (!url) throw new Error("This server takes no calls by MoQ (MOQ_ENABLED).");
    await this.askForToken();
    const query = new URLSearchParams({ room_id: this.room, ...(this.name ? { app_id: this.name } : {}) });
    const hashes = sha256 ? [{ algorithm: "sha-256", value: Uint8Array.from(sha256.match(/../g), (pair) => parseInt(pair, 16)) }] : [];
    this.transport = new WebTransport(`${url}?${query}`, {
      protocols: [PROTOCOL, ...tokenProtocol()], congestionControl: "low-latency", ...(hashes.length ? { serverCertificateHashes: hashes } : {}),
    });
    this.transport.closed.then(
      ({ closeCode, reason }) => this.end(closeCode ? `The call ended (${reason || closeCode})` : "The other side hung up"),
      (error) => this.end(`The connection is lost: ${error.message}`),
    );
    await this.transport.ready;
    this.sound = new Sound(this.stream, (frame) => this.session.send(frame), (error) => this.hangUp(error.message));
    this.session = new Session(this.transport, {
      heard: (frame) => this.sound.hear(frame),
      wanted: (yes) => this.told.state(yes ? "Connected" : "Nobody listens…", !yes),
      ended: (why) => this.hangUp(why),
    });
    await this.sound.start();
    this.told.sound(this.sound.played);
    await this.session.start();
  }

  // A session is only refused; what the page asks by itself asks for the token that is needed.
  async askForToken() {
    try {
      await read(`/v1/rooms/${encodeURIComponent(this.room)}`);
    } catch (error) {
      if (error.status !== 404) throw error; // the room comes with the call
    }
  }

  // Silenced here, so that nothing of the microphone leaves this machine.
  mute(muted) {
    this.muted = muted;
    this.sound?.mute(muted);
  }

  hangUp(text = "Hung up") {
    this.end(text);
    this.transport?.close({ closeCode: 0, reason: "hung up" });
  }

  end(text) {
    if (this.over) return;
    this.over = true;
    this.sound?.stop();
    this.stream.getTracks().forEach((track) => track.stop());
    this.told.state(text);
    this.told.left();
  }
}
