"""Work on many legs that may be done side by side: codecs with state, which cost more than all the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Work = Callable[[int], None]
"""Does one piece, by its number. It must not raise, and touches nothing that another piece touches."""


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
