"""Bytes to a session description: total, bounded, and as tolerant as safety allows.

Accepted beyond RFC 8866: LF line ends, a last line without its end, blank lines, lines out of order, a
missing `s=` or `t=`, an `o=` with a user name in several words or with too few fields, unknown line types
(kept), text that is not UTF-8 (kept byte for byte). A line that is none, or that holds a control character,
is left out: a break inside an attribute, or a zero behind the last line, costs nobody the call. Lines that
say where media go have to be whole.
"""

import re
from collections.abc import Sequence
from string import ascii_letters
from typing import Final

from vb.sdp.errors import SdpParseError
from vb.sdp.session import (
    Attribute,
    Connection,
    Line,
    MediaDescription,
    Origin,
    SessionDescription,
)

MAX_BYTES: Final = 65_536
MAX_LINES: Final = 1024
MAX_MEDIA: Final = 32
MAX_FORMATS: Final = 128

_MAX_PORT: Final = 65_535
_KINDS: Final = frozenset(ascii_letters)
_DECIDING: Final = re.compile(
    r"(?:\A|[\r\0])[^A-Za-z\r\0]*+[vmc](?![a-z])"
    r"|(?<![a-z-])(?:sendrecv|sendonly|recvonly|inactive|rtcp|crypto|fingerprint|setup|ice-|mid|group"
    r"|candidate|rtpmap)",
    re.IGNORECASE,
)
"""What looks as if it decided where media go, whether, and as what, wherever in a damaged line it stands."""
_UNREAD: Final = "-"


def parse_sdp(data: bytes) -> SessionDescription:
    """Read a session description.

    Raises:
        SdpParseError: it is not one, or it is larger than this server reads.
    """
    head, *media = _sections(data)
    if head[0][0] != "v" or head[0][2:].strip() != "0":
        raise SdpParseError("the description does not start with v=0")
    return _session(head[1:], tuple([_media(section) for section in media]))


def as_description(description: bytes | SessionDescription) -> SessionDescription:
    """Read a session description unless that has been done: who looks at one more than once reads it once.

    Raises:
        SdpParseError: it is not one, or it is larger than this server reads.
    """
    return description if isinstance(description, SessionDescription) else parse_sdp(description)


def decimal(text: str, limit: int) -> int | None:
    """Return the number that ASCII digits spell, or None when it is not one in 0..limit."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(limit)):
        return None
    number = int(text)
    return number if number <= limit else None


def _sections(data: bytes) -> list[list[str]]:
    """Return the session's lines, then one list per `m=` line that starts with it, without blank lines."""
    if len(data) > MAX_BYTES:
        raise SdpParseError(f"the description is longer than {MAX_BYTES} bytes")
    text = data.decode("utf-8", "surrogateescape").removesuffix("\r").replace("\r\n", "\n")
    rows = text.split("\n")
    if len(rows) > MAX_LINES:
        raise SdpParseError(f"the description has more than {MAX_LINES} lines")
    has_control = "\r" in text or "\0" in text
    section: list[str] = []
    sections = [section]
    for row in rows:
        if has_control:
            row = row.rstrip("\r\0")
        kind = row[:1]
        if row[1:2] != "=" or kind not in _KINDS or (has_control and ("\r" in row or "\0" in row)):
            if _DECIDING.search(row) is not None:
                raise SdpParseError("a line that says where media go is damaged")
            continue
        if kind == "m":
            section = []
            sections.append(section)
        section.append(row)
    if len(sections) == 1 and not section:
        raise SdpParseError("the description is empty")
    if not sections[0]:
        raise SdpParseError("the description does not start with v=0")
    if len(sections) > MAX_MEDIA + 1:
        raise SdpParseError(f"the description has more than {MAX_MEDIA} m= lines")
    return sections


def _session(lines: Sequence[str], media: tuple[MediaDescription, ...]) -> SessionDescription:
    origin: Origin | None = None
    name: str | None = None
    rest: list[str] = []
    for line in lines:
        kind = line[0]
        if kind == "v" or (kind == "o" and origin is not None):
            raise SdpParseError(f"a second {kind}= line")
        if kind == "o":
            origin = _origin(line[2:])
        elif kind == "s" and name is None:
            name = line[2:]
        else:
            rest.append(line)
    if origin is None:
        raise SdpParseError("no o= line")
    connection, attributes, other = _common(rest)
    return SessionDescription(
        origin=origin,
        name="-" if name is None else name,
        connection=connection,
        attributes=attributes,
        media=media,
        other=other,
    )


def _common(
    lines: Sequence[str],
) -> tuple[Connection | None, tuple[Attribute, ...], tuple[Line, ...]]:
    """Return connection, attributes and remaining lines of a section; the first `c=` counts."""
    connection: Connection | None = None
    attributes: list[Attribute] = []
    other: list[Line] = []
    for line in lines:
        kind = line[0]
        if kind == "a":
            name, colon, value = line[2:].partition(":")
            attributes.append(Attribute(name.strip(), value if colon else None))
        elif kind == "c" and connection is None:
            connection = _connection(line[2:])
        else:
            other.append(Line(kind, line[2:]))
    if len(other) > 1:
        other.sort(key=lambda line: line.rank)
    return connection, tuple(attributes), tuple(other)


def _origin(value: str) -> Origin:
    words = value.split()
    if len(words) < 6:
        words = [*words, *[_UNREAD] * 6][:6]  # nothing hangs on it
    *user, session_id, version, net_type, address_type, address = words
    return Origin(" ".join(user), session_id, version, address_type, address, net_type)


def _connection(value: str) -> Connection:
    words = value.split()
    if len(words) != 3:
        raise SdpParseError("the c= line does not have three fields")
    net_type, address_type, address = words
    return Connection(address_type, address, net_type)


def _media(lines: Sequence[str]) -> MediaDescription:
    words = lines[0][2:].split()
    if len(words) < 3:
        raise SdpParseError("an m= line has fewer than three fields")
    if len(words) > MAX_FORMATS + 3:
        raise SdpParseError(f"an m= line has more than {MAX_FORMATS} formats")
    media, port_text, protocol, *formats = words
    port_text, slash, count_text = port_text.partition("/")
    port = decimal(port_text, _MAX_PORT)
    port_count = decimal(count_text, _MAX_PORT) if slash else 1
    if port is None or not port_count:
        raise SdpParseError("an m= line has no usable port")
    connection, attributes, other = _common(lines[1:])
    return MediaDescription(media, port, protocol, tuple(formats), connection, attributes, other, port_count)
