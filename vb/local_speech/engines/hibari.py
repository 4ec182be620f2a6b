"""The voices of hibari-tts: one of them lies in its package, the others are fetched by `vb models fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import EngineFailed

PACKAGED: Final = "heart"
_SEED: Final = 1
"""What the breath in a voice is made of: the same, so that a text sounds the same each time."""


class Hibari:
    """One voice.

    Args:
        name: of the voice.
        model: its file; None for the one of the package.

    Raises:
        EngineFailed: it cannot be loaded.
    """

    def __init__(self, name: str, model: Path | None) -> None:
        import hibari

        try:
            # With a file it never looks for one by itself, and so never downloads.
            self._voice: Any = hibari.Hibari(voice=name, model=str(model) if model else None)
            self._voice("Hi.")  # loads the dictionary, too
        except Exception as exc:  # whatever its runtime makes of a damaged file
            raise EngineFailed(f"the voice {name} cannot be loaded: {exc}") from None

    def speak(self, text: str) -> tuple[int, Pcm]:
        """Return rate and samples of a piece of text."""
        sound = np.clip(self._voice(text, seed=_SEED), -1, 1)
        return int(self._voice.sample_rate), (sound * 32767).astype(np.int16)
