"""WAV files as bytes: reading what phones and editors write, building what the recorder writes.

Reading takes the bytes in any portions as they arrive. It trusts no number in the file: sizes that lie,
extra chunks and truncated data end in shorter audio or in a `DecodeError`, never in more memory than
what one portion fills.
"""

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
_NEVER_SET = 0xFFFF_FFFF
_NAMES = frozenset(
    (
        b"fmt ", b"data", b"fact", b"LIST", b"JUNK", b"junk", b"PAD ", b"FLLR", b"bext", b"iXML", b"axml",
        b"cart", b"chna", b"cue ", b"plst", b"smpl", b"inst", b"acid", b"PEAK", b"DISP", b"id3 ", b"ID3 ",
        b"_PMX", b"afsp", b"levl", b"umid", b"minf", b"elm1", b"regn", b"LGWV", b"MEXT", b"SAUR", b"strc",
        b"note", b"labl", b"ltxt",
    )
)  # fmt: skip
"""Chunks that are met in WAV files; by them a chunk is told from audio and from a byte of padding."""
_RIFF_BYTES = 12
_CHUNK_BYTES = 8
_MAX_FORMAT_BYTES = 40
_MAX_CHUNKS = 1_000
_HEADER_PORTION = 1_024
_SKIP_PORTION = 65_536


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


class _Samples:
    """Turns the bytes of the audio into mono samples, whatever portions they come in."""

    def __init__(self, wav_format: WavFormat) -> None:
        self._format = wav_format
        self._rest = b""

    def decode(self, data: bytes) -> Pcm:
        """Return the whole samples among the bytes; a part of one waits for the next call."""
        data = self._rest + data
        whole = len(data) // self._format.frame_bytes * self._format.frame_bytes
        self._rest = data[whole:]
        if self._format.tag == _FORMAT_PCM:
            pcm: Pcm = np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
        else:
            pcm = _TABLES[self._format.tag][np.frombuffer(data[:whole], np.uint8)]
        if self._format.channels == 2:
            pcm = (pcm.reshape(-1, 2).sum(axis=1, dtype=np.int32) >> 1).astype(np.int16)
        return pcm


class WavDecoder:
    """Takes a WAV file apart while it arrives and gives its audio, mixed down to mono.

    Spec: Multimedia Programming Interface and Data Specifications 1.0, RIFF WAVE.
    """

    def __init__(self) -> None:
        self.format: WavFormat | None = None
        self.ended = False
        self._samples: _Samples | None = None
        self._head = bytearray()
        self._skip = 0
        self._chunks = -1
        self._odd = False
        self._empty = False
        self._left: int | None = None

    @property
    def rate_hz(self) -> int | None:
        """Rate of the audio; None until the audio has begun."""
        return self.format.rate_hz if self.format is not None and self._samples is not None else None

    def bytes_for(self, samples: int) -> int:
        """Return how many more bytes to wait for before `feed` can give that many samples."""
        if self._samples is None or self.format is None:
            return min(self._skip, _SKIP_PORTION) + _HEADER_PORTION
        return samples * self.format.frame_bytes

    def feed(self, data: bytes) -> list[Pcm]:
        """Take the next bytes of the file; returns the audio among them.

        Raises:
            DecodeError: it is not a WAV file that can be played.
        """
        samples = self._samples
        if samples is None:
            self._head += data
            samples = self._samples = self._find_audio()
            if samples is None:
                return []
            data = bytes(self._head)
            self._head.clear()
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            self.ended = not self._left
        return [samples.decode(data)]

    def finish(self) -> list[Pcm]:
        """Say that nothing more comes.

        Raises:
            DecodeError: the audio has not even begun.
        """
        if self._chunks < 0:
            raise DecodeError("not a WAV file")
        if self._samples is None:
            pending = len(self._head) >= _CHUNK_BYTES and self._head[:4] == b"data"
            if self.format is None or not (self._empty or pending):
                raise DecodeError("damaged WAV: no audio data")
            # A data chunk of unknown length of which nothing, or less than a chunk's head, has come.
            self._samples = _Samples(self.format)
            decoded = [self._samples.decode(bytes(self._head[_CHUNK_BYTES:]))]
        else:
            decoded = []
        self.ended = True
        return decoded

    def _find_audio(self) -> _Samples | None:
        """Walk the chunks up to the audio as far as the held bytes go."""
        while self._passed() and (self._chunks >= 0 or self._riff()):
            head = self._head
            if len(head) < _CHUNK_BYTES:
                break
            name, size = struct.unpack_from("<4sI", head)
            taken = _CHUNK_BYTES
            if name == b"data":
                if self.format is None:
                    raise DecodeError("damaged WAV: data before format")
                if size == 0 and len(head) < taken + _CHUNK_BYTES:
                    break  # what follows tells whether it is empty
                self._empty = size == 0 and bytes(head[taken : taken + 4]) in _NAMES
                if not self._empty:
                    # Who streams a file cannot know its length; 0 is what Python's wave leaves, for one.
                    self._left = None if size in (0, _NEVER_SET) else size
                    del head[:taken]
                    return _Samples(self.format)
            if name == b"fmt ":
                taken += min(size, _MAX_FORMAT_BYTES)
                if len(head) < taken:
                    break
                self.format = parse_format(bytes(head[_CHUNK_BYTES:taken]))
            self._skip, self._odd = _CHUNK_BYTES + size - taken, bool(size & 1)
            del head[:taken]
            self._chunks += 1
            if self._chunks == _MAX_CHUNKS:
                raise DecodeError("damaged WAV: no audio data")
        return None

    def _passed(self) -> bool:
        """Drop held bytes of a chunk that says nothing about the audio; returns whether it is behind."""
        skipped = min(self._skip, len(self._head))
        del self._head[:skipped]
        self._skip -= skipped
        if self._skip or not self._odd:
            return not self._skip
        if len(self._head) < 5:
            return False
        # A chunk of odd length is padded, but some writers forget that.
        padded = bytes(self._head[1:5]) in _NAMES or bytes(self._head[:4]) not in _NAMES
        del self._head[:padded]
        self._odd = False
        return True

    def _riff(self) -> bool:
        """Read the head of the file; returns whether there were enough bytes."""
        if len(self._head) < _RIFF_BYTES:
            return False
        name, _, kind = struct.unpack_from("<4sI4s", self._head)
        if name != b"RIFF" or kind != b"WAVE":
            raise DecodeError("not a WAV file")
        self._chunks = 0
        del self._head[:_RIFF_BYTES]
        return True


class RawDecoder:
    """Headerless little-endian 16-bit mono PCM.

    Raises:
        DecodeError: the rate cannot be played.
    """

    ended = False

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz: int | None = check_rate(rate_hz)
        self._samples = _Samples(WavFormat(_FORMAT_PCM, 1, rate_hz))

    def bytes_for(self, samples: int) -> int:
        """Return how many bytes hold that many samples."""
        return 2 * samples

    def feed(self, data: bytes) -> list[Pcm]:
        """Take the next bytes; returns their audio."""
        return [self._samples.decode(data)]

    def finish(self) -> list[Pcm]:
        """Say that nothing more comes; half a sample is dropped."""
        return []


class WavReader:
    """Reads the audio of a whole WAV file piece by piece, mixed down to mono.

    Args:
        file: reading starts at its current position.

    Raises:
        DecodeError: it is not a WAV file that can be played.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = WavDecoder()
        self._ready: Pcm = np.zeros(0, np.int16)
        while self._decoder.rate_hz is None:
            self._fill(0)
        assert self._decoder.format is not None
        self.format = self._decoder.format
        self.rate_hz = self.format.rate_hz

    def read(self, samples: int) -> Pcm:
        """Return up to ``samples`` mono samples; an empty array at the end."""
        while self._ready.size < samples and not self._decoder.ended:
            self._fill(samples - self._ready.size)
        pcm, self._ready = self._ready[:samples], self._ready[samples:]
        return pcm

    def _fill(self, samples: int) -> None:
        data = self._file.read(self._decoder.bytes_for(samples))
        decoded = self._decoder.feed(data) if data else self._decoder.finish()
        self._ready = np.concatenate((self._ready, *decoded))
