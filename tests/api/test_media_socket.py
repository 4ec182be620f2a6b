"""Deadlines of audio WebSockets, in virtual time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext

from tests.api.peer import UPGRADE
from vb.api.connection import HttpConnection
from vb.api.flow import Flow
from vb.api.media_socket import UNSENT_BYTES, ServerSocket
from vb.web.message import Message
from vb.web.websocket import client_frame
from vb.wsleg.socket import SocketEnd


class Line:
    """A socket and its other end."""

    def __init__(self, ours: trio.socket.SocketType, theirs: socket.socket) -> None:
        self.socket = ServerSocket(Flow(ours))
        self.theirs = theirs
        self.end: SocketEnd | None = None
        self.messages: list[Message] = []
        self.pause_s = 0.0

    @property
    def over(self) -> bool:
        return self.end is not None

    def take(self, messages: list[Message]) -> float:
        self.messages += messages
        return self.pause_s

    async def serve(self) -> None:
        self.end = await self.socket.serve(self.take)

    def sent(self) -> bytes:
        try:
            return self.theirs.recv(1_000_000)
        except BlockingIOError:
            return b""


@asynccontextmanager
async def open_line() -> AsyncIterator[Line]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    with theirs, trio.socket.from_stdlib_socket(ours) as own:
        async with trio.open_nursery() as nursery:
            line = Line(own, theirs)
            nursery.start_soon(line.serve)
            nursery.start_soon(line.socket.write)
            await trio.testing.wait_all_tasks_blocked()
            yield line
            nursery.cancel_scope.cancel()


async def test_a_client_of_which_nothing_comes_is_asked_and_then_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_line() as line:
        await trio.sleep(29.9)
        assert line.sent() == b""
        await trio.sleep(0.2)
        assert line.sent() == b"\x89\x00"
        await trio.sleep(29.7)
        assert not line.over
        await trio.sleep(0.3)
        assert line.end is SocketEnd.SILENT


async def test_any_frame_is_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    async with open_line() as line:
        for _ in range(5):
            await trio.sleep(50)
            assert line.sent() == b"\x89\x00"
            line.socket.receive(b"\x8a\x80\0\0\0\0")
        assert not line.over
        await trio.sleep(61)
        assert line.end is SocketEnd.SILENT


async def test_messages_that_come_before_it_is_served_are_not_lost() -> None:
    ours, theirs = socket.socketpair()
    with theirs, trio.socket.from_stdlib_socket(ours) as own:
        line = Line(own, theirs)
        line.socket.receive(client_frame(b"ab", bytes(4)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.serve)
            await trio.testing.wait_all_tasks_blocked()
            assert line.messages == [b"ab"]
            line.pause_s = 0.5
            assert line.socket.receive(client_frame("x", bytes(4))) == 0.5
            line.socket.lost(reset=False)
        assert line.end is SocketEnd.CLOSED


async def test_a_client_that_reads_nothing_is_cut_off_after_five_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_line() as line:
        frame, put = bytes(1000), 0
        while line.socket.put(frame):
            line.socket.flush()
            put += 1
        assert UNSENT_BYTES - 1000 <= put * 1000 <= UNSENT_BYTES + 300_000
        await trio.sleep(4.5)
        assert not line.over
        await trio.sleep(6)
        assert line.end is SocketEnd.SLOW
        assert not line.socket.put(frame)


async def test_what_waits_goes_out_once_the_client_reads() -> None:
    async with open_line() as line:
        put = 0
        while line.socket.put(b"x" * 1000):
            line.socket.flush()
            put += 1
        got = 0
        with trio.fail_after(5):
            while got < put * 1000:
                got += len(line.sent())
                await trio.lowlevel.checkpoint()
        assert line.end is None


async def test_a_goodbye_is_waited_for_two_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with open_line() as line:
        line.socket.close(1000)
        line.socket.close(1001)
        assert line.sent() == b"\x88\x02\x03\xe8"
        begun = trio.current_time()
        await line.socket.wait_closed()
        assert trio.current_time() - begun == pytest.approx(2, abs=0.01)
        line.socket.receive(b"\x88\x80\0\0\0\0")
        await line.socket.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert line.end is SocketEnd.CLOSED


@pytest.mark.parametrize("reset", [True, False])
async def test_the_end_of_the_stream_is_told_from_a_reset(reset: bool) -> None:
    async with open_line() as line:
        line.socket.lost(reset=reset)
        await trio.testing.wait_all_tasks_blocked()
        assert line.end is (SocketEnd.RESET if reset else SocketEnd.CLOSED)


async def test_a_broken_connection_is_a_reset() -> None:
    async with open_line() as line:
        line.theirs.close()
        assert line.socket.put(b"x")
        line.socket.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert line.end is SocketEnd.RESET


async def test_a_client_that_goes_while_its_upgrade_is_accepted_is_handed_to_nobody() -> None:
    told: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        told.append(scope["state"]["hand_over"](ServerSocket(scope["state"]["flow"])))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        stream = await listener.accept()
        context = WorkerContext(None)
        connection = HttpConnection(ASGIWrapper(app), HypercornConfig(), context, lambda *_: True, stream, {})
        nursery.start_soon(connection.run)
        await client.send_all(UPGRADE + b"\r\n")
        await client.receive_some()
        await client.aclose()
    assert told == [False]
