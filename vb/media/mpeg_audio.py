"""MPEG audio as a stream of bytes: where its frames begin and end, and which of them are no audio.

The bytes come in any portions, from a file or from a station that never ends. Tags, pictures and damage
between frames are passed over without keeping them.

Spec: ISO/IEC 11172-3 §2.4.1, ISO/IEC 13818-3 §2.4, ID3v2.4 §3.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil
from typing import Final

from av import CodecContext, Packet
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream

from vb.media.errors import DecodeError

HEADER_BYTES: Final = 4
_PROBE_BYTES: Final = 2_048
"""More than the longest frame and the header behind it: 384 kbit/s at 32 kHz make 1728 bytes."""
_TAG_BYTES: Final = 10
_MAX_LEADING_JUNK: Final = 65_536
_MAX_FALSE_STARTS: Final = 10_000
"""How often something may look like a frame that is none; noise of 50 MB does so less often."""
_MIN_PORTION: Final = 1_024
_MAX_PORTION: Final = 65_536
_MIN_FRAME_PORTION: Final = 256
_MEAN_FRAMES: Final = 8
_DECODER_DELAY_SAMPLES: Final = 529
_INFO_FIELD_BYTES: Final = ((1, 4), (2, 4), (4, 100), (8, 4))
_ENCODER_BYTES: Final = 21
_SIDE_INFO_BYTES: Final = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}

# Sync, a version and a layer that exist; a bit rate that is neither free nor forbidden, a rate that exists.
_THIRD_BYTES = bytes(byte for byte in range(256) if 1 <= byte >> 4 <= 14 and byte >> 2 & 3 != 3)
_LIKE_HEADER = re.compile(
    b"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][" + b"".join(re.escape(bytes([byte])) for byte in _THIRD_BYTES) + b"]"
)


def kind_of(header: bytes | bytearray) -> tuple[int, int] | None:
    """Return what stays the same from frame to frame of one recording: version and layer, and the rate.

    None when these four bytes are no header.
    """
    if len(header) < HEADER_BYTES or not _LIKE_HEADER.match(header):
        return None
    return header[1] & 0xFE, header[2] & 0x0C


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, header included, and the packet of it that a decoder takes."""

    data: bytes
    rate_hz: int
    packet: Packet[AudioStream]

    @property
    def _info_offset(self) -> int:
        """Where a frame that describes the file instead of holding audio has its mark."""
        return HEADER_BYTES + _SIDE_INFO_BYTES[self.data[1] >> 3 & 3 == 3, self.data[3] >> 6 == 3]

    @property
    def is_info(self) -> bool:
        """Whether it only describes the file, as encoders with a variable bit rate write it first."""
        if _layer(self.data) != 3:
            return False
        mark = self.data[self._info_offset :][:4]
        return mark in (b"Xing", b"Info") or self.data[36:40] == b"VBRI"

    @property
    def delay_samples(self) -> int:
        """How much silence the encoder and decoder put before the audio, as an info frame tells."""
        at = self._info_offset
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

    A parser of FFmpeg's cuts the frames. It believes everything that looks like one, and would gather what
    lies between without bound. So it is only given what begins with a frame; and what looks like a frame is
    believed when one of the same kind went before or follows.
    """

    def __init__(self) -> None:
        self._held = bytearray()  # what has not become frames
        self._fed = 0  # how much of that the parser has
        self._parser: AudioCodecContext | None = None
        self._kind: tuple[int, int] | None = None
        self._skip = 0
        self._junk = 0
        self._false_starts = 0
        self._frame_s = 0.0
        self._count = 0
        self._mean_bytes = 0.0

    def bytes_for(self, seconds: float) -> int:
        """Return how many more bytes to wait for to have that much audio, going by the frames so far."""
        if self._parser is None or self._skip or not self._frame_s:
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
        while self._held and self._step(frames, last=last):
            pass
        return frames

    def _step(self, frames: list[Frame], *, last: bool) -> bool:
        """Deal with what comes first; returns whether there may be more to deal with."""
        if self._skip:
            skipped = min(self._skip, len(self._held))
            self._skip -= skipped
            del self._held[:skipped]
            return True
        if self._parser is None:
            return self._begin(frames, last=last)
        if self._fed < len(self._held):
            packets = self._parser.parse(bytes(self._held[self._fed :]))
            self._fed = len(self._held)
            self._take(packets, frames)
        # Behind the frames the next one has to begin at once.
        if len(self._held) >= HEADER_BYTES and kind_of(self._held[:HEADER_BYTES]) != self._kind:
            self._parser = None
            return True
        return False

    def _begin(self, frames: list[Frame], *, last: bool) -> bool:
        """Look whether a recording begins here."""
        head = bytes(self._held[:_TAG_BYTES])
        if len(head) < _TAG_BYTES and not last:
            return False
        if head[:3] == b"ID3" and len(head) == _TAG_BYTES and not any(byte & 0x80 for byte in head[6:]):
            footer = _TAG_BYTES if head[5] & 0x10 else 0
            self._skip = (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer
            del self._held[:_TAG_BYTES]
            return True
        kind = kind_of(head[:HEADER_BYTES])
        if kind is None:
            return self._pass_junk()
        parser = CodecContext.create(f"mp{_layer(head)}", "r")
        assert isinstance(parser, AudioCodecContext)
        packets = parser.parse(bytes(self._held[:_PROBE_BYTES]))
        size = packets[0].size if packets else len(self._held)
        if len(self._held) < size + HEADER_BYTES and not last:
            return False
        if not packets or not self._confirmed(kind, size, last=last):
            self._false_starts += 1
            return self._pass_junk()
        self._parser, self._kind, self._fed = parser, kind, min(_PROBE_BYTES, len(self._held))
        self._take(packets, frames)
        return True

    def _confirmed(self, kind: tuple[int, int], end: int, *, last: bool) -> bool:
        """Say whether what follows shows that the header is no accident."""
        following = kind_of(self._held[end : end + HEADER_BYTES])
        if following is not None:
            return following == kind
        return self._held[end : end + 3] == b"TAG" or (last and len(self._held) == end)

    def _take(self, packets: list[Packet[AudioStream]], frames: list[Frame]) -> None:
        """Make frames of what the parser cut, as far as it is of one kind."""
        assert self._parser is not None
        for packet in packets:
            size = packet.size
            if kind_of(self._held[:HEADER_BYTES]) != self._kind:
                break
            rate_hz = self._parser.sample_rate
            frames.append(Frame(bytes(self._held[:size]), rate_hz, packet))
            del self._held[:size]
            self._fed -= size
            self._frame_s, self._junk = (packet.duration or 0) / rate_hz, 0
            self._count += 1
            self._mean_bytes += (size - self._mean_bytes) / min(self._count, _MEAN_FRAMES)

    def _pass_junk(self) -> bool:
        """Go to the next thing that looks like a frame."""
        found = _LIKE_HEADER.search(self._held, 1)
        # The last two bytes may be the beginning of a header.
        step = found.start() if found else max(1, len(self._held) - 2)
        del self._held[:step]
        self._junk += step
        if not self._count and self._junk > _MAX_LEADING_JUNK:
            raise DecodeError("not an MP3 file")
        if self._false_starts > _MAX_FALSE_STARTS:
            raise DecodeError("damaged MP3")
        return True


def _layer(header: bytes) -> int:
    return 4 - (header[1] >> 1 & 3)
