"""A turn model: whether somebody who has paused has finished, by how the last seconds sounded.

An ONNX file with one input and one output. The input is float32, and either what Smart Turn v3 takes, the
log-mel picture of the last eight seconds as Whisper draws it, (1, 80, 800), or the samples themselves,
(1, n), 16 kHz, -1 to 1. Shorter audio has silence before it. The output's first number is the probability
that the turn is over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import EngineFailed
from vb.local_speech.engines.onnx import open_session
from vb.local_speech.mel import BANDS, picture
from vb.local_speech.segments import RATE_HZ

TURN_S: Final = 8
"""What is listened to of a turn: its end."""
TURN_SAMPLES: Final = TURN_S * RATE_HZ
_VARIANCE_FLOOR: Final = 1e-7


class SmartTurn:
    """The model.

    Args:
        model: its ONNX file.

    Raises:
        EngineFailed: it cannot be loaded, or takes something else.
    """

    def __init__(self, model: Path) -> None:
        self._session = open_session(model)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) not in (2, 3):
            raise EngineFailed(f"{model.name} is no turn model: one float input of 80 bands, or of samples")
        self._input = str(inputs[0].name)
        self._takes_picture = len(inputs[0].shape) == 3

    def judge(self, pcm: Pcm) -> float:
        """Return the probability that a turn is over which ends in this audio, at 16 kHz.

        Raises:
            EngineFailed: the model cannot work with it.
        """
        sound = pcm[-TURN_SAMPLES:].astype(np.float32) / np.float32(32768)
        sound = np.pad(sound, (TURN_SAMPLES - sound.size, 0))
        if self._takes_picture:
            even = (sound - sound.mean()) / np.sqrt(sound.var() + np.float32(_VARIANCE_FLOOR))
            given = picture(even.astype(np.float32))[None, :BANDS]
        else:
            given = sound[None]
        try:
            answer = np.asarray(self._session.run(None, {self._input: given})[0], np.float32).ravel()
        except Exception as exc:  # its errors have no common base
            raise EngineFailed(f"the turn model failed: {exc}") from None
        if not answer.size or not np.isfinite(answer[0]):
            raise EngineFailed("the turn model's answer is no number")
        return float(answer[0])
