"""How much each application may call out: at a time, a second and a day."""

from __future__ import annotations

import math
from typing import Final

from vb.errors import TooManyRequests
from vb.limits.rate import RateLimit

DAY_S: Final = 86_400.0
MAX_APPLICATIONS: Final = 10_000
"""Applications that are remembered; those without calls and minutes today make way."""


class Allowance:
    """The outgoing calls of every application, counted by app id.

    Args:
        max_calls: calls at a time.
        max_calls_per_second: new calls a second.
        max_minutes: answered minutes of a day (UTC); calls that are up count as they go on, and are not cut.
            0 means no cap, for each of the three.
    """

    def __init__(self, max_calls: int = 0, max_calls_per_second: int = 0, max_minutes: int = 0) -> None:
        self._max_calls = max_calls
        self._per_second = max_calls_per_second
        self._max_s = max_minutes * 60.0
        self._usages: dict[str, _Usage] = {}

    def __len__(self) -> int:
        return len(self._usages)

    def open(self, app_id: str | None, now: float, wall: float) -> Ticket:
        """Count a call that is about to be placed.

        Args:
            app_id: whose it is; calls without one share one allowance.
            now: monotonic seconds.
            wall: seconds since the epoch.

        Raises:
            TooManyRequests: a cap is reached; nothing was counted.
        """
        if not (self._max_calls or self._per_second or self._max_s):
            return Ticket(None)
        usage = self._usage(app_id or "", now, wall)
        if self._max_calls and usage.calls >= self._max_calls:
            raise TooManyRequests(f"the application has {usage.calls} calls already", retry_after_s=5)
        if self._max_s and usage.used_s(now) >= self._max_s:
            left_s = math.ceil(DAY_S - wall % DAY_S)
            raise TooManyRequests("the application's minutes of today are used up", retry_after_s=left_s)
        if not usage.rate.take(now):
            raise TooManyRequests("the application makes too many calls a second", retry_after_s=1)
        usage.calls += 1
        return Ticket(usage)

    def _usage(self, app_id: str, now: float, wall: float) -> _Usage:
        usage = self._usages.get(app_id)
        if usage is None:
            if len(self._usages) >= MAX_APPLICATIONS:
                self._make_room(now, wall)
            usage = self._usages[app_id] = _Usage(self._per_second)
        usage.enter_day(now, wall)
        return usage

    def _make_room(self, now: float, wall: float) -> None:
        for app_id, usage in list(self._usages.items()):
            usage.enter_day(now, wall)
            if not usage.calls and (not self._max_s or usage.used_s(now) == 0.0):
                del self._usages[app_id]
        if len(self._usages) >= MAX_APPLICATIONS:
            raise TooManyRequests("too many applications have called today", retry_after_s=60)


class _Usage:
    """What one application has used.

    Calls that are up are kept as a number and the sum of their starts, so that what they have used is known
    without looking at each.
    """

    def __init__(self, per_second: int) -> None:
        self.calls = 0
        self.rate = RateLimit(per_second)
        self._day = -1
        self._began_at = -math.inf
        self._finished_s = 0.0
        self._answered = 0
        self._sum_of_starts = 0.0

    def enter_day(self, now: float, wall: float) -> None:
        """Start anew if a day has begun since the last time: calls that are up count from midnight on."""
        day = int(wall // DAY_S)
        if day > self._day:  # a clock that is set back gives nobody his minutes again
            self._day = day
            self._began_at = now - wall % DAY_S
            self._finished_s = 0.0
            self._sum_of_starts = self._answered * self._began_at

    def used_s(self, now: float) -> float:
        """Return the answered seconds of today."""
        return self._finished_s + self._answered * now - self._sum_of_starts

    def answered(self, now: float) -> None:
        """A call is up."""
        self._answered += 1
        self._sum_of_starts += now

    def finished(self, answered_at: float, now: float) -> None:
        """A call that was up has ended."""
        start = max(answered_at, self._began_at)
        self._answered -= 1
        self._sum_of_starts -= start
        self._finished_s += now - start


class Ticket:
    """One counted call.

    Args:
        usage: where it counts; None where nothing is capped.
    """

    def __init__(self, usage: _Usage | None) -> None:
        self._usage = usage
        self._answered_at: float | None = None

    def answered(self, now: float, wall: float) -> None:
        """The call is up.

        Args:
            now: monotonic seconds.
            wall: seconds since the epoch.
        """
        if self._usage is not None and self._answered_at is None:
            self._answered_at = now
            self._usage.enter_day(now, wall)
            self._usage.answered(now)

    def close(self, now: float, wall: float) -> None:
        """The call is over; any number of times.

        Args:
            now: monotonic seconds.
            wall: seconds since the epoch.
        """
        usage, self._usage = self._usage, None
        if usage is None:
            return
        usage.enter_day(now, wall)
        usage.calls -= 1
        if self._answered_at is not None:
            usage.finished(self._answered_at, now)
