"""The client's side of a WebSocket without its socket: bytes in, messages and bytes out.

The library wsproto does the handshake, fragments, control frames and everything that is wrong. Whole data
frames, of which audio has fifty a second for each call, are written and read here, at a quarter of its cost.

Spec: RFC 6455; RFC 7692 when compression is asked for.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import h11
import numpy as np
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import ProtocolError

from vb.web.errors import HandshakeFailed, WebSocketClosed
from vb.web.message import ABNORMAL, NORMAL, NOT_TEXT, POLICY_VIOLATION, TOO_LARGE, Message
from vb.web.policy import UrlTarget

_TEXT_FRAME: Final = 0x81
_BINARY_FRAME: Final = 0x82
_MASKED: Final = 0x80
_PING_FRAME: Final = 0x89
_PONG_FRAME: Final = 0x8A
_DATA_OPCODES: Final = (1, 2)
_MAX_HANDSHAKE_BYTES: Final = 16_384
_LONG_BYTES: Final = 256
"""From this size on numbers of any length are slower than arrays."""
_INFLATED_AT_ONCE: Final = 4096
"""A compressed byte may become a thousand; so the limit is looked at that often."""
_MAX_ODD_AT_ONCE: Final = 500
"""Control frames and fragments among the bytes of one read: more are a flood, which holds up all calls."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is asked for when a WebSocket is opened.

    Attributes:
        target: a ws or wss URL.
        headers: besides those that the handshake needs.
        subprotocols: those that we speak, the best first.
        deflate: whether to offer permessage-deflate.
        max_message_bytes: a longer message of the peer ends the WebSocket with 1009; text counts in letters.
    """

    target: UrlTarget
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()
    deflate: bool = False
    max_message_bytes: int = 1_048_576


class ClientProtocol:
    """One WebSocket, from its handshake on.

    Attributes:
        subprotocol: the one that the server has chosen.
        headers: of the server's answer, lower-case names.
        closed: how it ended, by a close frame of the peer or by a fault in what it sent; None before.
        broken: whether it ended because the peer broke the protocol.
    """

    def __init__(self, opening: Opening) -> None:
        self.subprotocol: str | None = None
        self.headers: dict[str, str] = {}
        self.closed: WebSocketClosed | None = None
        self.broken = False
        self._opening = opening
        self._max_bytes = opening.max_message_bytes
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._extended = False
        self._handshake_bytes = 0
        self._held = b""
        self._rest = 0
        self._parts: list[Message] = []
        self._part_size = 0
        self._in_message = False
        self._asked: bytes | None = None
        self._reply = b""

    # -- the handshake -------------------------------------------------------------------------------------

    def request(self) -> bytes:
        """Return the request that opens it.

        Raises:
            HandshakeFailed: a header or a subprotocol cannot be sent.
        """
        opening, target = self._opening, self._opening.target
        extensions: list[Extension] = [PerMessageDeflate()] if opening.deflate else []
        headers = dict(opening.headers)
        if target.credentials is not None:
            token = base64.b64encode(":".join(target.credentials).encode()).decode("ascii")
            headers.setdefault("Authorization", f"Basic {token}")
        try:
            return self._ws.send(
                Request(
                    host=target.authority,
                    target=target.selector,
                    subprotocols=list(opening.subprotocols),
                    extensions=extensions,
                    extra_headers=[
                        (name.encode("ascii"), text.encode("latin-1")) for name, text in headers.items()
                    ],
                )
            )
        except (h11.LocalProtocolError, UnicodeEncodeError):
            raise HandshakeFailed("the request cannot be sent") from None

    def open(self, data: bytes) -> bool:
        """Take bytes of the server's answer; returns whether the WebSocket is open.

        What came behind the answer is given by the next `receive`.

        Raises:
            HandshakeFailed: the answer is a refusal, or none that opens a WebSocket.
        """
        self._handshake_bytes += len(data)
        head, end, rest = (self._held + data).partition(b"\r\n\r\n")
        if not end:
            if self._handshake_bytes > _MAX_HANDSHAKE_BYTES:
                raise HandshakeFailed("the server's answer is too long")
            self._held = head
            return False
        self._held = rest
        try:
            self._ws.receive_data(head + end)
            events = list(self._ws.events())
        except (ProtocolError, ValueError):
            raise HandshakeFailed("the server does not speak WebSocket here") from None
        for event in events:
            if isinstance(event, RejectConnection):
                status = event.status_code
                raise HandshakeFailed(f"the server answers {status}", status)
            if isinstance(event, AcceptConnection):
                self.subprotocol = event.subprotocol
                self.headers = {
                    name.decode("latin-1").lower(): text.decode("latin-1")
                    for name, text in event.extra_headers
                }
                self._extended = any(extension.enabled() for extension in event.extensions)
                return True
        raise HandshakeFailed("the server does not speak WebSocket here")

    # -- sending -------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._ws.state is ConnectionState.OPEN and self.closed is None

    def frames(self, messages: Iterable[Message]) -> bytes:
        """Return the bytes of messages, one behind the other.

        Raises:
            WebSocketClosed: nothing can be sent any more.
        """
        if not self.is_open:
            raise self.closed or WebSocketClosed(NORMAL)
        if self._extended:
            return b"".join(
                self._ws.send(
                    TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
                )
                for message in messages
            )
        return b"".join([client_frame(message, os.urandom(4)) for message in messages])

    def ping(self) -> bytes:
        """Return a ping."""
        return self._ws.send(Ping()) if self.is_open else b""

    def close(self, code: int = NORMAL, reason: str = "") -> bytes:
        """Return a close frame; nothing else can be sent after it."""
        return self._ws.send(CloseConnection(code=code, reason=reason)) if self.is_open else b""

    def control(self) -> bytes:
        """Return what has to be sent because of what was received: the latest pong, or a close frame."""
        asked, self._asked = self._asked, None
        reply, self._reply = self._reply, b""
        if asked is None or not self.is_open:
            return reply
        return self._ws.send(Pong(payload=asked)) + reply

    # -- receiving -----------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Message]:
        """Take bytes from the peer; returns the messages that are complete.

        `closed` tells afterwards whether it is over; `control` has to be sent.
        """
        held = self._held + data if self._held else data
        at, end = 0, len(held)
        found: list[Message] = []
        odd = 0
        while at < end and self.closed is None:
            if self._rest:  # of a frame that is none of the plain ones
                taken = min(self._rest, end - at)
                self._rest -= taken
                self._pass_on(held[at : at + taken], found)
                at += taken
                continue
            first, second = held[at], held[at + 1] if at + 1 < end else 127
            short = second & 0x7F
            body = at + (2 if short < 126 else 4 if short == 126 else 10)
            if body > end:
                break
            length = short if short < 126 else int.from_bytes(held[at + 2 : body], "big")
            odd += first & 0x0F not in _DATA_OPCODES
            if length > self._max_bytes:
                self._fail(TOO_LARGE, "message too large")
            elif odd > _MAX_ODD_AT_ONCE:
                self._fail(POLICY_VIOLATION, "too many frames")
            elif first in (_PING_FRAME, _PONG_FRAME) and second < 126:
                if body + length > end:
                    break  # half of it would spoil the library's deflating of the message around it
                at = body + length
                self._take_sign(first, held[body:at])
            elif (
                first in (_BINARY_FRAME, _TEXT_FRAME)
                and body + length <= end
                and (second < 126 or (second == 126 and length > 125))
                and not (self._in_message or self._extended)
            ):
                at = body + length
                message = held[body:at]
                if first == _BINARY_FRAME:
                    found.append(message)
                else:
                    self._take_text(message, found)
            else:
                self._rest = body - at + length + (4 if second & _MASKED else 0)
        self._held = held[at:] if self.closed is None else b""
        return found

    def end(self, reason: str = "connection lost") -> None:
        """Say that the connection has ended."""
        if self.closed is None:
            self.closed = WebSocketClosed(ABNORMAL, reason)

    def _take_text(self, message: bytes, found: list[Message]) -> None:
        try:
            found.append(message.decode())
        except UnicodeDecodeError:
            self._fail(NOT_TEXT, "text is not UTF-8")

    def _take_sign(self, first: int, data: bytes) -> None:
        """Take a ping or pong; it may stand between the fragments of a message (section 5.4)."""
        if first != _PONG_FRAME:
            self._asked = data  # only the latest needs an answer (section 5.5.3)

    def _pass_on(self, data: bytes, found: list[Message]) -> None:
        """Let the library read a part of a frame."""
        step = _INFLATED_AT_ONCE if self._extended else len(data)
        for start in range(0, len(data), step):
            self._ws.receive_data(data[start : start + step])
            for event in self._ws.events():
                self._take(event, found)
                if self.closed is not None:
                    return

    def _take(self, event: Event, found: list[Message]) -> None:
        if isinstance(event, TextMessage | BytesMessage):
            if event.data:
                self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
            self._part_size += len(event.data)
            self._in_message = not event.message_finished
            if self._part_size > self._max_bytes:
                self._fail(TOO_LARGE, "message too large")
            elif event.message_finished:
                empty: Message = "" if isinstance(event, TextMessage) else b""
                found.append(empty.join(self._parts))  # type: ignore[arg-type]  # all parts are of one kind
                self._parts, self._part_size = [], 0
        elif isinstance(event, Ping):  # one that came in pieces
            self._take_sign(_PING_FRAME, bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._end(event)

    def _end(self, event: CloseConnection) -> None:
        """Take the peer's close frame, or what the library has found wrong with its bytes."""
        state, code, reason = self._ws.state, int(event.code), event.reason or ""
        if state is ConnectionState.REMOTE_CLOSING:
            self._reply = self._ws.send(event.response())
            self.closed = WebSocketClosed(code, reason)
        elif state is ConnectionState.CLOSED:
            self.closed = WebSocketClosed(code, reason)
        else:
            self._fail(code, reason)

    def _fail(self, code: int, reason: str) -> None:
        """End it because of what the peer has sent."""
        self._reply = self.close(code, reason)
        self.broken = True
        self.closed = WebSocketClosed(code, reason)
        self._parts = []


def client_frame(message: Message, key: bytes) -> bytes:
    """Return a message as one masked frame.

    Args:
        message: bytes or text.
        key: four bytes that nobody can foresee.

    Spec: RFC 6455 sections 5.2 and 5.3.
    """
    if isinstance(message, str):
        first, data = _TEXT_FRAME, message.encode()
    else:
        first, data = _BINARY_FRAME, message
    size = len(data)
    if size < 126:
        head = bytes((first, _MASKED | size))
    elif size < 65_536:
        head = struct.pack("!BBH", first, _MASKED | 126, size)
    else:
        head = struct.pack("!BBQ", first, _MASKED | 127, size)
    return head + key + _masked(data, key)


def _masked(data: bytes, key: bytes) -> bytes:
    """Return a payload under its mask, of which most is done four bytes at a time."""
    words = len(data) // 4 if len(data) >= _LONG_BYTES else 0
    whole = b""
    if words:
        whole = (np.frombuffer(data, np.uint32, words) ^ np.frombuffer(key, np.uint32)).tobytes()
        data = data[4 * words :]
    size = len(data)
    # One exclusive-or of two long numbers is the quickest way that Python has for a few bytes.
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return whole + (int.from_bytes(data, "big") ^ mask).to_bytes(size, "big")
