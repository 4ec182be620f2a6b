"""Speech recognition in which each tone is a word: what is heard can be told from the audio alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

RATE_HZ = 16_000
WINDOW_MS = 20
_WINDOW = RATE_HZ * WINDOW_MS // 1000
WORDS = {
    400: "alpha",
    550: "bravo",
    700: "charlie",
    850: "delta",
    1000: "echo",
    1150: "foxtrot",
    1300: "golf",
    1450: "hotel",
}
"""The word for each tone in Hz."""
_LOUD = 600.0
_SURE_WINDOWS = 3
"""A word is heard when its tone has sounded for so many windows in a row."""


def tone_of(window: np.ndarray) -> int:
    """The known tone that a window holds, 0 for none."""
    samples = window.astype(np.float64)
    if np.sqrt(np.mean(samples * samples)) < _LOUD:
        return 0
    steps = np.arange(samples.size) / RATE_HZ
    found = {hz: abs(np.dot(samples, np.exp(-2j * np.pi * hz * steps))) for hz in WORDS}
    best = max(found, key=lambda hz: found[hz])
    share = 2 * found[best] / (samples.size * np.sqrt(np.mean(samples * samples)) * np.sqrt(2))
    return best if share > 0.7 else 0


@dataclass
class Utterance:
    """What was said between two pauses, up to now."""

    words: list[str] = field(default_factory=list)
    start_ms: int = 0
    end_ms: int = 0

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(self.words)


class WordEngine:
    """Turns tones into words.

    Args:
        pause_ms: silence that ends an utterance.
    """

    def __init__(self, pause_ms: int = 200) -> None:
        self.samples = 0
        self.current = Utterance()
        self._pause_windows = pause_ms // WINDOW_MS
        self._rest = np.zeros(0, np.int16)
        self._tone = 0
        self._row = 0
        self._said = 0
        self._silent = 0

    @property
    def position_ms(self) -> int:
        """How much audio was heard."""
        return self.samples * 1000 // RATE_HZ

    def hear(self, pcm: bytes) -> tuple[bool, list[Utterance]]:
        """Takes audio; tells whether the current utterance has got more words, and which have ended."""
        self._rest = np.concatenate([self._rest, np.frombuffer(pcm, "<i2")])
        before, ended = len(self.current.words), []
        while self._rest.size >= _WINDOW:
            window, self._rest = self._rest[:_WINDOW], self._rest[_WINDOW:]
            self.samples += _WINDOW
            self._look(tone_of(window))
            if self.current.words and self._silent >= self._pause_windows:
                ended.append(self.commit())
                before = 0
        return len(self.current.words) > before, ended

    def _look(self, tone: int) -> None:
        self._silent = 0 if tone else self._silent + 1
        self._row = self._row + 1 if tone == self._tone else 1
        self._tone = tone
        if not tone:
            if self._silent >= 2:
                self._said = 0
        elif self._row >= _SURE_WINDOWS and tone != self._said:
            if not self.current.words:
                self.current.start_ms = self.position_ms - _SURE_WINDOWS * WINDOW_MS
            self._said = tone
            self.current.words.append(WORDS[tone])
        if tone and self.current.words:
            self.current.end_ms = self.position_ms

    def commit(self) -> Utterance:
        """Ends the current utterance, which may be empty."""
        ended, self.current = self.current, Utterance()
        return ended
