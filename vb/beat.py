"""The beat of the media, and timers on it: arithmetic on moments of the loop's clock.

Ticks are at whole multiples of `BEAT_S`. To wake a process up costs much, and what it does then finds its
caches cold, as does the next tick: so what need not be done at an exact moment is done right after a tick,
with what everybody else has to do then.
"""

from __future__ import annotations

from math import ceil, inf
from typing import Final

BEAT_S: Final = 0.02
_BEHIND_S: Final = 0.0002
"""So long behind a beat its tick is under way, and deadlines that pass meanwhile are met when it is over."""
_SOON_S: Final = 0.1


def next_multiple(moment: float, step_s: float) -> float:
    """Return the first whole multiple of a step that is not before a moment, not by rounding either."""
    return max(moment, ceil(moment / step_s) * step_s)


def beat_from(moment: float) -> float:
    """Return the first beat that is not before a moment."""
    return next_multiple(moment, BEAT_S)


def after_beat(moment: float) -> float:
    """Return when the tick of the first beat that is not before a moment has begun; never for never."""
    return moment if moment == inf else beat_from(moment) + _BEHIND_S


def at_leisure(moment: float, now: float) -> float:
    """Return when to do what is due at a moment: then, if that is soon, else after the next beat."""
    return moment if moment < now + _SOON_S else after_beat(moment)
