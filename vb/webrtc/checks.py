"""Requests of ICE that wait for their responses: sent again, given up, and bounded in number.

Spec: RFC 8489 §6.2.1, RFC 8445 §14.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from vb.webrtc.checklist import Pair
from vb.webrtc.generation import Generation

INITIAL_TIMEOUT_S: Final = 0.5
TRANSMISSIONS: Final = 4
"""At 0, 0.5, 1.5 and 3.5 s; the request fails after 7.5 s."""
MAX_PENDING: Final = 128


@dataclass(slots=True, eq=False)
class Check:
    """One request that is on its way.

    Attributes:
        controlling: the role that it claims.
        nominate: it asks the peer to use the pair.
        consent: it keeps consent fresh, so that it is sent once and its loss fails no pair.
        due_at: when to send it again, or to give it up.
        cancelled: a newer request took its place; its response still counts.
    """

    pair: Pair
    generation: Generation
    transaction_id: bytes
    data: bytes
    controlling: bool
    nominate: bool
    consent: bool
    due_at: float
    sent: int = 1
    cancelled: bool = False


@dataclass(slots=True)
class PendingChecks:
    """All requests that wait for a response."""

    _checks: dict[bytes, Check] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._checks)

    def add(self, check: Check) -> None:
        """Wait for its response; the oldest request is forgotten when there are too many."""
        if len(self._checks) >= MAX_PENDING:
            del self._checks[next(iter(self._checks))]
        self._checks[check.transaction_id] = check

    def find(self, transaction_id: bytes) -> Check | None:
        """Return the request that a response belongs to."""
        return self._checks.get(transaction_id)

    def remove(self, check: Check) -> None:
        """Forget a request."""
        self._checks.pop(check.transaction_id, None)

    def cancel(self, covers: Callable[[Check], bool]) -> None:
        """Send these requests no more, yet take their responses."""
        for check in self._checks.values():
            if not check.consent and covers(check):
                check.cancelled = True

    def keep(self, generation: Generation) -> None:
        """Forget the requests of every other generation."""
        self._checks = {key: check for key, check in self._checks.items() if check.generation is generation}

    def clear(self) -> None:
        """Forget everything."""
        self._checks.clear()

    def due(self, now: float) -> Iterator[Check]:
        """Yield the requests to send again; those without an answer are taken out, and have `sent` 0."""
        for check in [check for check in self._checks.values() if check.due_at <= now]:
            if check.cancelled or check.consent or check.sent >= TRANSMISSIONS:
                self.remove(check)
                check.sent = 0
            else:
                check.due_at = now + INITIAL_TIMEOUT_S * 2**check.sent
                check.sent += 1
            yield check

    def deadline(self) -> float | None:
        """Return when the next request is due."""
        return min((check.due_at for check in self._checks.values()), default=None)
