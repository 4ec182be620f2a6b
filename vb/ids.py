"""Where identifiers and random numbers come from, so that protocol cores stay deterministic under test."""

from __future__ import annotations

import secrets
import uuid
from typing import Protocol


class IdSource(Protocol):
    """Source of identifiers; cores receive one instead of drawing randomness themselves."""

    def token(self, nbytes: int = 8) -> str:
        """Return 2·nbytes lower-case hex digits."""
        ...

    def uuid(self) -> str:
        """Return a UUID version 4 as text."""
        ...

    def u32(self) -> int:
        """Return a number in 0..2³²−1."""
        ...

    def u16(self) -> int:
        """Return a number in 0..65535."""
        ...


class SystemIds:
    """Identifiers from the operating system's random source."""

    def token(self, nbytes: int = 8) -> str:
        """Return 2·nbytes lower-case hex digits."""
        return secrets.token_hex(nbytes)

    def uuid(self) -> str:
        """Return a UUID version 4 as text."""
        return str(uuid.uuid4())

    def u32(self) -> int:
        """Return a number in 0..2³²−1."""
        return secrets.randbits(32)

    def u16(self) -> int:
        """Return a number in 0..65535."""
        return secrets.randbits(16)
