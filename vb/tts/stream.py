"""Providers that speak text while it is being written: a codec for one WebSocket, without the socket.

The driver, `vb.tts.tasks.streaming`, opens the socket that a codec names, gives it what it is fed and what
the provider says, and sends what the codec then has to send.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from typing import Final, Protocol

from vb.providers.failure import FailureCategory, ProviderFailed
from vb.providers.reading import NONSENSE, ODD, category_of_close, closing_words
from vb.tts.answer import AnswerAudio
from vb.tts.base import Audio, Spoken, Voice
from vb.tts.http import HttpRequest, HttpVoices, Outside
from vb.web.message import Message

_RATES_HZ: Final = (24_000, 16_000, 8_000)
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SPACE: Final = re.compile(r"\s+")


class StreamCodec(Protocol):
    """One connection to a provider; utterances follow one another on it."""

    def dial(self) -> HttpRequest:
        """Return the handshake: a ws or wss URL, and headers besides its own."""
        ...

    def feed(self, text: str) -> None:
        """Take the next portion of text of an utterance."""
        ...

    def finalize(self) -> None:
        """Take note that the utterance is complete."""
        ...

    def clear(self) -> None:
        """Drop every utterance; none of it comes out of `receive` any more."""
        ...

    def keep_alive(self) -> None:
        """Have the provider told that text will come again, where it has to be."""
        ...

    def close(self) -> None:
        """Have the provider told that this is the end."""
        ...

    def take(self) -> list[Message]:
        """Return what is to be sent now."""
        ...

    def receive(self, message: Message) -> list[Spoken]:
        """Read a message.

        Raises:
            ProviderFailed: it says that the provider has failed, or makes no sense.
        """
        ...

    def closed(self, code: int, reason: str) -> ProviderFailed:
        """Judge why the provider has closed the connection by itself."""
        ...


class StreamedVoices(HttpVoices, Protocol):
    """The codec of a provider by HTTP that takes text over a WebSocket too."""

    async def stream(self, voice: Voice, outside: Outside) -> StreamCodec:
        """Return the codec of a new connection.

        Raises:
            ProviderFailed: something that it needs besides cannot be had.
        """
        ...


class JsonStream(ABC):
    """What connections have in common that take JSON and give samples: a `StreamCodec` is made of it.

    Args:
        name: of the provider, for failures.
        base_url: an http or https URL.
        voice: how it speaks.
    """

    def __init__(self, name: str, base_url: str, voice: Voice) -> None:
        self._name = name
        self._base_url = base_url
        self._voice = voice
        self._key = voice.api_key.get_secret_value()
        self._rate_hz = rate_for(voice)
        self._out: list[str] = []
        self._audio: AnswerAudio | None = None

    def _put(self, **message: object) -> None:
        self._out.append(json.dumps(message, separators=(",", ":")))

    def take(self) -> list[Message]:
        """Return what is to be sent now."""
        out, self._out = self._out, []
        return [*out]

    def receive(self, message: Message) -> list[Spoken]:
        """Read a message."""
        try:
            return self._read(message)
        except ODD:
            raise ProviderFailed("retryable", f"{self._name}: {NONSENSE}") from None

    @abstractmethod
    def _read(self, message: Message) -> list[Spoken]:
        """Read a message; may raise any of `ODD`, and `ProviderFailed`."""

    def _hear(self, data: bytes) -> list[Audio]:
        """Read audio of the utterance."""
        if self._audio is None:
            self._audio = AnswerAudio(self._name, "", self._rate_hz)
        return self._audio.feed(data)

    def closed(self, code: int, reason: str) -> ProviderFailed:
        """Judge a close frame."""
        return self._failed(category_of_close(code), closing_words(code, ""), reason.strip())

    def _failed(self, category: FailureCategory, what: str, code: object) -> ProviderFailed:
        """Return a failure that shows the provider's own words only if they are a code.

        Args:
            category: what can be done about it.
            what: what has happened, in words of ours.
            code: what the provider calls it; texts may repeat what was to be spoken, or the key.
        """
        shown = isinstance(code, str) and _CODE.fullmatch(code) and not (self._key and self._key in code)
        return ProviderFailed(
            category, f"{self._name}: {what} ({code})" if shown else f"{self._name}: {what}"
        )


def rate_for(voice: Voice) -> int:
    """Return the rate to ask for: the best that every account has and the listener can use."""
    return next((rate_hz for rate_hz in _RATES_HZ if rate_hz <= voice.rate_hz), _RATES_HZ[-1])


def one_line(text: str) -> str:
    """Return a text without line ends, which mean pauses to some providers."""
    return _SPACE.sub(" ", text)
