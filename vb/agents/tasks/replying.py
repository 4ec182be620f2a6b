"""One answer of an agent that runs here: from the model's first word to the last sample that is heard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import trio

from vb.agents.audio import FRAME_MS, AudioFormat, Mouth
from vb.agents.runtime.brain import Answer, Brain, Finished, Line, Tool, ToolCall, Words, Writing
from vb.agents.runtime.history import History
from vb.agents.runtime.reply import Reply
from vb.agents.tasks.doing import Doing
from vb.agents.tasks.drafting import Draft
from vb.agents.tasks.speaking import AHEAD_MS, RATE_HZ, Speech
from vb.agents.tasks.voice_line import VoiceLine
from vb.blocking import Bell
from vb.codecs.pcm import Pcm
from vb.providers.failure import ProviderFailed

FIRST_WORDS_S: Final = 4.0
"""How long a model may take for its first word, and then for each next one."""
WRITES_S: Final = 15.0
"""The same for one that is writing down what it wants done."""
MAX_ROUNDS: Final = 5
"""So often a model may call tools before it answers: one that loops is broken off."""
TONE_MS: Final = 300
Talk = Callable[[Speech], Awaitable[None]]
"""Writes words for a voice."""


def _tone() -> Pcm:
    """Return two soft beeps: something is heard though no word can be."""
    steps = np.arange(RATE_HZ * TONE_MS // 1000)
    third = steps.size // 3
    envelope = np.sin(np.pi * (steps % third) / third) * ((steps // third) % 2 == 0)
    tone: Pcm = (2500 * envelope * np.sin(2 * np.pi * 440 * steps / RATE_HZ)).astype(np.int16)
    return tone


_TONE: Final = AudioFormat(RATE_HZ).encode(_tone())


class Replier:
    """Makes answers heard.

    Args:
        mouth: where they are heard.
        line: the way to the voice.
        brain: what answers.
        tools: what it may call.
        doing: carries them out.
        history: what was said before.
        on_failure: told what failed of `model` or `voice`.
        on_success: told which of them works.

    Attributes:
        on_guard: told of an answer that may not be interrupted any more.
    """

    def __init__(
        self,
        mouth: Mouth,
        line: VoiceLine,
        brain: Brain,
        tools: Sequence[Tool],
        doing: Doing,
        history: History,
        on_failure: Callable[[str, ProviderFailed], None],
        on_success: Callable[[str], None],
    ) -> None:
        self.on_guard: Callable[[Reply], None] = _ignore
        self._mouth = mouth
        self._line = line
        self._brain = brain
        self._tools = tools
        self._doing = doing
        self._history = history
        self._on_failure = on_failure
        self._on_success = on_success
        self._drained = Bell()
        mouth.on_taken = self._taken

    async def say(self, reply: Reply, text: str) -> None:
        """Say a text that is known already, and wait until it was heard.

        Cancellation: not another sample of it is made.
        """

        async def talk(speech: Speech) -> None:
            await trio.lowlevel.checkpoint()
            speech.write(text)

        await self._speak(reply, talk)

    def prepare(self, nursery: trio.Nursery) -> None:
        """Open the way to the voice, for an answer that will soon be asked for."""
        self._line.prepare(nursery)

    def draft(self, text: str) -> Draft | None:
        """Return what may become the answer to a text, if the user says it; None while that is no use."""
        if self._doing.busy:
            return None
        return Draft(self._brain, self._history.followed_by(Line("user", text)), self._tools)

    async def answer(
        self, reply: Reply, nursery: trio.Nursery, sorry: str, draft: Draft | None = None
    ) -> None:
        """Answer the last of the lines, and wait until the answer was heard.

        Args:
            reply: gets what becomes of it.
            nursery: of the conversation; tools are carried out in it.
            sorry: what is said when the model fails before its first word.
            draft: of an answer, which is taken if it is one to these lines.

        Cancellation: model and voice stop; a tool that has begun goes on, and its result is in the history.
        """
        if self._doing.busy:
            reply.model_asked_at = trio.current_time()  # from here on it is the tools' time
            await self._doing.idle()
        for number in range(MAX_ROUNDS + 1):
            calls: list[ToolCall] = []
            last = number == MAX_ROUNDS
            await self._speak(reply, partial(self._think, reply, calls, sorry, draft, last=last))
            draft = None
            if not calls:
                return
            self._history.called(self.note(reply), calls)
            await self._doing.start(nursery, reply, calls).wait()

    def played_ms(self, reply: Reply) -> int:
        """Return how much of an answer was heard."""
        return self._mouth.played_ms if self._mouth.turn == reply.turn else 0

    def note(self, reply: Reply) -> str:
        """Return what was heard of an answer since the last time, for the history."""
        return reply.note(self.played_ms(reply))

    def beep(self, reply: Reply) -> None:
        """Let something be heard where words are missing."""
        if self._mouth.put(_TONE, reply.turn):
            reply.tone_ms += TONE_MS

    async def _think(
        self,
        reply: Reply,
        calls: list[ToolCall],
        sorry: str,
        draft: Draft | None,
        speech: Speech,
        *,
        last: bool,
    ) -> None:
        """Ask the model, and have its words said as they come."""
        begun, lines = len(reply.text), list(self._history.lines)
        tools = () if last else self._tools
        worded_at = trio.current_time()
        try:
            # Closed here and now: an interruption must not leave the model talking to nobody.
            async with aclosing(self._ask(reply, lines, tools, draft)) as answers:
                while True:
                    part: Answer | None = None
                    with trio.move_on_after(FIRST_WORDS_S) as patience:
                        part = await anext(answers, None)
                    silent_s = trio.current_time() - worded_at
                    writes = isinstance(part, Writing)
                    if patience.cancelled_caught or (writes and silent_s > WRITES_S):
                        raise ProviderFailed("retryable", f"the model says nothing for {silent_s:.0f} s")
                    if part is None:
                        break
                    if isinstance(part, Writing):
                        continue
                    if isinstance(part, Finished):
                        if len(reply.text) > begun:
                            speech.end()
                        continue
                    worded_at += silent_s
                    if last and isinstance(part, ToolCall):
                        raise ProviderFailed("unknown", "the model calls tools without end")
                    self._take(reply, part, calls, speech)
            if not (reply.text or calls or lines[-1].role == "tool"):
                raise ProviderFailed("unknown", "the model's answer is empty")
            self._on_success("model")
        except ProviderFailed as failed:
            self._on_failure("model", failed)
            if len(reply.text) == begun and sorry and not calls:
                speech.write(sorry)

    def _ask(
        self, reply: Reply, lines: Sequence[Line], tools: Sequence[Tool], draft: Draft | None
    ) -> AsyncGenerator[Answer, None]:
        if draft is not None and draft.answers(lines):
            reply.early, reply.model_asked_at = True, draft.asked_at
            reply.first_words_at = draft.first_part_at
            return draft.answer()
        if reply.model_asked_at is None:
            reply.model_asked_at = trio.current_time()
        return self._brain.answer(lines, tools)

    def _take(self, reply: Reply, part: Words | ToolCall, calls: list[ToolCall], speech: Speech) -> None:
        if isinstance(part, Words):
            if reply.first_words_at is None:
                reply.first_words_at = trio.current_time()
            if part.uninterruptible:
                self.on_guard(reply)
            speech.write(part.text)
            return
        speech.retries = 0  # whoever is to be hung up on does not wait for a voice that may be dead
        if not part.id:
            part = replace(part, id=f"call-{reply.turn}-{len(reply.calls) + len(calls)}")
        if all(part.id != known.id for known in calls):
            calls.append(part)

    async def _speak(self, reply: Reply, talk: Talk) -> None:
        """Say words as they come, and wait until they were heard."""
        speech = Speech(self._mouth, reply, self._line, self._drained)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speech.run)
            await talk(speech)
            speech.end()
        if speech.failure is not None:
            reply.failed = True
            self._on_failure("voice", speech.failure)
            self.beep(reply)
        elif reply.first_audio_at is not None:
            self._on_success("voice")
        while self._mouth.waiting_ms:
            await self._drained.wait()

    def _taken(self) -> None:
        """Wake who waits for the mouth to be empty, or to hold less than it may; inside the tick."""
        waiting_ms = self._mouth.waiting_ms
        if not waiting_ms or waiting_ms + FRAME_MS > AHEAD_MS >= waiting_ms:
            self._drained.ring()


def _ignore(reply: Reply) -> None:
    """Stand in for a callback nobody has set."""
