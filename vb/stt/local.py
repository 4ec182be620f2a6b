"""Transcripts by the engines of this machine: no key, no network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from vb.blocking import Bell
from vb.children.framing import Garbage
from vb.codecs.pcm import Pcm
from vb.errors import NotAvailable
from vb.local_speech.choosing import choose
from vb.local_speech.frames import Frame, Kind, with_audio, with_fields
from vb.local_speech.requests import Engines, Exchange
from vb.providers.failure import ProviderFailed
from vb.stt.base import RATE_HZ, Capabilities, FinalText, Heard, Options, PartialText, Range, Session

CAPABILITIES: Final = Capabilities(
    block_ms=40,
    finalize=True,
    options=frozenset({"model", "endpointing_ms"}),
    ranges={"endpointing_ms": Range(64, 5000)},
)
_SILENCE_MS: Final = 512
"""Silence that ends an utterance where the request does not say: long enough for a breath."""


class LocalTranscripts:
    """The provider `local`.

    Args:
        engines: of this machine.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    @property
    def name(self) -> str:
        """Return its name in requests."""
        return "local"

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        return CAPABILITIES

    def check_ready(self, options: Options) -> None:
        """Refuse to listen where nothing is installed, or too much is asked already.

        Raises:
            NotAvailable: no engine is installed.
            Unavailable: they are busy, or do not stay up.
        """
        if not self._engines.models:
            raise NotAvailable("no engine that listens is installed: pip install 'vb[speech]'")
        self._engines.check_room("transcript")

    def check(self, options: Options) -> None:
        """Refuse a model that there is not, and a language that none knows.

        Raises:
            InvalidField: which of both, and what to do about it.
        """
        self._model(options)

    def _model(self, options: Options) -> str:
        return choose(self._engines.models, "model", options.model, options.language)

    @asynccontextmanager
    async def open(self, options: Options) -> AsyncIterator[Session]:
        """Open a session.

        Raises:
            ProviderFailed: there is no room.
        """
        bell = Bell()
        exchange = self._engines.open("transcript", bell.ring)
        try:
            exchange.send(
                with_fields(
                    Kind.STREAM,
                    exchange.id,
                    model=self._model(options),
                    language=options.language,
                    partials=options.partial,
                    silence_ms=options.endpointing_ms or _SILENCE_MS,
                )
            )
            yield LocalSession(self._engines, exchange, bell)
        finally:
            exchange.close()


class LocalSession:
    """One leg's transcript.

    Args:
        engines: of this machine.
        exchange: with them.
        bell: rung when something has come of it.
    """

    def __init__(self, engines: Engines, exchange: Exchange, bell: Bell) -> None:
        self._engines = engines
        self._exchange = exchange
        self._bell = bell
        self._sent_samples = 0
        self._written_samples = 0

    @property
    def unheard_samples(self) -> int:
        """Return what was sent since the end of the last words that came: whoever failed had no more.

        Words that were not final count, too: they become final when the session has failed.
        """
        return max(0, self._sent_samples - self._written_samples)

    @property
    def ready(self) -> bool:
        """Return whether the engines have taken most of what was sent."""
        return not self._engines.slow

    async def send(self, pcm: Pcm) -> None:
        """Send audio; waits while the engines are slow."""
        await self._engines.not_slow()
        self.put(pcm)

    def put(self, pcm: Pcm) -> None:
        """Send audio at once."""
        self._sent_samples += len(pcm)
        for frame in with_audio(self._exchange.id, pcm):
            self._exchange.send(frame)

    async def finalize(self) -> None:
        """Ask for what was said up to now."""
        self._exchange.send(Frame(Kind.FLUSH, self._exchange.id))

    async def keep_alive(self) -> None:
        """Do nothing: engines are patient."""

    async def finish(self) -> None:
        """Say that no audio will come."""
        self._exchange.send(Frame(Kind.CLOSE, self._exchange.id))

    async def receive(self) -> Sequence[Heard] | None:
        """Wait for what was heard and return it; None when nothing comes any more.

        Raises:
            ProviderFailed: the engines have failed.
        """
        while True:
            frame = self._exchange.next()
            if frame is None:
                await self._bell.wait()
            elif frame.kind is Kind.DONE:
                return None
            elif (heard := self._read(frame)) is not None:
                return [heard]

    def _read(self, frame: Frame) -> Heard | None:
        try:
            fields = frame.fields
            what = fields["what"]
            if what not in ("partial", "final"):
                return None
            text, start_ms, end_ms = str(fields["text"]), int(fields["start_ms"]), int(fields["end_ms"])
        except (Garbage, KeyError, TypeError, ValueError):
            raise ProviderFailed("unknown", "local: the engines said something odd") from None
        self._written_samples = max(self._written_samples, end_ms * RATE_HZ // 1000)
        if what == "partial":
            return PartialText(text, start_ms, end_ms)
        return FinalText(text, True, start_ms, end_ms) if text else FinalText("")
