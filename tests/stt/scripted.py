"""A provider without sockets whose sessions do what a test says, and a leg without media."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import trio
import trio.testing

from tests.support.engine import Observed, open_engine
from vb.legs.leg import Leg
from vb.mixer.frames import FrameSink, Pcm
from vb.providers.failure import ProviderFailed
from vb.stt.base import Capabilities, Heard, Options, Session
from vb.stt.tasks.transcriber import Figures, Transcriber

CAN = Capabilities(block_ms=40, finalize=True, options=frozenset({"model", "keyterms"}))


class ScriptedSession:
    """One session.

    Attributes:
        sent: what it was sent: audio as arrays, everything else as words.
        unheard_samples: what it says it cannot have heard.
    """

    def __init__(self) -> None:
        self.sent: list[Pcm | str] = []
        self.unheard_samples = 0
        self.closed = False
        self.stuck = False
        self.says_goodbye = True
        self._heard: list[Heard] = []
        self._failure: ProviderFailed | None = None
        self._over = False
        self._moved = trio.Event()

    @property
    def audio(self) -> list[int]:
        """The first sample of each frame of 20 ms that was sent."""
        joined = np.concatenate(
            [part for part in self.sent if not isinstance(part, str)] or [np.zeros(0, np.int16)]
        )
        return [int(value) for value in joined[::320]]

    @property
    def words(self) -> list[str]:
        """What was sent besides audio."""
        return [part for part in self.sent if isinstance(part, str)]

    def hear(self, *heard: Heard) -> None:
        """Let it give out what was heard."""
        self._heard += heard
        self._move()

    def fail(self, category: str = "retryable", text: str = "gone") -> None:
        """Let it fail."""
        self._failure = ProviderFailed(category, text)  # type: ignore[arg-type]  # tests name them
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _put(self, part: Pcm | str) -> None:
        await trio.lowlevel.checkpoint()
        while self.stuck:
            await self._moved.wait()
        if self._failure is not None:
            raise self._failure
        self.sent.append(part.copy() if not isinstance(part, str) else part)

    @property
    def ready(self) -> bool:
        return not self.stuck and self._failure is None

    def put(self, pcm: Pcm) -> None:
        self.sent.append(pcm.copy())

    async def send(self, pcm: Pcm) -> None:
        await self._put(pcm)

    async def finalize(self) -> None:
        await self._put("finalize")

    async def keep_alive(self) -> None:
        await self._put("keep_alive")

    async def finish(self) -> None:
        await self._put("finish")
        self._over = self.says_goodbye
        self._move()

    async def receive(self) -> Sequence[Heard] | None:
        while True:
            if self._heard:
                heard, self._heard = self._heard, []
                return heard
            if self._failure is not None:
                raise self._failure
            if self._over:
                return None
            await self._moved.wait()


@dataclass
class ScriptedProvider:
    """Opens sessions, or fails to.

    Attributes:
        failures: what the next openings do; None opens a session.
        sessions: those that were opened.
        opened_at: when somebody tried to.
    """

    name: str = "scripted"
    capabilities: Capabilities = CAN
    failures: list[ProviderFailed | None] = field(default_factory=list)
    sessions: list[ScriptedSession] = field(default_factory=list)
    opened_at: list[float] = field(default_factory=list)
    open_s: float = 0.0

    def check_ready(self, options: Options) -> None: ...

    def check(self, options: Options) -> None: ...

    @asynccontextmanager
    async def open(self, options: Options) -> AsyncIterator[Session]:
        self.opened_at.append(trio.current_time())
        await trio.sleep(self.open_s)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        session = ScriptedSession()
        self.sessions.append(session)
        try:
            yield session
        finally:
            session.closed = True

    @property
    def last(self) -> ScriptedSession:
        """The newest session."""
        return self.sessions[-1]


class Mouth:
    """A port that a test speaks through."""

    def __init__(self) -> None:
        self.taps: list[FrameSink] = []
        self.count = 0
        self.rate_hz = 16000

    def add_tap_in(self, sink: FrameSink) -> None:
        self.taps.append(sink)

    def remove_tap(self, sink: FrameSink) -> None:
        self.taps = [tap for tap in self.taps if tap is not sink]

    def say(self, frames: int = 1) -> None:
        """Say frames of 20 ms, numbered by their samples."""
        for _ in range(frames):
            self.count += 1
            for tap in self.taps:
                tap.push(np.full(self.rate_hz // 50, self.count, np.int16), self.rate_hz)

    async def talk(self, seconds: float) -> None:
        """Say frames in real time."""
        for _ in range(round(seconds * 50)):
            self.say()
            await trio.sleep(0.02)


@dataclass
class Stage:
    """A leg, a provider and a transcriber that runs."""

    observed: Observed
    leg: Leg
    mouth: Mouth
    provider: ScriptedProvider
    transcriber: Transcriber
    done: trio.Event
    scope: trio.CancelScope
    figures: Figures

    def texts(self) -> list[tuple[object, ...]]:
        """What was told since the last call."""
        return self.observed.told("text", "is_final")


@asynccontextmanager
async def stage(
    provider: ScriptedProvider | None = None, options: Options | None = None, *, room_id: str | None = None
) -> AsyncIterator[Stage]:
    """A transcriber that runs inside the block."""
    provider = provider or ScriptedProvider()
    async with open_engine() as observed, trio.open_nursery() as nursery:
        leg, mouth = observed.leg("leg-1"), Mouth()
        leg.port = mouth  # type: ignore[assignment]  # all that a transcriber needs of a port
        figures = Figures()
        transcriber = Transcriber(
            leg,
            provider,
            options or Options(partial=True),
            room_id=room_id,
            figures=figures,
            phase=1,
            draw=lambda: 0.5,
        )
        found = Stage(observed, leg, mouth, provider, transcriber, trio.Event(), trio.CancelScope(), figures)

        async def run() -> None:
            with found.scope:
                await transcriber.run()
            found.done.set()

        nursery.start_soon(run)
        await settle()
        yield found
        found.scope.cancel()


async def settle() -> None:
    """Let everybody run until nobody can without time passing."""
    await trio.testing.wait_all_tasks_blocked()


def changed(capabilities: Capabilities, **changes: object) -> Capabilities:
    """Return capabilities with some of them changed."""
    return replace(capabilities, **changes)  # type: ignore[arg-type]  # tests name fields
