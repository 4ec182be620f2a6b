"""Heads of answers: a header line that cannot be read, and that nobody needs, does not cost the answer.

Servers and what stands before them send lines without a colon, or names with a blank or a slash; browsers
pass over them. What decides where the answer ends, what it is or where it leads has to be readable.

Spec: RFC 9112 §5.
"""

from __future__ import annotations

import re
from typing import Final

_MAX_HEAD_BYTES: Final = 65_536
_BEGIN: Final = b"HTTP/"
_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/[0-9]\.[0-9] 1(?!01)[0-9][0-9]")
_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\0\r\n\x0b\x0c]*+\r?\n")
_WORD = re.compile(rb"[!-9;-~]+")
_BREAK = re.compile(rb"[\r\0]")
_NOT_IN_NAME = re.compile(rb"[^0-9A-Za-z-]")
_DECIDING: Final = frozenset(
    (b"connection", b"content-encoding", b"content-length", b"location", b"transfer-encoding", b"upgrade")
)


class AnswerHeads:
    """Takes what a server sends on one connection, and gives it on without such lines."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: bytes | None = None

    def expect(self) -> None:
        """Say that the next bytes begin an answer."""
        self._held = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes, none at the end of the stream; returns what can be read on, None if more is needed."""
        if self._held is None:
            return data
        held, start = self._held + data, max(0, len(self._held) - 2)
        parts: list[bytes] = []
        while True:
            end = _END.search(held, start)
            is_head = held.startswith(_BEGIN) or _BEGIN.startswith(held)
            if end is None and is_head and data and len(held) <= _MAX_HEAD_BYTES:
                self._held = held
                return b"".join(parts) or None
            if end is None or not is_head:
                break
            head, held, start = held[: end.end()], held[end.end() :], 0
            parts.append(_readable(head))
            if not _INTERIM.match(head):  # else another head follows
                break
        self._held = None
        return b"".join([*parts, held])


def _readable(head: bytes) -> bytes:
    """Return a head without the lines that cannot be read, as long as they decide nothing."""
    first, *lines = head.split(b"\n")
    kept, is_kept = [first], True
    for line in lines[:-2]:  # the last one is empty, and so is what follows it
        if not line.startswith((b" ", b"\t")):  # or it belongs to the line before it
            is_kept = _LINE.fullmatch(line + b"\n") is not None or _may_decide(line)
        if is_kept:
            kept.append(line)
    return b"\n".join([*kept, *lines[-2:]])


def _may_decide(line: bytes) -> bool:
    """Tell whether a line, or what stands behind a break in it, is a header that decides something."""
    parts = [*_BREAK.split(line), line.replace(b"\0", b"")]  # others may read on behind a zero
    names = (name for part in parts for name in (part.partition(b":")[0], *_WORD.findall(part)[:1]))
    return any(_NOT_IN_NAME.sub(b"", name).lower() in _DECIDING for name in names)
