"""PocketSphinx: small, and right about little more than short plain sentences."""

from __future__ import annotations

import math
from typing import Any, Final

from vb.codecs.pcm import Pcm, pcm_bytes
from vb.local_speech.engines.base import EngineFailed, Written

_MARKS: Final = "<["


class Sphinx:
    """The decoder with the model of its package.

    Raises:
        EngineFailed: it cannot be loaded.
    """

    def __init__(self) -> None:
        import pocketsphinx

        try:
            self._decoder: Any = pocketsphinx.Decoder(samprate=16_000.0, loglevel="FATAL")
        except RuntimeError as exc:
            raise EngineFailed(f"PocketSphinx cannot be loaded: {exc}") from None

    def listen(self, pcm: Pcm, language: str) -> Written:
        """Return the words of an utterance."""
        decoder = self._decoder
        decoder.start_utt()
        decoder.process_raw(pcm_bytes(pcm), no_search=False, full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        if found is None:
            return Written("", 0.0)
        words = [word for word in found.hypstr.split() if word[0] not in _MARKS]
        # Logarithms of probabilities add up over frames; the mean says how well they fit.
        score = float(found.prob) if found.prob <= 0 else -1.0
        return Written(" ".join(words), min(1.0, math.exp(score / max(1, len(pcm) // 160))))
