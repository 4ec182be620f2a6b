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
# A `#` has to be escaped in a URI (RFC 3986 §3.5), and some escape `+` and `*` as well.
_ESCAPED = re.compile(r"%(2[0-9A-Fa-f]|3[0-9])")
_SEPARATORS = str.maketrans("", "", "().-")


def tel_number(uri: str) -> str | None:
    """Return the number of a tel URI without what only makes it readable, None if it is no tel URI."""
    if len(uri) > MAX_CHARS:
        return None
    if "%" in uri:
        number, semicolon, params = uri.partition(";")
        uri = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), number) + semicolon + params
    match = _TEL.fullmatch(uri)
    return None if match is None else match["number"].translate(_SEPARATORS)


def at_gateway(number: str, gateway: SipUri) -> SipUri:
    """Return the SIP URI of a number at a gateway."""
    return SipUri("sip", escape_user(number), gateway.host, gateway.port, (("user", "phone"),))
