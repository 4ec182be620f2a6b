"""A limit on how often something may happen."""

from __future__ import annotations


class RateLimit:
    """A token bucket: `per_second` on average, as many at once.

    Args:
        per_second: 0 never refuses.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._tokens = float(per_second)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one; returns False when there is none left."""
        if not self._per_second:
            return True
        if self._at is not None:
            self._tokens = min(float(self._per_second), self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
