"""Audio for detectors: 16 kHz, in frames of 320 samples."""

from __future__ import annotations

import numpy as np

from vb.codecs.pcm import Pcm
from vb.speech.amd import AmdAnalyser, AmdBeep, AmdVerdict
from vb.speech.amd_parameters import AmdParameters

FRAME = 320


def level(rms: float, frames: int = 1) -> Pcm:
    """A square wave, whose RMS is its amplitude exactly."""
    return np.resize(np.array([rms, -rms], np.int16), FRAME * frames)


def voice(ms: int) -> Pcm:
    """Loud and not tonal: a square wave of 8 kHz."""
    return level(2000, ms // 20)


def silence(ms: int) -> Pcm:
    return np.zeros(FRAME * (ms // 20), np.int16)


def tone(hz: float, ms: int, amplitude: float = 8000) -> Pcm:
    time = np.arange(FRAME * (ms // 20)) / 16000
    return np.rint(amplitude * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def analyse(*parts: Pcm, **limits: int) -> list[AmdVerdict | AmdBeep]:
    """Run a whole analysis; `limits` are AmdParameters' public names."""
    analyser = AmdAnalyser(AmdParameters.from_request(limits), now=0.0)
    return analyser.feed(np.concatenate(parts))
