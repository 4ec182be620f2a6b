"""Whom to call, as callers of the API write it.  Spec: RFC 3261 §8.1.1, §8.1.2."""

from __future__ import annotations

from dataclasses import replace

from vb.sip.errors import SipParseError, SipTargetError
from vb.sip.header_text import check_plain
from vb.sip.headers import parse_name_addr, quote
from vb.sip.uri import SipUri, parse_uri

_NOT_IN_TO = {"transport", "lr", "maddr", "ttl", "method"}


def dial_target(text: str) -> tuple[SipUri, str]:
    """Return the URI to dial and the value of To.

    Args:
        text: a SIP URI, or a name-addr around one.

    Raises:
        SipTargetError: if it is neither, or cannot stand in a header.
    """
    check_plain(text, "to")
    display = None
    try:
        if "<" in text:
            address = parse_name_addr(text)
            text, display = address.uri, address.display
        uri = parse_uri(text.strip())
    except SipParseError:
        raise SipTargetError(f"to: {text!r} is not a SIP URI") from None
    params = tuple(item for item in uri.params if item[0] not in _NOT_IN_TO)
    shown = SipUri(uri.scheme, uri.user, uri.host, uri.port, params)
    prefix = "" if display is None else f"{quote(display)} "
    return uri, f"{prefix}<{shown}>"


def proxy_route(text: str) -> SipUri:
    """Return the URI of a proxy as it stands in a preloaded Route: loose.

    Raises:
        SipTargetError: if it is not a SIP URI.
    """
    try:
        uri = parse_uri(text.strip().removeprefix("<").removesuffix(">"))
    except SipParseError:
        raise SipTargetError(f"outbound_proxy: {text!r} is not a SIP URI") from None
    params = uri.params if uri.is_loose_router else (*uri.params, ("lr", None))
    return replace(uri, params=params, headers=None)
