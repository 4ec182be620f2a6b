"""Requests that are cancelled at the worst moment leave no connection that belongs to nobody."""

from __future__ import annotations

from typing import Any, cast

import httpx
import trio

from vb.web.place import Place
from vb.web.tasks.transport import GuardedTransport

PLACE = cast("Place", object())
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Probe(trio.abc.Stream):
    """A connection to a server that answers at once, and takes note of its end."""

    def __init__(self) -> None:
        self.closed = False

    async def send_all(self, data: Any) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return ANSWER

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


def request() -> httpx.Request:
    return httpx.Request("GET", "http://x/")


async def test_a_connection_that_was_dialled_in_the_moment_of_a_cancellation_is_closed() -> None:
    made = Probe()
    with trio.CancelScope() as scope:

        async def dial(place: Place) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            scope.cancel()
            return made

        await GuardedTransport(cast("Any", None), cast("Any", dial)).forward(request(), PLACE)
    assert scope.cancelled_caught
    assert made.closed


async def test_a_kept_connection_that_a_cancelled_request_took_is_closed() -> None:
    made = Probe()

    async def dial(place: Place) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return made

    transport = GuardedTransport(cast("Any", None), cast("Any", dial))
    await (await transport.forward(request(), PLACE)).aread()
    assert transport.kept == 1
    with trio.CancelScope() as scope:
        scope.cancel()
        await transport.forward(request(), PLACE)
    assert (transport.kept, made.closed) == (0, True)
