"""Repeating a 2xx until its ACK comes.  Spec: RFC 3261 §13.3.1.4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vb.sip.hop import Hop
from vb.sip.timers import T1_S, T2_S, TIMEOUT_S, Timed


class AnswerHost(Protocol):
    """What the repetition needs from the agent."""

    def send(self, data: bytes, hop: Hop) -> None:
        """Queue bytes for a hop."""
        ...

    def schedule(self, item: Timed) -> None:
        """Take note of a changed deadline."""
        ...


class PendingAck:
    """One 2xx on its way, over whatever transport: proxies between may lose it on a UDP hop.

    Args:
        data: the 2xx, already sent once.
        on_timeout: called if no ACK came in 64·T1.
    """

    __slots__ = (
        "_data",
        "_end_at",
        "_hop",
        "_host",
        "_interval_s",
        "_on_timeout",
        "_repeat_at",
        "queued_for",
    )

    def __init__(
        self, host: AnswerHost, data: bytes, hop: Hop, on_timeout: Callable[[float], None], now: float
    ) -> None:
        self._host = host
        self._data = data
        self._hop = hop
        self._on_timeout = on_timeout
        self._interval_s = T1_S
        self._repeat_at: float | None = now + T1_S
        self._end_at = now + TIMEOUT_S
        self.queued_for: float | None = None
        host.schedule(self)

    @property
    def deadline(self) -> float | None:
        """When the 2xx is due again; None once it was acknowledged or given up."""
        return None if self._repeat_at is None else min(self._repeat_at, self._end_at)

    def expire(self, now: float) -> None:
        """Repeat the 2xx, or give up."""
        if self._repeat_at is None:
            return
        if now >= self._end_at:
            self._repeat_at = None
            self._on_timeout(now)
            return
        self._host.send(self._data, self._hop)
        self._interval_s = min(self._interval_s * 2, T2_S)
        self._repeat_at = now + self._interval_s

    def stop(self) -> None:
        """The ACK came, or the call is over."""
        self._repeat_at = None
