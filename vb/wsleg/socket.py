"""What a leg needs of its WebSocket, whichever side opened it; and the task that writes for all of them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Protocol

import trio

from vb.web.message import FAILED, GOING_AWAY, NORMAL, Message

Take = Callable[[list[Message]], float]
"""Takes the messages that have come, and returns for how many seconds no more should be read."""


class SocketEnd(StrEnum):
    """How a WebSocket came to its end."""

    CLOSED = "closed"
    """By a close frame or the end of the stream."""
    RESET = "reset"
    """The connection broke."""
    SLOW = "slow"
    """The peer has taken nothing for too long."""
    SILENT = "silent"
    """Nothing has come from the peer for too long."""
    INVALID = "invalid"
    """The peer broke the protocol."""


END_REASONS: Final = {
    SocketEnd.CLOSED: "hangup",
    SocketEnd.RESET: "connection_reset",
    SocketEnd.SLOW: "peer_slow",
    SocketEnd.SILENT: "timeout",
    SocketEnd.INVALID: "ws_error",
}
"""Why a leg has ended whose WebSocket came to its end."""

_CLOSE_CODES: Final = {
    "server_shutdown": GOING_AWAY,
    "timeout": GOING_AWAY,
    "room_deleted": GOING_AWAY,
    "internal_error": FAILED,
    "mixer_panic": FAILED,
}


def close_code(reason: str) -> int:
    """Return the close code that tells the far end why we hang up."""
    return _CLOSE_CODES.get(reason, NORMAL)


class MediaSocket(Protocol):
    """An open WebSocket."""

    def frame(self, message: Message) -> bytes:
        """Return the frame of a message."""
        ...

    def put(self, frame: bytes) -> bool:
        """Queue a frame without waiting; False when there is no room for it, or it is over."""
        ...

    def flush(self) -> None:
        """Write what waits, as far as that goes at once."""
        ...

    async def serve(self, take: Take) -> SocketEnd:
        """Hand over all messages until it is over, and return how that came."""
        ...

    def close(self, code: int) -> None:
        """Say goodbye without waiting; calling again changes nothing."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the peer has said goodbye too, or has had the time for it."""
        ...


class Flushes(Protocol):
    """Something that writes what waits for it."""

    def flush(self) -> None:
        """Write it, as far as that goes at once; must not fail."""
        ...


class Outbox:
    """Lets the frames of one tick out together, so that each far end is written to once."""

    def __init__(self) -> None:
        self._waiting: dict[Flushes, None] = {}
        self._wake = trio.Event()

    def add(self, waiting: Flushes) -> None:
        """Let what waits for a far end be written soon."""
        if not self._waiting:
            self._wake.set()
        self._waiting[waiting] = None

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            all_waiting, self._waiting = self._waiting, {}
            for waiting in all_waiting:
                waiting.flush()
