"""Who an outgoing call says it is from, and which headers a client of vb may add to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vb.sip.errors import HeaderRefused, SipParseError, SipTargetError
from vb.sip.header_text import check_plain, plain_problem
from vb.sip.headers import parse_name_addr, quote
from vb.sip.message import header_key
from vb.sip.uri import SipUri, bracketed, escape_user, parse_uri

_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_TEL = re.compile(r"tel:\+?[0-9A-Fa-f*#().-]+(?:;[A-Za-z0-9\-=+.]+)*", re.IGNORECASE)
_PRIVACY_VALUE = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+(?:[ \t]*;[ \t]*[A-Za-z0-9\-.!%*_+`'~]+)*")
_ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
MAX_CUSTOM_HEADERS = 64
MAX_NAME_CHARS = 128
MAX_HEADER_BYTES = 16_384
"""Of all custom headers together: whatever else an INVITE says, it still fits a datagram."""
MAX_PRIVACY_CHARS = 256

# Headers that a dialog, a transaction or the body owns.
_OWNED = frozenset(
    """
    accept accept-encoding accept-language allow authentication-info authorization call-id contact
    content-disposition content-encoding content-length content-type cseq from max-forwards mime-version
    min-se path proxy-authenticate proxy-authorization proxy-require rack record-route replaces require
    retry-after route rseq service-route session-expires supported timestamp to unsupported via warning
    www-authenticate
    """.split()  # noqa: SIM905  # forty quoted names would hide the list
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Header values that name the caller; `from_` has no tag yet."""

    from_: str
    asserted: str | None
    privacy: str | None


def check_custom_headers(headers: Mapping[str, str]) -> None:
    """Check the headers that a client of vb wants in a request or response.

    Raises:
        HeaderRefused: naming the first header that belongs to the dialog or the transport, whose name
            is not a token, or whose value has control characters; or the first that is too long, alone or
            with those before it.
    """
    if len(headers) > MAX_CUSTOM_HEADERS:
        raise HeaderRefused(list(headers)[MAX_CUSTOM_HEADERS], f"is one of more than {MAX_CUSTOM_HEADERS}")
    room = MAX_HEADER_BYTES
    for name, value in headers.items():
        room -= len(name) + len(value.encode("utf-8", "replace"))
        if len(name) > MAX_NAME_CHARS:
            raise HeaderRefused(f"{name[:MAX_NAME_CHARS]}…", "is too long a name")
        if _NAME.fullmatch(name) is None:
            raise HeaderRefused(name, "is not a header name")
        if header_key(name) in _OWNED:
            raise HeaderRefused(name, "is set by the server")
        problem = plain_problem(value)
        if problem is not None:
            raise HeaderRefused(name, problem)
        if room < 0:
            raise HeaderRefused(name, f"is beyond {MAX_HEADER_BYTES} bytes of headers")


def caller_identity(from_: str | None, privacy: str | None, *, host: str, product: str) -> Identity:
    """Work out From, P-Asserted-Identity and Privacy.

    Args:
        from_: a user name or number, a `tel:` or SIP URI, or a name-addr; None = nobody in particular.
        privacy: Privacy value; `id`, `user` and `header` hide the caller in From.
        host: our public host, for identities without one.
        product: user and display name of the default From.

    Raises:
        SipTargetError: if `from_` or `privacy` cannot be used.

    Spec: RFC 3261 §20.20, RFC 3323 §4.2, RFC 3325 §9.1.
    """
    if privacy is not None and len(privacy) > MAX_PRIVACY_CHARS:
        raise SipTargetError("privacy: is too long")
    if privacy is not None and _PRIVACY_VALUE.fullmatch(privacy) is None:
        raise SipTargetError(f"privacy: {privacy!r} is not a Privacy value")
    uri, display = _identity_uri(from_, host)
    asserted = None if uri is None else f"<{uri}>"
    if uri is None:
        from_value = f"{quote(product)} <sip:{escape_user(product)}@{bracketed(host)}>"
    else:
        from_value = f"<{uri}>" if display is None else f"{quote(display)} <{uri}>"
    wishes = {item.strip().lower() for item in (privacy or "").split(";")}
    if wishes & {"id", "user", "header"}:
        from_value = _ANONYMOUS
    return Identity(from_value, asserted, privacy)


def _identity_uri(from_: str | None, host: str) -> tuple[str | None, str | None]:
    """Return URI and display name of the caller."""
    if from_ is None or not from_.strip():
        return None, None
    text = check_plain(from_.strip(), "from")
    if "<" in text:
        try:
            address = parse_name_addr(text)
        except SipParseError:
            raise SipTargetError(f"from: {text!r} is not a name-addr") from None
        return _bare_uri(address.uri, host), address.display
    return _bare_uri(text, host), None


def _bare_uri(text: str, host: str) -> str:
    """Return a URI of user and host only; a user without a host gets ours."""
    if _TEL.fullmatch(text) is not None:
        return f"tel:{text[4:]}"
    if text.lower().startswith(("sip:", "sips:")):
        try:
            uri = parse_uri(text)
        except SipParseError:
            raise SipTargetError(f"from: {text!r} is not a SIP URI") from None
        return str(SipUri(uri.scheme, uri.user, uri.host))
    if re.search(r'[\s<>"]', text) is not None or text.lower().startswith("tel:"):
        raise SipTargetError(f"from: {text!r} is not a user, number or URI")
    user, at, domain = text.rpartition("@")
    if at:
        return _bare_uri(f"sip:{escape_user(user)}@{domain}", host)
    return f"sip:{escape_user(text)}@{bracketed(host)}"
