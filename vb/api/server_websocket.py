"""The server's side of an open WebSocket without its socket: bytes in, messages and bytes out.

Audio has fifty frames a second for each client, so nothing is done twice here: a frame that comes whole is
taken out of the bytes in which it came. No extension is negotiated.

Spec: RFC 6455.
"""

from __future__ import annotations

import math
import struct
from typing import Final

from vb.web.message import NO_CODE, NORMAL, NOT_TEXT, PROTOCOL_ERROR, TOO_LARGE, Message

MAX_FRAGMENTS: Final = 1024
"""Of one message of audio; whoever cuts it into more never ends it."""

_CONTINUATION: Final = 0
_TEXT: Final = 1
_BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_CONTROL: Final = 0x08
_MAX_CONTROL_BYTES: Final = 125
_KEY_BYTES: Final = 4


class ServerWebSocket:
    """One WebSocket whose handshake is done.

    Args:
        max_message_bytes: a longer message of the peer ends it with 1009.
        max_fragments: so does one in more fragments; None for no such limit.

    Attributes:
        closed: the close code with which it ended, by a close frame of the peer or a fault in what it sent;
            None before.
        broken: whether it ended because the peer broke the protocol.
    """

    def __init__(self, max_message_bytes: int, max_fragments: int | None = MAX_FRAGMENTS) -> None:
        self.closed: int | None = None
        self.broken = False
        self._max_bytes = max_message_bytes
        self._held = bytearray()
        self._needed = 0
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._max_fragments = max_fragments
        self._fragments = 0
        self._opcode = 0
        self._control = b""
        self._said_goodbye = False

    # -- sending -------------------------------------------------------------------------------------------

    def close(self, code: int = NORMAL) -> bytes:
        """Return a close frame; nothing else may be sent after it."""
        if self._said_goodbye:
            return b""
        self._said_goodbye = True
        return control_frame(_CLOSE, code.to_bytes(2) if code != NO_CODE else b"")

    @property
    def can_send(self) -> bool:
        """Whether messages can be sent."""
        return not self._said_goodbye

    @property
    def has_control(self) -> bool:
        """Whether `control` has something."""
        return bool(self._control)

    def control(self) -> bytes:
        """Return what has to be sent because of what was received: the latest pong, or a close frame."""
        found, self._control = self._control, b""
        return found

    # -- receiving -----------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the peer; returns the messages that are complete.

        `closed` tells afterwards whether it is over; `control` has to be sent.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []  # nothing is looked at before there is a whole frame: a peer may send byte by byte
            data = bytes(self._held)
            self._held.clear()
        found: list[Message] = []
        at, end = 0, len(data)
        while self.closed is None:
            size = self._frame_bytes(data, at, end)
            if not size:
                break
            if size > end - at:
                if at < end:
                    self._held += data[at:]
                self._needed = size
                break
            self._take(data, at, at + size, found)
            at += size
        return found

    def _frame_bytes(self, data: bytes, at: int, end: int) -> int:
        """Return how long the frame at a place is, at least, if its head is not complete; 0 if it is bad."""
        if end - at < 2:
            return 2
        first, second = data[at], data[at + 1]
        short = second & 0x7F
        if first & 0x70 or not second & _MASKED:
            self._fail(PROTOCOL_ERROR)  # a bit of an extension, or a frame without a mask
            return 0
        if first & _CONTROL and (short > _MAX_CONTROL_BYTES or not first & _FINAL):
            self._fail(PROTOCOL_ERROR)
            return 0
        if short < 126:
            return 2 + _KEY_BYTES + short
        head = 4 if short == 126 else 10
        if end - at < head:
            return head
        length = int.from_bytes(data[at + 2 : at + head])
        if length < (126 if short == 126 else 65_536):
            self._fail(PROTOCOL_ERROR)  # the shortest form is the only one
            return 0
        if length + self._part_bytes > self._max_bytes:
            self._fail(TOO_LARGE)
            return 0
        return head + _KEY_BYTES + length

    def _take(self, data: bytes, at: int, end: int, found: list[Message]) -> None:
        """Take a whole frame."""
        first, short = data[at], data[at + 1] & 0x7F
        body = at + (2 if short < 126 else 4 if short == 126 else 10) + _KEY_BYTES
        payload = unmask(data[body:end], data[body - _KEY_BYTES : body])
        opcode = first & 0x0F
        if opcode & _CONTROL:
            self._take_control(opcode, payload)
        elif opcode == _CONTINUATION:
            self._continue(payload, found, final=bool(first & _FINAL))
        elif opcode > _BINARY or self._opcode:
            self._fail(PROTOCOL_ERROR)  # unknown, or in the midst of another message
        elif first & _FINAL:
            self._finish(opcode, payload, found)
        else:
            self._opcode, self._parts, self._part_bytes, self._fragments = opcode, [payload], len(payload), 1

    def _continue(self, payload: bytes, found: list[Message], *, final: bool) -> None:
        if not self._opcode:
            self._fail(PROTOCOL_ERROR)
            return
        if payload:
            self._parts.append(payload)
            if len(self._parts) > MAX_FRAGMENTS:
                self._parts = [b"".join(self._parts)]  # each takes more memory than a few bytes are worth
        self._part_bytes += len(payload)
        self._fragments += 1
        if self._part_bytes > self._max_bytes or self._fragments > (self._max_fragments or math.inf):
            self._fail(TOO_LARGE)
        elif final:
            whole, opcode = b"".join(self._parts), self._opcode
            self._opcode, self._parts, self._part_bytes = 0, [], 0
            self._finish(opcode, whole, found)

    def _finish(self, opcode: int, payload: bytes, found: list[Message]) -> None:
        if opcode == _BINARY:
            found.append(payload)
            return
        try:
            found.append(payload.decode())
        except UnicodeDecodeError:
            self._fail(NOT_TEXT)

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            if not self._said_goodbye:
                self._control = control_frame(_PONG, payload)  # only the latest needs one (section 5.5.3)
        elif opcode == _CLOSE:
            self._take_close(payload)
        elif opcode != _PONG:
            self._fail(PROTOCOL_ERROR)

    def _take_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2]) if len(payload) > 1 else NO_CODE
        if len(payload) == 1 or (payload and not _may_be_sent(code)):
            self._fail(PROTOCOL_ERROR)
            return
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            self._fail(NOT_TEXT)
            return
        self._control = self.close(code)
        self.closed = code

    def _fail(self, code: int) -> None:
        """End it because of what the peer has sent."""
        self._control = self.close(code)
        self.closed, self.broken = code, True
        self._parts, self._part_bytes = [], 0


def _may_be_sent(code: int) -> bool:
    """Whether a close code may stand in a close frame (section 7.4)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def unmask(payload: bytes, key: bytes) -> bytes:
    """Return a payload without its mask, or with it: it is the same both ways.

    Spec: RFC 6455 section 5.3.
    """
    size = len(payload)
    # One exclusive-or of two long numbers is the quickest way that Python has.
    mask = int.from_bytes((key * (size // 4 + 1))[:size])
    return (int.from_bytes(payload) ^ mask).to_bytes(size)


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Return an unmasked control frame."""
    return bytes((_FINAL | opcode, len(payload))) + payload


def ping_frame() -> bytes:
    """Return a ping."""
    return control_frame(_PING, b"")


def server_frame(message: Message) -> bytes:
    """Return a message as one unmasked frame.

    Spec: RFC 6455 section 5.2.
    """
    if isinstance(message, str):
        first, data = _FINAL | _TEXT, message.encode()
    else:
        first, data = _FINAL | _BINARY, message
    size = len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + data
    return struct.pack("!BBQ", first, 127, size) + data
