"""Silero's detector of voice activity, run for many streams at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm
from vb.local_speech.engines.onnx import open_session

_STATE: Final = 128
_CONTEXT_SAMPLES: Final = 64
"""Every frame is judged with the end of the one before it."""
_RATE_HZ: Final = np.array(16_000, np.int64)
MAX_BATCH: Final = 64
"""More rows at a time leave the cache, and are no faster each."""


class Silero:
    """The detector and what it remembers of each row.

    Args:
        model: its ONNX file.
        rows: how many streams there may be.

    Raises:
        EngineFailed: it cannot be loaded.
    """

    def __init__(self, model: Path, rows: int) -> None:
        self._session = open_session(model)
        self._states = np.zeros((2, rows, _STATE), np.float32)
        self._contexts = np.zeros((rows, _CONTEXT_SAMPLES), np.float32)

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Forget the past of some rows."""
        self._states[:, rows] = 0
        self._contexts[rows] = 0

    def judge(self, rows: NDArray[np.intp], frames: Pcm) -> NDArray[np.float32]:
        """Return the probability of speech of one frame of each row."""
        parts = [
            self._judge(rows[start : start + MAX_BATCH], frames[start : start + MAX_BATCH])
            for start in range(0, len(rows), MAX_BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _judge(self, rows: NDArray[np.intp], frames: Pcm) -> NDArray[np.float32]:
        sound = np.concatenate((self._contexts[rows], frames.astype(np.float32) / 32768), axis=1)
        odds, states = self._session.run(
            None, {"input": sound, "state": self._states[:, rows], "sr": _RATE_HZ}
        )
        self._states[:, rows] = states
        self._contexts[rows] = sound[:, -_CONTEXT_SAMPLES:]
        found: NDArray[np.float32] = odds[:, 0]
        return found
