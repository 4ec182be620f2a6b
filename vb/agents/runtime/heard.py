"""How much of a text was heard when its audio was cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_WORD: Final = re.compile(r"\S+\s*")


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A part of a text and when it has been heard, counted from the first sample of its turn."""

    text: str
    end_ms: int


def heard_text(text: str, spoken: Sequence[SpokenWord], played_ms: int, made_ms: int) -> str:
    """Return the words of a text that were heard whole.

    Args:
        text: all of it.
        spoken: when its parts are heard, as far as the voice tells.
        played_ms: how much audio was heard.
        made_ms: how much there was altogether.
    """
    if played_ms <= 0:
        return ""
    if spoken:
        return " ".join(" ".join(part.text for part in spoken if part.end_ms <= played_ms).split())
    if made_ms <= 0 or played_ms >= made_ms:
        return text.strip()
    # Without marks the voice is taken to go through the letters evenly: right to a word or so.
    limit, kept = len(text) * played_ms / made_ms, 0
    for word in _WORD.finditer(text):
        if word.end() > limit + 1:
            break
        kept = word.end()
    return text[:kept].strip()
