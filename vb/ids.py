"""Where identifiers and random numbers come from, so that protocol cores stay deterministic under test.

And what an identifier chosen by a client may look like.
"""

from __future__ import annotations

import re
import secrets
import uuid
from typing import Protocol

from vb.errors import InvalidField

_ID = re.compile(r"[A-Za-z0-9._~:@-]{1,128}")


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


def check_id(value: str, name: str) -> str:
    """Return an identifier chosen by a client.

    Raises:
        InvalidField: it has characters that do not fit into a path, or is too long.
    """
    if not _ID.fullmatch(value):
        raise InvalidField(name, "must be 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -")
    return value
