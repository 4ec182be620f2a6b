"""Typed header values, parsed only when they are needed.  Spec: RFC 3261 §20, §25.1."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from vb.sip.errors import SipParseError
from vb.sip.uri import bracketed, parse_host

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
# Blanks are taken possessively: a hostile value must not make the search start over for every one of them.
# What is no parameter takes all the rest for the same reason. Some senders end with a semicolon, or have `=`
# in their values.
_SENT_BY = re.compile(
    rf"[Ss][Ii][Pp]\s*+/\s*+[0-9]++\.[0-9]++\s*+/\s*+({TOKEN}+)\s++"
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?)"
    r"\s*+(?::\s*+([0-9]{1,5}))?\s*+"
)
_PARAM = re.compile(
    rf"\s*+;\s*+({TOKEN}+)\s*+(?:(=)\s*+({_QUOTED}|[^\s;,\"]*+))?\s*+(?:;\s*+\Z)?|(.+)", re.DOTALL
)
_NAME_ADDR = re.compile(
    rf"\s*+(?P<display>{_QUOTED}|[^\"<>]*+)\s*+"
    r"<(?P<uri>(?:[^<>\"]++|\"[^<>\"]*+\")*+)>\s*+(?P<params>;.*)?",
    re.DOTALL,
)
_ADDR_SPEC = re.compile(r"\s*+(?P<uri>[^\s<>\";?,]++)\s*+(?P<params>;.*)?", re.DOTALL)
_URI_SHAPE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_CSEQ = re.compile(rf"([0-9]{{1,20}})\s+({TOKEN})")
_LIST_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|<[^<>]*+>|[^,"<])+')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_REMEMBERED_CHARS = 512
"""Longer values are read anew every time: strangers decide what they are."""


@dataclass(slots=True)
class Via:
    """The topmost Via of a message, which nobody changes.  Spec: RFC 3261 §20.42, RFC 3581 §3 (rport)."""

    transport: str
    host: str
    port: int | None
    params: dict[str, str | None] = field(default_factory=dict)

    @property
    def branch(self) -> str:
        """Branch parameter, empty when absent."""
        return self.params.get("branch") or ""

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {bracketed(self.host)}{port}{format_params(self.params)}"


@dataclass(slots=True)
class NameAddr:
    """Value of From, To, Contact, Route: `"Display" <uri>;params`; the URI stays text. Nobody changes it.

    Attributes:
        tag: tag parameter in lower case, empty when absent: tags are tokens, which no case tells apart
            (RFC 3261 §7.3.1, §19.3).
    """

    uri: str
    display: str | None = None
    params: dict[str, str | None] = field(default_factory=dict)
    tag: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.tag = (self.params.get("tag") or "").lower()

    @property
    def tag_as_written(self) -> str:
        """Tag parameter as its owner writes it, empty when absent."""
        return self.params.get("tag") or ""

    def __str__(self) -> str:
        display = "" if self.display is None else f"{quote(self.display)} "
        return f"{display}<{self.uri}>{format_params(self.params)}"


class CSeq(NamedTuple):
    """Sequence number and method.  Spec: RFC 3261 §8.1.1.5 (below 2**31)."""

    number: int
    method: str


def parse_via(value: str) -> Via:
    """Parse one Via value; what a peer writes before the parameters is the same every time, and remembered.

    Raises:
        SipParseError: and nothing else, for any text.
    """
    text, semicolon, params = value.strip().partition(";")
    sent_by = _sent_by(text) if len(text) <= _REMEMBERED_CHARS else _sent_by.__wrapped__(text)
    if sent_by is None:
        raise SipParseError(f"bad Via: {value[:80]!r}")
    return Via(*sent_by, parse_params(semicolon + params))


@lru_cache(maxsize=1024)
def _sent_by(text: str) -> tuple[str, str, int | None] | None:
    """Return transport, host and port of a Via, None if they cannot be read."""
    match = _SENT_BY.fullmatch(text)
    if match is None:
        return None
    transport, host, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 65536:
        raise SipParseError("Via port out of range")
    return transport.upper(), parse_host(host), port


def parse_name_addr(value: str) -> NameAddr:
    """Parse a name-addr or addr-spec with header parameters.

    Without angle brackets every `;` starts a header parameter (RFC 3261 §20). All messages of a dialog have
    the same From and To, so what is read once is remembered; nobody changes what is returned.

    Raises:
        SipParseError: and nothing else, for any text.
    """
    return _name_addr(value) if len(value) <= _REMEMBERED_CHARS else _name_addr.__wrapped__(value)


@lru_cache(maxsize=256)
def _name_addr(value: str) -> NameAddr:
    match = _NAME_ADDR.fullmatch(value)
    display = None
    if match is not None:
        display = match["display"].rstrip() or None
        if display is not None and display[0] == '"':
            display = _ESCAPED.sub(r"\1", display[1:-1])
    else:
        match = _ADDR_SPEC.fullmatch(value)
    if match is None or _URI_SHAPE.fullmatch(match["uri"]) is None:
        raise SipParseError(f"bad address: {value[:80]!r}")
    return NameAddr(match["uri"], display, parse_params(match["params"] or ""))


def parse_cseq(value: str) -> CSeq:
    """Parse a CSeq value; nearly all calls have the same few, which are remembered.

    Raises:
        SipParseError: and nothing else, for any text.
    """
    return _cseq(value) if len(value) <= _REMEMBERED_CHARS else _cseq.__wrapped__(value)


@lru_cache(maxsize=256)
def _cseq(value: str) -> CSeq:
    match = _CSEQ.fullmatch(value)
    if match is None or int(match[1]) >= 1 << 31:
        raise SipParseError(f"bad CSeq: {value[:60]!r}")
    return CSeq(int(match[1]), match[2])


def parse_params(text: str) -> dict[str, str | None]:
    """Parse `;name=value;name…`; names in lower case, quoted values keep their quotes.

    Raises:
        SipParseError: if the text is not such a list, or a name occurs twice.
    """
    params: dict[str, str | None] = {}
    if text.strip() == ";":
        return params
    for name, equals, value, bad in _PARAM.findall(text):
        if bad:
            raise SipParseError(f"bad parameter: {bad[:60]!r}")
        key = name.lower()
        if key in params:
            raise SipParseError(f"parameter {key!r} occurs twice")
        params[key] = value if equals else None
    return params


def with_tag(value: str, tag: str) -> str:
    """Return a From or To value without a tag with one; a semicolon at its end or an empty tag gives way."""
    if not value.endswith(">") and (value.endswith((";", " ", "\t")) or "tag" in value.lower()):
        try:
            found = parse_name_addr(value)
        except SipParseError:
            return f"{value};tag={tag}"
        params = {name: of for name, of in found.params.items() if name != "tag"}
        value = str(NameAddr(found.uri, found.display, params))
    return f"{value};tag={tag}"


def format_params(params: dict[str, str | None]) -> str:
    """Return parameters as they stand behind a header value."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params.items()])


def split_list(value: str) -> list[str]:
    """Split a header value at the commas that are outside quotes and angle brackets."""
    if "," not in value:
        item = value.strip()
        return [item] if item else []
    if '"' not in value and "<" not in value:
        return [item.strip() for item in value.split(",") if item.strip()]
    return [item.strip() for item in _LIST_ITEM.findall(value) if item.strip()]


def quote(text: str) -> str:
    """Return text as a quoted-string.  Spec: RFC 3261 §25.1."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """Return the content of a quoted-string, or the text itself when it is not quoted."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text


def media_type(value: str) -> str:
    """Return `type/subtype` of a Content-Type in lower case, without parameters."""
    return "".join(value.partition(";")[0].split()).lower()
