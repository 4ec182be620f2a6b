"""A WebSocket that carries audio, past all layers between the connection and whoever speaks on it.

What comes is read by the task of the connection, which hands it on at once; what goes is written without
waiting whenever the system takes it. A task waits only for a client that does not read.
"""

from __future__ import annotations

from typing import Final

import trio

from vb.api.flow import Flow
from vb.api.server_websocket import ServerWebSocket, ping_frame, server_frame
from vb.web.message import Message
from vb.wsleg.socket import SocketEnd, Take

MAX_MESSAGE_BYTES: Final = 1_048_576
UNSENT_BYTES: Final = 65_536
"""What waits for a client that does not read, besides what the system holds for it."""
SYSTEM_BYTES: Final = 32_768
"""What the system holds: more would only be heard late."""
ASK_AFTER_S: Final = 30.0
SILENCE_S: Final = 60.0
WRITE_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 2.0


class ServerSocket:
    """One such WebSocket.

    Args:
        flow: the outgoing half of its connection.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        flow.hold_at_most(SYSTEM_BYTES)
        self._protocol = ServerWebSocket(MAX_MESSAGE_BYTES)
        self._take: Take | None = None
        self._early: list[Message] = []
        self._waiting: list[bytes] = []
        self._unsent = 0
        self._stuck = trio.Event()
        self._ended = trio.Event()
        self._over = trio.Event()
        self._end: SocketEnd | None = None
        self._heard_at = trio.current_time()
        self._asked = False

    # -- what the connection calls -------------------------------------------------------------------------

    def receive(self, data: bytes) -> float:
        """Take bytes of the client; returns for how long no more should be read."""
        self._heard_at, self._asked = trio.current_time(), False
        messages = self._protocol.receive(data)
        pause_s = 0.0
        if messages and self._end is None:
            if self._take is None:
                self._early += messages
            else:
                pause_s = self._take(messages)
        control = self._protocol.control()
        if control and self._unsent <= UNSENT_BYTES:
            self._queue(control)
            self.flush()
        if self._protocol.closed is not None:
            self._finish(SocketEnd.INVALID if self._protocol.broken else SocketEnd.CLOSED)
            self._over.set()
        return pause_s

    def lost(self, *, reset: bool) -> None:
        """Take note that nothing comes any more."""
        self._finish(SocketEnd.RESET if reset else SocketEnd.CLOSED)
        self._over.set()

    # -- what its owner calls ------------------------------------------------------------------------------

    def frame(self, message: Message) -> bytes:
        """Return the frame of a message, which any other client may be sent too."""
        return server_frame(message)

    def put(self, frame: bytes) -> bool:
        """Queue a frame without waiting; False when there is no room for it, or it is over."""
        full = self._unsent and self._unsent + len(frame) > UNSENT_BYTES
        if full or self._end is not None or not self._protocol.can_send:
            return False
        self._queue(frame)
        return True

    def _queue(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._unsent += len(frame)

    def flush(self) -> None:
        """Write what waits, as far as that goes at once."""
        if not self._waiting or self._over.is_set():
            return
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        count = self._flow.write(memoryview(data))
        self._unsent = len(data) - count
        self._waiting = [data[count:]] if self._unsent else []
        if self._flow.broken:
            self._waiting, self._unsent = [], 0
            self.lost(reset=True)
        elif self._unsent:
            self._stuck.set()

    async def serve(self, take: Take) -> SocketEnd:
        """Hand over all messages until it is over, and return how that came."""
        self._take = take
        early, self._early = self._early, []
        if early:
            take(early)
        while self._end is None:
            with trio.move_on_at(self._heard_at + (SILENCE_S if self._asked else ASK_AFTER_S)):
                await self._ended.wait()
            silent_s = trio.current_time() - self._heard_at
            if silent_s >= SILENCE_S:
                self._finish(SocketEnd.SILENT)
            elif silent_s >= ASK_AFTER_S and self.put(ping_frame()):
                self._asked = True
                self.flush()
            elif silent_s >= ASK_AFTER_S:
                self._asked = True
        self._take = None  # whoever took the messages can go without waiting for the garbage collector
        return self._end

    async def write(self) -> None:
        """Write to a client that takes too little at once, until cancelled."""
        while True:
            await self._stuck.wait()
            self._stuck = trio.Event()
            while self._unsent and not self._over.is_set():
                with trio.move_on_after(WRITE_TIMEOUT_S):
                    await self._flow.wait()
                if self._flow.refused_for() >= WRITE_TIMEOUT_S:
                    self._finish(SocketEnd.SLOW)
                    self._over.set()
                    break
                self.flush()

    def close(self, code: int) -> None:
        """Say goodbye without waiting; calling again changes nothing."""
        goodbye = self._protocol.close(code)
        if goodbye:
            self._queue(goodbye)
            self.flush()

    async def wait_closed(self) -> None:
        """Wait until the client has said goodbye too, or has had the time for it."""
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            await self._over.wait()

    def _finish(self, end: SocketEnd) -> None:
        if self._end is None:
            self._end = end
            self._ended.set()
