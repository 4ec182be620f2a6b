"""A voice and ears without engines: a tone for each word, and words that a test puts in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import trio

from vb.providers.failure import ProviderFailed
from vb.stt.base import Capabilities as EarCapabilities
from vb.stt.base import FinalText, Heard, Options, PartialText
from vb.stt.base import Session as EarSession
from vb.tts.base import Audio, Capabilities, Done, Mark, Spoken, Voice
from vb.tts.base import Session as VoiceSession

WORD_MS = 300
TONES = {"alpha": 600, "bravo": 900, "charlie": 1200, "delta": 1500}
OTHER_HZ = 1900


class TonesVoice:
    """A provider of voices: each word is 300 ms of a tone of its own.

    Attributes:
        said: sentences that were asked for.
        fails: raises instead of speaking.
        stalls: says nothing over so many of the next connections.
        delay_s: how long it takes for each sentence.
        delays: the same for the next ones.
        rate_hz: of its audio, or what it says of it.
        language: that was asked for last.
    """

    name = "tones"
    capabilities = Capabilities(marks=True)

    def __init__(self) -> None:
        self.said: list[str] = []
        self.fails = False
        self.stalls = 0
        self.delay_s = 0.0
        self.delays: list[float] = []
        self.rate_hz = 24_000
        self.language = ""
        self.opened = 0

    def check(self, voice: Voice) -> Voice:
        return voice

    @asynccontextmanager
    async def open(self, voice: Voice, *, streamed: bool = False) -> AsyncIterator[VoiceSession]:
        self.opened += 1
        self.language = voice.language
        stalls, self.stalls = self.stalls > 0, max(0, self.stalls - 1)
        try:
            yield _TonesSession(self, stalls=stalls, streamed=streamed)
        finally:
            self.opened -= 1


class _TonesSession:
    def __init__(self, voice: TonesVoice, *, stalls: bool, streamed: bool) -> None:
        self._voice = voice
        self._stalls = stalls
        self._streamed = streamed
        self._words = 0
        self._text = ""
        self._over = False
        self._send, self._receive = trio.open_memory_channel[Spoken](10_000)

    @property
    def is_over(self) -> bool:
        return self._over

    def die(self, *, known: bool) -> None:
        """Be closed by the other end, which is known at once or only with the next word."""
        self._over = known
        self._send.close()

    async def feed(self, text: str) -> None:
        self._text += text
        if self._streamed:
            await self._speak()

    async def finalize(self) -> None:
        if not self._streamed:
            await self._speak()
        self._words = 0
        if not self._stalls:
            self._send.send_nowait(Done())

    async def _speak(self) -> None:
        text, self._text = self._text.strip(), ""
        if self._over:
            return
        self._voice.said.append(text)
        if self._voice.fails:
            raise ProviderFailed("service_unavailable", "tones: out of order")
        if self._stalls:
            return
        delays = self._voice.delays
        await trio.sleep(delays.pop(0) if delays else self._voice.delay_s)
        for number, word in enumerate(text.split(), self._words):
            hertz = TONES.get(word.strip(".,!?").lower(), OTHER_HZ)
            steps = np.arange(24 * WORD_MS)
            pcm = (8000 * np.sin(2 * np.pi * hertz * steps / 24_000)).astype(np.int16)
            self._send.send_nowait(Mark(word, number * WORD_MS, (number + 1) * WORD_MS))
            self._send.send_nowait(Audio(pcm, self._voice.rate_hz))
        self._words += len(text.split())

    async def clear(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Spoken](10_000)

    async def receive(self) -> Spoken:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise ProviderFailed("permanent_input", "tones: closed") from None


class SocketVoice(TonesVoice):
    """A voice whose sockets take their time to open, or never do.

    Attributes:
        takes_s: how long one takes.
        refuses: whether none opens.
        opened_at: when each was begun.
        sessions: all that opened.
        closes_s: how long its goodbye takes.
    """

    capabilities = Capabilities(marks=True, streams_text=True)

    def __init__(self, takes_s: float = 0.3, *, refuses: bool = False) -> None:
        super().__init__()
        self.takes_s = takes_s
        self.refuses = refuses
        self.opened_at: list[float] = []
        self.sessions: list[_TonesSession] = []
        self.closes_s = 0.0

    @asynccontextmanager
    async def open(self, voice: Voice, *, streamed: bool = False) -> AsyncIterator[VoiceSession]:
        if streamed:
            self.opened_at.append(trio.current_time())
            await trio.sleep(self.takes_s)
            if self.refuses:
                raise ProviderFailed("retryable", "tones: no socket")
        async with super().open(voice, streamed=streamed) as session:
            assert isinstance(session, _TonesSession)
            self.sessions.append(session)
            try:
                yield session
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.closes_s)


class ScriptEars:
    """A provider of transcripts that hears what a test says."""

    name = "script"
    capabilities = EarCapabilities(block_ms=40, finalize=True)

    def __init__(self) -> None:
        self.finalized = 0
        self.language = ""
        self._sessions: list[_ScriptSession] = []

    @property
    def open_sessions(self) -> int:
        return len(self._sessions)

    def check_ready(self, options: Options) -> None:
        pass

    def check(self, options: Options) -> None:
        pass

    @asynccontextmanager
    async def open(self, options: Options) -> AsyncIterator[EarSession]:
        self.language = options.language
        session = _ScriptSession(self)
        self._sessions.append(session)
        try:
            yield session
        finally:
            self._sessions.remove(session)

    def says(self, text: str, *, final: bool = True) -> None:
        """Let every session hear something."""
        self.hears(FinalText(text) if final else PartialText(text))

    def hears(self, heard: Heard) -> None:
        """Let every session give something."""
        for session in self._sessions:
            session.give(heard)

    def breaks(self) -> None:
        """Let every session fail in a way that another cures."""
        for session in self._sessions:
            session.give(None)


class _ScriptSession:
    unheard_samples = 0

    def __init__(self, ears: ScriptEars) -> None:
        self._ears = ears
        self._send, self._receive = trio.open_memory_channel[Heard | None](100)

    def give(self, heard: Heard | None) -> None:
        self._send.send_nowait(heard)

    @property
    def ready(self) -> bool:
        return True

    def put(self, pcm: np.ndarray) -> None:
        pass

    async def send(self, pcm: np.ndarray) -> None:
        pass

    async def finalize(self) -> None:
        self._ears.finalized += 1

    async def keep_alive(self) -> None:
        pass

    async def finish(self) -> None:
        pass

    async def receive(self) -> Sequence[Heard] | None:
        heard = await self._receive.receive()
        if heard is None:
            raise ProviderFailed("retryable", "script: lost")
        return [heard]
