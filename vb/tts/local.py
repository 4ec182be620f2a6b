"""Voices of the engines of this machine: no key, no network."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from vb.blocking import Bell
from vb.children.framing import Garbage
from vb.errors import InvalidField, Unavailable
from vb.local_speech.choosing import choose
from vb.local_speech.frames import Frame, Kind, sound_of, with_fields, with_number
from vb.local_speech.requests import AHEAD_SAMPLES, Engines, Exchange
from vb.local_speech.speaking import MAX_TEXT
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Capabilities, Done, Mark, Session, Spoken, Voice

CAPABILITIES: Final = Capabilities(
    streams_text=True,
    marks=True,
    max_text=MAX_TEXT,
    # The first text starts the engines, which takes seconds on a busy machine.
    patience_s=30.0,
)
NAME: Final = "local"
DEFAULT: Final = "default"
"""Names the best voice that knows the language, as requests have to name one."""
_TEXT_CHARS: Final = 8192
"""Longer text is sent in several frames."""


class LocalVoices:
    """The provider `local`.

    Args:
        engines: of this machine.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    @property
    def name(self) -> str:
        """Return its name in requests."""
        return NAME

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        return CAPABILITIES

    def check(self, voice: Voice) -> Voice:
        """Return a voice by its name.

        Raises:
            InvalidField: there is none of that name, none that knows the language, or a model was asked for.
            Unavailable: no engine is installed, they are busy, or they do not stay up.
        """
        if not self._engines.voices:
            raise Unavailable("no engine that speaks is installed: pip install 'vb[speech]'")
        if voice.model_id:
            raise InvalidField("model_id", "local voices have none")
        wanted = "" if voice.voice == DEFAULT else voice.voice
        name = choose(self._engines.voices, "voice", wanted, voice.language)
        self._engines.check_room("utterance")
        return replace(voice, voice=name)

    @asynccontextmanager
    async def open(self, voice: Voice, *, streamed: bool = False) -> AsyncIterator[Session]:
        """Open a session; sentences are spoken as they are complete, streamed or not."""
        session = LocalSession(self._engines, voice)
        try:
            yield session
        finally:
            session.drop()


class LocalSession:
    """Utterances of one voice, one after the other.

    Args:
        engines: of this machine.
        voice: whose.
    """

    def __init__(self, engines: Engines, voice: Voice) -> None:
        self._engines = engines
        self._voice = voice
        self._bell = Bell()
        self._line: deque[Exchange] = deque()
        """Those whose last word was not received; the last one may still be fed."""
        self._feeding: Exchange | None = None

    @property
    def is_over(self) -> bool:
        """Return False: nothing is held open between two utterances."""
        return False

    async def feed(self, text: str) -> None:
        """Give the next portion of text.

        Raises:
            ProviderFailed: there is no room for another utterance.
        """
        exchange = self._current()
        for start in range(0, len(text), _TEXT_CHARS):
            exchange.send(Frame(Kind.TEXT, exchange.id, text[start : start + _TEXT_CHARS].encode()))

    async def finalize(self) -> None:
        """Say that the utterance is complete.

        Raises:
            ProviderFailed: there is no room for another utterance.
        """
        exchange = self._current()
        exchange.send(Frame(Kind.END, exchange.id))
        self._feeding = None

    def _current(self) -> Exchange:
        if self._feeding is None:
            exchange = self._engines.open("utterance", self._bell.ring)
            voice = self._voice
            exchange.send(
                with_fields(
                    Kind.VOICE,
                    exchange.id,
                    voice=voice.voice,
                    language=voice.language,
                    ahead=AHEAD_SAMPLES,
                )
            )
            self._line.append(exchange)
            self._feeding = exchange
            self._bell.ring()
        return self._feeding

    async def clear(self) -> None:
        """Drop everything that was fed and not received."""
        self.drop()

    def drop(self) -> None:
        """Do so at once."""
        for exchange in self._line:
            exchange.close()
        self._line.clear()
        self._feeding = None

    async def receive(self) -> Spoken:
        """Return what comes next, in order.

        Raises:
            ProviderFailed: the engines have failed.
        """
        while True:
            frame = self._line[0].next() if self._line else None
            if frame is None:
                await self._bell.wait()
            elif frame.kind is Kind.DONE:
                self._line.popleft().close()
                return Done()
            else:
                return self._read(self._line[0], frame)

    @staticmethod
    def _read(exchange: Exchange, frame: Frame) -> Spoken:
        try:
            if frame.kind is Kind.SOUND:
                rate_hz, pcm = sound_of(frame)
                exchange.send(with_number(Kind.MORE, exchange.id, len(pcm)))
                return Audio(pcm, rate_hz)
            fields = frame.fields
            return Mark(str(fields["text"]), int(fields["start_ms"]), int(fields["end_ms"]))
        except (Garbage, KeyError, TypeError, ValueError):
            raise ProviderFailed("unknown", "local: the engines said something odd") from None
