"""What a scenario expects: patterns for JSON values, and the difference that fails it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


class Difference(Exception):
    """The first thing that was not as expected; ends its scenario."""

    def __init__(self, where: str, expected: object, got: object) -> None:
        super().__init__(f"{where}: expected {expected!r}, got {got!r}")
        self.where = where
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True)
class Matcher:
    """A named predicate that stands in a pattern where no exact value can be given."""

    name: str
    accepts: Callable[[object], bool]

    def __repr__(self) -> str:
        return f"<{self.name}>"


_ABSENT_MARK = object()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


ANY = Matcher("anything", lambda value: value is not _ABSENT_MARK)
ABSENT = Matcher("no such key", lambda value: value is _ABSENT_MARK)
NUMBER = Matcher("a number", _is_number)
TEXT = Matcher("non-empty string", lambda value: isinstance(value, str) and value != "")


def regex(pattern: str) -> Matcher:
    """Matches a string that fits ``pattern`` from end to end."""
    compiled = re.compile(pattern, re.DOTALL)
    return Matcher(
        f"text like {pattern}", lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None
    )


def one_of(*values: object) -> Matcher:
    """Matches any of ``values``; types count, so ``True`` is not ``1``."""
    return Matcher(
        " or ".join(map(repr, values)),
        lambda value: any(type(v) is type(value) and v == value for v in values),
    )


def between(low: float, high: float) -> Matcher:
    """Matches a JSON number within the closed range."""

    def accepts(value: object) -> bool:
        return _is_number(value) and isinstance(value, int | float) and low <= value <= high

    return Matcher(f"{low}..{high}", accepts)


def containing(*parts: str) -> Matcher:
    """Matches a string that contains every one of ``parts``."""
    return Matcher(
        f"text with {', '.join(parts)}",
        lambda value: isinstance(value, str) and all(p in value for p in parts),
    )


UUID = regex(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")
PLAYBACK_ID = regex(r"pb-[0-9a-f]{8}")
TTS_ID = regex(r"tts-[0-9a-f]{8}")


def check(where: str, got: object, expected: object) -> None:
    """Compares a JSON value with a pattern.

    A mapping needs every key of the pattern and may have more; a list needs the same length.

    Raises:
        Difference: at the first place that differs.
    """
    if isinstance(expected, Matcher):
        if not expected.accepts(got):
            raise Difference(where, expected, "nothing" if got is _ABSENT_MARK else got)
    elif isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            raise Difference(where, expected, got)
        for key, pattern in expected.items():
            value = got.get(key, _ABSENT_MARK)
            if value is _ABSENT_MARK and not isinstance(pattern, Matcher):
                raise Difference(f"{where}.{key}", pattern, f"no such key in {dict(got)!r}")
            check(f"{where}.{key}", value, pattern)
    elif isinstance(expected, Sequence) and not isinstance(expected, str | bytes):
        if not isinstance(got, Sequence) or isinstance(got, str | bytes) or len(got) != len(expected):
            raise Difference(where, expected, got)
        for index, pattern in enumerate(expected):
            check(f"{where}[{index}]", got[index], pattern)
    elif _is_number(expected) and _is_number(got):
        if got != expected:
            raise Difference(where, expected, got)
    elif type(got) is not type(expected) or got != expected:
        raise Difference(where, expected, got)


def require(condition: bool, where: str, expected: object, got: object) -> None:
    """Raises `Difference` unless ``condition`` holds."""
    if not condition:
        raise Difference(where, expected, got)
