"""One answer of an agent that runs here: from the model's first word to the last sample that is heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from vb.agents.audio import FRAME_MS, AudioFormat, Mouth
from vb.agents.runtime.brain import Brain, Do, Line, Tool, ToolCall, Words
from vb.agents.runtime.heard import SpokenWord, heard_text
from vb.blocking import Bell
from vb.local_speech.sentences import Sentences
from vb.media.conversion import RateConverter
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Mark, Voice
from vb.tts.base import Provider as VoiceProvider
from vb.tts.base import Session as VoiceSession

RATE_HZ: Final = 24_000
"""What voices say is held at this rate, whatever theirs is."""
AHEAD_MS: Final = 10_000
"""So far a voice may be ahead of what is heard; then it waits."""
FIRST_WORDS_S: Final = 5.0
"""How long a model may take for its first word, and then for each next one."""
MAX_ROUNDS: Final = 5
"""So often a model may call tools before it answers: one that loops is broken off."""


@dataclass
class Reply:
    """What became of an answer.

    Attributes:
        turn: its number.
        asked_at: when it was asked for.
        text: all words so far.
        calls: tools that were called.
        first_words_at: when the first word came.
        first_audio_at: when the first sample came.
        first_heard_at: when the first sample was heard.
        made_ms: how much audio came.
        marks: when its words are heard, as far as the voice tells.
        failed: whether the voice has failed in it.
        complete: whether it was heard to its end.
    """

    turn: int
    asked_at: float
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    first_words_at: float | None = None
    first_audio_at: float | None = None
    first_heard_at: float | None = None
    made_ms: int = 0
    marks: list[SpokenWord] = field(default_factory=list)
    failed: bool = False
    complete: bool = False

    def heard(self, played_ms: int) -> str:
        """Return the words that were heard."""
        if self.complete:
            return self.text.strip()
        return heard_text(self.text, self.marks, played_ms, self.made_ms)


Speak = Callable[[str], Awaitable[None]]
"""Says the next words."""


class Replier:
    """Makes answers heard.

    Args:
        mouth: where they are heard.
        provider: of the voice.
        voice: whose it is.
        brain: what answers.
        tools: what it may call.
        do: carries them out.
        on_failure: told what failed of `model` or `voice`.
    """

    def __init__(
        self,
        mouth: Mouth,
        provider: VoiceProvider,
        voice: Voice,
        brain: Brain,
        tools: Sequence[Tool],
        do: Do,
        on_failure: Callable[[str, ProviderFailed], None],
    ) -> None:
        self._mouth = mouth
        self._provider = provider
        self._voice = voice
        self._brain = brain
        self._tools = tools
        self._do = do
        self._on_failure = on_failure
        self._drained = Bell()
        mouth.on_taken = self._taken

    async def say(self, reply: Reply, text: str) -> None:
        """Say a text that is known already, and wait until it was heard.

        Cancellation: not another sample of it is made.
        """

        async def words(speak: Speak) -> None:
            await speak(text)

        await self._speak(reply, words)

    async def answer(self, reply: Reply, lines: list[Line], sorry: str) -> None:
        """Answer the last of some lines, and wait until the answer was heard.

        Args:
            reply: gets what becomes of it.
            lines: gets calls of tools and their results.
            sorry: what is said when the model fails before its first word.

        Cancellation: nothing goes on behind it; what a tool has done is in the lines.
        """
        for number in range(MAX_ROUNDS + 1):
            tools = self._tools if number < MAX_ROUNDS else ()
            calls: list[ToolCall] = []
            said_before = len(reply.text)

            await self._speak(reply, partial(self._think, reply, lines, tools, calls, sorry))
            if not calls:
                return
            lines.append(Line("assistant", reply.text[said_before:].strip(), calls=tuple(calls)))
            for call in calls:
                with trio.CancelScope(shield=True):  # it is done once, and what came of it is known
                    result = await self._do(call)
                lines.append(Line("tool", result, call_id=call.id))
                reply.calls.append(call)

    async def _think(
        self,
        reply: Reply,
        lines: Sequence[Line],
        tools: Sequence[Tool],
        calls: list[ToolCall],
        sorry: str,
        speak: Speak,
    ) -> None:
        """Ask the model, and say its words as they come."""
        begun = len(reply.text)
        try:
            answers = aiter(self._brain.answer(lines, tools))
            while True:
                with trio.move_on_after(FIRST_WORDS_S) as patience:
                    try:
                        part = await anext(answers)
                    except StopAsyncIteration:
                        return
                if patience.cancelled_caught:
                    raise ProviderFailed("retryable", f"the model says nothing for {FIRST_WORDS_S:g} s")
                if isinstance(part, Words):
                    if reply.first_words_at is None:
                        reply.first_words_at = trio.current_time()
                    await speak(part.text)
                elif all(part.id != known.id for known in (*reply.calls, *calls)):
                    calls.append(part)
        except ProviderFailed as failed:
            self._on_failure("model", failed)
            if len(reply.text) == begun and sorry:
                await speak(sorry)

    async def _speak(self, reply: Reply, words: Callable[[Speak], Awaitable[None]]) -> None:
        """Say words as they come, and wait until they were heard."""
        sentences = Sentences()
        try:
            async with self._provider.open(self._voice) as session, trio.open_nursery() as nursery:
                receiving = _Receiving(self._mouth, reply, session, self._drained)
                nursery.start_soon(receiving.run)

                async def speak(text: str) -> None:
                    reply.text += text
                    for sentence in sentences.feed(text):
                        await receiving.feed(sentence)

                try:
                    await words(speak)
                    for sentence in sentences.end():
                        await receiving.feed(sentence)
                except ProviderFailed as failed:
                    receiving.failure = receiving.failure or failed
                await receiving.finish()
                nursery.cancel_scope.cancel()
        except ProviderFailed as failed:
            reply.failed = True
            self._on_failure("voice", failed)
            return
        if receiving.failure is not None:
            reply.failed = True
            self._on_failure("voice", receiving.failure)
        while self._mouth.waiting_ms:
            await self._drained.wait()

    def _taken(self) -> None:
        """Wake who waits for the mouth to be empty, or to hold less than it may; inside the tick."""
        waiting_ms = self._mouth.waiting_ms
        if not waiting_ms or waiting_ms + FRAME_MS > AHEAD_MS >= waiting_ms:
            self._drained.ring()


class _Receiving:
    """Takes what a voice says of one stretch of words, sentence by sentence."""

    def __init__(self, mouth: Mouth, reply: Reply, session: VoiceSession, drained: Bell) -> None:
        self._drained = drained
        self.failure: ProviderFailed | None = None
        self._mouth = mouth
        self._reply = reply
        self._session = session
        self._due = 0
        self._moved = trio.Event()
        self._over = False
        self._base_ms = reply.made_ms
        self._converter: RateConverter | None = None
        self._from_hz = RATE_HZ

    async def feed(self, sentence: str) -> None:
        """Have a sentence said."""
        if self.failure is not None:
            return
        await self._session.feed(sentence)
        await self._session.finalize()
        self._due += 1
        self._tell()

    async def finish(self) -> None:
        """Wait until everything that was fed has come."""
        while self._due and self.failure is None:
            await self._moved.wait()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def run(self) -> None:
        """Take it until cancelled, or until the voice fails."""
        try:
            while True:
                while not self._due:
                    await self._moved.wait()
                while self._mouth.waiting_ms > AHEAD_MS:
                    await self._drained.wait()
                item = await self._session.receive()
                if isinstance(item, Done):
                    self._due -= 1
                    self._base_ms = self._reply.made_ms
                    self._tell()
                elif isinstance(item, Audio):
                    self._take(item)
                elif isinstance(item, Mark):
                    self._reply.marks.append(SpokenWord(item.text, self._base_ms + item.end_ms))
        except ProviderFailed as failed:
            self.failure = failed
            self._tell()

    def _take(self, audio: Audio) -> None:
        reply = self._reply
        if reply.first_audio_at is None:
            reply.first_audio_at = trio.current_time()
        reply.made_ms += round(audio.pcm.size * 1000 / audio.rate_hz)
        if audio.rate_hz != self._from_hz:
            self._from_hz = audio.rate_hz
            self._converter = RateConverter(audio.rate_hz, RATE_HZ) if audio.rate_hz != RATE_HZ else None
        pieces = [audio.pcm] if self._converter is None else self._converter.feed(audio.pcm)
        for piece in pieces:
            self._mouth.put(AudioFormat(RATE_HZ).encode(piece), reply.turn)
