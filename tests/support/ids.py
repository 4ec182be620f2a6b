"""Identifiers that a test can foretell."""

from __future__ import annotations

import itertools
import uuid


class SequentialIds:
    """Counts 1, 2, 3 in every form of an `IdSource`."""

    def __init__(self, start: int = 1) -> None:
        self._counter = itertools.count(start)

    def token(self, nbytes: int = 8) -> str:
        """Return the next number as 2·nbytes hex digits."""
        return f"{next(self._counter):0{2 * nbytes}x}"

    def uuid(self) -> str:
        """Return the next number in the shape of a UUID version 4."""
        return str(uuid.UUID(int=next(self._counter), version=4))

    def u32(self) -> int:
        """Return the next number, spread over 32 bits."""
        return (next(self._counter) * 2654435761) & 0xFFFFFFFF

    def u16(self) -> int:
        """Return the next number, spread over 16 bits."""
        return (next(self._counter) * 40503) & 0xFFFF
