"""Where identifiers and random numbers come from, so that protocol cores stay deterministic under test.

And what an identifier chosen by a client may look like.
"""

from __future__ import annotations

import os
import re
from typing import Final, Protocol

from vb.errors import InvalidField

_STOCK_BYTES: Final = 4096
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""Two bits of a UUID are its variant, in place of two random ones."""
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
    """Identifiers from the operating system's random source, which is asked for many at a time."""

    def __init__(self) -> None:
        self._stock = ""
        self._left = 0

    def _draw(self, digits: int) -> str:
        """Return random hex digits that were given to nobody before."""
        self._left -= digits
        if self._left < 0:
            self._stock = os.urandom(max(_STOCK_BYTES, digits)).hex()
            self._left = len(self._stock) - digits
        return self._stock[self._left : self._left + digits]

    def token(self, nbytes: int = 8) -> str:
        """Return 2·nbytes lower-case hex digits."""
        return self._draw(2 * nbytes)

    def uuid(self) -> str:
        """Return a UUID version 4 as text.  Spec: RFC 9562 §5.4."""
        text = self._draw(32)
        variant = _VARIANTS[text[16]]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def u32(self) -> int:
        """Return a number in 0..2³²−1."""
        return int(self._draw(8), 16)

    def u16(self) -> int:
        """Return a number in 0..65535."""
        return int(self._draw(4), 16)


def check_id(value: str, name: str) -> str:
    """Return an identifier chosen by a client.

    Raises:
        InvalidField: it has characters that do not fit into a path, or is too long.
    """
    if not _ID.fullmatch(value):
        raise InvalidField(name, "must be 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -")
    return value
