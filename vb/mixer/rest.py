"""A thread with real-time priority rests by itself, so that the kernel never makes it.

Linux keeps a twentieth of each second for everybody else. A real-time thread that wants all of a core is
stopped once a second for 50 ms at a stretch (sched(7), `sched_rt_runtime_us`): two ticks late. So while the
process is that busy, it rests after each tick, also when the next one is late: two milliseconds add less.
"""

from __future__ import annotations

from typing import Final

REST_S: Final = 0.002
"""A tenth of a tick, as some of the kernel's second has passed before it is known that rests are needed."""
_BUSY: Final = 0.8
"""Share of a core from which rests are taken; lower than what is left with them, so that they go on."""
_WINDOW_S: Final = 0.1


class Rest:
    """Says how long to rest after a tick.

    Args:
        now: monotonic time.
        used_s: CPU time of the thread so far.
    """

    def __init__(self, now: float, used_s: float) -> None:
        self._begun = now
        self._used_s = used_s
        self._is_busy = False

    def after_tick(self, now: float, used_s: float) -> float:
        """Return for how many seconds to rest, mostly none.

        Args:
            now: monotonic time.
            used_s: CPU time of the thread so far.
        """
        span_s = now - self._begun
        if span_s >= _WINDOW_S:
            self._is_busy = used_s - self._used_s >= _BUSY * span_s
            self._begun, self._used_s = now, used_s
        return REST_S if self._is_busy else 0.0
