"""Cutting text into pieces that are spoken one after the other, while the rest may still be on its way."""

from __future__ import annotations

import re
from typing import Final

MAX_PIECE: Final = 160
"""Longest piece in characters: about ten seconds of speech, half a sentence of a contract."""
FIRST_PIECE: Final = 90
"""The same for the first of an utterance, because somebody waits for it."""

_END: Final = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)|\n\s*")
_CLAUSE: Final = re.compile(r"[,;:—–](?=\s)")
_TITLES: Final = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "no", "inc", "ltd", "e.g", "i.e"}
)
_LEAST_CLAUSE: Final = 20
"""A clause shorter than this is not spoken by itself: it would sound clipped."""


def _ends(text: str, end: re.Match[str]) -> bool:
    """Return whether a sentence ends here: not after a title or an initial, nor before a lower-case word."""
    if "\n" in end[0]:
        return True
    if not end[0].startswith(".") or len(end[0].rstrip("\"'”’)]")) > 1:
        return True
    word = text[: end.start()].rpartition(" ")[2].lstrip("(\"'“‘")
    following = text[end.end() :].lstrip()
    return not (
        word.lower() in _TITLES
        or (len(word) == 1 and word.isalpha() and word.isupper())
        or following[:1].islower()
    )


class Sentences:
    """The pieces of one utterance, cut as soon as they are certain."""

    def __init__(self) -> None:
        self._rest = ""
        self._first = True

    def feed(self, text: str) -> list[str]:
        """Take more text and return the pieces that are complete."""
        self._rest += text
        pieces: list[str] = []
        while (cut := self._sentence_end()) is not None:
            pieces += self._pieces(self._rest[:cut])
            self._rest = self._rest[cut:].lstrip()
        return pieces

    def end(self) -> list[str]:
        """Return the pieces of what is left: the text is complete."""
        pieces = self.feed("\n")
        left, self._rest = self._rest, ""
        return pieces + self._pieces(left)

    def _sentence_end(self) -> int | None:
        for end in _END.finditer(self._rest):
            # What follows decides whether an abbreviation ends a sentence, so it must be there.
            if "\n" not in end[0] and not self._rest[end.end() :].strip() and not self._rest.endswith("\n"):
                return None
            if _ends(self._rest, end):
                return end.end()
        return None

    def _pieces(self, sentence: str) -> list[str]:
        pieces: list[str] = []
        rest = sentence.strip()
        while rest:
            limit = FIRST_PIECE if self._first else MAX_PIECE
            cut = len(rest) if len(rest) <= limit else _cut(rest, limit)
            piece, rest = rest[:cut].strip(), rest[cut:].strip()
            if any(letter.isalnum() for letter in piece):
                pieces.append(piece)
                self._first = False
        return pieces


def _cut(text: str, limit: int) -> int:
    """Return where to cut text that is too long: after a clause, else between words, else anywhere."""
    clauses = [found.end() for found in _CLAUSE.finditer(text, 0, limit)]
    if clauses and clauses[-1] >= _LEAST_CLAUSE:
        return clauses[-1]
    space = text.rfind(" ", _LEAST_CLAUSE, limit)
    return space if space > 0 else limit
