"""Goodbyes to providers, said after the conversation is over for its leg or room."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import structlog
import trio

from vb.agents.base import HttpCall
from vb.web.errors import WebError
from vb.web.message import Message
from vb.web.tasks.client import WebClient
from vb.web.tasks.websocket import WebSocket

log = structlog.get_logger(__name__)

MAX_AT_ONCE: Final = 256
"""With more of them, the providers only see the connection close."""
FAREWELL_S: Final = 4.0
_MAX_ANSWER_BYTES: Final = 65_536


class Farewells:
    """Runs the goodbyes of a server.

    Args:
        web: the way out.
    """

    def __init__(self, web: WebClient) -> None:
        self._web = web
        self._nursery: trio.Nursery | None = None
        self.running = 0
        self.skipped = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run them until cancelled.

        Cancellation: those that have begun are given up within a second.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def add(self, websocket: WebSocket, messages: Iterable[Message], call: HttpCall | None) -> bool:
        """Send the last messages, close a WebSocket in good order, and make the last request; does not wait.

        Returns:
            False when there are too many already, or the server ends: the caller closes the WebSocket.
        """
        if self._nursery is None or self.running >= MAX_AT_ONCE:
            self.skipped += 1
            return False
        websocket.put(*messages)
        self.running += 1
        self._nursery.start_soon(partial(self._say, websocket, call), name="goodbye to an agent")
        return True

    async def _say(self, websocket: WebSocket, call: HttpCall | None) -> None:
        try:
            with trio.move_on_after(FAREWELL_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(websocket.aclose)
                    if call is not None:
                        nursery.start_soon(self._ask, call)
        finally:
            self.running -= 1

    async def _ask(self, call: HttpCall) -> None:
        try:
            await self._web.ask(
                call.method,
                call.url,
                within_s=FAREWELL_S,
                max_bytes=_MAX_ANSWER_BYTES,
                headers=call.headers,
                content=call.content,
                trusted=not call.foreign,
            )
        except WebError as error:
            log.info("agent not told goodbye", problem=str(error))
