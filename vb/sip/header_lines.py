"""Which damage in a header section a message survives: a line that nobody needs is left out.

What decides where a message goes, which dialog it belongs to or where its body ends has to be readable, for
another element on the way may have read it another way. Everything else is as if it were not there.

Spec: RFC 3261 §8.2.2, §16.3.
"""

from __future__ import annotations

import re
from typing import Final

from vb.sip.errors import SipParseError
from vb.sip.message import Headers, Message, Request, header_key

_TOKEN_CHAR = r"[A-Za-z0-9\-.!%*_+`'~]"
_HEADER = re.compile(rf"({_TOKEN_CHAR}++)[ \t]*+:[ \t]*+([^\r\n]*+)")
_NOT_TOKEN = re.compile(rf"(?!{_TOKEN_CHAR}).", re.DOTALL)
_LINE_PART = re.compile(r"[^\r\n]+")
_FIRST_WORD = re.compile(rf"{_TOKEN_CHAR}+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_STRAY_CONTROL: Final = re.compile(rf"(?<!\\){_CONTROL.pattern}")

DECIDING: Final = frozenset(
    {
        "via",
        "from",
        "to",
        "call-id",
        "cseq",
        "contact",
        "route",
        "record-route",
        "content-length",
        "content-type",
        "content-encoding",
        "require",
        "replaces",
    }
)
"""Headers that have to be readable in every message that has them."""

_SINGLE: Final = ("from", "to", "call-id", "cseq", "content-length", "content-type")
_SINGLE_IN: Final = {
    "event": ("NOTIFY", "SUBSCRIBE"),
    "refer-to": ("REFER",),
    "replaces": ("INVITE",),
}
"""Headers that only these requests are read for."""
_SINGLE_OR_NONE: Final = ("max-forwards", "expires", "session-expires", "min-se", "content-disposition")
"""Headers that are as good as absent where they contradict themselves."""

_DELTA = re.compile(r"[ \t]*+[0-9]{1,32}[ \t]*+")
_MAX_HOPS: Final = 255


def has_stray_control(text: str) -> bool:
    """Whether a control character stands where it may not: anywhere but behind a backslash (quoted-pair).

    Nearly every text has none at all. To look behind every character for a backslash takes ten times as long
    as to find that out.
    """
    return _CONTROL.search(text) is not None and _STRAY_CONTROL.search(text) is not None


def read_damaged(message: Message, text: str) -> None:
    """Take the lines that can be read, each on its own, and leave out those that nobody needs.

    Args:
        message: gets the headers, and the count of lines left out.
        text: unfolded lines, each with its line end.

    Raises:
        SipParseError: one of the damaged lines may be a header that decides something. The message has the
            headers that could be read, so that it can be answered.
    """
    pairs: list[tuple[str, str]] = []
    fault: SipParseError | None = None
    for line in text.split("\r\n")[:-1]:
        match = _HEADER.fullmatch(line)
        is_clean = not has_stray_control(line)
        if match is not None and (is_clean or header_key(match[1]) in DECIDING):
            pairs.append((match[1], match[2].rstrip(" \t")))
        if match is not None and is_clean:
            continue
        if _may_decide(line):
            fault = SipParseError("bad header line" if is_clean else "control character in a header")
        else:
            message.ignored_lines += 1
    message.headers = Headers(pairs)
    if fault is not None:
        raise fault


def _may_decide(line: str) -> bool:
    """Tell whether a line is a header that decides something, however it is damaged.

    A bare CR or LF begins a line for some, so what stands behind it counts as well.
    """
    for part in _LINE_PART.findall(line):
        before, colon, _ = part.partition(":")
        if colon and header_key(_NOT_TOKEN.sub("", before)) in DECIDING:
            return True
        word = _FIRST_WORD.search(part)
        if word is not None and word[0].lower() in DECIDING:
            return True
    return False


def check_single(message: Message) -> None:
    """Check what may occur once only; a header that decides nothing and says two things is left out.

    Raises:
        SipParseError: a header that decides something occurs twice.
    """
    headers = message.headers
    keys = headers.keys()
    method = message.method if isinstance(message, Request) else ""
    for name in _SINGLE:
        if keys.count(name) > 1:
            raise SipParseError(f"{name} occurs more than once")
    for name, methods in _SINGLE_IN.items():
        if method in methods and keys.count(name) > 1:
            raise SipParseError(f"{name} occurs more than once")
    for name in _SINGLE_OR_NONE:
        values = headers.get_all(name)
        if len(values) > 1:
            message.ignored_lines += len(values) - (len(set(values)) == 1)
            headers.remove(name)
            if len(set(values)) == 1:
                headers.add(name, values[0])


def drop_unreadable_limits(message: Message) -> None:
    """Leave out a Max-Forwards or Expires that is no number: to the end of the route neither is vital."""
    hops = message.headers.get("Max-Forwards")
    if hops is not None and (_DELTA.fullmatch(hops) is None or int(hops) > _MAX_HOPS):
        _leave_out(message, "Max-Forwards")
    expires = message.headers.get("Expires")
    if expires is not None and _DELTA.fullmatch(expires) is None:
        _leave_out(message, "Expires")


def _leave_out(message: Message, name: str) -> None:
    message.headers.remove(name)
    message.ignored_lines += 1
