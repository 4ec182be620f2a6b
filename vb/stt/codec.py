"""What providers over WebSockets have in common; the module of each says what is its own."""

from __future__ import annotations

from abc import ABC, abstractmethod

from vb.codecs.pcm import Pcm, pcm_bytes
from vb.providers.failure import FailureCategory
from vb.providers.reading import NONSENSE, ODD, category_of_close, closing_words, number_of, shown_words
from vb.stt.base import Failed, Options, Read, Stamps
from vb.web.message import Message


class PlainCodec(ABC):
    """A connection that takes audio at once, as bare samples, and is closed with the codes that all use.

    It has what the driver asks of a `Codec` but `dial`, `finalize`, `keep_alive` and `finish`. What a
    provider does in another way, its codec overrides.

    Args:
        base_url: of the provider, http or https.
        options: how somebody is to be listened to.
        key: in whose name.
        stamps: what may go onto messages.
    """

    name: str
    """Of the provider, as in requests."""

    def __init__(self, base_url: str, options: Options, key: str, stamps: Stamps) -> None:
        self.ready = True
        self.over = False
        self._base_url = base_url
        self._options = options
        self._key = key
        self._stamps = stamps

    def begin(self) -> list[Message]:
        """Return nothing."""
        return []

    def audio(self, pcm: Pcm) -> list[Message]:
        """Return audio as it is."""
        return [pcm_bytes(pcm)]

    def receive(self, message: Message) -> list[Read]:
        """Read a message; one that is not as it should be is a failure of the provider."""
        try:
            return self._read(message)
        except ODD:
            return [Failed("retryable", f"{self.name}: {NONSENSE}")]

    @abstractmethod
    def _read(self, message: Message) -> list[Read]:
        """Read a message; may raise any of `ODD`."""

    def closed(self, code: int, reason: str) -> Failed:
        """Judge a close frame."""
        return self._failed(category_of_close(code), closing_words(code, reason))

    def _failed(self, category: FailureCategory, words: object) -> Failed:
        """Return a failure in the provider's words."""
        return Failed(category, shown_words(self.name, self._key, words))


def to_ms(seconds: object) -> int | None:
    """Return seconds as whole milliseconds, None where there are none.

    Raises:
        TypeError: it is of another type.
        ValueError: no session is as long as that.
    """
    return None if seconds is None else max(0, round(number_of(number_of(seconds) * 1000)))
