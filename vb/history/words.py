"""What can be searched for: the words of a call, cut the same way for both databases and for queries.

Databases disagree about what a word is, so they are given words that are cut already, and match whole words
only. Parties are also found by how they begin, numbers by how they end as well: those beginnings and ends
are words of their own. A search is therefore always a few look-ups of whole words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

MAX_WORD_CHARS: Final = 40
MAX_WORDS: Final = 4096
"""Of one call."""
MIN_BEGINNING: Final = 3
MAX_BEGINNING: Final = 15
MIN_END: Final = 4
MAX_TEXT_CHARS: Final = 400_000
"""What is read of one text."""

_SIGNS: Final = "\u19b0-\u19c0\u19c8\u19c9\u1cf2\u1cf3"
"""Vowels and tones that FTS5 knows as marks, from a time when Unicode did: it finds no word that has them."""
_RUN: Final = re.compile(rf"[^\W_{_SIGNS}]+")
_ALONE: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
"""Scripts that put no space between words: each of their characters counts as a word."""


def _plain(text: str) -> str:
    """Return text without case and accents."""
    if text.isascii():
        return text.lower()
    # Capitals that have a shape of their own, as in mathematics, are letters only once they are taken apart.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(char for char in folded if not unicodedata.combining(char))


def split_words(text: str) -> Iterator[str]:
    """Cut text into words without case, accents and punctuation; long ones are shortened."""
    plain = _plain(text[:MAX_TEXT_CHARS])
    for run in _RUN.findall(_ALONE.sub(r" \g<0> ", plain)):
        yield run[:MAX_WORD_CHARS]


def with_parts(word: str) -> Iterator[str]:
    """Give a word, how it begins, and how it ends if it is a number."""
    yield word
    for length in range(MIN_BEGINNING, min(len(word), MAX_BEGINNING + 1)):
        yield word[:length]
    if word.isdecimal():
        for length in range(MIN_END, min(len(word), MAX_BEGINNING + 1)):
            yield word[-length:]


def words_of(names: Iterable[str], texts: Iterable[str]) -> str:
    """Return the words of a call in a fixed order, each once.

    Args:
        names: parties, which are found by parts of their words too.
        texts: everything else.
    """
    found: dict[str, None] = {}
    for name in names:
        for word in split_words(name):
            found.update(dict.fromkeys(with_parts(word)))
    for text in texts:
        if len(found) >= MAX_WORDS:
            break
        found.update(dict.fromkeys(split_words(text)))
    return " ".join(sorted(list(found)[:MAX_WORDS]))
