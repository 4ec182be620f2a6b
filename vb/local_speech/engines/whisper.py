"""Whisper by CTranslate2, fed with as much of its window as there is speech.

The model was trained on windows of 30 s, and its encoder costs what its input is long. It bears shorter
ones if they end in enough emptiness; with less of it, it says its last words again and again.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm
from vb.local_speech.choosing import language_of
from vb.local_speech.engines.base import EngineFailed, Written
from vb.local_speech.mel import BANDS, log_mel

_WINDOW_FRAMES: Final = 3000
_LEAST_FRAMES: Final = 500
_EMPTY_FRAMES: Final = 300
_TOKENS_PER_S: Final = 8
_TOKENS_MORE: Final = 24
_LEAST_SAMPLES: Final = 1600
"""Nobody says a word in less than 100 ms."""
_REPEATED: Final = 2.4
"""Text that compresses better than this says one thing again and again."""
_NO_SPEECH: Final = 0.6
_UNSURE: Final = -1.0


def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of a token stands for: itself if it can be printed, else moved up."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(moved)}


_BYTES: Final = _byte_letters()


def text_of(tokens: list[str]) -> str:
    """Return the text of tokens, special ones left out."""
    raw = bytearray()
    for token in tokens:
        if not (token.startswith("<|") and token.endswith("|>")):
            raw += bytes(_BYTES[letter] for letter in token if letter in _BYTES)
    return raw.decode(errors="ignore").strip()


def _repeats(text: str) -> bool:
    raw = text.encode()
    return len(raw) > 40 and len(raw) / len(zlib.compress(raw)) > _REPEATED


class Whisper:
    """A Whisper model in CTranslate2's format.

    Args:
        folder: of the model.

    Raises:
        EngineFailed: it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        import ctranslate2

        self._storage: Any = ctranslate2.StorageView
        try:
            self._model: Any = ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
            )
        except (RuntimeError, ValueError) as exc:
            raise EngineFailed(f"the model in {folder.name} cannot be loaded: {exc}") from None
        self._bands = int(getattr(self._model, "n_mels", BANDS))
        if self._bands != BANDS:
            raise EngineFailed(f"the model in {folder.name} reads {self._bands} bands, not {BANDS}")
        self._any_language = bool(self._model.is_multilingual)

    def listen(self, pcm: Pcm, language: str) -> Written:
        """Return the words of an utterance; what is no speech has none."""
        if len(pcm) < _LEAST_SAMPLES:
            return Written("", 0.0)
        picture = log_mel(pcm)[:, :_WINDOW_FRAMES]
        columns = picture.shape[1]
        written = self._read(picture, max(_LEAST_FRAMES, columns + _EMPTY_FRAMES), language)
        if _repeats(written.text):
            written = self._read(picture, _WINDOW_FRAMES, language)
        return Written("", 0.0) if _repeats(written.text) else written

    def _read(self, picture: NDArray[np.float32], columns: int, language: str) -> Written:
        columns = min(_WINDOW_FRAMES, columns + columns % 2)
        # Emptiness is zeros here, and not silence in the samples, which reads as something quiet.
        window = np.zeros((1, BANDS, columns), np.float32)
        window[0, :, : picture.shape[1]] = picture[:, :columns]
        found = self._model.generate(
            self._storage.from_array(window),
            [self._prompt(language)],
            beam_size=1,
            max_length=_TOKENS_MORE + picture.shape[1] * _TOKENS_PER_S // 100,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        score = float(found.scores[0])
        if found.no_speech_prob > _NO_SPEECH and score < _UNSURE:
            return Written("", 0.0)
        return Written(text_of(found.sequences[0]), min(1.0, math.exp(score)))

    def _prompt(self, language: str) -> list[str]:
        start = ["<|startoftranscript|>"]
        if self._any_language:
            start += [f"<|{language_of(language) or 'en'}|>", "<|transcribe|>"]
        return [*start, "<|notimestamps|>"]
