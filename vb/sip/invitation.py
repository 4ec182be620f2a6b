"""How long a caller lets its INVITE wait for an answer.  Spec: RFC 3261 §13.3.1, §20.19."""

from __future__ import annotations

import re
from typing import Final

from vb.sip.message import Request

_DELTA = re.compile(r"[ \t]*+0*+([0-9]{0,10})[ \t]*+")
MAX_PATIENCE_S: Final = 86_400
"""Nobody rings for a day: a longer time is as good as none."""


def patience_of(invite: Request) -> float | None:
    """Return the seconds that Expires gives for a final response, None if there is no limit to keep."""
    match = _DELTA.fullmatch(invite.headers.get("Expires") or "x")
    if match is None:
        return None
    seconds = int(match[1] or "0")
    return float(seconds) if seconds <= MAX_PATIENCE_S else None
