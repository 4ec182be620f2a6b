"""An open WebSocket on an HTTP connection: Hypercorn opens it, and from then on frames take the shortest way.

What comes is read by our own reader, and what the application sends as whole frames goes to the connection
without passing any other layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from hypercorn.protocol.events import Data, Request, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent
from wsproto.events import CloseConnection
from wsproto.events import Event as WebSocketEvent

from vb.api.frames import FRAMES, FramesEvent
from vb.api.server_websocket import ServerWebSocket


class Receiver(Protocol):
    """Reads a WebSocket in place of the application."""

    def receive(self, data: bytes) -> float:
        """Take bytes of the client; returns for how many seconds no more should be read."""
        ...

    def lost(self, *, reset: bool) -> None:
        """Take note that nothing comes any more."""
        ...


class WebSocketStream(WSStream):
    """Hypercorn's WebSocket, saying why it closes: 1009 for size, 1002 and 1007 for broken frames."""

    write: Callable[[bytes], Awaitable[None]]
    receiver: Receiver | None = None
    _decided: trio.Event
    _reader: ServerWebSocket
    _waiting: deque[ASGIReceiveEvent]
    _inbox: trio.MemorySendChannel[ASGIReceiveEvent] | None = None

    @property
    def is_open(self) -> bool:
        """Whether bytes of the client are for `receive`: from its acceptance to its end."""
        return (
            not self.closed
            and self.receiver is None
            and self.handshake.accepted
            and self._reader.closed is None
        )

    def hand_over(self, receiver: Receiver) -> None:
        """Let somebody else read and write all frames from now on, the close frame included."""
        self.receiver = receiver
        self.state = ASGIWebsocketState.CLOSED

    async def handle(self, event: StreamEvent) -> None:
        """Take an event of the connection; frames wait until the application has accepted the upgrade."""
        if isinstance(event, Request):
            self._decided = trio.Event()
            self._reader = ServerWebSocket(self.config.websocket_max_message_size, None)
            self._waiting = deque()
            await super().handle(event)
            # What Hypercorn puts messages into, which only waits when it is full.
            inbox = getattr(self.app_put, "__self__", None)
            self._inbox = inbox if isinstance(inbox, trio.MemorySendChannel) else None
            return
        if isinstance(event, Data):
            await self._decided.wait()
            if self.receiver is not None or self.is_open:
                await self.receive(event.data)
                return
        await super().handle(event)

    async def receive(self, data: bytes) -> None:
        """Take bytes of the client of an open WebSocket, and pass on the messages that they complete."""
        if not self.take(data):
            await self.settle()

    def take(self, data: bytes) -> bool:
        """Take bytes as far as it needs no waiting; False when `settle` has to do the rest."""
        if self.receiver is not None:
            self.receiver.receive(data)  # came with the request
            return True
        reader, waiting = self._reader, self._waiting
        for message in reader.receive(data):
            text, binary = (message, None) if isinstance(message, str) else (None, message)
            waiting.append({"type": "websocket.receive", "text": text, "bytes": binary})
        inbox = self._inbox
        if inbox is None or reader.closed is not None or reader.has_control:
            return False
        while waiting:
            try:
                inbox.send_nowait(waiting[0])
            except trio.WouldBlock:
                return False
            waiting.popleft()
        return True

    async def settle(self) -> None:
        """Do what `take` has left: control frames, and messages that the application has no room for yet."""
        reader, put, waiting = self._reader, self.app_put, self._waiting
        assert put is not None
        if reader.closed is None:
            await self._write_control()  # a pong need not wait for the messages; a close frame does
        while waiting:
            await put(waiting.popleft())
        if reader.closed is not None:
            await self._write_control()
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def _write_control(self) -> None:
        control = self._reader.control()
        if control:
            await self.write(control)

    async def app_send(self, message: ASGISendEvent | FramesEvent | None) -> None:
        """Take a message of the application; its first one accepts or refuses the upgrade."""
        if message is not None and message["type"] == FRAMES:
            if not self.closed and self._reader.can_send:
                await self.write(message["bytes"])
            return
        try:
            await super().app_send(message)
        finally:
            self._decided.set()

    async def _send_wsproto_event(self, event: WebSocketEvent) -> None:
        """Send what Hypercorn has to say; whoever says goodbye, it is said once and is the last word."""
        if isinstance(event, CloseConnection):
            goodbye = self._reader.close(event.code)
            if goodbye:
                await self.send(Data(stream_id=self.stream_id, data=goodbye))
        elif self._reader.can_send:
            await super()._send_wsproto_event(event)
