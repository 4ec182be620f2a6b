"""Where the audio of an utterance comes from: kept speech, or a provider, whose speech is kept then."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio

from vb.codecs.resample import RATES_HZ
from vb.media.conversion import RateConverter, storage_rate_hz
from vb.tts.base import Audio, Done, Session, Spoken
from vb.tts.cache import MAX_ENTRY_BYTES
from vb.tts.speech import Speech
from vb.tts.tasks.cache import SpeechCache

Receive: TypeAlias = Callable[[], Awaitable[Spoken]]


@asynccontextmanager
async def open_speech(speech: Speech, cache: SpeechCache | None) -> AsyncIterator[Receive]:
    """Have an utterance spoken; gives what comes out of it, piece by piece, up to `Done`.

    Raises:
        ProviderFailed: inside the block as well.
    """
    key = cache.key(speech) if cache is not None and speech.provider.capabilities.caches else ""
    kept = await cache.get(key) if cache is not None and key else None
    if kept is not None:
        yield _Kept(kept).receive
        return
    async with speech.provider.open(speech.voice) as session:
        await session.feed(speech.text)
        await session.finalize()
        yield _copying(session, cache, key) if cache is not None and key else session.receive


class _Kept:
    """Kept speech, in one piece."""

    def __init__(self, audio: Audio) -> None:
        self._pieces: deque[Spoken] = deque((audio, Done()))

    async def receive(self) -> Spoken:
        """Return the audio, then `Done`."""
        await trio.lowlevel.checkpoint()
        return self._pieces.popleft()


def _copying(session: Session, cache: SpeechCache, key: str) -> Receive:
    """Return what a session's `receive` does, and keeps what it has given once that is complete."""
    copy: list[Audio] = []
    size = 0

    async def receive() -> Spoken:
        nonlocal size
        spoken = await session.receive()
        if isinstance(spoken, Audio):
            size += spoken.pcm.nbytes
            if size <= MAX_ENTRY_BYTES:
                copy.append(spoken)
            else:
                copy.clear()
        elif isinstance(spoken, Done):
            await cache.put(key, copy)
        return spoken

    return receive


class RateFitter:
    """Brings audio to a rate that calls can convert from while it is heard."""

    def __init__(self) -> None:
        self._converter: RateConverter | None = None
        self._from_hz = self.rate_hz = 0

    def feed(self, audio: Audio) -> list[Audio]:
        """Return audio at a rate of the resampler."""
        if audio.rate_hz in RATES_HZ:
            return [audio]
        if audio.rate_hz != self._from_hz:
            self._from_hz, self.rate_hz = audio.rate_hz, storage_rate_hz(audio.rate_hz)
            self._converter = RateConverter(self._from_hz, self.rate_hz)
        assert self._converter is not None
        return [Audio(pcm, self.rate_hz) for pcm in self._converter.feed(audio.pcm)]

    def finish(self) -> list[Audio]:
        """Return what is left inside."""
        if self._converter is None:
            return []
        return [Audio(pcm, self.rate_hz) for pcm in self._converter.finish() if pcm.size]
