"""The direction of a media stream as two flags: do we send, do we receive."""

from typing import Final, Literal

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
"""Direction attribute, always from the view of whoever wrote the description."""

DIRECTIONS: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")


def sends(direction: Direction) -> bool:
    """Return True when the writer of this direction sends media."""
    return direction in ("sendrecv", "sendonly")


def receives(direction: Direction) -> bool:
    """Return True when the writer of this direction wants media."""
    return direction in ("sendrecv", "recvonly")


def direction_of(*, send: bool, receive: bool) -> Direction:
    """Return the direction with these two flags."""
    if send:
        return "sendrecv" if receive else "sendonly"
    return "recvonly" if receive else "inactive"


def mirror(direction: Direction) -> Direction:
    """Return the same direction seen from the other side.

    Spec: RFC 3264 §6.1.
    """
    return _MIRRORS[direction]


def intersect(first: Direction, second: Direction) -> Direction:
    """Return what both directions allow."""
    return _INTERSECTIONS[first, second]


_MIRRORS: Final = {
    direction: direction_of(send=receives(direction), receive=sends(direction)) for direction in DIRECTIONS
}
_INTERSECTIONS: Final = {
    (first, second): direction_of(
        send=sends(first) and sends(second), receive=receives(first) and receives(second)
    )
    for first in DIRECTIONS
    for second in DIRECTIONS
}
