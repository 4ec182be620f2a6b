"""Senders whose timestamps are not those of their audio: heard whole, and nothing learnt outlives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.mixer.support import (
    G722,
    OPUS,
    PCMU,
    ListSink,
    Pcm,
    Phone,
    World,
    agreed,
    level,
    rtp,
    strength,
    to_ulaw,
    tone,
)
from vb.codecs.base import Codec, Encoder, make_encoder

Stamps = Callable[[int], int]
"""From how many packets went before to the timestamp, in the codec's clock."""


class Talker:
    """A phone that sends a 400 Hz tone in 20 ms packets, with timestamps of its own making."""

    def __init__(
        self,
        world: World,
        codec: Codec = PCMU,
        *,
        receive: Sequence[Codec] = (),
        events: int | None = None,
    ) -> None:
        self.world = world
        self.codec = codec
        self.phone = world.phone(sending=False, configured=False)
        self.source = self.phone.source
        known = {known.payload_type: known for known in (codec, *receive)}
        self.phone.port.configure(agreed(self.source[1], codec=codec, receive=known, events=events))
        self.sink = ListSink()
        self.phone.port.add_tap_in(self.sink)
        self.ssrc = 77
        self.sequence = 100
        self.sample = 0
        self._encoder: Encoder = make_encoder(codec)

    @property
    def port(self) -> Phone:
        return self.phone

    def change(self, codec: Codec) -> None:
        """Go on with another codec."""
        self.codec = codec
        self._encoder = make_encoder(codec)

    def payload(self) -> bytes:
        width = self.codec.pcm_rate_hz // 50
        pcm = tone(400, width, start=self.sample, rate_hz=self.codec.pcm_rate_hz)
        self.sample += width
        return to_ulaw(pcm) if self.codec is PCMU else self._encoder.encode(pcm)

    def queue(self, timestamp: int, at: float, payload: bytes | None = None) -> None:
        data = rtp(
            self.sequence,
            timestamp,
            self.payload() if payload is None else payload,
            ssrc=self.ssrc,
            payload_type=self.codec.payload_type,
        )
        self.world.io.arrive(self.phone.port.slot, data, self.source, at)
        self.sequence += 1

    def say(self, packets: int, stamps: Stamps, *, jitter_s: float = 0.0, loss: float = 0.0) -> Pcm:
        """Send so many packets, one a tick, and return what was heard of them."""
        rng = np.random.default_rng(5)
        begun = len(self.sink.frames)
        for number in range(packets):
            at = self.world.tick_at + 0.010 + jitter_s * rng.uniform()
            payload = self.payload()
            if rng.uniform() < loss:
                self.sequence += 1
            else:
                self.queue(stamps(number), at, payload)
            self.world.run(1)
        return np.concatenate(self.sink.frames[begun:])

    def whole(self, pcm: Pcm) -> bool:
        """Whether a tone came through without a seam."""
        rate_hz = self.sink.rates[-1]
        width = rate_hz // 50
        tail = pcm[-(pcm.size // width - 6) * width :]
        pure = strength(tail, 400, rate_hz)
        rest = level(tail) ** 2 - pure**2 / 2
        steady = min(level(tail[i : i + width]) for i in range(0, tail.size, width))
        return pure > 7000 and rest < 0.002 * pure**2 and steady > 5000


def step(codec: Codec) -> int:
    return codec.clock_rate_hz // 50


def right(codec: Codec) -> Stamps:
    return lambda number: 5000 + step(codec) * number


def shaken(codec: Codec) -> Stamps:
    """Off by up to a millisecond, each on its own."""
    rng = np.random.default_rng(3)
    most = codec.clock_rate_hz // 1000
    return lambda number: 5000 + step(codec) * number + int(rng.integers(-most, most + 1))


def zigzag(codec: Codec) -> Stamps:
    most = codec.clock_rate_hz // 1000
    return lambda number: 5000 + step(codec) * number + (most if number % 2 else -most)


def times(factor: float) -> Callable[[Codec], Stamps]:
    return lambda codec: lambda number: 5000 + int(step(codec) * factor * number)


def still(codec: Codec) -> Stamps:
    return lambda number: 5000


def counting(codec: Codec) -> Stamps:
    return lambda number: 5000 + number


def microseconds(codec: Codec) -> Stamps:
    return lambda number: 5000 + 20_000 * number


def nanoseconds(codec: Codec) -> Stamps:
    return lambda number: (5000 + 20_000_000 * number) & 0xFFFF_FFFF


def backwards(codec: Codec) -> Stamps:
    return lambda number: 5_000_000 - step(codec) * number


CODECS = [PCMU, G722, OPUS]
WRONG = [times(2), times(0.5), times(1.2), times(6), still, counting, backwards, microseconds, nanoseconds]
