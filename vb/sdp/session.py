"""A session description as immutable values, and its text.

Spec: RFC 8866 §5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

_RANK: Final = {kind: rank for rank, kind in enumerate("iuepbtrzk")}
_UNKNOWN_RANK: Final = len(_RANK)
_BEFORE_CONNECTION: Final = frozenset("iuep")


class Line(NamedTuple):
    """A line that is carried but not interpreted, such as `b=AS:64`."""

    kind: str
    value: str

    @property
    def rank(self) -> int:
        """Place of this kind of line among the others of its section."""
        return _RANK.get(self.kind, _UNKNOWN_RANK)


class Attribute(NamedTuple):
    """An `a=` line; a property attribute such as `a=sendrecv` has no value."""

    name: str
    value: str | None = None


class Connection(NamedTuple):
    """A `c=` line; `address` may carry a multicast suffix (`/ttl`)."""

    address_type: str
    address: str
    net_type: str = "IN"


class Origin(NamedTuple):
    """The `o=` line. Ids are text: peers put numbers of any size there, and some put words."""

    username: str
    session_id: str
    version: str
    address_type: str
    address: str
    net_type: str = "IN"


@dataclass(frozen=True)
class MediaDescription:
    """One `m=` line with everything below it.

    Attributes:
        port: 0 refuses or removes the stream.
        other: lines that are neither `c=` nor `a=`, ordered by `Line.rank`.
    """

    media: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    other: tuple[Line, ...] = ()
    port_count: int = 1

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Value of the first attribute of each name, "" for a property."""
        return _first_values(self.attributes)

    def attribute(self, name: str) -> str | None:
        """Return the value of the first attribute of that name, "" for a property, None when absent."""
        return self.values.get(name)


@dataclass(frozen=True)
class SessionDescription:
    """A whole session description.

    Attributes:
        other: session lines without a field of their own (`t=`, `b=`, unknown ones), by `Line.rank`.
    """

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    other: tuple[Line, ...] = field(default=(Line("t", "0 0"),))

    @cached_property
    def values(self) -> Mapping[str, str]:
        """Value of the first session attribute of each name, "" for a property."""
        return _first_values(self.attributes)

    def attribute(self, name: str) -> str | None:
        """Return the value of the first session attribute of that name, "" for a property, else None."""
        return self.values.get(name)

    def to_bytes(self) -> bytes:
        """Return the text, each line ended by CRLF.

        Raises:
            ValueError: a value holds a line end or NUL, which would forge further lines.
        """
        origin = self.origin
        lines = [
            "v=0",
            f"o={origin.username} {origin.session_id} {origin.version}"
            f" {origin.net_type} {origin.address_type} {origin.address}",
            f"s={self.name}",
        ]
        _add_section(lines, self.connection, self.other, self.attributes)
        for media in self.media:
            port = f"{media.port}/{media.port_count}" if media.port_count != 1 else str(media.port)
            lines.append(" ".join((f"m={media.media}", port, media.protocol, *media.formats)))
            _add_section(lines, media.connection, media.other, media.attributes)
        text = "\r\n".join(lines) + "\r\n"
        if not text.count("\r") == text.count("\n") == len(lines) or "\0" in text:
            raise ValueError("a line of a session description may not hold CR, LF or NUL")
        return text.encode("utf-8", "surrogateescape")


def _first_values(attributes: tuple[Attribute, ...]) -> dict[str, str]:
    return {name: value or "" for name, value in attributes[::-1]}


def _add_section(
    lines: list[str],
    connection: Connection | None,
    other: tuple[Line, ...],
    attributes: tuple[Attribute, ...],
) -> None:
    """Add the lines that session and media sections share, in the order of RFC 8866 §9."""
    place = len(lines)
    for line in other:
        if line.kind in _BEFORE_CONNECTION:
            lines.insert(place, f"{line.kind}={line.value}")
            place += 1
        else:
            lines.append(f"{line.kind}={line.value}")
    if connection is not None:
        lines.insert(place, f"c={connection.net_type} {connection.address_type} {connection.address}")
    lines += [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]
