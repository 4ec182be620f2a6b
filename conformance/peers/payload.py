"""Payload codecs of the RTP peer, written or taken from elsewhere than the server's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import av
import numpy as np
from G722 import G722
from numpy.typing import NDArray

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class PayloadCodec:
    """How one stream is packed: PCM at ``pcm_rate_hz`` in, payloads stamped at ``clock_rate_hz`` out."""

    name: str
    payload_type: int
    pcm_rate_hz: int
    clock_rate_hz: int
    encode: Callable[[Pcm], bytes]
    decode: Callable[[bytes], Pcm]


def _ulaw_value(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code >> 4) & 0x07)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw_value(code: int) -> int:
    code ^= 0x55
    exponent, mantissa = (code >> 4) & 0x07, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return magnitude if code & 0x80 else -magnitude


@cache
def _tables(law: str) -> tuple[Pcm, NDArray[np.uint8]]:
    value = _ulaw_value if law == "PCMU" else _alaw_value
    decode = np.array([value(code) for code in range(256)], dtype=np.int16)
    order = np.argsort(decode, kind="stable")
    levels = decode[order].astype(np.int32)
    every = np.arange(-32768, 32768, dtype=np.int32)
    upper = np.clip(np.searchsorted(levels, every), 1, 255)
    nearer = np.where(every - levels[upper - 1] <= levels[upper] - every, upper - 1, upper)
    return decode, order[nearer].astype(np.uint8)


def _companded(law: str, payload_type: int) -> PayloadCodec:
    decode, encode = _tables(law)

    def pack(pcm: Pcm) -> bytes:
        return encode[pcm.astype(np.int32) + 32768].tobytes()

    def unpack(payload: bytes) -> Pcm:
        return decode[np.frombuffer(payload, np.uint8)]

    return PayloadCodec(law, payload_type, 8000, 8000, pack, unpack)


def _wideband() -> PayloadCodec:
    coder, decoder = G722(16000, 64000), G722(16000, 64000)

    def pack(pcm: Pcm) -> bytes:
        return bytes(coder.encode(np.ascontiguousarray(pcm)))

    def unpack(payload: bytes) -> Pcm:
        return np.asarray(decoder.decode(payload), dtype=np.int16)

    return PayloadCodec("G722", 9, 16000, 8000, pack, unpack)


def _opus() -> PayloadCodec:
    encoder = av.codec.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48000, "mono", "s16"
    encoder.options = {"frame_duration": "20"}
    decoder = av.codec.CodecContext.create("opus", "r")
    decoder.sample_rate, decoder.layout = 48000, "mono"

    def pack(pcm: Pcm) -> bytes:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm).reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = 48000
        return b"".join(bytes(packet) for packet in encoder.encode(frame))

    def unpack(payload: bytes) -> Pcm:
        parts = [np.zeros(0, np.int16)]
        for frame in decoder.decode(av.Packet(payload)):
            samples = np.asarray(frame.to_ndarray(), dtype=np.float64)
            mono = samples.reshape(-1, frame.samples).mean(axis=0)
            scale = 32767.0 if frame.format.name.startswith("flt") else 1.0
            parts.append(np.clip(mono * scale, -32768, 32767).astype(np.int16))
        return np.concatenate(parts)

    return PayloadCodec("opus", 111, 48000, 48000, pack, unpack)


def make_codec(name: str) -> PayloadCodec:
    """A fresh codec for one direction of one stream."""
    if name == "PCMU":
        return _companded("PCMU", 0)
    if name == "PCMA":
        return _companded("PCMA", 8)
    return _wideband() if name == "G722" else _opus()
