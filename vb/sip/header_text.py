"""Text of a client that may go into a header line."""

from __future__ import annotations

import re
from typing import Final

from vb.sip.errors import SipTargetError

MAX_VALUE_CHARS: Final = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def plain_problem(text: str) -> str | None:
    """Return why text may not go into a header, None when it may."""
    if _CONTROL.search(text) is not None:
        return "has control characters"
    if len(text) > MAX_VALUE_CHARS:
        return "is too long"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not valid text"
    return None


def check_plain(text: str, field: str) -> str:
    """Return text that may go into a header.

    Args:
        text: what a client wrote.
        field: what the client calls it.

    Raises:
        SipTargetError: it would break the line, is too long, or cannot be written in UTF-8.
    """
    problem = plain_problem(text)
    if problem is not None:
        raise SipTargetError(f"{field}: {problem}")
    return text
