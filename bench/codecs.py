"""Sound in the formats that callers speak: a tone as payloads that repeat, and payloads back to samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import lcm
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bench.tones import ULAW_LEVELS, encode_ulaw

Samples = NDArray[np.int16]
Sound = Literal["tone", "silence", "pause"]
"""What a caller sends: its tone, silence as audio, or a word now and then that it is silent (Opus DTX)."""

_SECOND_MS: Final = 1000
_PAUSE_MS: Final = 200
"""Time between two packets of somebody who is silent and says so: Chromium sends five a second."""
_OPUS_PAUSE: Final = b"\x78"
_FLIP: Final = 0x55
_BIT_RATE: Final = 28_000
_WIDE_BAND_BIT_RATE: Final = 32_000
_WIDE_BAND_HZ: Final = 8000
"""What browsers send who are asked for nothing higher, at the bit rate that they are asked for."""


@dataclass(frozen=True, slots=True)
class Format:
    """One audio format.

    Attributes:
        name: as the server spells it.
        payload_type: in our offers.
        clock_hz: of RTP.
        rate_hz: of its samples.
        rtpmap: its line in an offer.
        packet_ms: packet times that it can have.
    """

    name: str
    payload_type: int
    clock_hz: int
    rate_hz: int
    rtpmap: str
    packet_ms: tuple[int, ...] = (10, 20, 30, 40)


FORMATS: Final = {
    form.name: form
    for form in (
        Format("PCMU", 0, 8000, 8000, "PCMU/8000"),
        Format("PCMA", 8, 8000, 8000, "PCMA/8000"),
        Format("G722", 9, 8000, 16000, "G722/8000"),
        Format("opus", 111, 48000, 48000, "opus/48000/2", (10, 20, 40)),
    )
}


@dataclass(frozen=True, slots=True)
class Speaker:
    """What one caller sends.

    Attributes:
        wide_band: nothing above 8 kHz is asked of him (Opus).
    """

    codec: str
    ptime_ms: int = 20
    sound: Sound = "tone"
    wide_band: bool = False

    @property
    def form(self) -> Format:
        """Its format."""
        return FORMATS[self.codec]

    @property
    def clock_step(self) -> int:
        """RTP time from packet to packet."""
        return self.form.clock_hz * self.ptime_ms // 1000


def payloads_of(speaker: Speaker, frequency: int, amplitude: float) -> list[bytes | None]:
    """Return payloads that may be repeated without a seam; None where a packet time passes without a packet.

    Args:
        speaker: who.
        frequency: of its tone, whole hertz.
        amplitude: peak level.
    """
    if speaker.sound == "pause":
        return [_OPUS_PAUSE, *[None] * (_PAUSE_MS // speaker.ptime_ms - 1)]
    level = amplitude if speaker.sound == "tone" else 0.0
    return list(_payloads(replace(speaker, sound="tone"), frequency if level else 0, level))


@cache
def _payloads(speaker: Speaker, frequency: int, amplitude: float) -> tuple[bytes, ...]:
    """Return a second of tone, or as many seconds as hold whole packets."""
    rate_hz, ptime_ms = speaker.form.rate_hz, speaker.ptime_ms
    whole_ms = lcm(_SECOND_MS, ptime_ms)
    # A coder with state has found its feet once the tone has gone round.
    clock = np.arange(2 * whole_ms * rate_hz // 1000) / rate_hz
    phase = np.random.default_rng(frequency).uniform(0, 2 * np.pi)
    wave = amplitude * np.cos(2 * np.pi * frequency * clock + phase)
    samples = np.rint(wave).astype(np.int16)
    payloads = encode(speaker.codec, samples, ptime_ms, wide_band=speaker.wide_band)
    return tuple(payloads[len(payloads) // 2 :])


def encode(codec: str, samples: Samples, ptime_ms: int, *, wide_band: bool = False) -> list[bytes]:
    """Return the payloads of one stream."""
    width = FORMATS[codec].rate_hz * ptime_ms // 1000
    frames = samples[: samples.size // width * width].reshape(-1, width)
    if codec == "PCMU":
        return [row.tobytes() for row in encode_ulaw(frames.astype(np.float64))]
    if codec == "PCMA":
        nearest = _ALAW_ORDER[np.searchsorted(_ALAW_MIDDLES, frames.astype(np.float64))]
        return [row.tobytes() for row in nearest]
    if codec == "G722":
        from G722 import G722

        coder = G722(16000, 64000)
        return [bytes(coder.encode(frame)) for frame in frames]
    return _encode_opus(frames, ptime_ms, wide_band=wide_band)


def _encode_opus(frames: Samples, ptime_ms: int, *, wide_band: bool) -> list[bytes]:
    import av

    context = av.AudioCodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48000, "mono", "s16"
    context.bit_rate = _WIDE_BAND_BIT_RATE if wide_band else _BIT_RATE
    context.options = {"frame_duration": str(ptime_ms), "application": "voip", "compression_level": "3"}
    if wide_band:
        context.options |= {"cutoff": str(_WIDE_BAND_HZ)}
    payloads = []
    for row in frames:
        frame = av.AudioFrame.from_ndarray(row[None, :], format="s16", layout="mono")
        frame.sample_rate = 48000
        payloads += [bytes(packet) for packet in context.encode(frame)]
    return payloads


def decode(codec: str, payloads: Iterable[bytes]) -> Samples:
    """Return the samples of one stream, at the rate of its format."""
    if codec in ("PCMU", "PCMA"):
        levels = ULAW_LEVELS if codec == "PCMU" else ALAW_LEVELS
        return levels[np.frombuffer(b"".join(payloads), np.uint8)]
    if codec == "G722":
        from G722 import G722

        return np.frombuffer(G722(16000, 64000).decode(b"".join(payloads)), np.int16)
    import av

    context = av.AudioCodecContext.create("libopus", "r")
    context.sample_rate, context.layout, context.format = 48000, "mono", "s16"
    parts = [frame.to_ndarray()[0] for data in payloads for frame in context.decode(av.Packet(data))]
    return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, np.int16)


def _alaw_levels() -> Samples:
    """Return the sample that each A-law byte stands for (ITU-T G.711)."""
    flipped = np.arange(256) ^ _FLIP
    exponent, mantissa = flipped >> 4 & 7, flipped & 15
    magnitude = np.where(
        exponent > 0, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0), (mantissa << 4) + 8
    )
    return np.where(flipped & 0x80, magnitude, -magnitude).astype(np.int16)


ALAW_LEVELS: Final = _alaw_levels()
_ALAW_ORDER: Final = np.argsort(ALAW_LEVELS, kind="stable").astype(np.uint8)
_ALAW_SORTED: Final = ALAW_LEVELS[_ALAW_ORDER].astype(np.float64)
_ALAW_MIDDLES: Final = (_ALAW_SORTED[1:] + _ALAW_SORTED[:-1]) / 2
