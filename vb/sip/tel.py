"""Telephone numbers as URIs, and the same numbers at a gateway.  Spec: RFC 3966, RFC 3261 §19.1.6."""

from __future__ import annotations

import re
from typing import Final

from vb.sip.uri import SipUri, escape_user

MAX_CHARS: Final = 256
_TEL = re.compile(
    r"tel:(?P<number>\+[0-9().-]*[0-9][0-9().-]*|[0-9A-Fa-f*#().-]*[0-9A-Fa-f*#][0-9A-Fa-f*#().-]*)"
    r"(?P<params>(?:;[A-Za-z0-9-]+(?:=[A-Za-z0-9\-_.!~*'()%\[\]/:&+$]+)?)*)",
    re.IGNORECASE,
)
_SEPARATORS = str.maketrans("", "", "().-")


def tel_number(uri: str) -> str | None:
    """Return the number of a tel URI without what only makes it readable, None if it is no tel URI."""
    match = _TEL.fullmatch(uri) if len(uri) <= MAX_CHARS else None
    return None if match is None else match["number"].translate(_SEPARATORS)


def at_gateway(number: str, gateway: SipUri) -> SipUri:
    """Return the SIP URI of a number at a gateway."""
    return SipUri("sip", escape_user(number), gateway.host, gateway.port, (("user", "phone"),))
