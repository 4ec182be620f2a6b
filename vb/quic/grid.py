"""Moments at which a listener looks at its connections and its socket: many share one turn of the loop."""

from __future__ import annotations

import math
from typing import Final

from vb.beat import BEAT_S, next_multiple

GRID_S: Final = BEAT_S / 5
"""Between two of them: a fifth of a frame of audio, and little beside the delay of ACKs."""


def grid_from(moment: float) -> float:
    """Return the first of them that is not before a moment."""
    return next_multiple(moment, GRID_S)


def grid_after(moment: float) -> float:
    """Return the first of them that is after a moment."""
    return (math.floor(moment / GRID_S) + 1) * GRID_S
