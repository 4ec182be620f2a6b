"""What an agent that runs here tells of itself: its events, and figures for the metrics."""

from __future__ import annotations

import structlog

from vb.agents.runtime.budget import shares_ms, steps_ms
from vb.agents.runtime.reply import Reply
from vb.agents.runtime.tally import Tally
from vb.events.agent import AgentError, AgentInterrupted, AgentResponse, AgentTurn, AgentUserTranscript
from vb.owner import Owner
from vb.providers.failure import ProviderFailed

log = structlog.get_logger(__name__)


class Telling:
    """The events of one conversation.

    Args:
        owner: the leg or room.
        tally: sums up what becomes of answers.
    """

    def __init__(self, owner: Owner, tally: Tally) -> None:
        self._owner = owner
        self._tally = tally
        self._told: set[str] = set()

    def user(self, text: str, *, is_final: bool) -> None:
        """Tell what the user says."""
        if text:
            self._owner.tell(AgentUserTranscript, text=text, is_final=is_final)

    def turn(
        self, reply: Reply, played_ms: int, round_trip_ms: float | None, now: float, *, cut_by_user: bool
    ) -> None:
        """Tell what became of an answer, of which nothing more will be heard.

        Args:
            reply: it.
            played_ms: how much of it was heard.
            round_trip_ms: to the listener and back; None while nobody knows.
            now: the time.
            cut_by_user: whether the user has cut it short.
        """
        heard = reply.text[: reply.noted].strip()
        if heard:
            self._owner.tell(AgentResponse, text=heard)
        if cut_by_user:
            self._owner.tell(AgentInterrupted, turn=reply.turn, played_ms=played_ms)
        interrupted = not reply.complete and not reply.failed
        pauses = len(reply.resumed_samples)
        steps, shares = steps_ms(reply), shares_ms(reply)
        ducked_ms = None if reply.ducked_s is None else round(1000 * reply.ducked_s)
        outcome = "failed" if reply.failed else "interrupted" if interrupted else "completed"
        self._tally.add(outcome, pauses, steps, shares, ducked_ms)
        self._owner.tell(
            AgentTurn,
            turn=reply.turn,
            **{f"{name}_ms": time_ms for name, time_ms in (steps | shares).items()},
            network_ms=None if round_trip_ms is None else round(round_trip_ms / 2),
            early=reply.early,
            took_ms=round(1000 * (now - (reply.asked_at if reply.ended_at is None else reply.ended_at))),
            ducked_ms=ducked_ms,
            played_ms=played_ms,
            interrupted=interrupted,
            false_interruptions=pauses,
            resumed_samples=list(reply.resumed_samples),
            text=reply.text.strip(),
            heard=heard,
        )

    def works(self, part: str) -> None:
        """Take note that a part works: its next failure is worth telling again."""
        self._told = {told for told in self._told if not told.startswith(part)}

    def failed(self, part: str, failed: ProviderFailed) -> None:
        """Tell of a part that failed, once as long as it fails in the same way."""
        problem = f"{part} {failed.category}"
        if problem not in self._told:
            self._told.add(problem)
            self._owner.tell(AgentError, part=part, category=failed.category, error=str(failed))
        log.info("agent's part failed", part=part, category=failed.category, owner=self._owner.key)
        log.debug("how an agent's part failed", part=part, problem=str(failed), owner=self._owner.key)
