"""How much of a text was heard when its audio was cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_WORD: Final = re.compile(r"\S+\s*")
_LETTER_MS: Final = 60
"""How long a letter takes, while the voice has not come to the end of the text."""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A part of a text and when it has been heard, counted from the first sample of its stretch."""

    text: str
    end_ms: int


@dataclass(slots=True)
class Stretch:
    """A piece of an answer, as a voice was given it.

    Attributes:
        text: the piece.
        begin: where in the answer it stands.
        start_ms: when its first sample is heard, counted from the first one of the answer.
        made_ms: how much audio of it has come.
        done: whether that is all of it.
        marks: when its words are heard, as far as the voice tells.
    """

    text: str
    begin: int = 0
    start_ms: int = 0
    made_ms: int = 0
    done: bool = False
    marks: list[SpokenWord] = field(default_factory=list)

    def heard_chars(self, played_ms: int) -> int:
        """Return how many characters were heard, in whole words, once so much of it was played."""
        if played_ms <= 0:
            return 0
        if self.done and played_ms >= self.made_ms:
            return len(self.text)
        return self._by_marks(played_ms) if self.marks else self._by_letters(played_ms)

    def _by_marks(self, played_ms: int) -> int:
        at = start_ms = 0
        for mark in self.marks:
            words = mark.text.strip()
            found = self.text.find(words, at)
            if words and found >= 0:
                if mark.end_ms > played_ms:  # of one word nothing is left then, but a mark may span many
                    part = _whole_words(words, (played_ms - start_ms) / (mark.end_ms - start_ms))
                    at = found + part if part else at
                    break
                at = found + len(words)
            start_ms = mark.end_ms
            if start_ms > played_ms:
                break
        while 0 < at < len(self.text) and not self.text[at].isspace():
            at += 1  # what stands behind a word without a space belongs to it
        return at

    def _by_letters(self, played_ms: int) -> int:
        """Take the voice to go through the letters evenly, which is right to a word or so."""
        whole_ms = self.made_ms if self.done else max(self.made_ms, len(self.text) * _LETTER_MS)
        return _whole_words(self.text, played_ms / whole_ms)


def _whole_words(text: str, share: float) -> int:
    """Return the length of the whole words in a part of a text."""
    limit, kept = len(text) * share, 0
    for word in _WORD.finditer(text):
        if word.end() > limit + 1:
            break
        kept = word.end()
    return len(text[:kept].rstrip())


def heard_until(stretches: Sequence[Stretch], played_ms: int) -> int:
    """Return up to which character an answer was heard, once so much of it was played."""
    until = 0
    for stretch in stretches:
        heard = stretch.heard_chars(played_ms - stretch.start_ms) if stretch.made_ms else 0
        if heard:
            until = stretch.begin + heard
    return until
