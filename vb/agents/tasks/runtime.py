"""An agent that runs here: it listens, takes turns, answers and speaks, all beside one leg or in one room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio

from vb.agents.audio import AudioFormat, Mouth
from vb.agents.base import NotReady
from vb.agents.runtime.brain import Brain, Line
from vb.agents.runtime.ear import VoiceActivity
from vb.agents.runtime.history import History
from vb.agents.runtime.options import Parts
from vb.agents.runtime.reply import Reply
from vb.agents.runtime.tally import Tally
from vb.agents.runtime.turns import (
    AskFinal,
    Decision,
    Interrupt,
    Noise,
    Pause,
    Resume,
    TurnTaking,
    UserTurn,
)
from vb.agents.seats import Seat
from vb.agents.tasks.doing import Doing
from vb.agents.tasks.listening import Listening
from vb.agents.tasks.replying import Replier
from vb.agents.tasks.speaking import RATE_HZ
from vb.codecs.pcm import Pcm
from vb.events.agent import (
    AgentConnected,
    AgentDisconnected,
    AgentError,
    AgentInterrupted,
    AgentResponse,
    AgentTurn,
    AgentUserTranscript,
)
from vb.owner import Owner
from vb.providers.failure import ProviderFailed
from vb.stt.base import FinalText, Heard, PartialText

log = structlog.get_logger(__name__)

CHECK_S: Final = 0.1
"""Turns are judged at least so often: a leg on hold gives no frames that would do it."""
SILENCE_S: Final = 4.5
"""An agent that is at work, but says nothing for so long, lets a tone be heard."""
MAX_IDLE_PROMPTS: Final = 2
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
    ) -> None:
        options = parts.options
        self.owner = owner
        self.over = False
        self.why = ""
        self._seat = seat
        self._options = options
        self._id = conversation_id
        self._vad = VoiceActivity()
        self._mouth = _OwnMouth(self._vad)
        self._mouth.on_turn = self._begun
        self._turns = TurnTaking(options.timing)
        self._listening = Listening(
            parts.transcripts, parts.listening, self._understood, partial(self._failed, "transcript")
        )
        self._history = History(options.instructions)
        self._replier = Replier(
            self._mouth,
            parts.voices,
            parts.voice,
            brain,
            options.tools,
            Doing(parts.do, options.tools, self._history, self._failed),
            self._history,
            self._failed,
            self._works,
        )
        self._reply: Reply | None = None
        self._reply_scope = trio.CancelScope()
        self._unsaid = ""
        self._turn = 0
        self._ended_at: float | None = None
        self._final_at: float | None = None
        self._tally = tally
        self._idle_prompts = 0
        self._quiet_since = 0.0
        self._audible_at = 0.0
        self._told: set[str] = set()
        self._ending: Callable[[], None] = _nothing
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Converse until it is stopped.

        Cancellation: the agent is silent at once.
        """
        reason, failure = "stopped", None
        try:
            failure = await self._converse()
            reason = "failed" if failure is not None else reason
        finally:
            self.over = True
            self._conclude_reply(by_user=False)
            self._mouth.shut()
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
        speaks = self._reply is not None
        if self._vad.judge(frame, agent_speaks=bool(self._mouth.waiting_ms)):
            self._turns.voiced(now)
            self._quiet_since = self._audible_at = now
        self._turns.agent(speaks)
        self._apply(self._turns.decide(now))

    def _understood(self, heard: Heard) -> None:
        self._works("transcript")
        if isinstance(heard, PartialText):
            self._turns.partial(heard.text)
            self._tell_user(heard.text, is_final=False)
        elif isinstance(heard, FinalText):
            self._turns.final(heard.text)
            self._final_at = trio.current_time()
            self._tell_user(heard.text, is_final=True)

    def _tell_user(self, text: str, *, is_final: bool) -> None:
        if text:
            self.owner.tell(AgentUserTranscript, text=text, is_final=is_final)

    async def _watch(self) -> None:
        """Judge turns when no frame does, and ask whether anybody is there."""
        idle_s = self._options.idle_s
        while True:
            await trio.sleep(CHECK_S)
            now = trio.current_time()
            self._turns.agent(self._reply is not None)
            self._apply(self._turns.decide(now))
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
                case Pause():
                    self._mouth.paused = True
                case Resume():
                    self._mouth.paused = False
                case Interrupt():
                    self._interrupt()
                case AskFinal():
                    self._listening.finalize()
                case UserTurn(text, ended_at):
                    self._unsaid = ""
                    self._idle_prompts = 0
                    self._answer(text, ended_at)
                case Noise():
                    self._go_on()

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
        interrupted = not reply.complete and not reply.failed
        rest = self._replier.note(reply)
        heard = reply.text[: reply.noted].strip()
        if rest:
            self._history.add(Line("assistant", rest))
        if heard:
            self.owner.tell(AgentResponse, text=heard)
        if interrupted and by_user and (waited or reply.text):
            self.owner.tell(AgentInterrupted, turn=reply.turn, played_ms=played_ms)
        steps = {
            "transcript": reply.transcript_at,
            "endpointing": reply.asked_at,
            "first_words": reply.first_words_at,
            "first_audio": reply.first_audio_at,
            "first_heard": reply.first_heard_at,
        }
        times_ms = {step: _since(at, self._ended_at) for step, at in steps.items()}
        pauses = self._turns.false_interruptions - reply.pauses
        outcome = "failed" if reply.failed else "interrupted" if interrupted else "completed"
        self._tally.add(outcome, pauses, times_ms)
        self.owner.tell(
            AgentTurn,
            turn=reply.turn,
            **{f"{step}_ms": time_ms for step, time_ms in times_ms.items()},
            played_ms=played_ms,
            interrupted=interrupted,
            false_interruptions=pauses,
            text=reply.text.strip(),
            heard=heard,
        )

    def _begun(self, turn: int) -> None:
        reply = self._reply
        if reply is not None and reply.turn == turn and reply.first_audio_at is not None:
            reply.first_heard_at = trio.current_time()

    # -- what it says --------------------------------------------------------------------------------------

    def _answer(self, text: str, ended_at: float | None) -> None:
        """Answer the user, or whoever speaks for him."""
        self._start(self._think, ended_at=ended_at, user=text)

    async def _think(self, reply: Reply) -> None:
        assert self._nursery is not None
        await self._replier.answer(reply, self._nursery, self._options.sorry)

    def _go_on(self) -> None:
        """Say what a noise has kept the agent from saying."""
        text, self._unsaid = self._unsaid, ""
        if text and self._reply is None:
            self._start(lambda reply: self._replier.say(reply, text))
        elif self._reply is None and self._history.unanswered:
            self._start(self._think)

    def _start(
        self, speak: Speak, *, ended_at: float | None = None, guarded: bool = False, user: str = ""
    ) -> None:
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
        self._ended_at = ended_at
        reply = self._reply = Reply(self._turn, trio.current_time(), pauses=self._turns.false_interruptions)
        reply.transcript_at, self._final_at = self._final_at, None
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

    async def inject(self, text: str, *, respond: bool) -> None:
        """Let the agent know a text, or answer it."""
        if self._nursery is None:
            raise NotReady
        if not respond:
            self._history.add(Line("system", text))
            return
        await trio.lowlevel.checkpoint()
        self._answer(text, None)

    def fail(self) -> None:
        """End the conversation because its audio failed here."""
        self.why = "internal_error"
        self._ending()

    def _works(self, part: str) -> None:
        """Take note that a part works: its next failure is worth telling again."""
        self._told = {told for told in self._told if not told.startswith(part)}

    def _failed(self, part: str, failed: ProviderFailed) -> None:
        """Tell of a part that failed, once as long as it fails in the same way."""
        problem = f"{part} {failed.category}"
        if problem not in self._told:
            self._told.add(problem)
            self.owner.tell(AgentError, part=part, category=failed.category, error=str(failed))
        log.info("agent's part failed", part=part, problem=str(failed), owner=self.owner.key)


def _since(at: float | None, begun: float | None) -> int | None:
    return None if at is None or begun is None else max(0, round((at - begun) * 1000))


def _nothing() -> None:
    """Stand in for the end of a conversation that has not begun."""
