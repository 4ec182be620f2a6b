"""Whether a frame holds speech of the user, judged by how loud it is against what is usual."""

from __future__ import annotations

from typing import Final

import numpy as np

from vb.codecs.pcm import VOICED_RMS, Pcm

_RISE: Final = 1.001
_FALL: Final = 0.9
_ABOVE_FLOOR: Final = 3.0
_WHILE_SPEAKING: Final = 1.6
"""How much louder the user must be while the agent speaks, whose echo may come back."""


class VoiceActivity:
    """One user's voice: a threshold that follows the noise floor.

    The floor falls quickly and rises slowly, so that speech does not become the floor of itself.
    """

    def __init__(self) -> None:
        self._floor = VOICED_RMS / _ABOVE_FLOOR

    def judge(self, frame: Pcm, *, agent_speaks: bool) -> bool:
        """Return whether a frame of 20 ms is voiced."""
        samples = frame.astype(np.float32)
        rms = float(np.sqrt(np.dot(samples, samples) / max(1, frame.size)))
        self._floor = min(self._floor * _RISE, rms) if rms > self._floor else self._floor * _FALL + rms * 0.1
        self._floor = min(max(self._floor, 10.0), 2000.0)
        threshold = max(VOICED_RMS, self._floor * _ABOVE_FLOOR)
        return rms > threshold * (_WHILE_SPEAKING if agent_speaks else 1.0)
