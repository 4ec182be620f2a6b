"""Repeating a response until the request that acknowledges it comes.

Spec: RFC 3261 §13.3.1.4 (2xx and ACK), RFC 3262 §3 (reliable 1xx and PRACK).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vb.sip.hop import Hop
from vb.sip.timers import T1_S, T2_S, TIMEOUT_S, QueueEntry, Timed


class RetransmissionHost(Protocol):
    """What the repetition needs from the agent."""

    def send(self, data: bytes, hop: Hop) -> None:
        """Queue bytes for a hop."""
        ...

    def schedule(self, item: Timed) -> None:
        """Take note of a changed deadline."""
        ...


class ResponseRetransmission:
    """One response on its way, over whatever transport: proxies between may lose it on a UDP hop.

    Args:
        data: the response, already sent once.
        on_timeout: called if it was not acknowledged in 64·T1.
        max_interval_s: where the doubling of the interval ends.
    """

    __slots__ = (
        "_data",
        "_end_at",
        "_hop",
        "_host",
        "_interval_s",
        "_max_interval_s",
        "_on_timeout",
        "_repeat_at",
        "queued_as",
    )

    def __init__(
        self,
        host: RetransmissionHost,
        data: bytes,
        hop: Hop,
        on_timeout: Callable[[float], None],
        now: float,
        *,
        max_interval_s: float = T2_S,
    ) -> None:
        self._host = host
        self._data = data
        self._hop = hop
        self._on_timeout = on_timeout
        self._interval_s = T1_S
        self._max_interval_s = max_interval_s
        self._repeat_at: float | None = now + T1_S
        self._end_at = now + TIMEOUT_S
        self.queued_as: QueueEntry | None = None
        host.schedule(self)

    @property
    def deadline(self) -> float | None:
        """When the response is due again; None once it was acknowledged or given up."""
        return None if self._repeat_at is None else min(self._repeat_at, self._end_at)

    def expire(self, now: float) -> None:
        """Repeat the response, or give up."""
        if self._repeat_at is None:
            return
        if now >= self._end_at:
            self._repeat_at = None
            self._on_timeout(now)
            return
        self._host.send(self._data, self._hop)
        self._interval_s = min(self._interval_s * 2, self._max_interval_s)
        self._repeat_at = now + self._interval_s

    def stop(self) -> None:
        """It was acknowledged, or the call is over."""
        self._repeat_at = None
