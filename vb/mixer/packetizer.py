"""Outgoing audio that is not one table look-up per 20 ms: codecs with state and other packet times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vb.codecs.base import Codec, CopyableEncoder, Encoder, make_encoder
from vb.codecs.g722 import G722Encoder
from vb.codecs.opus import OpusEncoder
from vb.mixer.frames import TICKS_PER_S, Pcm

_TICK_MS = 1000 // TICKS_PER_S


class Payload(NamedTuple):
    """One packet's payload and how far before the end of this tick's audio it begins.

    Attributes:
        data: encoded audio.
        ticks_ago: ticks that began the packet's audio before this one.
        part: which part of this tick it is, in 10 ms packets.
    """

    data: bytes
    ticks_ago: int
    part: int


class Packetizer:
    """Turns 20 ms frames into payloads of 10, 20, 40 or 60 ms.

    Attributes:
        phased: whether its packets take several ticks.
        copyable: whether its encoder can go on where another one stands.
        converges: whether its encoder comes to the state of another one that hears the same for long enough.
        step: RTP time of a tick.
        frame_encoder: its encoder where that is Opus and each frame is a packet of its own, so that who has
            many of them may encode them without it.

    Args:
        codec: what to encode with.
        ptime_ms: packet time.

    Raises:
        CodecError: the codec's library is missing.
    """

    def __init__(self, codec: Codec, ptime_ms: int) -> None:
        self._encoder: Encoder = make_encoder(codec)
        self._ticks = max(1, ptime_ms // _TICK_MS)
        self.phased = self._ticks > 1
        self._parts = 2 if ptime_ms < _TICK_MS else 1
        self.step = codec.clock_rate_hz // TICKS_PER_S
        self._frames: list[Pcm] = []
        self.copyable = isinstance(self._encoder, CopyableEncoder)
        self._opus = self._encoder if isinstance(self._encoder, OpusEncoder) else None
        self.converges = not isinstance(self._encoder, G722Encoder)
        self.frame_encoder = self._opus if self._ticks == self._parts == 1 else None

    def phase(self, tick: int) -> int:
        """Return in which of a packet's ticks the next one begins, before the frame of `tick` is pushed."""
        return (tick - len(self._frames)) % self._ticks

    def copy(self, other: Packetizer) -> None:
        """Go on from the state of another packetizer of the same kind, where its encoder can be copied."""
        if isinstance(self._encoder, CopyableEncoder) and isinstance(other._encoder, type(self._encoder)):
            self._encoder.copy_from(other._encoder)
            self._frames = list(other._frames)

    def set_complexity(self, level: int) -> None:
        """Say how much work goes into each frame from the next one on, where the codec lets choose."""
        if self._opus is not None:
            self._opus.set_complexity(level)

    def push(self, frame: Pcm) -> list[Payload]:
        """Take a frame and return the payloads that are complete with it."""
        if self._parts == 2:
            half = frame.size // 2
            return [
                Payload(self._encoder.encode(frame[:half]), 0, 0),
                Payload(self._encoder.encode(frame[half:]), 0, 1),
            ]
        if self._ticks == 1:
            return [Payload(self._encoder.encode(frame), 0, 0)]
        self._frames.append(frame.copy())
        if len(self._frames) < self._ticks:
            return []
        pcm = np.concatenate(self._frames)
        self._frames.clear()
        return [Payload(self._encoder.encode(pcm), self._ticks - 1, 0)]

    def begins(self, payload: Payload) -> int:
        """Return the RTP time of a payload's first sample less that of the tick in which it was complete."""
        return payload.part * self.step // 2 - payload.ticks_ago * self.step

    def pause(self) -> None:
        """Give up an unfinished packet: its audio was interrupted."""
        self._frames.clear()
