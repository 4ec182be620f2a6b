"""Digits in INFO requests, as many phones and gateways send them.

There is no standard. `application/dtmf-relay` has lines `Signal=5` and `Duration=160`, `application/dtmf` is
the bare digit, and Nortel's type has a line `d=5`. A key is written as itself or as the code of its
telephone-event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_CODES: Final = "0123456789*#ABCD"
_KEY = r"(?P<key>[0-9]{1,2}|[A-D*#])"
_LINE = re.compile(
    rf'(?:^|\r)[ \t]*+(?:signal|d)[ \t]*+[=:][ \t]*+(?:digits[ \t]*+=[ \t]*+)?"?{_KEY}"?(?=[\s;,]|\Z)',
    re.IGNORECASE | re.MULTILINE,
)
_BARE = re.compile(rf"\s*+{_KEY}\s*+", re.IGNORECASE)
_DURATION = re.compile(
    r"(?:^|[\r;,])[ \t]*+duration[ \t]*+[=:][ \t]*+([0-9]{1,5})(?=[\s;,]|\Z)", re.IGNORECASE | re.MULTILINE
)
_LINED: Final = frozenset({"application/dtmf-relay", "application/vnd.nortelnetworks.digits"})
_BARED: Final = frozenset({"application/dtmf", "audio/telephone-event"})
_MAX_BYTES: Final = 1024
RELAY_TYPE: Final = "application/dtmf-relay"
DURATION_MS: Final = 160


@dataclass(frozen=True, slots=True)
class InfoDigit:
    """A key press: the digit in upper case, and how long the key was down, 0 where that is not said."""

    digit: str
    duration_ms: int = 0


def read_digit(content_type: str, body: bytes) -> InfoDigit | None:
    """Return the key press of an INFO body, None when it has none.

    Args:
        content_type: type and subtype, in any case.
        body: what came; a body in lines is taken for a bare digit where it has no such line, and the other
            way round.
    """
    kind = content_type.lower()
    if (kind not in _LINED and kind not in _BARED) or len(body) > _MAX_BYTES:
        return None
    text = body.decode("latin-1").replace("\0", " ")  # some count the end of a C string in
    found = _LINE.search(text) or _BARE.fullmatch(text)
    if found is None:
        return None
    key = found["key"].upper()
    if key.isdigit():
        if int(key) >= len(_CODES):
            return None  # 16 is the hook flash
        key = _CODES[int(key)]
    duration = _DURATION.search(text)
    return InfoDigit(key, int(duration[1]) if duration is not None else 0)


def relay_body(digit: str) -> bytes:
    """Return the body of an INFO that tells a key press."""
    return f"Signal={digit}\r\nDuration={DURATION_MS}\r\n".encode()
