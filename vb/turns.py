"""How tasks share the loop with the media's tick: long work in steps, and timers on its beat.

Ticks are at whole multiples of `BEAT_S` of the loop's clock. To wake a process up costs much, and what it
does then finds its caches cold, as does the next tick: so what need not be done at an exact moment is done
right after a tick, with what everybody else has to do then.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf
from typing import Final

import trio

TURN_S: Final = 0.001
"""How long steps are taken in a row: a tick that comes due meanwhile is late by this."""
BEAT_S: Final = 0.02
_BEHIND_S: Final = 0.0002
"""So long behind a beat its tick is under way, and deadlines that pass meanwhile are met when it is over."""
_SOON_S: Final = 0.1


async def spread(steps: Iterable[object]) -> None:
    """Take the steps of a generator, and let others run whenever `TURN_S` have passed.

    Cancellation: no further step is taken.
    """
    begun = trio.current_time()
    for _ in steps:
        if trio.current_time() - begun >= TURN_S:
            await trio.lowlevel.checkpoint()
            begun = trio.current_time()


def beat_from(moment: float) -> float:
    """Return the first beat that is not before a moment."""
    return max(moment, ceil(moment / BEAT_S) * BEAT_S)  # not before it by rounding either


def after_beat(moment: float) -> float:
    """Return when the tick of the first beat that is not before a moment has begun; never for never."""
    return moment if moment == inf else beat_from(moment) + _BEHIND_S


def at_leisure(moment: float, now: float) -> float:
    """Return when to do what is due at a moment: then, if that is soon, else after the next beat."""
    return moment if moment < now + _SOON_S else after_beat(moment)
