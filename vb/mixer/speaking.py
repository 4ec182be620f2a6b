"""Who speaks: voiced and silent frames counted for all legs at once, and told only when that changes.

A leg starts to speak with three voiced frames in a row and stops with fifteen silent ones. A tick in which
nothing arrived is silence for the end of speech, but does not break off its beginning: jitter must not hide
a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import VOICED_RMS
from vb.mixer.frames import Mix, Pcm, Slots
from vb.rtp.masks import every, some, true_places

START_FRAMES: Final = 3
STOP_FRAMES: Final = 15

Tell = Callable[[int, bool], None]
"""Gets a slot and whether it speaks now; must not wait."""


class Speaking:
    """The state of all legs, as columns by slot.

    Args:
        capacity: number of slots.
        tell: hears of each change.
    """

    def __init__(self, capacity: int, tell: Tell) -> None:
        self._tell = tell
        self._watched = np.zeros(capacity, np.bool_)
        self._speaking = np.zeros(capacity, np.bool_)
        self._voiced_run = np.zeros(capacity, np.uint8)
        self._silent_run = np.zeros(capacity, np.uint8)
        self._count = 0
        self._changed: list[tuple[int, bool]] = []

    @property
    def active(self) -> bool:
        """Whether any leg is watched."""
        return self._count > 0

    def watch(self, slot: int, wanted: bool) -> None:
        """Start or stop to watch a leg; one that is no longer watched has stopped speaking at once."""
        if wanted == bool(self._watched[slot]):
            return
        self._count += 1 if wanted else -1
        spoke = bool(self._speaking[slot])
        self._watched[slot] = wanted
        self._speaking[slot] = False
        self._voiced_run[slot] = self._silent_run[slot] = 0
        if spoke:
            self._tell(slot, False)

    def hear(self, slots: Slots, frames: Pcm | Mix, arrived: NDArray[np.bool_]) -> None:
        """Take one tick of some legs.

        Args:
            slots: (n,) legs, none twice.
            frames: (n, samples) what they say, at their own rate.
            arrived: (n,) whether any of it was received, and not made up to cover a gap.
        """
        watched = self._watched[slots]
        if not every(watched):
            rows = true_places(watched)
            if not rows.size:
                return
            slots, frames, arrived = slots[rows], frames[rows], arrived[rows]
        samples = frames.astype(np.float64)
        voiced = np.einsum("ij,ij->i", samples, samples) >= VOICED_RMS**2 * frames.shape[1]
        voiced &= arrived
        self._step(slots, voiced, arrived)

    def _step(self, slots: Slots, voiced: NDArray[np.bool_], arrived: NDArray[np.bool_]) -> None:
        speaking = self._speaking[slots]
        silent_run = np.minimum(self._silent_run[slots] + np.uint8(1), np.uint8(STOP_FRAMES))
        silent_run[voiced] = 0
        over = silent_run == STOP_FRAMES
        voiced_run = np.minimum(self._voiced_run[slots] + voiced, START_FRAMES).astype(np.uint8)
        voiced_run[(arrived & ~voiced) | over] = 0
        changed = np.where(speaking, over, voiced_run == START_FRAMES)
        self._silent_run[slots] = silent_run
        self._voiced_run[slots] = voiced_run
        if some(changed):
            rows = true_places(changed)
            self._speaking[slots[rows]] = ~speaking[rows]
            self._changed += zip(slots[rows].tolist(), (~speaking[rows]).tolist(), strict=True)

    def tell_changes(self) -> None:
        """Pass on what this tick changed, at most one change for each leg."""
        if not self._changed:
            return
        changed, self._changed = self._changed, []
        for slot, speaking in changed:
            if self._watched[slot] and bool(self._speaking[slot]) == speaking:
                self._tell(slot, speaking)
