"""What every codec shares: the PCM array type, the codec error and the fade that hides lost audio."""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]
"""Mono audio, native byte order, one row per stream where there is a second axis."""

FADE_MS = 60
"""Lost audio is covered for this long; after that a listener is better served by silence."""


VOICED_RMS = 300.0
"""Root mean square from which on 20 ms count as somebody's voice, about −41 dBFS."""


def pcm_bytes(pcm: Pcm) -> bytes:
    """Return samples as they go onto a wire: 16 bit, little-endian."""
    return pcm.astype("<i2", copy=False).tobytes()


def level_of(pcm: Pcm) -> float:
    """Return the root of the mean square of some samples."""
    samples = pcm.astype(np.float32)
    return math.sqrt(float(samples.dot(samples)) / max(1, pcm.size))


def levels_of(frames: Pcm) -> list[float]:
    """Return the same of each of some frames, (frames, samples)."""
    samples = frames.astype(np.float32)
    levels: list[float] = np.sqrt(np.einsum("ij,ij->i", samples, samples) / max(1, frames.shape[1])).tolist()
    return levels


class CodecError(Exception):
    """A payload cannot be decoded, or a codec refused its input; the stream itself stays usable."""


class FadingConcealer:
    """Covers a gap by repeating the last audio, fading to silence within `FADE_MS`.

    Codecs without loss concealment of their own use it. The repetition runs through the last frame backwards
    and forwards in turn, so that there is no step at its seams.
    """

    def __init__(self, rate_hz: int) -> None:
        self._fade_samples = rate_hz * FADE_MS // 1000
        self._last: Pcm = np.zeros(0, np.int16)
        self._concealed_samples = 0

    def remember(self, pcm: Pcm) -> None:
        """Take note of decoded audio, which ends a gap."""
        if pcm.size:
            self._last = pcm
            self._concealed_samples = 0

    def conceal(self, samples: int) -> Pcm:
        """Return the next `samples` of the gap, silence once the fade has run out."""
        start = self._concealed_samples
        self._concealed_samples = min(start + samples, self._fade_samples)
        if not self._last.size or start >= self._fade_samples:
            return np.zeros(samples, np.int16)
        position = np.arange(start, start + samples)
        gain = np.maximum(0.0, 1.0 - (position + 1) / self._fade_samples)
        period = np.concatenate((self._last[::-1], self._last))
        faded: Pcm = (period[position % period.size] * gain).astype(np.int16)
        return faded
