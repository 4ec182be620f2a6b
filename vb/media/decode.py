"""From downloaded bytes to PCM: which format it is, and a decoder that works piece by piece.

Everything here blocks on the file and on the CPU, so it runs in a worker thread. The decoder gives
audio at a *storage rate*, the one of 8, 16 and 48 kHz that is next above the source's; the live
conversion to a listener's rate happens frame by frame when the frame is taken.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final, Protocol

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from vb.codecs.pcm import Pcm
from vb.media.errors import DecodeError
from vb.media.wav import RawReader, WavReader, check_rate

STORAGE_RATES_HZ: Final = (8_000, 16_000, 48_000)
MAX_DECODED_S: Final = 6 * 3600.0
"""Longest audio that is played once through; a small compressed file may claim to be endless."""
PIECE_S: Final = 0.5
HEAD_BYTES: Final = 16
_MAX_DAMAGED_PACKETS = 100


class AudioKind(enum.Enum):
    """The encodings that can be played."""

    WAV = "wav"
    MP3 = "mp3"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How to decode a file; ``rate_hz`` is set for raw audio only."""

    kind: AudioKind
    rate_hz: int | None = None


_MIME_KINDS = {
    "audio/wav": AudioKind.WAV,
    "audio/x-wav": AudioKind.WAV,
    "audio/wave": AudioKind.WAV,
    "audio/vnd.wave": AudioKind.WAV,
    "audio/mpeg": AudioKind.MP3,
    "audio/mp3": AudioKind.MP3,
    "audio/pcm": AudioKind.RAW,
    "audio/l16": AudioKind.RAW,
}
_SUFFIX_KINDS = {".wav": AudioKind.WAV, ".wave": AudioKind.WAV, ".mp3": AudioKind.MP3}
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")
_RATE = re.compile(r"\brate\s*=\s*\"?(\d{1,7})\b")


def choose_format(mime_type: str | None, path: str, head: bytes) -> AudioFormat:
    """Decide the format by the requested type, then the extension, then the first bytes, then WAV.

    Args:
        mime_type: what the client said; None when it said nothing.
        path: path of the URL.
        head: the first `HEAD_BYTES` of the file.

    Raises:
        DecodeError: the client named a type that cannot be played, or raw audio without its rate.
    """
    essence, _, parameters = (mime_type or "").lower().partition(";")
    essence = essence.strip()
    if essence not in _UNTYPED:
        kind = _MIME_KINDS.get(essence)
        if kind is None:
            raise DecodeError(f"unsupported format {essence[:64]!r}")
        if kind is not AudioKind.RAW:
            return AudioFormat(kind)
        rate = _RATE.search(parameters)
        if rate is None:
            raise DecodeError(f"unsupported format: {essence} needs a rate, as in {essence};rate=16000")
        return AudioFormat(kind, check_rate(int(rate[1])))
    by_suffix = _SUFFIX_KINDS.get(PurePosixPath(path).suffix.lower())
    return AudioFormat(by_suffix or kind_of_bytes(head))


def kind_of_bytes(head: bytes) -> AudioKind:
    """Guess the encoding from the first bytes; WAV when nothing fits."""
    if head[:3] == b"ID3":
        return AudioKind.MP3
    # MPEG audio frame sync, a valid layer, and neither free nor forbidden values in the header.
    if len(head) >= 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        version, layer, bitrate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4
        if version != 1 and layer != 0 and bitrate != 15:
            return AudioKind.MP3
    return AudioKind.WAV


def storage_rate_hz(source_hz: int) -> int:
    """Return the rate audio is kept at: the next storage rate above its own, else the highest."""
    return next((rate for rate in STORAGE_RATES_HZ if rate >= source_hz), STORAGE_RATES_HZ[-1])


class _Reader(Protocol):
    rate_hz: int

    def read(self, samples: int) -> Pcm: ...


def _pieces(reader: _Reader) -> Iterator[Pcm]:
    """Read to the end in pieces of `PIECE_S`."""
    samples = int(reader.rate_hz * PIECE_S)
    while (pcm := reader.read(samples)).size:
        yield pcm


def _converted(reader: _Reader, to_hz: int) -> Iterator[Pcm]:
    """Read to the end at another rate; the length comes out exact to the sample."""
    resampler = AudioResampler(format="s16", layout="mono", rate=to_hz)
    taken = given = 0
    for pcm in _pieces(reader):
        taken += pcm.size
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(pcm)[None, :], format="s16", layout="mono")
        frame.sample_rate = reader.rate_hz
        for piece in _samples(resampler.resample(frame)):
            given += piece.size
            yield piece
    missing = round(taken * to_hz / reader.rate_hz) - given
    for piece in _samples(resampler.resample(None)):
        if missing > 0:
            yield piece[:missing]
            missing -= min(missing, piece.size)
    if missing > 0:
        yield np.zeros(missing, np.int16)


def _samples(frames: list[AudioFrame]) -> Iterator[Pcm]:
    """Return the samples of packed mono 16-bit frames."""
    for frame in frames:
        if frame.samples:
            yield np.asarray(frame.to_ndarray(), dtype=np.int16).reshape(-1)


class _ReadOnly:
    """Shows libav nothing but ``read``: it can neither seek nor close the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)


def _skip_id3(file: BinaryIO) -> None:
    """Move past ID3v2 tags, whose pictures libav would load whole.

    Spec: ID3v2.4 §3.1.
    """
    while True:
        start = file.tell()
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:]):
            file.seek(start)
            return
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        footer = 10 if head[5] & 0x10 else 0
        file.seek(start + 10 + size + footer)


class _Mp3:
    """An MP3 file, decoded packet by packet to mono at the storage rate of its first frame."""

    def __init__(self, file: BinaryIO) -> None:
        _skip_id3(file)
        try:
            self._container = av.open(_ReadOnly(file), mode="r", format="mp3", metadata_errors="ignore")
        except (av.error.FFmpegError, OSError, ValueError):
            raise DecodeError("not an MP3 file") from None
        if not self._container.streams.audio:
            self._container.close()
            raise DecodeError("not an MP3 file")
        source_hz = self._container.streams.audio[0].rate
        if not source_hz:
            self._container.close()
            raise DecodeError("damaged MP3: no sample rate")
        self.rate_hz = storage_rate_hz(check_rate(source_hz))

    def pieces(self) -> Iterator[Pcm]:
        """Decode to the end."""
        resampler: AudioResampler | None = None
        shape: tuple[int, str, str] | None = None
        for frame in self._frames():
            # A file glued from several recordings may change rate or channels at a seam.
            current = (frame.sample_rate, frame.layout.name, frame.format.name)
            if resampler is None or current != shape:
                resampler = AudioResampler(format="s16", layout="mono", rate=self.rate_hz)
                shape = current
            frame.pts = None
            yield from _samples(resampler.resample(frame))
        if resampler is not None:
            yield from _samples(resampler.resample(None))

    def _frames(self) -> Iterator[AudioFrame]:
        """Decode packets, leaving out damaged ones."""
        damaged = 0
        stream = self._container.streams.audio[0]
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.FFmpegError):
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                if damaged > _MAX_DAMAGED_PACKETS:
                    raise DecodeError("damaged MP3") from None
                continue
            for frame in frames:
                if isinstance(frame, AudioFrame):
                    yield frame

    def close(self) -> None:
        self._container.close()


class AudioStream:
    """A file being decoded: mono PCM at ``rate_hz``, one of the storage rates.

    Every method blocks; use it from one worker thread at a time.

    Args:
        file: seekable; it is read from its beginning and not closed.
        audio_format: how to decode it.
        max_decoded_s: more audio than this is refused.

    Raises:
        DecodeError: the bytes are not of that format.
    """

    def __init__(
        self, file: BinaryIO, audio_format: AudioFormat, *, max_decoded_s: float = MAX_DECODED_S
    ) -> None:
        file.seek(0)
        self._mp3: _Mp3 | None = None
        if audio_format.kind is AudioKind.MP3:
            self._mp3 = _Mp3(file)
            self.rate_hz = self._mp3.rate_hz
            self._source = self._mp3.pieces()
        else:
            reader = (
                RawReader(file, audio_format.rate_hz or STORAGE_RATES_HZ[0])
                if audio_format.kind is AudioKind.RAW
                else WavReader(file)
            )
            self.rate_hz = storage_rate_hz(reader.rate_hz)
            self._source = (
                _pieces(reader) if reader.rate_hz == self.rate_hz else _converted(reader, self.rate_hz)
            )
        self._samples_left = int(max_decoded_s * self.rate_hz)
        self._rest: Pcm = np.zeros(0, np.int16)

    def read(self) -> Pcm:
        """Return the next `PIECE_S` of audio, less at the end, and an empty array after it.

        Raises:
            DecodeError: the rest cannot be decoded or is too long.
        """
        wanted = int(self.rate_hz * PIECE_S)
        pieces = [self._rest]
        ready = self._rest.size
        while ready < wanted and (piece := next(self._source, None)) is not None:
            pieces.append(piece)
            ready += piece.size
        decoded: Pcm = np.concatenate(pieces)
        pcm, self._rest = decoded[:wanted], decoded[wanted:]
        self._samples_left -= pcm.size
        if self._samples_left < 0:
            raise DecodeError("the audio is too long")
        return pcm

    def close(self) -> None:
        """Free the decoder; the file stays open."""
        if self._mp3 is not None:
            self._mp3.close()
