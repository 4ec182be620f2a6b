"""Texts that are too long for one request, cut where a speaker would breathe."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_BORDERS: Final = (
    re.compile(r"\n\s*\n\s*"),
    re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])"),
    re.compile(r"(?<=[,;:，、；])\s*|(?<!\s)\s++[–—-]\s+"),
    re.compile(r"\s+"),
)
"""Where a text may be cut, the best places first: paragraphs, sentences, clauses, words."""


def split_text(text: str, limit: int, measure: Callable[[str], int] = len) -> list[str]:
    """Return a text in pieces that are spoken one after the other, none of them empty.

    Args:
        text: what is to be spoken.
        limit: longest piece.
        measure: length of a piece; it grows with every character.
    """
    pieces = []
    rest = text.strip()
    while rest:
        end = _longest(rest, limit, measure)
        if end < len(rest):
            end = _cut(rest, end)
        piece = rest[:end].strip()
        if piece:
            pieces.append(piece)
        rest = rest[end:].lstrip()
    return pieces


def _longest(text: str, limit: int, measure: Callable[[str], int]) -> int:
    """Return how many characters of a text fit, at least one."""
    if measure(text) <= limit:
        return len(text)
    low, high = 1, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(text: str, end: int) -> int:
    """Return the best place to cut in the second half of what fits; its end where there is none."""
    for border in _BORDERS:
        ends = [min(match.end(), end) for match in border.finditer(text[: end + 1])]
        if ends and ends[-1] > end // 2:
            return ends[-1]
    return end
