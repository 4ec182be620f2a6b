"""Whisper by CTranslate2, fed with as much of its window as there is speech.

The model was trained on windows of 30 s, and its encoder costs what its input is long. In a shorter one that
ends in enough emptiness it hears the same words, but may go on and say them again. So what repeats itself
faster than anybody speaks is cut, and what stays in doubt is read in the whole window.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm
from vb.local_speech.choosing import language_of
from vb.local_speech.engines.base import EngineFailed, Written
from vb.local_speech.mel import BANDS, log_mel

_WINDOW_FRAMES: Final = 3000
"""What the model reads at most, in frames of 10 ms."""
_LEAST_FRAMES: Final = 500
_EMPTY_FRAMES: Final = 300
"""Part of a window takes less time. The model was trained on whole ones: at least so much, so much empty."""
_TOKENS_PER_S: Final = 6
_TOKENS_MORE: Final = 12
"""Nobody says more than this in an utterance; who says everything twice is stopped by it."""
_MAX_TOKENS: Final = 220
"""What the model can write at most."""
_LEAST_SAMPLES: Final = 1600
"""Nobody says a word in less than 100 ms."""
_AROUND_S: Final = 0.6
"""Silence around the words of an utterance."""
_FAST_TOKENS_PER_S: Final = 5.5
"""Nobody repeats themselves faster."""
_ENDS: Final = frozenset(".?!")
_REPEATED: Final = 2.4
"""Text that compresses better than this says one thing again and again."""
_NO_SPEECH: Final = 0.6
_UNSURE: Final = -1.0
"""More likely no speech than this, and words with a lower mean log probability than this, are no words."""


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


def period_of(tokens: list[str]) -> int | None:
    """Return after how many tokens a text begins again, if it does: whole sentences, letter by letter."""
    tokens = [token.lower() for token in tokens]
    for period in range(2, len(tokens)):
        if tokens[period - 1][-1:] in _ENDS and tokens[period:] == tokens[:-period]:
            return period
    return None


def _repeats(text: str) -> bool:
    raw = text.encode()
    return len(raw) > 40 and len(raw) / len(zlib.compress(raw)) > _REPEATED


@dataclass(frozen=True, slots=True)
class _Read:
    """What the model has written, how sure it is of each token, and whether it has heard nobody."""

    tokens: list[str]
    score: float
    no_speech: float


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
        limit = min(_MAX_TOKENS, _TOKENS_MORE + columns * _TOKENS_PER_S // 100)
        read = self._read(picture, max(_LEAST_FRAMES, columns + _EMPTY_FRAMES), limit, language)
        period = period_of(read.tokens)
        if period is not None and len(read.tokens) > _FAST_TOKENS_PER_S * max(0.3, columns / 100 - _AROUND_S):
            read = _Read(read.tokens[:period], read.score, read.no_speech)
        elif period is not None or len(read.tokens) >= limit:
            read = self._read(picture, _WINDOW_FRAMES, _MAX_TOKENS, language)
        text = text_of(read.tokens)
        if _repeats(text) or (read.no_speech > _NO_SPEECH and read.score < _UNSURE):
            return Written("", 0.0)
        return Written(text, min(1.0, math.exp(read.score)))

    def _read(self, picture: NDArray[np.float32], columns: int, limit: int, language: str) -> _Read:
        columns = min(_WINDOW_FRAMES, columns + columns % 2)
        # Emptiness is zeros here, and not silence in the samples, which reads as something quiet.
        window = np.zeros((1, BANDS, columns), np.float32)
        window[0, :, : picture.shape[1]] = picture[:, :columns]
        prompt = self._prompt(language)
        found = self._model.generate(
            self._storage.from_array(window),
            [prompt],
            beam_size=1,
            max_length=limit + len(prompt),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        return _Read(list(found.sequences[0]), float(found.scores[0]), float(found.no_speech_prob))

    def _prompt(self, language: str) -> list[str]:
        start = ["<|startoftranscript|>"]
        if self._any_language:
            start += [f"<|{language_of(language) or 'en'}|>", "<|transcribe|>"]
        return [*start, "<|notimestamps|>"]
