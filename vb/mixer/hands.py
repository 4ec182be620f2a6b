"""Work on many legs that may be done side by side: codecs with state, which cost more than all the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

LEAST_CALLS: Final = 8
"""So many calls of a codec are worth being prepared together; fewer are done as cheaply one by one."""
_MOST_CALLS: Final = 8
_SHARES: Final = 8
Work = Callable[[int], None]
"""Does one piece, by its number. It must not raise, and touches nothing that another piece touches."""


def portions(count: int) -> list[tuple[int, int]]:
    """Cut so many calls of a codec into pieces of work, each from one number to before another.

    To hand a piece out costs a good part of a call, so there are several calls in most; towards the end there
    are ever fewer, so that all hands end at nearly the same time.
    """
    cut, start = [], 0
    while start < count:
        stop = start + max(1, min(_MOST_CALLS, (count - start) // _SHARES))
        cut.append((start, stop))
        start = stop
    return cut


class Hands(Protocol):
    """Who does such work."""

    def share(self, count: int, work: Work) -> None:
        """Return once the pieces from 0 to before `count` are done, in whatever order."""
        ...


class OneHand:
    """The caller alone."""

    def share(self, count: int, work: Work) -> None:
        """Do one piece after the other."""
        for piece in range(count):
            work(piece)
