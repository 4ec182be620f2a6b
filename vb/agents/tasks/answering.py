"""What an agent that runs here is saying: one answer at a time, how it pauses, ends, and is told of."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from vb.agents.audio import Mouth
from vb.agents.base import Busy
from vb.agents.runtime.brain import Line
from vb.agents.runtime.decisions import UserTurn
from vb.agents.runtime.history import History
from vb.agents.runtime.options import AgentOptions
from vb.agents.runtime.reply import Reply
from vb.agents.runtime.telling import Telling
from vb.agents.runtime.turns import TurnTaking
from vb.agents.tasks.drafting import Draft
from vb.agents.tasks.replying import Replier

SILENCE_S: Final = 4.5
"""An agent that is at work, but says nothing for so long, lets a tone be heard."""
MAX_WAITING: Final = 8
"""Texts that wait for an answer to end that may not be interrupted, at most."""
MAX_RESUMED: Final = 100
"""Of so many pauses for nothing an answer tells at most."""
Speak = Callable[[Reply], Awaitable[None]]
"""Makes a reply heard."""


class Answering:
    """The answers of one conversation; nothing is said before `begin`, nor after `shut`.

    Args:
        mouth: where they are heard.
        turns: told whether the agent speaks, and whether it may be interrupted.
        replier: makes them heard.
        history: what was said before.
        telling: tells what becomes of them.
        options: of the agent.
        round_trip_ms: gives the time to the listener and back; None while nobody knows.

    Attributes:
        reply: the one that goes on, None between two.
        judged_at: when the user's last voiced sample was known to be one.
        final_at: when his last final words came.
        audible_at: when something was heard last, of him or of the agent.
        on_over: told that an answer has come to its end.
    """

    def __init__(
        self,
        mouth: Mouth,
        turns: TurnTaking,
        replier: Replier,
        history: History,
        telling: Telling,
        options: AgentOptions,
        round_trip_ms: Callable[[], float | None],
    ) -> None:
        self.reply: Reply | None = None
        self.judged_at = 0.0
        self.final_at: float | None = None
        self.audible_at = 0.0
        self.on_over: Callable[[], None] = _nothing
        self._mouth = mouth
        self._turns = turns
        self._replier = replier
        self._history = history
        self._telling = telling
        self._options = options
        self._round_trip_ms = round_trip_ms
        self._scope = trio.CancelScope()
        self._unsaid = ""
        self._turn = 0
        self._draft: Draft | None = None
        self._waiting: deque[Callable[[], None]] = deque()
        self._nursery: trio.Nursery | None = None
        mouth.on_turn = self._begun
        replier.on_guard = self._guard

    def begin(self, nursery: trio.Nursery) -> None:
        """Speak from now on, in tasks of a nursery."""
        self._nursery = nursery

    def shut(self) -> None:
        """Be silent for good."""
        self._nursery = None
        self.conclude(by_user=False)
        self._mouth.shut()

    # -- while it speaks -----------------------------------------------------------------------------------

    def pause(self, began_at: float) -> None:
        """Hold its tongue, at a sample at which it can go on."""
        self._mouth.paused = True
        reply = self.reply
        if reply is not None and reply.ducked_s is None and self._replier.played_ms(reply):
            reply.ducked_s = trio.current_time() - began_at

    def resume(self) -> None:
        """Go on at the same sample."""
        reply = self.reply
        if self._mouth.paused and reply is not None and len(reply.resumed_samples) < MAX_RESUMED:
            own = self._mouth.turn == reply.turn
            reply.resumed_samples.append(self._mouth.played_samples if own else 0)
        self._mouth.paused = False

    def interrupt(self) -> None:
        """End the agent's turn: the model, the voice, and what waits to be heard."""
        reply = self.reply
        if reply is None:
            return
        self._scope.cancel()
        self._waiting.clear()  # it belonged to what the user has cut
        self.conclude()
        self._unsaid = reply.text[reply.noted :].strip()

    def conclude(self, *, by_user: bool = True) -> None:
        """Note what was heard of a reply and tell of it."""
        reply, self.reply = self.reply, None
        if reply is None:
            return
        reply.over = True
        played_ms = self._replier.played_ms(reply)
        waited = bool(self._mouth.waiting_ms)
        self._mouth.interrupt(reply.turn)
        self._mouth.paused = False
        if rest := self._replier.note(reply):
            self._history.add(Line("assistant", rest))
        cut = not reply.complete and not reply.failed and by_user and (waited or bool(reply.text))
        self._telling.turn(reply, played_ms, self._round_trip_ms(), trio.current_time(), cut_by_user=cut)

    def bridge(self, now: float) -> None:
        """Let a tone be heard when a model, a tool or a voice takes long: nobody listens to silence."""
        if self._mouth.waiting_ms:
            self.audible_at = now
        elif self.reply is not None and now - self.audible_at >= SILENCE_S:
            self.audible_at = now
            self._replier.beep(self.reply)

    def _begun(self, turn: int) -> None:
        reply = self.reply
        if reply is not None and reply.turn == turn and reply.first_audio_at is not None:
            reply.first_heard_at = trio.current_time()

    def _guard(self, reply: Reply) -> None:
        """Let a reply be heard to its end, whatever the user does."""
        if self.reply is reply:
            self._turns.interruptible = False

    # -- what it says --------------------------------------------------------------------------------------

    def say(self, text: str, *, guarded: bool = False) -> None:
        """Say a text word for word."""
        self._start(lambda reply: self._replier.say(reply, text), guarded=guarded)

    def answer(self, text: str, turn: UserTurn | None) -> None:
        """Answer the user, or whoever speaks for him."""
        draft, self._draft = self._draft, None
        self._start(partial(self._think, draft), turn=turn, user=text)

    async def _think(self, draft: Draft | None, reply: Reply) -> None:
        assert self._nursery is not None
        try:
            await self._replier.answer(reply, self._nursery, self._options.apology, draft)
        finally:
            if draft is not None:
                draft.drop()

    def go_on(self) -> None:
        """Say what a noise has kept the agent from saying."""
        text, self._unsaid = self._unsaid, ""
        if text and self.reply is None:
            self.say(text)
        elif self.reply is None and self._history.unanswered:
            self._start(partial(self._think, None))

    def prepare(self) -> None:
        """Take note that the user may soon have finished."""
        if self._nursery is not None:
            self._replier.prepare(self._nursery)

    def begin_early(self, text: str) -> None:
        """Let the model begin with what the user may have said; nothing is done or heard before he has."""
        self._drop_draft()
        if text and self._options.preemptive and self.reply is None and self._nursery is not None:
            self.prepare()
            self._draft = self._replier.draft(text)
            if self._draft is not None:
                self._nursery.start_soon(self._draft.run)

    def _drop_draft(self) -> None:
        if self._draft is not None:
            self._draft.drop()
            self._draft = None

    def when_free(self, begin: Callable[[], None]) -> None:
        """Begin something now, or when the answer is over that may not be interrupted.

        Raises:
            Busy: too much waits already.
        """
        if self.reply is None or (self._turns.interruptible and not self._waiting):
            begin()
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(begin)
        else:
            raise Busy

    def _start(
        self, speak: Speak, *, turn: UserTurn | None = None, guarded: bool = False, user: str = ""
    ) -> None:
        self._drop_draft()
        if self._nursery is None:
            return
        if self.reply is not None:
            self._scope.cancel()
            self.conclude()
        if user:
            self._history.add(Line("user", user))  # behind what was heard of the answer before
        self._unsaid = ""
        self._turns.interruptible = not guarded
        self._turn += 1
        reply = self.reply = Reply(self._turn, trio.current_time())
        if turn is not None:
            reply.ended_at, reply.wait_s = turn.ended_at, turn.wait_s
            reply.judged_at, reply.transcript_at = max(self.judged_at, turn.ended_at), self.final_at
        self.final_at = None
        scope = self._scope = trio.CancelScope()
        self._nursery.start_soon(self._run_reply, reply, scope, speak)

    async def _run_reply(self, reply: Reply, scope: trio.CancelScope, speak: Speak) -> None:
        with scope:
            await speak(reply)
            reply.complete = not reply.failed
        if self.reply is reply:
            self.conclude()
            self._turns.interruptible = True
            self._turns.agent(False)
            self.on_over()
            if self._waiting:
                self._waiting.popleft()()


def _nothing() -> None:
    """Stand in for another."""
