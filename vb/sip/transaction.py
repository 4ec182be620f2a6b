"""Transactions: the state machines of `vb.sip.transaction_tables` at work.  Spec: RFC 3261 §17, RFC 6026.

A transaction sends through its host, keeps at most two timers (when to repeat, when to end) and
tells its user what happened by two callbacks. It never reads a clock.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Protocol

from vb.sip.hop import Hop, TransactionKey
from vb.sip.message import Response
from vb.sip.timers import T1_S, T2_S, QueueEntry, Timed
from vb.sip.transaction_tables import (
    Machine,
    Rule,
    Sends,
    TransactionEvent,
    TransactionState,
)

FailureKind = Literal["timeout", "transport"]


def final_status(outcome: Response | FailureKind) -> int:
    """Return what a request came to, where none came: 408 for silence, 503 for a peer out of reach.

    Spec: RFC 3261 §8.1.3.1.
    """
    if isinstance(outcome, Response):
        return outcome.status
    return 408 if outcome == "timeout" else 503


# Looked up once: to Python 3.11 the member of an enumeration is a slow property.
_TERMINATED: Final = TransactionState.TERMINATED
_NOTHING: Final = Sends.NOTHING


class TransactionHost(Protocol):
    """What a transaction needs from the agent that owns it."""

    def send(self, data: bytes, hop: Hop, sender: TransactionKey | None = None) -> None:
        """Queue bytes for a hop; `sender` is the transaction that they are the request of."""
        ...

    def schedule(self, item: Timed) -> None:
        """Take note of a changed deadline."""
        ...

    def forget(self, transaction: Transaction) -> None:
        """Drop a terminated transaction."""
        ...


class Transaction:
    """State shared by all four kinds.

    Attributes:
        machine: the table that it follows.
    """

    __slots__ = ("_end_at", "_host", "_interval_s", "_repeat_at", "hop", "key", "queued_as", "state")

    machine: ClassVar[Machine]

    def __init__(self, host: TransactionHost, key: TransactionKey, hop: Hop) -> None:
        self._host = host
        self.key = key
        self.hop = hop
        self.state = self.machine.first
        self.queued_as: QueueEntry | None = None
        self._repeat_at: float | None = None
        self._end_at: float | None = None
        self._interval_s = T1_S

    @property
    def deadline(self) -> float | None:
        """When `expire` is due."""
        if self._repeat_at is None:
            return self._end_at
        if self._end_at is None:
            return self._repeat_at
        return min(self._repeat_at, self._end_at)

    def expire(self, now: float) -> None:
        """Repeat or end, whatever is due."""
        if self._end_at is not None and now >= self._end_at:
            self._end(now)
        elif self._repeat_at is not None and now >= self._repeat_at:
            self._repeat(now)

    @property
    def is_terminated(self) -> bool:
        """Whether the host has forgotten this transaction."""
        return self.state is _TERMINATED

    def terminate(self) -> None:
        """End at once, without telling the user."""
        self.state = _TERMINATED
        self._repeat_at = self._end_at = None
        self._host.forget(self)

    # -- following the table ----------------------------------------------------------------------

    def _rule(self, event: TransactionEvent) -> Rule | None:
        """Return what an event does now; None if it is ignored."""
        return self.machine.rules[self.state].get(event)

    def _follow(self, rule: Rule, now: float) -> None:
        """Send what a rule says and go where it leads; whom it tells is up to the caller."""
        if rule.sends is not _NOTHING:
            self._send(rule.sends)
        if rule.state is not self.state:
            self._enter(rule.state, now)

    def _enter(self, state: TransactionState, now: float) -> None:
        """Go to a state; one that only absorbs repetitions ends after a while, or at once."""
        self.state = state
        linger = self.machine.lingers.get(state)
        if linger is not None:
            seconds = linger[1] if self.hop.is_reliable else linger[0]
            self._repeat_at = None
            if seconds > 0:
                self._end_at = now + seconds
                self._host.schedule(self)
                return
        if linger is not None or state is _TERMINATED:
            self.terminate()

    def _send(self, what: Sends) -> None:
        """Send what a rule names."""
        raise NotImplementedError

    def _end(self, now: float) -> None:
        """Take the end timer."""
        raise NotImplementedError

    def _repeat(self, now: float) -> None:
        """Take the timer of repetitions, and set it anew."""
        rule = self._rule(TransactionEvent.REPEAT_DUE)
        if rule is not None:
            self._follow(rule, now)
            self._interval_s = self._next_interval_s()
            self._repeat_at = now + self._interval_s

    def _next_interval_s(self) -> float:
        """Return how long to wait after this repetition."""
        return min(self._interval_s * 2, T2_S)
