"""Cutting a TCP stream into SIP messages.  Spec: RFC 3261 §18.3, RFC 5626 §3.5.1 (keep-alive)."""

from __future__ import annotations

import re

from vb.sip.errors import SipParseError
from vb.sip.parser import MAX_MESSAGE_BYTES

_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*+:(?:\r\n)?[ \t]*+([^\r\n]*+)(?=\r\n)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,10}[ \t]*+")
PING = b"\r\n\r\n"
PONG = b"\r\n"
MAX_HEAD_BYTES = 32768
_KEEP_ALIVES = re.compile(rb"(?:[\n\0]++|\r\n(?=[\n\0]))++|\r\n")
"""What may stand between messages besides a PING; some send the end of a C string with their CRLF."""


class StreamFramer:
    """Collects bytes of one connection and hands out whole messages.

    Args:
        message_deadline_s: how long one message may take to arrive; a slower sender is cut off.
    """

    __slots__ = ("_buffer", "_failed", "_message_deadline_s", "_scanned", "_since")

    def __init__(self, *, message_deadline_s: float = 10.0) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._since: float | None = None
        self._message_deadline_s = message_deadline_s
        self._failed = False

    def feed(self, data: bytes, now: float) -> None:
        """Add received bytes."""
        if self._since is None and data:
            self._since = now
        self._buffer += data

    def paused(self, seconds: float) -> None:
        """Nothing was read for a while, on our account: the message under way has that much longer."""
        if self._since is not None:
            self._since += seconds

    def next(self, now: float) -> bytes | None:
        """Return the next message, `PING` for a keep-alive that wants an answer, None if more is needed.

        Raises:
            SipParseError: the stream cannot be framed any further; the connection must be closed.
        """
        if self._failed:
            raise SipParseError("stream already failed")
        item = self._next()
        if item is None and self._is_between():
            self._since = None  # what keeps a connection alive is no message that has to be complete in time
        if item is not None:
            self._scanned = 0
            self._since = now if self._buffer else None
        return item

    def _next(self) -> bytes | None:
        buffer = self._buffer
        while True:
            if buffer.startswith(PING):
                del buffer[:4]
                return PING
            if self._is_between():
                return None
            idle = _KEEP_ALIVES.match(buffer)
            if idle is None:
                break
            del buffer[: idle.end()]
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) > MAX_HEAD_BYTES:
                raise self._fail("header section too long", 513)
            return None
        total = end + 4 + self._body_length(bytes(buffer[: end + 2]))
        if len(buffer) < total:
            self._scanned = end
            return None
        message = bytes(buffer[:total])
        del buffer[:total]
        return message

    def _is_between(self) -> bool:
        """Tell whether nothing is held but what may become a PING."""
        return len(self._buffer) < len(PING) and PING.startswith(bytes(self._buffer))

    def _body_length(self, head: bytes) -> int:
        if len(head) > MAX_HEAD_BYTES:
            raise self._fail("header section too long", 513)
        values = _LENGTH.findall(head)
        if len(values) != 1 or _DIGITS.fullmatch(values[0]) is None:
            raise self._fail("a stream needs exactly one valid Content-Length", 400)
        length = int(values[0])
        if length + len(head) > MAX_MESSAGE_BYTES:
            raise self._fail("message too large", 513)
        return length

    def _fail(self, why: str, status: int) -> SipParseError:
        self._failed = True
        return SipParseError(why, status=status)

    def rest(self) -> bytes:
        """Return what could not be framed, so that a readable request can be answered before closing."""
        return bytes(self._buffer)

    def deadline(self) -> float | None:
        """Return when the message under way must be complete, None between messages."""
        return None if self._since is None else self._since + self._message_deadline_s
