"""Finding the SDP of a message: plain bodies and multipart bodies.  Spec: RFC 5621, RFC 2046 §5.1."""

from __future__ import annotations

from contextlib import suppress

from vb.sip.errors import SipParseError
from vb.sip.headers import media_type, parse_params, unquote
from vb.sip.message import Message

SDP_TYPE = "application/sdp"
MAX_PARTS = 32
MAX_DEPTH = 4
"""How many multipart bodies may stand inside each other."""


class UnsupportedBody(SipParseError):
    """A body of a type or encoding that vb does not take; answered 415."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=415)


def sdp_of(message: Message) -> bytes | None:
    """Return the session description in a message, None when it carries no body that matters.

    Raises:
        UnsupportedBody: if the body is of another type or encoded, and not marked optional.
        SipParseError: if a multipart body cannot be taken apart.
    """
    if not message.body:
        return None
    first = message.headers.first
    content_type = first.get("content-type") or ""
    optional = "content-disposition" in first and _is_optional(first["content-disposition"])
    encoding = first.get("content-encoding")
    if encoding and encoding.strip().lower() != "identity":
        if optional:
            return None
        raise UnsupportedBody("encoded body")
    kind = media_type(content_type)
    if kind == SDP_TYPE:
        return message.body
    if kind.startswith("multipart/"):
        found = _sdp_part(content_type, message.body)
        if found is not None:
            return found
    if optional:
        return None
    raise UnsupportedBody(f"body of type {kind or 'unknown'}")


def readable_sdp(message: Message) -> bytes | None:
    """Return the SDP of an answer; None if there is none that can be read."""
    try:
        return sdp_of(message)
    except SipParseError:
        return None


def unsupported_body_headers(error: SipParseError) -> list[tuple[str, str]]:
    """Return what a 415 must say.  Spec: RFC 3261 §8.2.3."""
    if error.status != 415:
        return []
    return [("Accept", "application/sdp, multipart/mixed"), ("Accept-Encoding", "identity")]


def _is_optional(disposition: str) -> bool:
    try:
        params = parse_params(disposition[disposition.index(";") :] if ";" in disposition else "")
    except SipParseError:
        return False
    return (params.get("handling") or "").lower() == "optional"


def _sdp_part(content_type: str, body: bytes, depth: int = 1) -> bytes | None:
    """Return the first session description among the parts, and those of multipart parts (RFC 5621 §3)."""
    params = parse_params(content_type[content_type.index(";") :] if ";" in content_type else "")
    boundary = unquote(params.get("boundary") or "").encode()
    if not 0 < len(boundary) <= 70:
        raise SipParseError("multipart body without a usable boundary")
    delimiter = b"\r\n--" + boundary
    sections = (b"\r\n" + body).split(delimiter, MAX_PARTS + 1)[1:]
    for section in sections:
        if section.startswith(b"--"):
            return None
        head, _, content = section.partition(b"\r\n\r\n")
        text = _content_type(head)
        kind = media_type(text)
        if kind == SDP_TYPE:
            return content
        if kind.startswith("multipart/") and depth < MAX_DEPTH:
            with suppress(SipParseError):  # nobody may need what cannot be taken apart
                if (found := _sdp_part(text, content, depth + 1)) is not None:
                    return found
    return None


def _content_type(head: bytes) -> str:
    """Return the first Content-Type of a part: were each one tried, few bytes would cost hours."""
    # Without part headers the section starts with two line ends: its content is plain text.
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-type":
            return value.decode("latin-1").strip()
    return ""
