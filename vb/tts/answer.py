"""From the bytes of an answer to samples: encoding and rate are read from the answer, not assumed."""

from __future__ import annotations

import re
from typing import Final, Protocol

import numpy as np

from vb.codecs.g711 import ALAW_TO_PCM, ULAW_TO_PCM
from vb.codecs.pcm import Pcm
from vb.media.errors import DecodeError
from vb.media.mp3 import Mp3Decoder
from vb.media.wav import RawDecoder, WavDecoder, check_rate
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio

_RATE = re.compile(r"\brate\s*=\s*\"?(\d{1,7})\b")
_CHANNELS = re.compile(r"\bchannels\s*=\s*\"?(\d{1,3})\b")
_MAGIC_BYTES: Final = 4
_ULAW: Final = frozenset({"audio/basic", "audio/x-mulaw", "audio/mulaw", "audio/pcmu", "audio/ulaw"})
_ALAW: Final = frozenset({"audio/x-alaw", "audio/alaw", "audio/pcma", "audio/x-alaw-basic"})
_G711_HZ: Final = 8_000
_NO_AUDIO: Final = ("text/", "application/json", "application/xml", "application/problem")


class _Decoder(Protocol):
    @property
    def rate_hz(self) -> int | None: ...
    def feed(self, data: bytes) -> list[Pcm]: ...
    def finish(self) -> list[Pcm]: ...


class _G711Decoder:
    """Bytes of G.711, one a sample."""

    def __init__(self, table: Pcm, rate_hz: int) -> None:
        self.rate_hz: int | None = check_rate(rate_hz)
        self._table = table

    def feed(self, data: bytes) -> list[Pcm]:
        return [self._table[np.frombuffer(data, np.uint8)]] if data else []

    def finish(self) -> list[Pcm]:
        return []


class AnswerAudio:
    """Decodes one answer while it arrives.

    WAV and MP3 are known by their first bytes whatever the answer calls itself, for providers put headers
    before audio that was asked for without one. Everything else is what its Content-Type says; where that
    names no encoding it is taken for what was asked for: little-endian 16-bit samples.

    Args:
        provider: its name, for failures.
        content_type: header of the answer, "" when there is none.
        asked_hz: the rate that was asked for, where the answer names none.

    Raises:
        ProviderFailed: the answer says that it is no audio.
    """

    def __init__(self, provider: str, content_type: str, asked_hz: int) -> None:
        self._provider = provider
        essence, _, parameters = content_type.lower().partition(";")
        self._essence = essence.strip()
        if self._essence.startswith(_NO_AUDIO):
            raise ProviderFailed("unknown", f"{provider}: answered with something else than audio")
        rate = _RATE.search(parameters)
        self._rate_hz = int(rate[1]) if rate else None
        channels = _CHANNELS.search(parameters)
        self._channels = int(channels[1]) if channels else 1
        self._asked_hz = asked_hz
        self._head = b""
        self._decoder: _Decoder | None = None

    def feed(self, data: bytes) -> list[Audio]:
        """Return the audio in the next bytes.

        Raises:
            ProviderFailed: they are no audio that can be read.
        """
        if self._decoder is None:
            self._head += data
            if len(self._head) < _MAGIC_BYTES:
                return []
            data, self._head = self._head, b""
        return self._decoded(data, last=False)

    def finish(self) -> list[Audio]:
        """Say that the answer is complete; returns the rest of its audio.

        Raises:
            ProviderFailed: what came is no audio that can be read.
        """
        data, self._head = self._head, b""
        if self._decoder is None and not data:
            return []
        return self._decoded(data, last=True)

    def _decoded(self, data: bytes, *, last: bool) -> list[Audio]:
        try:
            if self._decoder is None:
                self._decoder = self._choose(data[:_MAGIC_BYTES])
            pieces = self._decoder.feed(data) if data else []
            if last:
                pieces = [*pieces, *self._decoder.finish()]
        except DecodeError as exc:
            raise ProviderFailed("unknown", f"{self._provider}: {exc}") from None
        rate_hz = self._decoder.rate_hz
        return [Audio(pcm, rate_hz) for pcm in pieces if pcm.size] if rate_hz else []

    def _choose(self, head: bytes) -> _Decoder:
        if head == b"RIFF":
            return WavDecoder()
        if head[:3] == b"ID3" or self._essence in ("audio/mpeg", "audio/mp3"):
            return Mp3Decoder()
        if self._channels != 1:
            raise DecodeError(f"unsupported audio: {self._channels} channels")
        if self._essence in _ULAW:
            return _G711Decoder(ULAW_TO_PCM, self._rate_hz or _G711_HZ)
        if self._essence in _ALAW:
            return _G711Decoder(ALAW_TO_PCM, self._rate_hz or _G711_HZ)
        return RawDecoder(self._rate_hz or self._asked_hz)
