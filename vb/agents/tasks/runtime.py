"""An agent that runs here: it listens, takes turns, answers and speaks, all beside one leg or in one room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

import trio

from vb.agents.audio import AudioFormat, Mouth
from vb.agents.base import NotReady
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
from vb.agents.runtime.history import History
from vb.agents.runtime.options import Parts
from vb.agents.runtime.tally import Tally
from vb.agents.runtime.telling import Telling
from vb.agents.runtime.turns import TurnTaking
from vb.agents.seats import Seat
from vb.agents.tasks.answering import Answering
from vb.agents.tasks.doing import Doing
from vb.agents.tasks.listening import Listening
from vb.agents.tasks.replying import Replier
from vb.agents.tasks.speaking import RATE_HZ
from vb.agents.tasks.voice_line import VoiceLine
from vb.agents.tasks.watching import Watching
from vb.blocking import Bell
from vb.codecs.pcm import Pcm
from vb.events.agent import AgentConnected, AgentDisconnected
from vb.local_speech.engines.smart_turn import TURN_S
from vb.local_speech.tasks.turn_model import TurnModel
from vb.owner import Owner
from vb.providers.failure import ProviderFailed
from vb.providers.reading import words
from vb.stt.base import FinalText, Heard, PartialText

CHECK_S: Final = 0.1
"""Turns are judged so often where no frames do it: a leg on hold gives none."""
REST_S: Final = 0.3
"""So often it is seen whether there are still frames that do."""
MAX_IDLE_PROMPTS: Final = 2
WAIT_S: Final = 0.05
"""Up to so long what is heard has waited in a jitter buffer and for its tick: silence began before, and so
does its clock. What is kept longer counts later, as nobody knows yet whether silence follows it."""
WAIT_PART: Final = 8
"""Nor is more of the silence that ends a turn left unheard than one part in so many."""
JUDGE_S: Final = 1.0
"""A turn model that takes longer is not waited for."""
COMPLETE: Final = 0.5
"""From this probability on a turn model takes a turn to be over."""


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
        self._mouth = Mouth(AudioFormat(RATE_HZ), lead_frames=1)  # voices are quicker than listeners
        self._mouth.on_said = self._ear.activity.spoke  # its ears know what it says
        self._listening = Listening(
            parts.transcripts, parts.listening, self._understood, partial(self._telling.failed, "transcript")
        )
        self._history = History(options.instructions)
        replier = Replier(
            self._mouth,
            VoiceLine(parts.voices, parts.voice),
            brain,
            options.tools,
            Doing(parts.do, options.tools, self._history, self._telling.failed, self._telling.works),
            self._history,
            self._telling.failed,
            self._telling.works,
        )
        self._answering = Answering(
            self._mouth, self._turns, replier, self._history, self._telling, options, seat.round_trip_ms
        )
        self._answering.on_over = self._rest
        self._changed = Bell()
        self._heard_at = 0.0
        self._pushed_at = -inf
        self._user_spoke = False
        self._credit_s = min(WAIT_S, options.timing.min_endpointing_s / WAIT_PART)
        self._idle_prompts = 0
        self._quiet_since = 0.0
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
            self._answering.shut()
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
            self._answering.begin(nursery)
            self._quiet_since = self._answering.audible_at = trio.current_time()
            self.owner.tell(
                AgentConnected,
                conversation_id=self._id,
                provider=self.provider,
                agent_id=self._options.agent_id or None,
            )
            self._seat.take(self._mouth, self)
            nursery.start_soon(self._watch)
            if self._options.greeting:
                self._answering.say(self._options.greeting, guarded=self._options.guarded)
            try:
                await self._listening.run()
            except ProviderFailed as failed:
                failure = failed
            finally:
                self._answering.shut()  # before the tasks have ended: a voice's goodbye may take a while
            nursery.cancel_scope.cancel()
        return failure

    # -- what it hears -------------------------------------------------------------------------------------

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms of the user from the mixer, inside the tick."""
        self._listening.backlog.push(frame, rate_hz)
        now = self._pushed_at = trio.current_time()
        self._heard_at = max(self._heard_at, now - min(self._seat.waited_s(), self._credit_s))
        self._turns.behind_s = now - self._heard_at
        self._ear.push(frame, rate_hz, self._heard_at, agent_speaks=bool(self._mouth.waiting_ms))
        self._look(now)
        self._attend(now)

    def _voiced(self, at: float, length_s: float) -> None:
        """Take note of a frame with speech of the user, which may be told outside the tick."""
        now = self._answering.judged_at = trio.current_time()
        self._turns.voiced(at, length_s)
        self._quiet_since = self._answering.audible_at = at
        self._look(now)

    def _look(self, now: float) -> None:
        turns = self._turns
        turns.agent(self._answering.reply is not None)
        decisions = turns.decide(now)
        if decisions:
            self._apply(decisions)
        user_spoke, self._user_spoke = self._user_spoke, turns.user_speaking
        if self._user_spoke and not user_spoke:
            self._changed.ring()  # from now on there is an end of his turn to wait for

    def _attend(self, now: float) -> None:
        """See whether anybody is there, and bridge a silence of the agent's own."""
        self._answering.bridge(now)
        idle_s = self._options.idle_s
        if self._answering.reply is not None or self._turns.user_speaking:
            self._quiet_since = now
        elif idle_s is not None and now - self._quiet_since >= idle_s:
            self._quiet_since = now
            if self._idle_prompts < MAX_IDLE_PROMPTS:
                self._idle_prompts += 1
                self._answering.say(self._options.idle_prompt)

    def _understood(self, heard: Heard) -> None:
        self._telling.works("transcript")
        text = words(heard.text or "")
        if isinstance(heard, PartialText):
            self._turns.partial(text)
            self._telling.user(text, is_final=False)
        elif isinstance(heard, FinalText):
            self._turns.final(text)
            self._answering.final_at = trio.current_time()
            self._telling.user(text, is_final=True)
        elif heard.event in ("eager_end_of_turn", "turn_resumed"):
            self._turns.may_be_over(text if heard.event == "eager_end_of_turn" else "")
        self._look(trio.current_time())
        self._changed.ring()

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
        self._changed.ring()

    async def _watch(self) -> None:
        """Judge turns when they are over, mostly between two frames, and whenever there are no frames.

        While the user speaks the end moves on with each frame, and never comes nearer: so it is looked for
        again once it should have come, and when something else is known of it.
        """
        while True:
            now, ends_at = trio.current_time(), self._turns.ends_at()
            rest_s = REST_S if now - self._pushed_at < CHECK_S else CHECK_S
            with trio.move_on_at(min(now + rest_s, ends_at if ends_at > now else inf)):
                await self._changed.wait()
            now = trio.current_time()
            self._look(now)
            self._attend(now)

    def _rest(self) -> None:
        """Count the silence from the end of an answer on."""
        self._quiet_since = trio.current_time()
        self._changed.ring()

    # -- whose turn it is ----------------------------------------------------------------------------------

    def _apply(self, decisions: list[Decision]) -> None:
        answering = self._answering
        for decision in decisions:
            match decision:
                case Pause(began_at):
                    answering.pause(began_at)
                case Resume():
                    answering.resume()
                case Interrupt():
                    answering.interrupt()
                    self._changed.ring()
                case AskFinal():
                    self._listening.finalize()
                    answering.prepare()
                case AskTurn(silence):
                    if self._nursery is not None:
                        self._nursery.start_soon(self._judge_turn, silence)
                case Guess(text):
                    answering.begin_early(text)
                case UserTurn():
                    self._idle_prompts = 0
                    answering.answer(decision.text, decision)
                case Noise():
                    answering.go_on()

    # -- what it is told -----------------------------------------------------------------------------------

    async def inject(self, text: str, *, respond: bool) -> None:
        """Let the agent know a text, or answer it."""
        if self._nursery is None:
            raise NotReady
        if not respond:
            self._history.add(Line("system", text))
            return
        await trio.lowlevel.checkpoint()
        self._answering.when_free(lambda: self._answering.answer(text, None))

    async def say(self, text: str, *, uninterruptible: bool) -> None:
        """Let the agent say a text, word for word; what it is saying is cut, unless that may not be.

        Raises:
            NotReady: not yet.
            Busy: too many texts wait already.
        """
        if self._nursery is None:
            raise NotReady
        await trio.lowlevel.checkpoint()
        self._answering.when_free(lambda: self._answering.say(text, guarded=uninterruptible))

    def fail(self) -> None:
        """End the conversation because its audio failed here."""
        self.why = "internal_error"
        self._ending()


def _nothing() -> None:
    """Stand in for the end of a conversation that has not begun."""
