"""Digits in INFO requests, as many gateways send them.

There is no standard: `application/dtmf-relay` has lines `Signal=5` and `Duration=160`, `application/dtmf` is
the bare digit.
"""

from __future__ import annotations

import re

_SIGNAL = re.compile(rb"(?im)^[ \t]*signal[ \t]*=[ \t]*([0-9A-D*#])[ \t]*\r?$")
_BARE = re.compile(rb"\s*([0-9A-Da-d*#])\s*")
_CODES = "0123456789*#ABCD"


def info_digit(content_type: str, body: bytes) -> str | None:
    """Return the digit of an INFO body in upper case, or None when it has none."""
    kind = content_type.lower()
    if kind == "application/dtmf-relay":
        found = _SIGNAL.search(body)
    elif kind == "application/dtmf":
        if body.strip().isdigit() and 10 <= int(body.strip()[:3]) < len(_CODES):
            return _CODES[int(body.strip()[:3])]
        found = _BARE.fullmatch(body)
    else:
        return None
    return found[1].decode().upper() if found else None
