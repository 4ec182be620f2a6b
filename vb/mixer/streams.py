"""Incoming audio of codecs with state: packets wait undecoded and are decoded in order when they are due.

Decoding at playout instead of at arrival keeps reordered packets from upsetting the decoder, and lets the
error correction in one packet restore the one before it.

A stream whose packets say by their level that they hold silence is given silence after a while instead of
being decoded (RFC 6464). Its last packets are kept meanwhile: decoded just before the first one that is to be
heard again, they bring the decoder to where it would be, and nothing is lost of that one.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from vb.codecs.base import Codec, CodecError, Decoder, make_decoder
from vb.codecs.opus import DTX_MAX_BYTES, OpusDecoder
from vb.codecs.resample import StreamResampler
from vb.mixer.frames import Pcm

_MAX_WAITING: Final = 64
_MAX_CONCEALED_S: Final = 0.06
RESTS_AFTER: Final = 10
"""Silent packets in a row that are decoded before the decoder rests; speech has shorter gaps."""
LEAD_IN: Final = 2
"""Packets decoded unheard before the first one that is heard again: with one it starts 12 dB less exact."""
_FRAMES_MASK: Final = 3
"""Bits of an Opus packet's first byte that are zero where it is one frame (RFC 6716 §3.2)."""
_OPUS_FRAME_MS: Final = (10, 20, 40, 60, 10, 20, 10, 20, 2.5, 5, 10, 20)
"""Frame length by configuration: three bands of SILK by 4, two of hybrid by 2, CELT by 4 (RFC 6716 §3.1)."""


def opus_duration_ms(payload: bytes) -> float:
    """Return how much audio an Opus packet holds, 0 when it is damaged.

    Spec: RFC 6716 §3.1, §3.2.
    """
    if not payload:
        return 0.0
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame_ms = _OPUS_FRAME_MS[config & 3]
    elif config < 16:
        frame_ms = _OPUS_FRAME_MS[4 + (config & 1)]
    else:
        frame_ms = _OPUS_FRAME_MS[8 + (config & 3)]
    counted = payload[1] & 0x3F if len(payload) > 1 else 0
    frames = (1, 2, 2, counted)[code]
    duration_ms = frames * frame_ms
    return duration_ms if duration_ms <= 120 else 0.0


OPUS_FRAME_MS: Final = np.array([opus_duration_ms(bytes([config << 3])) for config in range(32)])
"""Frame length by the first five bits of a packet."""
_FRAME_MS: Final[list[float]] = OPUS_FRAME_MS.tolist()


PlainPacket = tuple[int, int, bytes, OpusDecoder]
"""A packet with which nothing is to be done but to decode it: its position and samples, and the decoder."""


class StreamReceiver:
    """The decoders of one leg and the packets that wait for them.

    Args:
        codecs: codec of each payload type.
        rate_hz: sample rate of the leg's ring.

    Attributes:
        damaged: packets that could not be decoded, or had no room to wait.
        rested: packets of silence that were not decoded.
    """

    __slots__ = (
        "_by_type", "_codecs", "_decoded_end", "_decoders", "_given_up", "_kept", "_loud", "_most_concealed",
        "_plain", "_rate_hz", "_resamplers", "_silent", "_waiting", "damaged", "rested",
    )  # fmt: skip

    def __init__(self, codecs: Mapping[int, Codec], rate_hz: int) -> None:
        self._codecs = dict(codecs)
        self._rate_hz = rate_hz
        self._most_concealed = int(_MAX_CONCEALED_S * rate_hz)
        self._decoders: dict[Codec, Decoder] = {}
        self._by_type: dict[int, Decoder] = {}
        self._plain: dict[int, OpusDecoder] = {}
        self._resamplers: dict[int, StreamResampler] = {}
        self._waiting: list[tuple[int, int, bytes, bool]] = []
        self._decoded_end: int | None = None
        self._given_up: deque[tuple[int, int]] = deque(maxlen=_MAX_WAITING)
        self._loud = 0
        self._silent = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=LEAD_IN)
        self.damaged = 0
        self.rested = 0

    @property
    def is_opus(self) -> bool:
        """Whether all its payload types are Opus."""
        return all(codec.name == "opus" for codec in self._codecs.values())

    @property
    def rests(self) -> bool:
        """Whether a further packet of silence need not wait for its turn; see `rest`."""
        return self._silent > RESTS_AFTER and not self._loud

    def rest(self, position: int, samples: int, payload_type: int, payload: bytes) -> None:
        """Leave a packet of silence undecoded; whoever calls this plays silence for its samples."""
        self.rested += 1
        self._kept.append((payload_type, payload))
        end = position + samples
        if self._decoded_end is None or end > self._decoded_end:
            self._decoded_end = end

    def resume(self, end: int, kept: Iterable[tuple[int, bytes]], rested: int) -> None:
        """Take over from whoever rested in its place.

        Args:
            end: position behind the last sample that was not decoded.
            kept: payload types and payloads of the last packets, in the order in which they came.
            rested: how many packets there were.
        """
        self.rested += rested
        self._kept.extend(kept)
        if self._decoded_end is None or end > self._decoded_end:
            self._decoded_end = end

    def rest_waiting(self) -> list[tuple[int, int]]:
        """Leave the packets that wait undecoded while it rests; returns their positions and samples."""
        spans = []
        while self._waiting:
            position, payload_type, payload, _ = self._take()
            samples = self.length(payload_type, payload)
            self.rest(position, samples, payload_type, payload)
            spans.append((position, samples))
        return spans

    def add(self, codecs: Mapping[int, Codec]) -> None:
        """Take further payload types."""
        self._codecs.update(codecs)
        self._by_type.clear()
        self._plain.clear()

    def codec(self, payload_type: int) -> Codec:
        """Return the codec of a negotiated payload type."""
        return self._codecs[payload_type]

    def is_pause(self, payload_type: int, payload: bytes) -> bool:
        """Whether a packet says that its sender is silent and stops sending (Opus DTX)."""
        return self._codecs[payload_type].name == "opus" and len(payload) <= DTX_MAX_BYTES

    def length(self, payload_type: int, payload: bytes) -> int:
        """Return how many ring samples a payload holds, 0 when it is damaged."""
        codec = self._codecs[payload_type]
        if codec.name == "opus":
            return int(opus_duration_ms(payload) * self._rate_hz / 1000)
        samples = len(payload) * 2 if codec.name == "G722" else len(payload)
        return samples * self._rate_hz // codec.pcm_rate_hz

    @property
    def waits(self) -> bool:
        """Whether there are packets to decode, due or not."""
        return bool(self._waiting)

    def reset(self) -> None:
        """Forget what waits: the stream starts anew."""
        self._waiting.clear()
        self._given_up.clear()
        self._loud = 0
        self._decoders.clear()
        self._by_type.clear()
        self._plain.clear()
        self._resamplers.clear()
        self._decoded_end = None
        self._silent = 0
        self._kept.clear()

    def push(self, position: int, payload_type: int, payload: bytes, *, silent: bool = False) -> None:
        """Keep a packet until it is due; beyond 64 the oldest is given up.

        Args:
            position: of its first sample.
            payload_type: its codec.
            payload: encoded audio.
            silent: whether its sender says that nobody would hear it.
        """
        heapq.heappush(self._waiting, (position, payload_type, payload, silent))
        self._loud += not silent
        if len(self._waiting) > _MAX_WAITING:
            first, its_type, its_payload, _ = self._take()
            self._given_up.append((first, self.length(its_type, its_payload)))
            self.damaged += 1

    def _take(self) -> tuple[int, int, bytes, bool]:
        """Remove the first packet that waits."""
        packet = heapq.heappop(self._waiting)
        self._loud -= not packet[3]
        return packet

    def take_plain(self, until: int) -> PlainPacket | None:
        """Take the packet that is due before `until`, where `advance` would do no more than decode it.

        So it is with nearly all packets: in sequence, audible, one frame of Opus at the rate of the ring, and
        nothing else is due. Whoever takes it decodes it to exactly its samples, or else calls `mend`.
        """
        waiting = self._waiting
        position, payload_type, payload, silent = waiting[0]
        if silent or position >= until or position != self._decoded_end:
            return None
        decoder = self._plain.get(payload_type)
        if decoder is None or decoder.conceals or len(payload) <= DTX_MAX_BYTES or payload[0] & _FRAMES_MASK:
            return None
        if self._silent or self._given_up:  # a decoder that has rested first hears of silence again
            return None
        samples = int(_FRAME_MS[payload[0] >> 3] * self._rate_hz / 1000)
        end = position + samples
        if len(waiting) > 1:
            after = min(waiting[1:3])[0]  # a heap has its second packet there
            if after < until or (after > end and end < until):
                return None
        heapq.heappop(waiting)
        self._loud -= 1
        self._decoded_end = end
        return position, samples, payload, decoder

    def mend(self, packet: PlainPacket) -> Pcm:
        """Return what is played for a plain packet that was damaged."""
        self.damaged += 1
        _, samples, _, decoder = packet
        return decoder.conceal(samples)

    def advance(self, until: int) -> list[tuple[int, Pcm]]:
        """Decode what is due before `until` and return it as (position, samples).

        Holes in front of a packet that has arrived are filled by error correction or concealment. Whatever
        has arrived is played, so what is not decoded of it is given as silence.
        """
        decoded: list[tuple[int, Pcm]] = []
        if self._given_up:
            decoded = [(start, np.zeros(samples, np.int16)) for start, samples in self._given_up]
            self._given_up.clear()
        while self._waiting:
            position, payload_type, payload, silent = self._waiting[0]
            end = position if self._decoded_end is None else self._decoded_end
            gap = position - end
            if position >= until:
                # The next packet may restore the one that is due now and did not come.
                rests = silent and self._silent >= RESTS_AFTER
                if gap > 0 and end < until and not rests and gap <= self.length(payload_type, payload):
                    self._fill(decoded, end, position, payload_type, payload)
                break
            self._take()
            if gap < -self._most_concealed:
                gap = 0  # its clock was set back: the decoder goes on there
            elif gap < 0:
                rest = position + self.length(payload_type, payload) - end
                if rest > 0:  # it begins within what was decoded and ends behind it
                    decoded.append((end, np.zeros(rest, np.int16)))
                    self._decoded_end = end + rest
                continue
            self._silent = self._silent + 1 if silent else 0
            if self._silent > RESTS_AFTER:
                samples = self.length(payload_type, payload)
                self.rest(position, samples, payload_type, payload)
                decoded.append((position, np.zeros(samples, np.int16)))
                continue
            if gap:
                self._fill(decoded, end, position, payload_type, payload)
            self._decode(decoded, position, payload_type, payload)
        return decoded

    def _lead_in(self) -> None:
        """Bring the decoder to where it would be if it had not rested."""
        for payload_type, payload in self._kept:
            codec = self._codecs[payload_type]
            try:
                self._to_ring(codec, self._decoder(payload_type).decode(payload))
            except CodecError:
                self.damaged += 1
        self._kept.clear()

    def _decoder(self, payload_type: int) -> Decoder:
        """Return the decoder of a payload type; types of the same codec are one stream."""
        decoder = self._by_type.get(payload_type)
        if decoder is None:
            codec = self._codecs[payload_type]
            decoder = self._decoders.get(codec)
            if decoder is None:
                decoder = self._decoders[codec] = make_decoder(codec)
            self._by_type[payload_type] = decoder
            if isinstance(decoder, OpusDecoder) and codec.pcm_rate_hz == self._rate_hz:
                self._plain[payload_type] = decoder
        return decoder

    def _to_ring(self, codec: Codec, pcm: Pcm) -> Pcm:
        if codec.pcm_rate_hz == self._rate_hz or not pcm.size:
            return pcm
        resampler = self._resamplers.get(codec.pcm_rate_hz)
        if resampler is None:
            resampler = StreamResampler(codec.pcm_rate_hz, self._rate_hz)
            self._resamplers[codec.pcm_rate_hz] = resampler
        return resampler.process(pcm)

    def _decode(
        self, decoded: list[tuple[int, Pcm]], position: int, payload_type: int, payload: bytes
    ) -> None:
        if self._kept:
            self._lead_in()
        codec = self._codecs[payload_type]
        decoder = self._decoder(payload_type)
        try:
            pcm = decoder.decode(payload)
        except CodecError:
            self.damaged += 1
            pcm = decoder.conceal(self.length(payload_type, payload) * codec.pcm_rate_hz // self._rate_hz)
        if codec.pcm_rate_hz != self._rate_hz:
            pcm = self._to_ring(codec, pcm)
        decoded.append((position, pcm))
        self._decoded_end = position + pcm.size

    def _fill(
        self, decoded: list[tuple[int, Pcm]], start: int, stop: int, payload_type: int, payload: bytes
    ) -> None:
        """Cover the samples before a packet, when they are few."""
        gap = stop - start
        self._decoded_end = stop
        if gap > self._most_concealed:
            return
        self._lead_in()
        codec = self._codecs[payload_type]
        decoder = self._decoder(payload_type)
        missing = gap * codec.pcm_rate_hz // self._rate_hz
        carried = self.length(payload_type, payload) * codec.pcm_rate_hz // self._rate_hz
        parts: list[Pcm] = []
        try:
            if isinstance(decoder, OpusDecoder) and missing % carried == 0:
                if missing > carried:
                    parts.append(decoder.conceal(missing - carried))
                parts.append(decoder.decode_fec(payload, carried))
            else:
                parts.append(decoder.conceal(missing))
        except CodecError:
            self.damaged += 1
            return
        decoded.append((start, self._to_ring(codec, np.concatenate(parts))))
