"""WAV files as bytes: reading what phones and editors write, building what the recorder writes.

The reader trusts no number in the file: sizes that lie, extra chunks and truncated data end in
shorter audio or in a `DecodeError`, never in more memory than one read asks for.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from vb.codecs.g711 import ALAW_TO_PCM, ULAW_TO_PCM
from vb.codecs.pcm import Pcm
from vb.media.errors import DecodeError

HEADER_BYTES: Final = 44
MAX_DATA_BYTES: Final = 0xFFFF_FFFF - HEADER_BYTES
"""The RIFF size field is 32 bits wide."""
MIN_RATE_HZ: Final = 8_000
MAX_RATE_HZ: Final = 192_000

_FORMAT_PCM = 1
_FORMAT_ALAW = 6
_FORMAT_ULAW = 7
_FORMAT_EXTENSIBLE = 0xFFFE
_BITS = {_FORMAT_PCM: 16, _FORMAT_ALAW: 8, _FORMAT_ULAW: 8}
_TABLES = {_FORMAT_ALAW: ALAW_TO_PCM, _FORMAT_ULAW: ULAW_TO_PCM}
_UNKNOWN_SIZES = (0, 0xFFFF_FFFF)
_MAX_CHUNKS = 1_000


def build_header(*, channels: int, rate_hz: int, data_bytes: int) -> bytes:
    """Return the 44-byte header of a 16-bit PCM file."""
    frame_bytes = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", HEADER_BYTES - 8 + data_bytes, b"WAVE",
        b"fmt ", 16, _FORMAT_PCM, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 16,
        b"data", data_bytes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class WavFormat:
    """The part of a ``fmt`` chunk that matters for playing."""

    tag: int
    channels: int
    rate_hz: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * _BITS[self.tag] // 8


def check_rate(rate_hz: int) -> int:
    """Return ``rate_hz`` if it can be played.

    Raises:
        DecodeError: it is outside 8 to 192 kHz.
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise DecodeError(f"unsupported sample rate {rate_hz} Hz")
    return rate_hz


def parse_format(chunk: bytes) -> WavFormat:
    """Read a ``fmt`` chunk.

    Raises:
        DecodeError: too short, or an encoding, depth, rate or channel count that is not played.
    """
    if len(chunk) < 16:
        raise DecodeError("damaged WAV: short format chunk")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _FORMAT_EXTENSIBLE:
        raise DecodeError("unsupported WAV: extensible format")
    if tag not in _BITS:
        raise DecodeError(f"unsupported WAV: format tag {tag}")
    if bits != _BITS[tag]:
        raise DecodeError(f"unsupported WAV: {bits} bits per sample")
    if channels not in (1, 2):
        raise DecodeError(f"unsupported WAV: {channels} channels")
    return WavFormat(tag, channels, check_rate(rate_hz))


class WavReader:
    """Reads the audio of a WAV file piece by piece, mixed down to mono.

    Args:
        file: seekable; reading starts at its current position.

    Raises:
        DecodeError: it is not a WAV file that can be played.

    Spec: Multimedia Programming Interface and Data Specifications 1.0, RIFF WAVE.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise DecodeError("not a WAV file")
        (riff_size,) = struct.unpack_from("<I", head, 4)
        self.format, self._left = self._find_data(unsized=riff_size in _UNKNOWN_SIZES)
        self.rate_hz = self.format.rate_hz

    def _find_data(self, *, unsized: bool) -> tuple[WavFormat, int | None]:
        """Walk the chunks up to the audio; returns its format and length, None when unknown."""
        found: WavFormat | None = None
        for _ in range(_MAX_CHUNKS):
            header = self._file.read(8)
            if len(header) < 8:
                break
            name, size = struct.unpack("<4sI", header)
            if name == b"data":
                if found is None:
                    raise DecodeError("damaged WAV: data before format")
                return found, None if size == 0xFFFF_FFFF or (size == 0 and unsized) else size
            padded = size + (size & 1)
            if name == b"fmt ":
                chunk = self._file.read(min(size, 40))
                found = parse_format(chunk)
                padded -= len(chunk)
            self._file.seek(padded, os.SEEK_CUR)
        raise DecodeError("damaged WAV: no audio data")

    def read(self, samples: int) -> Pcm:
        """Return up to ``samples`` mono samples; an empty array at the end."""
        frame_bytes = self.format.frame_bytes
        wanted = samples * frame_bytes
        if self._left is not None:
            wanted = min(wanted, self._left)
        data = self._file.read(wanted)
        if self._left is not None:
            self._left -= len(data)
        data = data[: len(data) // frame_bytes * frame_bytes]
        if self.format.tag == _FORMAT_PCM:
            pcm: Pcm = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        else:
            pcm = _TABLES[self.format.tag][np.frombuffer(data, np.uint8)]
        if self.format.channels == 2:
            pcm = (pcm.reshape(-1, 2).sum(axis=1, dtype=np.int32) >> 1).astype(np.int16)
        return pcm


class RawReader:
    """Reads headerless little-endian 16-bit mono PCM.

    Raises:
        DecodeError: the rate cannot be played.
    """

    def __init__(self, file: BinaryIO, rate_hz: int) -> None:
        self._file = file
        self.rate_hz = check_rate(rate_hz)

    def read(self, samples: int) -> Pcm:
        """Return up to ``samples`` samples; an empty array at the end."""
        data = self._file.read(2 * samples)
        return np.frombuffer(data[: len(data) & ~1], "<i2").astype(np.int16, copy=False)
