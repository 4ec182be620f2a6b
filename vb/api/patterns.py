"""Regular expressions from clients: RE2, which takes time linear in the text, whatever the expression.

Python's own engine backtracks, so one hostile expression could hold up every call. What cannot be done in
linear time, look-around and back-references, RE2 refuses.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import re2

MAX_PATTERN_CHARS: Final = 256
MAX_TEXT_CHARS: Final = 256
MAX_PROGRAM: Final = 1250
"""Most instructions of an expression, so that the longest text takes some 2 ms; any class of Unicode fits."""
_MAX_MEMORY_BYTES: Final = 65_536
_VERDICTS: Final = 256
# RE2 in C++ has one escape more than other implementations: half a character.  Not one that \Q quotes.
_QUOTED_OR_ESCAPED: Final = re.compile(r"\\Q.*?(?:\\E|$)|\\[^CQ]", re.DOTALL)


class PatternError(ValueError):
    """The expression is malformed or asks for more than RE2 has."""


class Pattern:
    """A compiled expression.

    Args:
        expression: in the syntax of RE2.

    Raises:
        PatternError: the expression is malformed, too large or beyond RE2.
    """

    def __init__(self, expression: str) -> None:
        self._compiled = _compile(expression)
        # The texts of events are few and come again and again.
        self._verdict = lru_cache(_VERDICTS)(self._search)

    def search(self, text: str) -> bool:
        """Say whether the expression matches anywhere in the first MAX_TEXT_CHARS characters."""
        return self._verdict(text[:MAX_TEXT_CHARS])

    def _search(self, text: str) -> bool:
        return self._compiled.search(text.encode("utf-8", "replace")) is not None


def _compile(expression: str) -> re2._Regexp:
    if len(expression) > MAX_PATTERN_CHARS:
        raise PatternError(f"expression longer than {MAX_PATTERN_CHARS} characters")
    if "\\C" in _QUOTED_OR_ESCAPED.sub("", expression):
        raise PatternError("invalid escape sequence: \\C")
    options = re2.Options()
    options.max_mem, options.never_capture, options.log_errors = _MAX_MEMORY_BYTES, True, False
    try:
        compiled = re2.compile(expression, options)
    except UnicodeEncodeError:
        raise PatternError("half of a surrogate pair") from None
    except re2.error as error:
        reason = error.args[0]
        raise PatternError(
            reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        ) from None
    if compiled.programsize > MAX_PROGRAM:
        raise PatternError("expression too large")
    return compiled
