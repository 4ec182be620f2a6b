"""What a report of the network quotes of a message of ours.  Spec: RFC 792, RFC 4443 §3.1."""

from __future__ import annotations

import re
from typing import Final

from vb.sip.hop import TransactionKey

_REQUEST: Final = re.compile(rb"([A-Z]++) [^\r\n]*+\r\nVia: [^\r\n]*?;branch=([0-9A-Za-z]++)[;\r]", re.ASCII)
"""As we write requests; the rest may be missing."""


def quoted_key(quoted: bytes) -> TransactionKey | None:
    """Return the client transaction of a request of ours of which these are the first bytes.

    Returns:
        None when they are too few to tell, or those of something else.
    """
    found = _REQUEST.match(quoted)
    return None if found is None else (found[2].decode().lower(), found[1].decode())
