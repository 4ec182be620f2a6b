"""A WebSocket that we have opened, as a leg needs it."""

from __future__ import annotations

import os
from typing import Final

import trio

from vb.web.errors import WebSocketClosed
from vb.web.message import NORMAL, Message
from vb.web.tasks.websocket import Pace, WebSocket
from vb.web.websocket import client_frame
from vb.wsleg.socket import SocketEnd, Take

PACE: Final = Pace(send_s=5.0, ping_s=30.0, pong_s=30.0, close_s=2.0, unsent_bytes=65_536)
"""Without a sign for a minute a far end is gone; it has five seconds to take what it is sent."""
_ENDS: Final = {"slow": SocketEnd.SLOW, "silent": SocketEnd.SILENT, "reset": SocketEnd.RESET}


class ClientSocket:
    """One such WebSocket.

    Args:
        websocket: open; closed by this.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._code = NORMAL

    def frame(self, message: Message) -> bytes:
        """Return the frame of a message."""
        return client_frame(message, os.urandom(4))

    def put(self, frame: bytes) -> bool:
        """Queue a frame without waiting; False when there is no room for it, or it is over."""
        return self._websocket.put_frames(frame)

    def flush(self) -> None:
        """Do nothing: the WebSocket has a task that writes."""

    async def serve(self, take: Take) -> SocketEnd:
        """Hand over all messages until it is over, and return how that came."""
        websocket = self._websocket
        try:
            while True:
                pause_s = take(await websocket.receive())
                if pause_s:
                    await trio.sleep(pause_s)
        except WebSocketClosed:
            if websocket.lost is not None:
                return _ENDS.get(websocket.lost, SocketEnd.CLOSED)
            return SocketEnd.INVALID if websocket.broke_protocol else SocketEnd.CLOSED

    def close(self, code: int) -> None:
        """Say goodbye without waiting; `wait_closed` sends it."""
        self._code = code

    async def wait_closed(self) -> None:
        """Say goodbye, wait for the far end to say it too, and close the connection."""
        await self._websocket.aclose(self._code)
