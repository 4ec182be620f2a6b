"""Consent freshness: the peer must go on to answer, or nothing is sent to it any more.

Spec: RFC 7675 §5.
"""

from __future__ import annotations

from typing import Final

CHECK_EVERY_S: Final = 5.0
KEEPALIVE_EVERY_S: Final = 15.0
EXPIRES_S: Final = 30.0
DISCONNECTED_S: Final = 12.5
"""Without a response for this long two checks in a row have been lost."""
SETTLED_S: Final = 4.0
"""A peer that still sends checks so long after it has chosen a pair keeps consent."""


class Consent:
    """When consent was last given on one pair, and when to ask again.

    Args:
        now: when the pair was found to work.
        asking: we ask ourselves; a lite agent answers, and sends keepalives. It misses the peer's requests
            once it has seen that the peer keeps consent, which older agents do not.

    Attributes:
        counts: whether the peer's silence means anything.
        missing: nothing was heard for long enough to say so.
    """

    __slots__ = ("_asking", "_given_at", "_next_check_at", "_settled_at", "counts", "missing")

    def __init__(self, now: float, *, asking: bool = True) -> None:
        self._asking = self.counts = asking
        self._settled_at = now + SETTLED_S
        self._given_at = now
        self._next_check_at = now + (CHECK_EVERY_S if asking else KEEPALIVE_EVERY_S)
        self.missing = False

    def given(self, now: float) -> bool:
        """Note a response; True when it ends a time in which consent was missing."""
        self._given_at = now
        self.counts = self.counts or now >= self._settled_at
        was_missing, self.missing = self.missing, False
        return was_missing

    def takes_check(self, now: float, jitter: float) -> bool:
        """Tell whether a check is to be sent now, and plan the next one.

        Args:
            jitter: a random number from 0 to 1; it makes 0.8 to 1.2 intervals.
        """
        if not self._asking or now < self._next_check_at:
            return False
        self._next_check_at = now + CHECK_EVERY_S * (0.8 + 0.4 * jitter)
        return True

    def takes_keepalive(self, now: float) -> bool:
        """Tell whether a lite agent is to send a keepalive now, and plan the next one.

        Spec: RFC 8445 §11.
        """
        if self._asking or now < self._next_check_at:
            return False
        self._next_check_at = now + KEEPALIVE_EVERY_S
        return True

    def turns_missing(self, now: float) -> bool:
        """Tell, once, that the peer has fallen silent."""
        if self.missing or not self.counts or now < self._given_at + DISCONNECTED_S:
            return False
        self.missing = True
        return True

    def expired(self, now: float) -> bool:
        """Tell whether nothing may be sent any more."""
        return self.counts and now >= self._given_at + EXPIRES_S

    def deadline(self) -> float:
        """Return when one of these turns true next."""
        if not self.counts:
            return self._next_check_at
        silence_at = self._given_at + (EXPIRES_S if self.missing else DISCONNECTED_S)
        return min(self._next_check_at, silence_at)
