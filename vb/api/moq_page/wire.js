// Integers, names and messages of MoQ Transport (draft 11), and a stream read piece by piece.

const utf8 = new TextEncoder();

export const text = (value) => utf8.encode(value);

export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function number(value) {
  if (value < 0x40) return Uint8Array.of(value);
  if (value < 0x4000) return Uint8Array.of(0x40 | (value >> 8), value & 0xff);
  const bytes = new Uint8Array(value < 0x40000000 ? 4 : 8);
  const view = new DataView(bytes.buffer);
  if (bytes.length === 4) view.setUint32(0, value + 0x80000000);
  else view.setBigUint64(0, BigInt(value) | (3n << 62n));
  return bytes;
}

export const block = (bytes) => joined(number(bytes.length), bytes);
export const names = (parts) => joined(number(parts.length), ...parts.map((part) => block(text(part))));

export function message(type, ...fields) {
  const payload = joined(...fields);
  return joined(number(type), Uint8Array.of(payload.length >> 8, payload.length & 0xff), payload);
}

// The fields of a message that is there as a whole.
export class Fields {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    if (this.at + count > this.bytes.length) throw new Error("a message is cut off");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  number() {
    const size = 1 << (this.take(1)[0] >> 6);
    this.at -= 1;
    const bytes = this.take(size);
    let value = bytes[0] & 0x3f;
    for (let at = 1; at < size; at += 1) value = value * 256 + bytes[at];
    return value;
  }

  text() {
    return new TextDecoder().decode(this.take(this.number()));
  }

  names() {
    return Array.from({ length: this.number() }, () => this.text());
  }
}

// A stream of which as much is read as is asked for.
export class Source {
  constructor(stream) {
    this.reader = stream.getReader();
    this.held = new Uint8Array(0);
  }

  // Returns false where the stream ends before so many bytes are there.
  async has(count) {
    while (this.held.length < count) {
      const { value, done } = await this.reader.read();
      if (done) return false;
      this.held = this.held.length ? joined(this.held, value) : value;
    }
    return true;
  }

  async take(count) {
    if (!(await this.has(count))) throw new Error("a stream is cut off");
    const taken = this.held.subarray(0, count);
    this.held = this.held.subarray(count);
    return taken;
  }

  async number() {
    if (!(await this.has(1))) throw new Error("a stream is cut off");
    return new Fields(await this.take(1 << (this.held[0] >> 6))).number();
  }
}
