"""Engines that need no model, in which every word is a tone of its own, and a helper without a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import trio
import trio.testing

from vb.blocking import Bell
from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import Ability, EngineFailed, Written
from vb.local_speech.engines.loudness import Loudness
from vb.local_speech.frames import Frame, FrameReader, Kind, with_fields
from vb.local_speech.requests import What
from vb.local_speech.tasks.speech import LocalSpeech
from vb.local_speech.work import Work

RATE_HZ: Final = 16_000
NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORDS: Final = (*NUMBERS, "yes", "no", "hello", "good", "bye")
FIRST_HZ: Final = 400.0
STEP_HZ: Final = 100.0
WORD_SAMPLES: Final = 1600
VOICES: Final = (Ability("tones"),)
MODELS: Final = (Ability("ears"), Ability("polyglot", ()))


def words_of(text: str) -> list[str]:
    return [word.strip(".,!?").lower() for word in text.split()]


def tone(word: str, rate_hz: int = RATE_HZ) -> Pcm:
    time = np.arange(WORD_SAMPLES * rate_hz // RATE_HZ) / rate_hz
    frequency_hz = FIRST_HZ + STEP_HZ * WORDS.index(word)
    return (8000 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.int16)


def say(text: str) -> Pcm:
    """Return what the fake voice says at 16 kHz."""
    return np.concatenate([tone(word) for word in words_of(text)])


def read_tones(pcm: Pcm) -> str:
    """Return the words whose tones are in some audio, in order."""
    found: list[str] = []
    step = WORD_SAMPLES // 2
    heard: list[str | None] = []
    for start in range(0, len(pcm) - step + 1, step):
        block = pcm[start : start + step].astype(np.float64)
        if np.sqrt(np.mean(block**2)) < 500:
            heard.append(None)
            continue
        peak_hz = float(np.argmax(np.abs(np.fft.rfft(block)))) * RATE_HZ / step
        heard.append(WORDS[min(len(WORDS) - 1, max(0, round((peak_hz - FIRST_HZ) / STEP_HZ)))])
    last: str | None = None
    for word in heard:
        if word is not None and word != last:
            found.append(word)
        last = word
    return " ".join(found)


@dataclass
class FakeVoice:
    spoken: list[str] = field(default_factory=list)

    def speak(self, text: str) -> tuple[int, Pcm]:
        self.spoken.append(text)
        words = words_of(text)
        if "refuse" in words:
            raise EngineFailed("nobody can say that")
        if "fault" in words:
            raise RuntimeError("a secret text")
        return RATE_HZ, say(text)


class FakeEar:
    def listen(self, pcm: Pcm, language: str) -> Written:
        return Written(read_tones(pcm), 0.9)


class FakeTurns:
    """Takes a turn to be over unless "two" is in it."""

    def judge(self, pcm: Pcm) -> float:
        return 0.1 if "two" in read_tones(pcm) else 0.9


@dataclass
class FakeEngines:
    voice_engine: FakeVoice = field(default_factory=FakeVoice)
    voices: tuple[Ability, ...] = VOICES
    ears: tuple[Ability, ...] = MODELS

    def voice(self, name: str, language: str) -> FakeVoice:
        return self.voice_engine

    def ear(self, name: str) -> FakeEar:
        return FakeEar()

    def turns(self) -> FakeTurns:
        return FakeTurns()

    def activity(self, rows: int) -> Loudness:
        return Loudness(rows)


@dataclass
class FakeHelper:
    """A helper in this process, on the clock of the test.

    Attributes:
        speak_s: what a piece takes.
        listen_s: what an utterance takes to be written down.
        detect_s: what a batch of frames takes to be judged.
        turn_s: what a turn takes.
        rss_kb: what it says of its memory.
        crash_on: a word in a frame of text at which it ends.
        mute: whether it does nothing at all.
        deaf: whether it answers no ping.
    """

    engines: FakeEngines = field(default_factory=FakeEngines)
    speak_s: float = 0.05
    listen_s: float = 0.1
    detect_s: float = 0.0
    turn_s: float = 0.05
    rss_kb: int = 100_000
    busy_s: float = 0.0
    crash_on: str = ""
    mute: bool = False
    deaf: bool = False
    garbage: bytes = b""
    starts: int = 0
    ends: int = 0
    frames: list[Frame] = field(default_factory=list)
    refuses: bool = False
    nursery: trio.Nursery = field(init=False)

    async def launch(self) -> FakeHelper:
        if self.refuses:
            raise FileNotFoundError(2, "No such file")
        self.starts += 1
        self._work = Work(self.engines, 16)
        to_send, self._from_server = trio.testing.memory_stream_one_way_pair()
        self._to_server, to_receive = trio.testing.memory_stream_one_way_pair()
        self.outgoing: trio.abc.SendStream = to_send
        self.incoming: trio.abc.ReceiveStream = to_receive
        self._bell = [Bell() for _ in range(4)]
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._pipe = trio.Lock()
        self.nursery.start_soon(self._run)
        return self

    @property
    def last_words(self) -> str:
        return ""

    async def listen(self) -> str:
        await self._done.wait()
        return ""

    async def end(self) -> int:
        self.ends += 1
        self._scope.cancel()
        await self._done.wait()
        return 1

    async def _run(self) -> None:
        try:
            with self._scope:
                if not self.mute:
                    await self._serve()
        finally:
            self._to_server.close()
            self._done.set()

    async def _serve(self) -> None:
        jobs = (self._work.voice_job, self._work.ear_job, self._work.activity_job, self._work.turn_job)
        costs = ("speak_s", "listen_s", "detect_s", "turn_s")
        async with trio.open_nursery() as nursery:
            for index in range(4):
                nursery.start_soon(self._labour, jobs[index], costs[index], self._bell[index])
            await self._send([self._work.ready()])
            if self.garbage:
                await self._to_server.send_all(self.garbage)
            reader = FrameReader()
            while data := await self._from_server.receive_some(65_536):
                for frame in reader.feed(bytes(data)):
                    await self._take(frame, nursery)
            nursery.cancel_scope.cancel()

    async def _take(self, frame: Frame, nursery: trio.Nursery) -> None:
        self.frames.append(frame)
        if self.crash_on and self.crash_on.encode() in frame.body:
            self._scope.cancel()
        if frame.kind is Kind.PING:
            if not self.deaf:
                fields = {"rss_kb": self.rss_kb, "busy_s": self.busy_s, "waiting": self._work.waiting}
                await self._send([with_fields(Kind.PONG, frame.id, **fields)])
            return
        await self._send(self._work.take(frame))
        self._ring()

    def _ring(self) -> None:
        for bell in self._bell:
            bell.ring()

    async def _labour(self, take: object, cost: str, bell: Bell) -> None:
        assert callable(take)
        while True:
            while (job := take(trio.current_time())) is None:
                await bell.wait()
            await trio.sleep(getattr(self, cost))
            await self._send(job()())
            self._ring()

    async def _send(self, frames: list[Frame]) -> None:
        async with self._pipe:
            for frame in frames:
                await self._to_server.send_all(frame.encode())


class Asked:
    """An exchange whose frames can be waited for."""

    def __init__(self, speech: LocalSpeech, what: What) -> None:
        self._bell = Bell()
        self._exchange = speech.open(what, self._bell.ring)
        self.id = self._exchange.id
        self.send = self._exchange.send
        self.close = self._exchange.close

    async def receive(self) -> Frame:
        while (frame := self._exchange.next()) is None:
            await self._bell.wait()
        return frame


@contextmanager
def ask(speech: LocalSpeech, what: What) -> Iterator[Asked]:
    asked = Asked(speech, what)
    try:
        yield asked
    finally:
        asked.close()


@asynccontextmanager
async def open_speech(helper: FakeHelper, **options: object) -> AsyncIterator[LocalSpeech]:
    """Run local speech with a fake helper inside the block."""
    async with trio.open_nursery() as nursery:
        helper.nursery = nursery
        speech = LocalSpeech(helper.launch, VOICES, MODELS, draw=lambda: 0.5, **options)  # type: ignore[arg-type]  # of each test's own choice
        nursery.start_soon(speech.run)
        try:
            yield speech
        finally:
            nursery.cancel_scope.cancel()
