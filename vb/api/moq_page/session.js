// One session of MoQ Transport (draft 11): we publish mic, and subscribe to mix; in both is a track audio.

import { Fields, Source, block, joined, message, names, number, text } from "/moq/wire.js";

const VERSION = 0xff00000b;
const MAX_REQUEST_ID = 2;
const REQUESTS = 100;
const SUBSCRIBE = 0x3, SUBSCRIBE_OK = 0x4, SUBSCRIBE_ERROR = 0x5, ANNOUNCE = 0x6, ANNOUNCE_OK = 0x7, ANNOUNCE_ERROR = 0x8;
const UNSUBSCRIBE = 0xa, SUBSCRIBE_DONE = 0xb, GOAWAY = 0x10, CLIENT_SETUP = 0x20, SERVER_SETUP = 0x21;
const ANNOUNCING = 0, SUBSCRIBING = 2; // ids of our two requests
const NOT_THERE = 0x4;
const MIX_ALIAS = 1;
const GROUP_OBJECTS = 50;
const MOST_WAITING = 25;
const LATE_MS = 200;
const NONE = Uint8Array.of(0);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Session {
  // told: { heard(bytes), wanted(yes), ended(why) }
  constructor(transport, told) {
    Object.assign(this, { transport, told });
    this.alias = null;
    this.group = 0;
    this.object = 0;
    this.stream = null;
    this.waiting = 0;
    this.figures = { sent: 0, heard: 0, dropped: 0 };
    this.order = Promise.resolve();
  }

  async start() {
    const control = await this.transport.createBidirectionalStream();
    this.control = control.writable.getWriter();
    const source = new Source(control.readable);
    this.say(CLIENT_SETUP, number(1), number(VERSION), number(1), number(MAX_REQUEST_ID), number(REQUESTS));
    const [type, fields] = await this.next(source);
    if (type !== SERVER_SETUP || fields.number() !== VERSION) throw new Error("The server speaks another draft of MoQ.");
    this.say(ANNOUNCE, number(ANNOUNCING), names(["mic"]), NONE);
    const wanted = [number(SUBSCRIBING), number(MIX_ALIAS), names(["mix"]), block(text("audio"))];
    this.say(SUBSCRIBE, ...wanted, Uint8Array.of(128, 0, 1), number(2), NONE); // priority, order, forward, latest object
    this.listen(source).catch((error) => this.told.ended(error.message));
    this.receive().catch(() => { /* the end of the session is told by its transport */ });
  }

  say(type, ...fields) {
    this.control.write(message(type, ...fields)).catch(() => { /* so is this */ });
  }

  async next(source) {
    const type = await source.number();
    const [high, low] = await source.take(2);
    return [type, new Fields(await source.take(high * 256 + low))];
  }

  async listen(source) {
    while (await source.has(1)) {
      const [type, fields] = await this.next(source);
      if (type === SUBSCRIBE) this.subscribed(fields);
      else if (type === UNSUBSCRIBE && fields.number() === this.request) this.publish(null);
      else if (type === ANNOUNCE) this.say(ANNOUNCE_OK, number(fields.number()));
      else if (type === SUBSCRIBE_ERROR || type === ANNOUNCE_ERROR) throw new Error("The server refused a track.");
      else if (type === SUBSCRIBE_DONE || type === GOAWAY) this.leaving = true;
      else if (type === SUBSCRIBE_OK || type === ANNOUNCE_OK) continue;
    }
  }

  subscribed(fields) {
    const request = fields.number();
    const alias = fields.number();
    const track = [...fields.names(), fields.text()].join("/");
    if (track !== "mic/audio" || this.alias !== null) {
      this.say(SUBSCRIBE_ERROR, number(request), number(NOT_THERE), block(text("no such track")), number(alias));
      return;
    }
    this.say(SUBSCRIBE_OK, number(request), number(0), Uint8Array.of(1, 0), NONE); // no end, ascending, nothing yet
    this.request = request;
    this.publish(alias);
  }

  publish(alias) {
    this.alias = alias;
    if (alias === null) this.endGroup();
    this.told.wanted(alias !== null);
  }

  // One frame is one object; a group is a second, and a stream. What cannot leave in time is not sent.
  async send(frame) {
    if (this.alias === null) return;
    if (this.waiting >= MOST_WAITING) {
      this.figures.dropped += 1;
      return;
    }
    this.waiting += 1;
    try {
      const head = this.stream ? [] : [number(8), number(this.alias), number(this.group), Uint8Array.of(128)];
      this.stream ??= this.transport.createUnidirectionalStream().then((stream) => stream.getWriter());
      const stream = this.stream;
      const object = joined(...head, number(this.object), block(frame));
      this.object += 1;
      const last = this.object === GROUP_OBJECTS;
      if (last) this.begin();
      const writer = await stream;
      await writer.write(object);
      if (last) writer.close().catch(() => {});
      this.figures.sent += 1;
    } catch {
      if (this.stream) this.begin(); // the stream was stopped: another group goes on
    } finally {
      this.waiting -= 1;
    }
  }

  begin() {
    this.stream = null;
    this.group += 1;
    this.object = 0;
  }

  endGroup() {
    this.stream?.then((writer) => writer.close()).catch(() => {});
    if (this.stream) this.begin();
  }

  async receive() {
    const streams = this.transport.incomingUnidirectionalStreams.getReader();
    for (;;) {
      const { value, done } = await streams.read();
      if (done) return;
      // A group is heard behind the one before it, unless that is late.
      const before = this.order;
      this.order = this.hear(new Source(value), before).catch(() => { /* a group that was given up */ });
    }
  }

  async hear(source, before) {
    const type = await source.number();
    const [alias] = [await source.number(), await source.number()];
    if ((type & ~1) === 0x0c) await source.number();
    await source.take(1);
    if (alias !== MIX_ALIAS) return;
    await Promise.race([before, pause(LATE_MS)]);
    while (await source.has(1)) {
      await source.number();
      if (type & 1) await source.take(await source.number());
      const size = await source.number();
      if (!size) {
        await source.number(); // the status of an object that is none
        continue;
      }
      this.figures.heard += 1;
      this.told.heard(await source.take(size));
    }
  }
}
