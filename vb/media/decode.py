"""From arriving bytes to PCM: which format it is, and a decoder that takes them in any portions.

A decoder is given bytes and gives the audio in them. It never waits for more, so a source that is slow
to send holds no thread; it says instead how many bytes are worth coming back with. It gives audio
at a *storage rate*, the one of 8, 16 and 48 kHz that is next above the source's; the live conversion to a
listener's rate happens frame by frame when the frame is taken. Decoding costs time, so it runs in a
worker thread.
"""

import enum
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath
from typing import Final, Protocol

import numpy as np

from vb.codecs.pcm import Pcm
from vb.media.conversion import RateConverter, storage_rate_hz
from vb.media.errors import DecodeError
from vb.media.mp3 import Mp3Decoder
from vb.media.wav import RawDecoder, WavDecoder, check_rate

MAX_DECODED_S: Final = 6 * 3600.0
"""Longest audio that is played once through; a small compressed file may claim to be endless."""
PIECE_S: Final = 0.5
HEAD_BYTES: Final = 16


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


class _Decoder(Protocol):
    """One encoding; ``rate_hz`` is None until the audio has begun, ``ended`` says that it is over."""

    @property
    def rate_hz(self) -> int | None: ...
    @property
    def ended(self) -> bool: ...
    def bytes_for(self, samples: int) -> int: ...
    def feed(self, data: bytes) -> list[Pcm]: ...
    def finish(self) -> list[Pcm]: ...


def _new_decoder(audio_format: AudioFormat) -> _Decoder:
    match audio_format.kind:
        case AudioKind.MP3:
            return Mp3Decoder()
        case AudioKind.RAW:
            return RawDecoder(audio_format.rate_hz or 0)
        case AudioKind.WAV:
            return WavDecoder()


class AudioStream:
    """Audio being decoded while it arrives: mono PCM at ``rate_hz``, one of the storage rates.

    It has ``ended`` when nothing more comes, and is ``complete`` when the audio itself said so.
    Use it from one thread at a time.

    Args:
        audio_format: how to decode it.
        max_decoded_s: more audio than this is refused.
    """

    def __init__(self, audio_format: AudioFormat, *, max_decoded_s: float = MAX_DECODED_S) -> None:
        self.rate_hz: int | None = None
        self.ended = False
        self.complete = False
        self._decoder = _new_decoder(audio_format)
        self._converter: RateConverter | None = None
        self._max_decoded_s = max_decoded_s
        self._decoded = 0
        self._ready: deque[Pcm] = deque()
        self._ready_samples = 0

    @property
    def wanted_bytes(self) -> int:
        """How many more bytes to wait for until `take` can give something, as far as can be foreseen."""
        source_hz = self._decoder.rate_hz
        if source_hz is None or self.rate_hz is None:
            return max(1, self._decoder.bytes_for(0))
        missing = max(1, self._piece_samples - self._ready_samples)
        return max(1, self._decoder.bytes_for(ceil(missing * source_hz / self.rate_hz)))

    def feed(self, data: bytes) -> None:
        """Take the next bytes; `complete` shows whether any after them can matter.

        Raises:
            DecodeError: they are not of that format, or there is too much audio.
        """
        self._add(self._decoder.feed(data))
        if self._decoder.ended:
            self.finish()
            self.complete = True

    def finish(self) -> None:
        """Say that no more bytes come; `take` gives the rest of the audio.

        Raises:
            DecodeError: what came is not of that format, or there is too much audio.
        """
        if self.ended:
            return
        self._add(self._decoder.finish())
        if self._converter is not None:
            self._keep(self._converter.finish())
        self.ended = True

    def take(self) -> Pcm:
        """Return the next `PIECE_S` of audio; less at the end, nothing while there is not enough."""
        if not self._ready_samples or (self._ready_samples < self._piece_samples and not self.ended):
            return np.zeros(0, np.int16)
        pieces, missing = [], min(self._piece_samples, self._ready_samples)
        self._ready_samples -= missing
        while missing:
            pcm = self._ready.popleft()
            if pcm.size > missing:
                self._ready.appendleft(pcm[missing:])
                pcm = pcm[:missing]
            pieces.append(pcm)
            missing -= pcm.size
        return np.concatenate(pieces)

    @property
    def _piece_samples(self) -> int:
        return int((self.rate_hz or 0) * PIECE_S)

    def _add(self, audio: list[Pcm]) -> None:
        """Bring new audio to the storage rate."""
        source_hz = self._decoder.rate_hz
        if self.rate_hz is None and source_hz is not None:
            self.rate_hz = storage_rate_hz(source_hz)
            if self.rate_hz != source_hz:
                self._converter = RateConverter(source_hz, self.rate_hz)
        for pcm in audio:
            self._keep([pcm] if self._converter is None else self._converter.feed(pcm))

    def _keep(self, audio: Iterable[Pcm]) -> None:
        for pcm in audio:
            if pcm.size:
                self._ready.append(pcm)
                self._ready_samples += pcm.size
                self._decoded += pcm.size
        if self._decoded > self._max_decoded_s * (self.rate_hz or 1):
            raise DecodeError("the audio is too long")
