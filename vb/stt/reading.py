"""What codecs have in common: times, messages that may be anything, words about failures."""

from __future__ import annotations

from collections.abc import Callable

from vb.providers.failure import FailureCategory
from vb.providers.reading import NONSENSE, ODD, category_of_close, closing_words, number_of, shown_words
from vb.stt.base import Failed, Read


def to_ms(seconds: object) -> int | None:
    """Return seconds as whole milliseconds, None where there are none.

    Raises:
        TypeError: it is of another type.
        ValueError: no session is as long as that.
    """
    return None if seconds is None else max(0, round(number_of(number_of(seconds) * 1000)))


def read_safely(provider: str, read: Callable[[], list[Read]]) -> list[Read]:
    """Return what a message says; one that is not as it should be is a failure of the provider."""
    try:
        return read()
    except ODD:
        return [Failed("retryable", f"{provider}: {NONSENSE}")]


def failed(provider: str, key: str, category: FailureCategory, words: object) -> Failed:
    """Return a failure in the provider's words."""
    return Failed(category, shown_words(provider, key, words))


def judge_close(provider: str, key: str, code: int, reason: str) -> Failed:
    """Return what a close code means that the provider's own documents say nothing else of."""
    return failed(provider, key, category_of_close(code), closing_words(code, reason))
