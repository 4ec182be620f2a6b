"""WebSockets with peers that are slow, silent or gone; in memory where time has to jump, else on loopback."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from tests.support.web import local_web
from tests.web.peers import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frames,
    MemoryServer,
    answer_to,
    as_web,
    close_frame,
    frame,
)
from tests.web.tasks.servers import Peer, contexts, open_server
from vb.web.errors import CannotConnect, HandshakeFailed, UrlRefused, WebSocketClosed
from vb.web.policy import WEBSOCKET, parse_url
from vb.web.tasks.dial import Dialer
from vb.web.tasks.websocket import Pace, WebSocket, connect_websocket
from vb.web.websocket import Opening, client_frame

TARGET = parse_url("ws://voice.example/", schemes=WEBSOCKET)


class Stage:
    """An open WebSocket in memory and its server."""

    def __init__(self, websocket: WebSocket, server: MemoryServer, nursery: trio.Nursery) -> None:
        self.websocket = websocket
        self.server = server
        self.nursery = nursery

    async def end(self) -> WebSocketClosed:
        """Receive to the end; nothing may come before it."""
        with pytest.raises(WebSocketClosed) as closed:
            await self.websocket.receive()
        return closed.value


@asynccontextmanager
async def open_stage(
    *more: str, lockstep: bool = False, then: bytes = b"", deflate: bool = False, **pace: Any
) -> AsyncIterator[Stage]:
    ours, theirs = lockstep_stream_pair() if lockstep else memory_stream_pair()
    server = MemoryServer(theirs)
    opening = Opening(TARGET, deflate=deflate, max_message_bytes=1000)
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            await server.accept(*more, then=then)

        nursery.start_soon(accept)
        websocket = await connect_websocket(nursery, as_web(ours), opening, pace=Pace(**pace))
        yield Stage(websocket, server, nursery)
        nursery.cancel_scope.cancel()


# -- messages --------------------------------------------------------------------------------------------


async def test_all_messages_that_have_come_are_received_at_once(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.server.stream.send_all(b"".join(frame(BINARY, b"%d" % n) for n in range(50)))
        assert await stage.websocket.receive() == [b"%d" % n for n in range(50)]


async def test_a_message_behind_the_handshake_is_received(autojump_clock: MockClock) -> None:
    async with open_stage(then=frame(TEXT, b"hello")) as stage:
        assert await stage.websocket.receive() == ["hello"]


async def test_what_is_put_goes_out_in_one_write_and_in_order(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        for number in range(5):
            assert stage.websocket.put(b"%d" % number, f"text {number}")
        assert stage.websocket.put_frames(client_frame(b"framed", b"\1\2\3\4"))
        await wait_all_tasks_blocked()
        data = bytes(await stage.server.stream.receive_some(65536))
        frames = Frames(stage.server.stream)
        frames.held = data
        got = [await frames.next() for _ in range(11)]
        assert got[0:2] == [(BINARY, b"0"), (TEXT, b"text 0")]
        assert got[-1] == (BINARY, b"framed")
        assert frames.held == b""
        assert stage.websocket.unsent_bytes == 0


async def test_a_cancelled_receive_loses_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        wire = b"".join(frame(TEXT, b"%d" % n) for n in range(100))
        got: list[Any] = []
        for start in range(0, len(wire), 7):
            with trio.move_on_after(0.001):
                while True:
                    got += await stage.websocket.receive()
            await stage.server.stream.send_all(wire[start : start + 7])
        got += await stage.websocket.receive()
        assert got == [str(n) for n in range(100)]


async def test_only_one_task_receives(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.nursery.start_soon(stage.websocket.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stage.websocket.receive()


async def test_a_ping_is_answered_while_somebody_receives(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.nursery.start_soon(stage.websocket.receive)
        await stage.server.stream.send_all(frame(PING, b"there?"))
        assert await stage.server.frames.next() == (PONG, b"there?")


async def test_compressed_messages_go_both_ways(autojump_clock: MockClock) -> None:
    async with open_stage("Sec-WebSocket-Extensions: permessage-deflate", deflate=True) as stage:
        await stage.websocket.send("a" * 500)
        opcode, data = await stage.server.frames.next()
        assert opcode == 0x40 | TEXT
        assert len(data) < 50


# -- slow and silent peers -------------------------------------------------------------------------------


async def test_a_peer_that_does_not_read_costs_only_its_own_messages(autojump_clock: MockClock) -> None:
    async with open_stage(lockstep=True, unsent_bytes=1000, send_s=10) as stage:
        taken = [stage.websocket.put(b"x" * 86) for _ in range(20)]
        assert taken == [True] * 10 + [False] * 10
        assert (stage.websocket.dropped, stage.websocket.unsent_bytes) == (10, 10 * 92)
        assert (await stage.end()).code == 1006
        assert trio.current_time() == 10
        assert not stage.websocket.put(b"x")


async def test_a_peer_that_reads_again_gets_what_waited(autojump_clock: MockClock) -> None:
    async with open_stage(lockstep=True, unsent_bytes=1000) as stage:
        for number in range(10):
            assert stage.websocket.put(b"%d" % number)
        await trio.sleep(9)
        assert [await stage.server.frames.next() for _ in range(10)] == [
            (BINARY, b"%d" % n) for n in range(10)
        ]
        await stage.websocket.flush()
        assert stage.websocket.closed is None


async def test_send_waits_for_room(autojump_clock: MockClock) -> None:
    async with open_stage(lockstep=True, unsent_bytes=1000) as stage:
        done = []

        async def send_all() -> None:
            for number in range(40):
                await stage.websocket.send(b"%03d" % number + b"x" * 97)
                done.append(number)

        stage.nursery.start_soon(send_all)
        await trio.sleep(1)
        assert len(done) < 12
        got = [(await stage.server.frames.next())[1][:3] for _ in range(40)]
        assert got == [b"%03d" % number for number in range(40)]
        assert stage.websocket.dropped == 0


async def test_send_to_a_peer_that_reads_nothing_ends_in_an_error(autojump_clock: MockClock) -> None:
    async with open_stage(lockstep=True, unsent_bytes=100, send_s=3) as stage:
        await stage.websocket.send(b"x" * 60)
        with pytest.raises(WebSocketClosed) as closed:
            await stage.websocket.send(b"x" * 60)
        assert (closed.value.code, trio.current_time()) == (1006, 3)


async def test_a_peer_that_fell_silent_is_pinged_and_given_up(autojump_clock: MockClock) -> None:
    async with open_stage(ping_s=20, pong_s=5) as stage:
        end = await stage.end()
        assert (end.code, end.reason, trio.current_time()) == (1006, "the peer is silent", 25)
        assert await stage.server.frames.next() == (PING, b"")


async def test_a_pong_keeps_a_silent_peer(autojump_clock: MockClock) -> None:
    async with open_stage(ping_s=20, pong_s=5) as stage:

        async def pong() -> None:
            for _ in range(3):
                assert await stage.server.frames.next() == (PING, b"")
                await trio.sleep(4)
                await stage.server.stream.send_all(frame(PONG))

        stage.nursery.start_soon(pong)
        await stage.end()
        assert trio.current_time() == 3 * 24 + 25


async def test_pings_of_a_peer_that_does_not_read_fill_no_memory(autojump_clock: MockClock) -> None:
    async with open_stage(lockstep=True, unsent_bytes=1000, send_s=100) as stage:
        stage.nursery.start_soon(stage.websocket.receive)
        await wait_all_tasks_blocked()
        for _ in range(500):
            await stage.server.stream.send_all(frame(PING, b"x" * 100))
        assert stage.websocket.unsent_bytes < 1200
        assert stage.websocket.closed is None
        stage.nursery.cancel_scope.cancel()


# -- the end ---------------------------------------------------------------------------------------------


async def test_messages_before_the_end_are_received_first(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.server.stream.send_all(frame(TEXT, b"last words") + close_frame(4001, b"bye"))
        assert await stage.websocket.receive() == ["last words"]
        for _ in range(2):
            end = await stage.end()
            assert (end.code, end.reason) == (4001, "bye")
        assert await stage.server.frames.next() == (CLOSE, b"\x0f\xa1bye")
        assert not stage.websocket.put(b"x")
        with pytest.raises(WebSocketClosed):
            await stage.websocket.send(b"x")


async def test_a_broken_connection_is_1006(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.server.stream.send_all(frame(BINARY, b"x" * 100)[:50])
        await stage.server.stream.aclose()
        assert (await stage.end()).code == 1006


async def test_closing_is_said_and_heard(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        stage.websocket.put("goodbye")
        stage.nursery.start_soon(stage.websocket.aclose, 4000, "done")
        assert await stage.server.frames.next() == (TEXT, b"goodbye")
        assert await stage.server.frames.next() == (CLOSE, b"\x0f\xa0done")
        await stage.server.stream.send_all(frame(BINARY, b"unread") + close_frame(4000))
        with pytest.raises(EOFError):
            await stage.server.frames.next()
        assert stage.websocket.closed is not None
        assert (stage.websocket.closed.code, trio.current_time()) == (4000, 0)


async def test_a_peer_that_does_not_say_goodbye_is_left_after_two_seconds(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        async with stage.websocket:
            pass
        assert trio.current_time() == 2


async def test_a_peer_that_reads_nothing_is_left_after_two_seconds(autojump_clock: MockClock) -> None:
    async with open_stage(lockstep=True) as stage:
        stage.websocket.put(b"x")
        await stage.websocket.aclose()
        assert trio.current_time() == 2


async def test_who_receives_gets_what_comes_before_the_peers_goodbye(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        got: list[object] = []

        async def receive() -> None:
            try:
                while True:
                    got.extend(await stage.websocket.receive())
            except WebSocketClosed as closed:
                got.append(closed.code)

        async def server() -> None:
            assert (await stage.server.frames.next())[0] == CLOSE
            await stage.server.stream.send_all(frame(TEXT, b"late") + close_frame(1000))

        stage.nursery.start_soon(receive)
        stage.nursery.start_soon(server)
        await wait_all_tasks_blocked()
        await stage.websocket.aclose()
        await wait_all_tasks_blocked()
        assert (got, trio.current_time()) == (["late", 1000], 0)


async def test_goodbye_is_said_under_cancellation(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def use() -> None:
                    async with stage.websocket:
                        await stage.websocket.receive()

                nursery.start_soon(use)
                await wait_all_tasks_blocked()
                stage.nursery.start_soon(stage.server.stream.send_all, close_frame(1000))
                scope.cancel()
        assert (await stage.server.frames.next())[0] == CLOSE


async def test_goodbye_is_said_when_the_task_that_writes_is_cancelled_too(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    server = MemoryServer(theirs)
    async with trio.open_nursery() as outer:
        outer.start_soon(server.accept)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                websocket = await connect_websocket(nursery, as_web(ours), Opening(TARGET))
                async with websocket:
                    await wait_all_tasks_blocked()
                    websocket.put("last words")
                    scope.cancel()
                    await trio.sleep(1)
        assert await server.frames.next() == (TEXT, b"last words")
        assert (await server.frames.next())[0] == CLOSE


async def test_closing_twice_is_closing_once(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.websocket.aclose)
            nursery.start_soon(stage.websocket.aclose)
        await stage.websocket.aclose()
        assert trio.current_time() == 2


@pytest.mark.parametrize(("sent", "code"), [(frame(BINARY, b"x" * 1001), 1009), (frame(TEXT, b"\xff"), 1007)])
async def test_a_fault_of_the_peer_is_told_to_it(autojump_clock: MockClock, sent: bytes, code: int) -> None:
    async with open_stage() as stage:
        await stage.server.stream.send_all(sent)
        assert (await stage.end()).code == code
        opcode, data = await stage.server.frames.next()
        assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, code)


# -- the handshake ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101", b"HTTP/1.1 100 Wait\r\n"])
async def test_a_server_that_does_not_answer_is_given_up(autojump_clock: MockClock, said: bytes) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(said)
    async with trio.open_nursery() as nursery:
        with pytest.raises(HandshakeFailed, match="not open within 3 s"):
            await connect_websocket(nursery, as_web(ours), Opening(TARGET), pace=Pace(open_s=3))
    assert trio.current_time() == 3
    assert bytes(await theirs.receive_some(1000)).startswith(b"GET ")
    assert await theirs.receive_some(1000) == b""


async def test_a_server_that_hangs_up_is_an_error(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"HTTP/1.1 101 Go")
    theirs.send_stream.close()
    async with trio.open_nursery() as nursery:
        with pytest.raises(HandshakeFailed, match="closes the connection"):
            await connect_websocket(nursery, as_web(ours), Opening(TARGET))


# -- on loopback -----------------------------------------------------------------------------------------


async def echo(peer: Peer) -> None:
    """Open a WebSocket and send every frame back, until the close frame."""
    await peer.stream.send_all(answer_to(await peer.head()))
    frames = Frames(peer.stream)
    while True:
        opcode, data = await frames.next()
        await peer.stream.send_all(frame(opcode, data))
        if opcode == CLOSE:
            return


async def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest.mark.integration
@pytest.mark.parametrize("secure", [False, True])
async def test_messages_go_both_ways_over_real_connections(secure: bool, nursery: trio.Nursery) -> None:
    server_tls, client_tls = contexts("voice.example")
    server_context: ssl.SSLContext | None = server_tls if secure else None
    async with (
        open_server(echo, tls=server_context) as server,
        aclosing(local_web(["127.0.0.1"], loopback, Dialer(client_tls))) as web,
    ):
        url = f"{'wss' if secure else 'ws'}://voice.example:{server.port}/"
        opening = Opening(parse_url(url, schemes=WEBSOCKET))
        async with await connect_websocket(nursery, web, opening) as websocket:
            sent = [b"%d" % number * 100 for number in range(200)]
            websocket.put(*sent[:100])
            # What a plain connection takes goes out at once; TLS needs its task.
            assert (websocket.unsent_bytes == 0) is not secure
            websocket.put(*sent[100:])
            got: list[object] = []
            while len(got) < len(sent):
                got += await websocket.receive()
            assert got == sent
        assert websocket.closed is not None
        assert websocket.closed.code == 1000
        if secure:
            wrong = Opening(parse_url(f"wss://other.example:{server.port}/", schemes=WEBSOCKET))
            with pytest.raises(CannotConnect):
                await connect_websocket(nursery, web, wrong)


@pytest.mark.integration
async def test_a_websocket_is_judged_like_a_request(nursery: trio.Nursery) -> None:
    async with open_server(echo) as server, aclosing(local_web([], loopback)) as web:
        opening = Opening(parse_url(f"ws://voice.example:{server.port}/", schemes=WEBSOCKET))
        with pytest.raises(UrlRefused):
            await connect_websocket(nursery, web, opening)
        assert server.connections == 0
        async with await connect_websocket(nursery, web, opening, trusted=True) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == ["hello"]


@asynccontextmanager
async def open_against(
    handler: Callable[[Peer], Awaitable[None]], secure: bool, **pace: Any
) -> AsyncIterator[WebSocket]:
    server_tls, client_tls = contexts("voice.example")
    server_context: ssl.SSLContext | None = server_tls if secure else None
    async with (
        open_server(handler, tls=server_context) as server,
        aclosing(local_web(["127.0.0.1"], loopback, Dialer(client_tls))) as web,
        trio.open_nursery() as nursery,
    ):
        url = f"{'wss' if secure else 'ws'}://voice.example:{server.port}/"
        opening = Opening(parse_url(url, schemes=WEBSOCKET))
        async with await connect_websocket(nursery, web, opening, pace=Pace(**pace)) as websocket:
            yield websocket


@pytest.mark.integration
@pytest.mark.parametrize("secure", [False, True])
async def test_a_real_peer_that_stops_reading_is_given_up(secure: bool) -> None:
    async def deaf(peer: Peer) -> None:
        await peer.stream.send_all(answer_to(await peer.head()))
        await trio.sleep_forever()

    async with open_against(deaf, secure, send_s=0.2, close_s=0.2) as websocket:
        while websocket.lost is None:  # the system takes a lot for a peer, and not all of it at once
            with suppress(WebSocketClosed):
                await websocket.send(bytes(60_000))
        with pytest.raises(WebSocketClosed) as closed:
            await websocket.receive()
        assert closed.value.code == 1006
        assert websocket.lost == "slow"


@pytest.mark.integration
@pytest.mark.parametrize("secure", [False, True])
async def test_a_real_peer_that_is_cut_off_is_1006(secure: bool) -> None:
    async def gone(peer: Peer) -> None:
        await peer.stream.send_all(answer_to(await peer.head()) + frame(TEXT, b"hello") + b"\x82\x05ab")

    async with open_against(gone, secure, close_s=0.2) as websocket:
        assert await websocket.receive() == ["hello"]
        with pytest.raises(WebSocketClosed) as closed:
            await websocket.receive()
        assert closed.value.code == 1006
        assert not websocket.put(b"x")
        assert websocket.lost in ("eof", "reset")
