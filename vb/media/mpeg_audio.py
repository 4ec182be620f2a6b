"""MPEG audio as a stream of bytes: where its frames begin and end, and which of them are no audio.

The bytes come in any portions, from a file or from a station that never ends. Tags, pictures and damage
between frames are passed over without keeping them.

Spec: ISO/IEC 11172-3 §2.4.1, ISO/IEC 13818-3 §2.4, ID3v2.4 §3.1.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Final

from vb.media.errors import DecodeError

HEADER_BYTES: Final = 4
_TAG_BYTES: Final = 10
_MAX_LEADING_JUNK: Final = 65_536
_MAX_FALSE_STARTS: Final = 10_000
"""How often something may look like a frame that is none; noise of 50 MB does so less often."""
_MIN_PORTION: Final = 1_024
_MAX_PORTION: Final = 65_536
_MIN_FRAME_PORTION: Final = 256
_MEAN_FRAMES: Final = 8
_DECODER_DELAY_SAMPLES: Final = 529

_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_LOW_RATE_KBPS: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBPS: Final = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW_RATE_KBPS,
    (False, 3): _LOW_RATE_KBPS,
}
_INFO_FIELD_BYTES: Final = ((1, 4), (2, 4), (4, 100), (8, 4))
_ENCODER_BYTES: Final = 21
_SIDE_INFO_BYTES: Final = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}

# Sync, a version and a layer that exist; a bit rate that is neither free nor forbidden, a rate that exists.
_THIRD_BYTES = bytes(byte for byte in range(256) if 1 <= byte >> 4 <= 14 and byte >> 2 & 3 != 3)
_LIKE_HEADER = re.compile(
    b"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][" + b"".join(re.escape(bytes([byte])) for byte in _THIRD_BYTES) + b"]"
)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What the four bytes before each frame say."""

    version: int
    layer: int
    rate_hz: int
    mono: bool
    size_bytes: int
    samples: int

    @property
    def kind(self) -> tuple[int, int, int]:
        """What stays the same from frame to frame of one recording."""
        return self.version, self.layer, self.rate_hz

    @property
    def info_offset(self) -> int:
        """Where a frame that describes the file instead of holding audio has its mark."""
        return HEADER_BYTES + _SIDE_INFO_BYTES[self.version == 3, self.mono]


@lru_cache(maxsize=1024)
def parse_header(data: bytes) -> FrameHeader | None:
    """Read a frame's header; None when these four bytes are none."""
    if len(data) < HEADER_BYTES or not _LIKE_HEADER.match(data):
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    rate_hz = _RATES_HZ[version][data[2] >> 2 & 3]
    bits_per_s = 1000 * _KBPS[version == 3, layer][(data[2] >> 4) - 1]
    padding = data[2] >> 1 & 1
    if layer == 1:
        samples, size_bytes = 384, (12 * bits_per_s // rate_hz + padding) * 4
    else:
        samples = 576 if layer == 3 and version != 3 else 1152
        size_bytes = samples // 8 * bits_per_s // rate_hz + padding
    return FrameHeader(version, layer, rate_hz, data[3] >> 6 == 3, size_bytes, samples)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, header included."""

    header: FrameHeader
    data: bytes

    @property
    def is_info(self) -> bool:
        """Whether it only describes the file, as encoders with a variable bit rate write it first."""
        if self.header.layer != 3:
            return False
        mark = self.data[self.header.info_offset :][:4]
        return mark in (b"Xing", b"Info") or self.data[36:40] == b"VBRI"

    @property
    def delay_samples(self) -> int:
        """How much silence the encoder and decoder put before the audio, as an info frame tells."""
        at = self.header.info_offset
        if self.data[at : at + 4] not in (b"Xing", b"Info"):
            return 0
        flags = self.data[at + 7 : at + 8]
        present = flags[0] if flags else 0
        at += 8 + sum(size for bit, size in _INFO_FIELD_BYTES if present & bit) + _ENCODER_BYTES
        if len(self.data) < at + 2:
            return 0
        return (self.data[at] << 4 | self.data[at + 1] >> 4) + _DECODER_DELAY_SAMPLES


class FrameSplitter:
    """Finds the frames in bytes that arrive.

    What looks like a frame is believed when one of the same kind went before or follows.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._skip = 0
        self._junk = 0
        self._false_starts = 0
        self._kind: tuple[int, int, int] | None = None
        self._frame_s = 0.0
        self._count = 0
        self._mean_bytes = 0.0

    def bytes_for(self, seconds: float) -> int:
        """Return how many more bytes to wait for to have that much audio, going by the frames so far."""
        if self._kind is None or self._skip:
            return min(self._skip + self._junk, _MAX_PORTION) + _MIN_PORTION
        frames = max(1, ceil(seconds / self._frame_s))
        expected = ceil(frames * self._mean_bytes) - len(self._held)
        return min(max(expected, _MIN_FRAME_PORTION), _MAX_PORTION)

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; returns the frames that are whole now.

        Raises:
            DecodeError: it is not MPEG audio, or hardly any of it is.
        """
        self._held += data
        return self._split(last=False)

    def finish(self) -> list[Frame]:
        """Say that nothing more comes; returns the last frames, without one that is cut short.

        Raises:
            DecodeError: there was no frame at all.
        """
        frames = self._split(last=True)
        if not self._count:
            raise DecodeError("not an MP3 file")
        return frames

    def _split(self, *, last: bool) -> list[Frame]:
        frames: list[Frame] = []
        at = 0
        while at < len(self._held) and (step := self._step(at, frames, last=last)):
            at += step
        del self._held[:at]
        return frames

    def _step(self, at: int, frames: list[Frame], *, last: bool) -> int:
        """Deal with what begins at ``at``; returns its length, 0 when more bytes are needed to tell."""
        held = self._held
        if self._skip:
            skipped = min(self._skip, len(held) - at)
            self._skip -= skipped
            return skipped
        head = bytes(held[at : at + _TAG_BYTES])
        if len(head) < _TAG_BYTES and not last:
            return 0
        if head[:3] == b"ID3" and len(head) == _TAG_BYTES and not any(byte & 0x80 for byte in head[6:]):
            footer = _TAG_BYTES if head[5] & 0x10 else 0
            self._skip = (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer
            return _TAG_BYTES
        header = parse_header(head[:HEADER_BYTES])
        if header is None:
            return self._pass_junk(at)
        end = at + header.size_bytes
        if header.kind != self._kind:
            if len(held) < end + HEADER_BYTES and not last:
                return 0
            if not self._confirmed(header, end, last=last):
                self._false_starts += 1
                return self._pass_junk(at)
        if len(held) < end:
            return 0
        frames.append(Frame(header, bytes(held[at:end])))
        self._kind, self._frame_s, self._junk = header.kind, header.samples / header.rate_hz, 0
        self._count += 1
        self._mean_bytes += (header.size_bytes - self._mean_bytes) / min(self._count, _MEAN_FRAMES)
        return header.size_bytes

    def _confirmed(self, header: FrameHeader, end: int, *, last: bool) -> bool:
        """Say whether what follows shows that the header is no accident."""
        following = parse_header(bytes(self._held[end : end + HEADER_BYTES]))
        if following is not None:
            return following.kind == header.kind
        return self._held[end : end + 3] == b"TAG" or (last and len(self._held) == end)

    def _pass_junk(self, at: int) -> int:
        """Return how far it is to the next thing that looks like a frame."""
        self._kind = None
        found = _LIKE_HEADER.search(self._held, at + 1)
        # The last two bytes may be the beginning of a header.
        step = (found.start() if found else max(at + 1, len(self._held) - 2)) - at
        self._junk += step
        if not self._count and self._junk > _MAX_LEADING_JUNK:
            raise DecodeError("not an MP3 file")
        if self._false_starts > _MAX_FALSE_STARTS:
            raise DecodeError("damaged MP3")
        return step
