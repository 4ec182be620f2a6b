"""An agent that runs here: it listens, takes turns, answers and speaks, all beside one leg or in one room."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from vb.agents.audio import AudioFormat, Mouth
from vb.agents.base import Busy, NotReady
from vb.agents.runtime.brain import Brain, Line
from vb.agents.runtime.decisions import (
    AskFinal,
    AskTurn,
    Decision,
    Guess,
    Interrupt,
    Noise,
    Pause,
    Resume,
    UserTurn,
)
from vb.agents.runtime.ear import VoiceActivity
from vb.agents.runtime.history import History
from vb.agents.runtime.options import Parts
from vb.agents.runtime.reply import Reply
from vb.agents.runtime.tally import Tally
from vb.agents.runtime.telling import Telling
from vb.agents.runtime.turns import TurnTaking
from vb.agents.seats import Seat
from vb.agents.tasks.doing import Doing
from vb.agents.tasks.drafting import Draft
from vb.agents.tasks.listening import Listening
from vb.agents.tasks.replying import Replier
from vb.agents.tasks.speaking import RATE_HZ
from vb.agents.tasks.watching import Watching
from vb.codecs.pcm import Pcm
from vb.events.agent import AgentConnected, AgentDisconnected
from vb.local_speech.engines.smart_turn import TURN_S
from vb.local_speech.tasks.turn_model import TurnModel
from vb.owner import Owner
from vb.providers.failure import ProviderFailed
from vb.providers.reading import words
from vb.stt.base import FinalText, Heard, PartialText

log = structlog.get_logger(__name__)

CHECK_S: Final = 0.1
"""Turns are judged at least so often: a leg on hold gives no frames that would do it."""
SILENCE_S: Final = 4.5
"""An agent that is at work, but says nothing for so long, lets a tone be heard."""
MAX_IDLE_PROMPTS: Final = 2
MAX_WAITING: Final = 8
"""Texts that wait for an answer to end that may not be interrupted, at most."""
JUDGE_S: Final = 1.0
"""A turn model that takes longer is not waited for."""
MAX_RESUMED: Final = 100
"""Of so many pauses for nothing an answer tells at most."""
COMPLETE: Final = 0.5
"""From this probability on a turn model takes a turn to be over."""
Speak = Callable[[Reply], Awaitable[None]]
"""Makes a reply heard."""


class _OwnMouth(Mouth):
    """A mouth whose ears know what it says."""

    def __init__(self, vad: VoiceActivity) -> None:
        super().__init__(AudioFormat(RATE_HZ))
        self._vad = vad

    def take(self, rate_hz: int) -> Pcm | None:
        """Return the next 20 ms at a rate, None while there is nothing to hear."""
        frame = super().take(rate_hz)
        if frame is not None:
            self._vad.spoke(frame)
        return frame


class OwnAgent:
    """The task of one of the server's own agents.

    Args:
        owner: the leg or room.
        seat: where it hears and speaks.
        parts: what it is made of.
        conversation_id: a name for the conversation.
        brain: what answers.
        tally: gets what becomes of its answers.
        watching: tells when users speak; by loudness alone when None.
        turn_model: tells whether they have finished; None for none.

    Attributes:
        provider: as commands and events call it.
        over: whether the conversation is over.
        why: why it was ended by a command.
    """

    provider: Final = "local"

    def __init__(
        self,
        owner: Owner,
        seat: Seat,
        parts: Parts,
        *,
        conversation_id: str,
        brain: Brain,
        tally: Tally,
        watching: Watching | None = None,
        turn_model: TurnModel | None = None,
    ) -> None:
        options = parts.options
        self._telling = Telling(owner, tally)
        self._turn_model = turn_model if options.timing.turn_model else None
        self._turns = TurnTaking(options.timing)
        watching = Watching() if watching is None else watching
        self._ear = watching.add(
            self._voiced,
            sounded=self._turns.sounded,
            keep_s=TURN_S if self._turn_model is not None else 0.0,
            detect=options.detector,
            failed=self.fail,
        )
        self.owner = owner
        self.over = False
        self.why = ""
        self._seat = seat
        self._options = options
        self._id = conversation_id
        self._mouth = _OwnMouth(self._ear.activity)
        self._mouth.on_turn = self._begun
        self._listening = Listening(
            parts.transcripts, parts.listening, self._understood, partial(self._telling.failed, "transcript")
        )
        self._history = History(options.instructions)
        self._replier = Replier(
            self._mouth,
            parts.voices,
            parts.voice,
            brain,
            options.tools,
            Doing(parts.do, options.tools, self._history, self._telling.failed, self._telling.works),
            self._history,
            self._telling.failed,
            self._telling.works,
            self._guard,
        )
        self._reply: Reply | None = None
        self._reply_scope = trio.CancelScope()
        self._unsaid = ""
        self._turn = 0
        self._draft: Draft | None = None
        self._waiting: deque[Callable[[], None]] = deque()
        self._final_at: float | None = None
        self._judged_at = 0.0
        self._idle_prompts = 0
        self._quiet_since = 0.0
        self._audible_at = 0.0
        self._ending: Callable[[], None] = _nothing
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Converse until it is stopped.

        Cancellation: the agent is silent at once.
        """
        reason, failure = "internal_error", None
        try:
            failure = await self._converse()
            reason = "failed" if failure is not None else "stopped"
        except trio.Cancelled:
            reason = "stopped"
            raise
        finally:
            self.over = True
            self._conclude_reply(by_user=False)
            self._mouth.shut()
            self._ear.close()
            self._seat.leave()
            self.owner.tell(
                AgentDisconnected,
                reason=self.why or self._seat.why_over or reason,
                category=failure.category if failure is not None else None,
                error=str(failure) if failure is not None else None,
                conversation_id=self._id,
                provider=self.provider,
            )

    async def _converse(self) -> ProviderFailed | None:
        failure: ProviderFailed | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._ending = nursery.cancel_scope.cancel
            self._quiet_since = self._audible_at = trio.current_time()
            self.owner.tell(
                AgentConnected,
                conversation_id=self._id,
                provider=self.provider,
                agent_id=self._options.agent_id or None,
            )
            self._seat.take(self._mouth, self)
            nursery.start_soon(self._watch)
            if self._options.greeting:
                self._start(
                    lambda reply: self._replier.say(reply, self._options.greeting),
                    guarded=self._options.guarded,
                )
            try:
                await self._listening.run()
            except ProviderFailed as failed:
                failure = failed
            nursery.cancel_scope.cancel()
        return failure

    # -- what it hears -------------------------------------------------------------------------------------

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms of the user from the mixer, inside the tick."""
        self._listening.backlog.push(frame, rate_hz)
        now = trio.current_time()
        self._ear.push(frame, rate_hz, now, agent_speaks=bool(self._mouth.waiting_ms))
        self._look(now)

    def _voiced(self, at: float, length_s: float) -> None:
        """Take note of a frame with speech of the user, which may be told outside the tick."""
        now = self._judged_at = trio.current_time()
        self._turns.voiced(at, length_s)
        self._quiet_since = self._audible_at = at
        self._look(now)

    def _look(self, now: float) -> None:
        self._turns.agent(self._reply is not None)
        self._apply(self._turns.decide(now))

    def _understood(self, heard: Heard) -> None:
        self._telling.works("transcript")
        text = words(heard.text or "")
        if isinstance(heard, PartialText):
            self._turns.partial(text)
            self._telling.user(text, is_final=False)
        elif isinstance(heard, FinalText):
            self._turns.final(text)
            self._final_at = trio.current_time()
            self._telling.user(text, is_final=True)
        elif heard.event in ("eager_end_of_turn", "turn_resumed"):
            self._turns.may_be_over(text if heard.event == "eager_end_of_turn" else "")
        self._look(trio.current_time())

    async def _judge_turn(self, silence: int) -> None:
        """Ask the turn model whether the user has finished."""
        assert self._turn_model is not None
        complete = None
        try:
            with trio.move_on_after(JUDGE_S):
                complete = await self._turn_model.judge(self._ear.recent()) >= COMPLETE
        except ProviderFailed as failed:
            self._telling.failed("turn_model", failed)
        if complete is not None:
            self._telling.works("turn_model")
        self._turns.judged(silence, complete)
        self._look(trio.current_time())

    async def _watch(self) -> None:
        """Judge turns when no frame does, and ask whether anybody is there."""
        idle_s = self._options.idle_s
        while True:
            await trio.sleep(CHECK_S)
            now = trio.current_time()
            self._look(now)
            self._bridge(now)
            if self._reply is not None or self._turns.user_speaking:
                self._quiet_since = now
            elif idle_s is not None and now - self._quiet_since >= idle_s:
                self._quiet_since = now
                if self._idle_prompts < MAX_IDLE_PROMPTS:
                    self._idle_prompts += 1
                    self._start(lambda reply: self._replier.say(reply, self._options.idle_prompt))

    def _bridge(self, now: float) -> None:
        """Let a tone be heard when a model, a tool or a voice takes long: nobody listens to silence."""
        if self._mouth.waiting_ms:
            self._audible_at = now
        elif self._reply is not None and now - self._audible_at >= SILENCE_S:
            self._audible_at = now
            self._replier.beep(self._reply)

    # -- whose turn it is ----------------------------------------------------------------------------------

    def _apply(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Pause(began_at):
                    self._pause(began_at)
                case Resume():
                    self._resume()
                case Interrupt():
                    self._interrupt()
                case AskFinal():
                    self._listening.finalize()
                case AskTurn(silence):
                    if self._nursery is not None:
                        self._nursery.start_soon(self._judge_turn, silence)
                case Guess(text):
                    self._begin_early(text)
                case UserTurn():
                    self._unsaid = ""
                    self._idle_prompts = 0
                    self._answer(decision.text, decision)
                case Noise():
                    self._go_on()

    def _pause(self, began_at: float) -> None:
        """Hold its tongue, at a sample at which it can go on."""
        self._mouth.paused = True
        if self._reply is not None and self._reply.ducked_s is None and self._replier.played_ms(self._reply):
            self._reply.ducked_s = trio.current_time() - began_at

    def _resume(self) -> None:
        if self._mouth.paused and self._reply is not None and len(self._reply.resumed_samples) < MAX_RESUMED:
            own = self._mouth.turn == self._reply.turn
            self._reply.resumed_samples.append(self._mouth.played_samples if own else 0)
        self._mouth.paused = False

    def _guard(self, reply: Reply) -> None:
        """Let a reply be heard to its end, whatever the user does."""
        if self._reply is reply:
            self._turns.interruptible = False

    def _begin_early(self, text: str) -> None:
        """Let the model begin with what the user may have said; nothing is done or heard before he has."""
        self._drop_draft()
        if text and self._options.preemptive and self._reply is None and self._nursery is not None:
            self._draft = self._replier.draft(text)
            if self._draft is not None:
                self._nursery.start_soon(self._draft.run)

    def _drop_draft(self) -> None:
        if self._draft is not None:
            self._draft.drop()
            self._draft = None

    def _interrupt(self) -> None:
        """End the agent's turn: the model, the voice, and what waits to be heard."""
        reply = self._reply
        if reply is None:
            return
        self._reply_scope.cancel()
        self._conclude_reply()
        self._unsaid = reply.text[reply.noted :].strip()

    def _conclude_reply(self, *, by_user: bool = True) -> None:
        """Note what was heard of a reply and tell of it."""
        reply, self._reply = self._reply, None
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
        self._telling.turn(reply, played_ms, self._seat.round_trip_ms(), trio.current_time(), cut_by_user=cut)

    def _begun(self, turn: int) -> None:
        reply = self._reply
        if reply is not None and reply.turn == turn and reply.first_audio_at is not None:
            reply.first_heard_at = trio.current_time()

    # -- what it says --------------------------------------------------------------------------------------

    def _answer(self, text: str, turn: UserTurn | None) -> None:
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

    def _go_on(self) -> None:
        """Say what a noise has kept the agent from saying."""
        text, self._unsaid = self._unsaid, ""
        if text and self._reply is None:
            self._start(lambda reply: self._replier.say(reply, text))
        elif self._reply is None and self._history.unanswered:
            self._start(partial(self._think, None))

    def _start(
        self, speak: Speak, *, turn: UserTurn | None = None, guarded: bool = False, user: str = ""
    ) -> None:
        self._drop_draft()
        if self._nursery is None or self.over:
            return
        if self._reply is not None:
            self._reply_scope.cancel()
            self._conclude_reply()
        if user:
            self._history.add(Line("user", user))  # behind what was heard of the answer before
        self._unsaid = ""
        self._turns.interruptible = not guarded
        self._turn += 1
        reply = self._reply = Reply(self._turn, trio.current_time())
        if turn is not None:
            reply.ended_at, reply.wait_s = turn.ended_at, turn.wait_s
            reply.judged_at, reply.transcript_at = max(self._judged_at, turn.ended_at), self._final_at
        self._final_at = None
        scope = self._reply_scope = trio.CancelScope()
        self._nursery.start_soon(self._run_reply, reply, scope, speak)

    async def _run_reply(self, reply: Reply, scope: trio.CancelScope, speak: Speak) -> None:
        with scope:
            await speak(reply)
            reply.complete = not reply.failed
        if self._reply is reply:
            self._conclude_reply()
            self._turns.interruptible = True
            self._turns.agent(False)
            self._quiet_since = trio.current_time()
            if self._waiting:
                self._waiting.popleft()()

    async def inject(self, text: str, *, respond: bool) -> None:
        """Let the agent know a text, or answer it."""
        if self._nursery is None:
            raise NotReady
        if not respond:
            self._history.add(Line("system", text))
            return
        await trio.lowlevel.checkpoint()
        self._when_free(lambda: self._answer(text, None))

    async def say(self, text: str, *, uninterruptible: bool) -> None:
        """Let the agent say a text, word for word; what it is saying is cut, unless that may not be.

        Raises:
            NotReady: not yet.
            Busy: too many texts wait already.
        """
        if self._nursery is None:
            raise NotReady
        await trio.lowlevel.checkpoint()
        self._when_free(
            lambda: self._start(lambda reply: self._replier.say(reply, text), guarded=uninterruptible)
        )

    def _when_free(self, begin: Callable[[], None]) -> None:
        """Begin something now, or when the answer is over that may not be interrupted."""
        if self._reply is None or (self._turns.interruptible and not self._waiting):
            begin()
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(begin)
        else:
            raise Busy

    def fail(self) -> None:
        """End the conversation because its audio failed here."""
        self.why = "internal_error"
        self._ending()


def _nothing() -> None:
    """Stand in for the end of a conversation that has not begun."""
