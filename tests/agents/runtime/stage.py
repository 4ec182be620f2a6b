"""A conversation without a server: a user who speaks by the clock, and what he hears, frame by frame."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import numpy as np
import trio
import trio.testing

from tests.agents.runtime.engines import OTHER_HZ, TONES, ScriptEars, TonesVoice
from vb.agents.audio import Mouth
from vb.agents.runtime.brain import Answer, Brain, Line, Tool, ToolCall, Words
from vb.agents.runtime.options import AgentOptions, Parts
from vb.agents.runtime.tally import Tally
from vb.agents.tasks.runtime import OwnAgent
from vb.agents.tasks.watching import Watching
from vb.events.base import Event
from vb.local_speech.tasks.turn_model import TurnModel
from vb.providers.failure import ProviderFailed
from vb.stt.base import Options
from vb.tts.base import Provider as VoiceProvider
from vb.tts.base import Voice

FRAME_S = 0.02
RATE_HZ = 24_000
SPEECH = (6000 * np.sin(2 * np.pi * 300 * np.arange(480) / RATE_HZ)).astype(np.int16)
SILENCE = np.zeros(480, np.int16)
TONE_HZ = 440

Step = str | float | Words | ToolCall | ProviderFailed


class StageBrain(Brain, Protocol):
    """One that tells how many of its answers are being made."""

    thinking: int


class ScriptBrain:
    """Answers with what a test has written: words, seconds to wait, calls and failures.

    Attributes:
        asked: the lines of each request.
        thinking: how many answers are being made.
    """

    def __init__(self, *answers: Sequence[Step]) -> None:
        self._answers: list[Sequence[Step]] = list(answers)
        self.asked: list[list[Line]] = []
        self.thinking = 0

    def answer_from_now_on(self, *steps: Step) -> None:
        self._answers = [steps]

    async def answer(self, lines: Sequence[Line], tools: Sequence[Tool]) -> AsyncGenerator[Answer, None]:
        self.asked.append(list(lines))
        steps = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.thinking += 1
        try:
            for step in steps:
                if isinstance(step, ProviderFailed):
                    raise step
                if isinstance(step, float):
                    await trio.sleep(step)
                else:
                    yield Words(step) if isinstance(step, str) else step
        finally:
            self.thinking -= 1


class Stage:
    """Where one conversation is held, on the virtual clock.

    Attributes:
        heard: the pitch of each frame that was heard, 0 for none.
        events: what the agent has told.
        voice_of_user: what is heard of him, again and again, while he is loud.
    """

    key = "leg 1"

    def __init__(
        self,
        brain: StageBrain,
        options: AgentOptions,
        do: Callable[[ToolCall], Awaitable[str]],
        speaker: tuple[VoiceProvider, Voice] | None = None,
        watching: Watching | None = None,
        turn_model: TurnModel | None = None,
    ) -> None:
        self.voice, self.ears, self.brain = TonesVoice(), ScriptEars(), brain
        self.heard: list[int] = []
        self.events: list[tuple[type[Event], dict[str, Any]]] = []
        self.why_over = ""
        self.trip_ms: float | None = 80.0
        self.waits_s = 0.0
        self.tally = Tally()
        self.loud = False
        self.voice_of_user = SPEECH
        self._user_at = 0
        self._ticked = trio.Event()
        self.echo: int | None = None
        self._sound: list[np.ndarray] = []
        self._mouth: Mouth | None = None
        self._push: Any = None
        provider, voice = speaker or (self.voice, Voice("v"))
        parts = Parts(options, None, provider, voice, self.ears, Options(), do)
        self.agent = OwnAgent(
            self,  # type: ignore[arg-type]  # as much of an owner as it needs
            self,
            parts,
            conversation_id="c",
            brain=brain,
            tally=self.tally,
            watching=watching,
            turn_model=turn_model,
        )

    # -- as a seat and an owner ----------------------------------------------------------------------------

    def take(self, mouth: Mouth, ears: Any) -> None:
        self._mouth, self._push = mouth, ears.push

    def leave(self) -> None:
        self._mouth = None

    def round_trip_ms(self) -> float | None:
        return self.trip_ms

    def waited_s(self) -> float:
        return self.waits_s

    def tell(self, kind: type[Event], **fields: Any) -> None:
        self.events.append((kind, fields))

    # -- as a user -----------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Play 20 ms after 20 ms."""
        while True:
            frame = None if self._mouth is None else self._mouth.take(RATE_HZ)
            self._sound.append(SILENCE if frame is None else frame)
            self.heard.append(0 if frame is None else pitch(frame))
            if self._mouth is not None:
                said = self._next_of_user() if self.loud else SILENCE
                if self.echo is not None and len(self._sound) > self.echo:
                    said = said + self._sound[-1 - self.echo] // 10
                self._push(said.astype(np.int16), RATE_HZ)
            self._ticked.set()
            self._ticked = trio.Event()
            await trio.sleep(FRAME_S)

    def _next_of_user(self) -> np.ndarray:
        places = np.arange(self._user_at, self._user_at + SILENCE.size)
        self._user_at += SILENCE.size
        return np.take(self.voice_of_user, places, mode="wrap")

    async def say(self, text: str, seconds: float = 0.5) -> None:
        """Speak, and be understood when it is over."""
        await self.noise(seconds)
        self.ears.says(text)

    async def noise(self, seconds: float) -> None:
        """Make a noise."""
        self.loud, self._user_at = True, 0
        await trio.sleep(seconds)
        self.loud = False

    async def until(self, kind: type[Event], count: int = 1, within_s: float = 30.0) -> dict[str, Any]:
        """Wait for an event and return it."""
        with trio.fail_after(within_s):
            while len(self.all(kind)) < count:
                await self._ticked.wait()
        return self.all(kind)[count - 1]

    def all(self, kind: type[Event]) -> list[dict[str, Any]]:
        return [fields for known, fields in self.events if known is kind]

    def longest_silence_s(self, since: int = 0) -> float:
        longest = run = 0
        for hertz in self.heard[since:]:
            run = 0 if hertz else run + 1
            longest = max(longest, run)
        return longest * FRAME_S


def pitch(frame: np.ndarray) -> int:
    """Return the known tone that a frame holds, 0 for silence."""
    if not np.any(np.abs(frame) > 500):
        return 0
    steps = np.arange(frame.size) / RATE_HZ
    power = {
        hz: abs(np.dot(frame, np.exp(-2j * np.pi * hz * steps)))
        for hz in (*TONES.values(), OTHER_HZ, TONE_HZ)
    }
    return max(power, key=lambda hz: power[hz])


async def _nothing(call: ToolCall) -> str:
    return "done"


@asynccontextmanager
async def open_stage(
    brain: StageBrain,
    options: AgentOptions | None = None,
    do: Callable[[ToolCall], Awaitable[str]] = _nothing,
    *,
    prepare: Callable[[Stage], None] = lambda stage: None,
    speaker: tuple[VoiceProvider, Voice] | None = None,
    watching: Watching | None = None,
    turn_model: TurnModel | None = None,
) -> AsyncIterator[Stage]:
    """Hold a conversation inside the block; afterwards nothing of it may be left."""
    stage = Stage(brain, options or AgentOptions(), do, speaker, watching, turn_model)
    prepare(stage)
    async with trio.open_nursery() as ticks:
        ticks.start_soon(stage.tick)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.agent.run)
            await trio.testing.wait_all_tasks_blocked()
            yield stage
            nursery.cancel_scope.cancel()
        ticks.cancel_scope.cancel()
    assert stage.events[-1][0].__name__ == "AgentDisconnected"
    assert (stage.voice.opened, stage.ears.open_sessions, brain.thinking) == (0, 0, 0)
