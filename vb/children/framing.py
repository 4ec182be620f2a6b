"""Messages on the pipes between the server and a process of its own.

A message is four bytes of length, one of kind, four of an id, and a body; the length counts what follows it.
Numbers are big-endian. Garbage makes a pipe useless, and never harms who reads it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any, Final

_HEAD: Final = struct.Struct(">IBI")
_TAIL_BYTES: Final = 5
"""Kind and id, which the length counts too."""
HEAD_BYTES: Final = _HEAD.size

Message = tuple[int, int, bytes]
"""Kind, id and body."""


class Garbage(Exception):
    """What came over a pipe is no message."""


def pack(kind: int, number: int, body: bytes = b"") -> bytes:
    """Return the bytes of a message."""
    return _HEAD.pack(_TAIL_BYTES + len(body), kind, number) + body


def fields_of(body: bytes, problem: str = "no JSON object") -> dict[str, Any]:
    """Return a JSON body.

    Args:
        body: of a message.
        problem: what is said of one that is none.

    Raises:
        Garbage: it is no JSON object.
    """
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Garbage(problem)
    return found


class Splitter:
    """Finds messages in bytes as they come.

    Args:
        kinds: that there are.
        max_body_bytes: of one message.
    """

    def __init__(self, kinds: Iterable[int], max_body_bytes: int) -> None:
        self._kinds = frozenset(kinds)
        self._max_length = _TAIL_BYTES + max_body_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that end in `data`.

        Raises:
            Garbage: no message begins like that; the pipe is of no more use.
        """
        self._rest += data
        found: list[Message] = []
        while len(self._rest) >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(self._rest)
            if kind not in self._kinds or not _TAIL_BYTES <= length <= self._max_length:
                raise Garbage("no frame begins like that")
            end = _HEAD.size - _TAIL_BYTES + length
            if len(self._rest) < end:
                break
            found.append((kind, number, bytes(self._rest[_HEAD.size : end])))
            del self._rest[:end]
        return found
