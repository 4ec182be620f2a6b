"""A session description as immutable values, and its text.

Spec: RFC 8866 §5.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
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

    def attribute(self, name: str) -> str | None:
        """Return the value of the first attribute of that name, "" for a property, None when absent."""
        return first_value(self.attributes, name)


@dataclass(frozen=True, slots=True)
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

    def attribute(self, name: str) -> str | None:
        """Return the value of the first session attribute of that name, "" for a property, else None."""
        return first_value(self.attributes, name)

    def to_bytes(self) -> bytes:
        """Return the text, each line ended by CRLF.

        Raises:
            ValueError: a value holds a line end or NUL, which would forge further lines.
        """
        lines = list(self._lines())
        text = "\r\n".join(lines) + "\r\n"
        if not text.count("\r") == text.count("\n") == len(lines) or "\0" in text:
            raise ValueError("a line of a session description may not hold CR, LF or NUL")
        return text.encode("utf-8", "surrogateescape")

    def _lines(self) -> Iterator[str]:
        origin = self.origin
        yield "v=0"
        yield (
            f"o={origin.username} {origin.session_id} {origin.version}"
            f" {origin.net_type} {origin.address_type} {origin.address}"
        )
        yield f"s={self.name}"
        yield from _section(self.connection, self.other, self.attributes)
        for media in self.media:
            count = f"/{media.port_count}" if media.port_count != 1 else ""
            yield " ".join((f"m={media.media}", f"{media.port}{count}", media.protocol, *media.formats))
            yield from _section(media.connection, media.other, media.attributes)


def first_value(attributes: tuple[Attribute, ...], name: str) -> str | None:
    """Return the value of the first attribute of that name, "" for a property, None when absent."""
    for attribute in attributes:
        if attribute.name == name:
            return attribute.value or ""
    return None


def _section(
    connection: Connection | None, other: tuple[Line, ...], attributes: tuple[Attribute, ...]
) -> Iterator[str]:
    """Yields the lines that session and media sections share, in the order of RFC 8866 §9."""
    yield from (f"{line.kind}={line.value}" for line in other if line.kind in _BEFORE_CONNECTION)
    if connection is not None:
        yield f"c={connection.net_type} {connection.address_type} {connection.address}"
    yield from (f"{line.kind}={line.value}" for line in other if line.kind not in _BEFORE_CONNECTION)
    for attribute in attributes:
        yield f"a={attribute.name}" if attribute.value is None else f"a={attribute.name}:{attribute.value}"
