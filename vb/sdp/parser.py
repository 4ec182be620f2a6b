"""Bytes to a session description: total, bounded, and as tolerant as safety allows.

Accepted beyond RFC 8866: LF line ends, a last line without its end, blank lines, lines out of order, a
missing `s=` or `t=`, spaces in the user name of `o=`, unknown line types (kept), text that is not UTF-8 (kept
byte for byte).
"""

from collections.abc import Sequence
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


def parse_sdp(data: bytes) -> SessionDescription:
    """Read a session description.

    Raises:
        SdpParseError: it is not one, or it is larger than this server reads.
    """
    head, *media = _sections(_lines(data))
    if head[0].kind != "v" or head[0].value.strip() != "0":
        raise SdpParseError("the description does not start with v=0")
    return _session(head[1:], tuple(_media(section) for section in media))


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


def _lines(data: bytes) -> list[Line]:
    if len(data) > MAX_BYTES:
        raise SdpParseError(f"the description is longer than {MAX_BYTES} bytes")
    rows = data.decode("utf-8", "surrogateescape").split("\n")
    if len(rows) > MAX_LINES:
        raise SdpParseError(f"the description has more than {MAX_LINES} lines")
    lines = [_line(text) for row in rows if (text := row.removesuffix("\r")).strip()]
    if not lines:
        raise SdpParseError("the description is empty")
    return lines


def _line(text: str) -> Line:
    kind, separator, value = text[0], text[1:2], text[2:]
    if separator != "=" or not (kind.isascii() and kind.isalpha()):
        raise SdpParseError("a line is not of the form x=value")
    if "\r" in value or "\0" in value:
        raise SdpParseError(f"a {kind}= line holds a control character")
    return Line(kind, value)


def _sections(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the session's lines, then one list per `m=` line that starts with it."""
    sections: list[list[Line]] = [[]]
    for line in lines:
        if line.kind == "m":
            sections.append([])
        sections[-1].append(line)
    if not sections[0]:
        raise SdpParseError("the description does not start with v=0")
    if len(sections) > MAX_MEDIA + 1:
        raise SdpParseError(f"the description has more than {MAX_MEDIA} m= lines")
    return sections


def _session(lines: Sequence[Line], media: tuple[MediaDescription, ...]) -> SessionDescription:
    origin: Origin | None = None
    name: str | None = None
    rest: list[Line] = []
    for line in lines:
        if line.kind == "v" or (line.kind == "o" and origin is not None):
            raise SdpParseError(f"a second {line.kind}= line")
        if line.kind == "o":
            origin = _origin(line.value)
        elif line.kind == "s" and name is None:
            name = line.value
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
    lines: Sequence[Line],
) -> tuple[Connection | None, tuple[Attribute, ...], tuple[Line, ...]]:
    """Return connection, attributes and remaining lines of a section; the first `c=` counts."""
    connection: Connection | None = None
    attributes: list[Attribute] = []
    other: list[Line] = []
    for line in lines:
        if line.kind == "a":
            name, colon, value = line.value.partition(":")
            attributes.append(Attribute(name.strip(), value if colon else None))
        elif line.kind == "c" and connection is None:
            connection = _connection(line.value)
        else:
            other.append(line)
    other.sort(key=lambda line: line.rank)
    return connection, tuple(attributes), tuple(other)


def _origin(value: str) -> Origin:
    words = value.split()
    if len(words) < 6:
        raise SdpParseError("the o= line has fewer than six fields")
    *user, session_id, version, net_type, address_type, address = words
    return Origin(" ".join(user), session_id, version, address_type, address, net_type)


def _connection(value: str) -> Connection:
    words = value.split()
    if len(words) != 3:
        raise SdpParseError("the c= line does not have three fields")
    net_type, address_type, address = words
    return Connection(address_type, address, net_type)


def _media(lines: Sequence[Line]) -> MediaDescription:
    words = lines[0].value.split()
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
