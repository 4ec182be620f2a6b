"""Payload types that a peer may send although the description that binds it says others.

Each side sends the payload types of the other's description (RFC 3264 §5.1). Peers exist that send the number
of their own instead; where ours has no meaning of its own for it, nothing speaks against taking it.
"""

from collections.abc import Iterable

from vb.codecs.base import Codec
from vb.sdp.formats import Format


def codecs_heard(ours: Iterable[Format], theirs: Iterable[Format]) -> dict[int, Codec]:
    """Return payload type to codec: of our description, then what the peer calls the same codecs.

    Args:
        ours: the formats of our description.
        theirs: the formats of the peer's.
    """
    heard: dict[int, Codec] = {}
    bound, names = set(), set()
    for item in ours:
        bound.add(item.payload_type)
        if item.codec is not None:
            heard[item.payload_type] = item.codec
            names.add(item.codec.name)
    for item in theirs:
        if item.payload_type not in bound and item.codec is not None and item.codec.name in names:
            heard[item.payload_type] = item.codec
    return heard


def events_heard(ours: Iterable[Format], theirs: Iterable[Format]) -> dict[int, int]:
    """Return payload type to clock in Hz of telephone-events, as `codecs_heard` does of codecs."""
    heard: dict[int, int] = {}
    bound = set()
    for item in ours:
        bound.add(item.payload_type)
        if item.is_event:
            heard[item.payload_type] = item.clock_rate_hz
    if heard:
        for item in theirs:
            if item.payload_type not in bound and item.is_event:
                heard[item.payload_type] = item.clock_rate_hz
    return heard
