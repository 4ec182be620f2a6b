"""Playback volume: 3 dB steps, saturating, adjustable while playing."""

import numpy as np

from vb.codecs.resample import to_pcm
from vb.media.frames import Pcm

VOLUME_MIN = -8
VOLUME_MAX = 8


def gain_of(volume: int) -> float:
    """Return the linear gain of a volume step.

    Raises:
        ValueError: ``volume`` is outside -8..8.
    """
    if not VOLUME_MIN <= volume <= VOLUME_MAX:
        raise ValueError(f"volume must be between {VOLUME_MIN} and {VOLUME_MAX}")
    return float(10.0 ** (0.15 * volume))


class Gain:
    """Scales frames by the current volume; a change ramps over one frame, so it does not click."""

    __slots__ = ("_current", "_target", "_volume")

    def __init__(self, volume: int = 0) -> None:
        self._volume = volume
        self._target = self._current = gain_of(volume)

    @property
    def volume(self) -> int:
        """The volume step in force, -8..8."""
        return self._volume

    @volume.setter
    def volume(self, volume: int) -> None:
        self._target = gain_of(volume)
        self._volume = volume

    def apply(self, frame: Pcm) -> Pcm:
        """Return ``frame`` scaled and clamped to 16 bits; the frame itself when the gain is one."""
        if self._current != self._target:
            steps = np.linspace(self._current, self._target, frame.size, dtype=np.float32)
            self._current = self._target
            scaled = frame.astype(np.float32) * steps
        elif self._current == 1.0:
            return frame
        else:
            scaled = frame.astype(np.float32) * np.float32(self._current)
        return to_pcm(scaled)
