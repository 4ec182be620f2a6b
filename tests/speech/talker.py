"""Speech-like audio without a synthesiser: pulses of a voice through the resonances of vowels, in syllables.

It is no language, but it has what detectors of speech stumble over: gaps between words, hissing consonants
that are soft, a pitch that wanders, and resonances that pass through the frequencies of beeps.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from bench.amd_samples import LINE_HZ, Audio, silence

# The first three formants of vowels in Hz (Peterson and Barney 1952).
VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
BANDWIDTHS_HZ = (60, 90, 150)


class Talker:
    """Somebody who talks, the same each time.

    Args:
        seed: who, and what is said.
        pitch_hz: of the voice.
    """

    def __init__(self, seed: int, pitch_hz: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._pitch_hz = pitch_hz

    def say(self, *words: int) -> Audio:
        """Speak words of so many syllables with short gaps between them."""
        parts = []
        for syllables in words:
            parts += [self._syllable() for _ in range(syllables)]
            parts.append(silence(int(self._rng.integers(40, 110))))
        return np.concatenate(parts[:-1])

    def _syllable(self) -> Audio:
        consonant = self._hiss(int(self._rng.integers(30, 70)))
        return np.concatenate((consonant, self._vowel(int(self._rng.integers(90, 190)))))

    def _hiss(self, ms: int) -> Audio:
        noise = self._rng.normal(0, 0.03, LINE_HZ * ms // 1000)
        high = signal.butter(2, 1800, "highpass", fs=LINE_HZ, output="sos")
        return np.asarray(signal.sosfilt(high, noise) * np.hanning(noise.size), np.float64)

    def _vowel(self, ms: int) -> Audio:
        size = LINE_HZ * ms // 1000
        glide = np.linspace(1.08, 0.92, size) * self._rng.uniform(0.9, 1.15)
        phase = np.cumsum(self._pitch_hz * glide / LINE_HZ)
        voice = np.diff(np.floor(phase), prepend=0.0) + self._rng.normal(0, 0.01, size)  # pulses and breath
        formants_hz = VOWELS_HZ[int(self._rng.integers(len(VOWELS_HZ)))]
        for hz, width_hz in zip(formants_hz, BANDWIDTHS_HZ, strict=True):
            radius = float(np.exp(-np.pi * width_hz / LINE_HZ))
            turn = float(np.cos(2 * np.pi * hz / LINE_HZ))
            voice = np.asarray(signal.lfilter([1.0], [1.0, -2 * radius * turn, radius**2], voice))
        rising, falling = np.arange(size) / 160, (size - np.arange(size)) / 320
        envelope = np.minimum(1.0, np.minimum(rising, falling)) * self._rng.uniform(0.6, 1.0)
        return np.asarray(voice * envelope / np.abs(voice).max(), np.float64)
