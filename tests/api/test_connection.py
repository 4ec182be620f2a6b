"""The HTTP edge on real sockets: what only a connection shows."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import pairwise
from time import process_time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
import trio.lowlevel

from tests.api.harness import SmallEngine, register, serving
from vb.api import connection
from vb.api.serve import serve_http
from vb.commands.params import NoParams
from vb.commands.registry import Route
from vb.commands.views import Status
from vb.events.leg import LegMuted

if TYPE_CHECKING:
    from vb.engine import Engine

pytestmark = pytest.mark.integration

UPGRADE = (
    b"GET /v1/vsi HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\nSec-WebSocket-Version: 13\r\n"
)


class Peer:
    """A client that says exactly what it is told to say."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    @classmethod
    async def connect(cls, url: str) -> Peer:
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(await trio.open_tcp_stream(host.strip("[]"), int(port)))

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def _more(self) -> None:
        with trio.fail_after(8):
            data = await self._stream.receive_some(65536)
        if not data:
            raise EOFError
        self._buffer += data

    async def read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._buffer:
            await self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
        status = int(lines[0].split()[1])
        return status, headers, await self.read(int(headers.get("content-length", 0)))

    async def frame(self) -> tuple[int, bytes]:
        first, second = await self.read(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack(">H", await self.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self.read(8))
        return first & 15, await self.read(length)

    async def event(self) -> Any:
        kind, data = await self.frame()
        assert kind == 1
        return json.loads(data)

    async def close_code(self) -> int:
        while True:
            kind, data = await self.frame()
            if kind == 8:
                return int.from_bytes(data[:2], "big")

    async def ended(self) -> bool:
        try:
            while True:
                await self._more()
        except (EOFError, trio.BrokenResourceError):
            return True

    async def open_vsi(self) -> None:
        await self.send(UPGRADE + b"\r\n")
        assert (await self.response())[0] == 101
        assert await self.event() == {"type": "connected"}

    async def say(self, frame: object) -> None:
        await self.send(masked(1, json.dumps(frame).encode()))


Connect = Callable[[str], Awaitable[Peer]]


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    async with AsyncExitStack() as stack:

        async def open_peer(url: str) -> Peer:
            peer = await Peer.connect(url)
            stack.push_async_callback(peer.aclose)
            return peer

        yield open_peer


def masked(kind: int, data: bytes, *, final: bool = True, mask: bool = True) -> bytes:
    head = bytes([kind | (0x80 if final else 0)])
    bit = 0x80 if mask else 0
    if len(data) < 126:
        head += bytes([bit | len(data)])
    elif len(data) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(data))
    return head + (b"\0\0\0\0" if mask else b"") + data


async def send_for_ever(peer: Peer, data: bytes) -> None:
    while True:
        await peer.send(data)


async def test_requests_share_a_connection_and_may_be_pipelined(
    connect: Connect, engine: SmallEngine
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        assert [(await peer.response())[0] for _ in range(3)] == [200, 200, 200]


async def test_a_refused_upgrade_leaves_the_connection_usable(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"GET /v1/vsi HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.response())[0] == 426
        await peer.send(UPGRADE.replace(b"/v1/vsi", b"/v1/vsi?app_id=(") + b"\r\n")
        assert (await peer.response())[0] == 400
        await peer.send(UPGRADE.replace(b"/v1/vsi", b"/v1/nothing") + b"\r\n")
        assert (await peer.response())[0] == 404
        await peer.send(UPGRADE.replace(b"Version: 13", b"Version: 8") + b"\r\n")
        assert (await peer.response())[0] == 426
        await peer.send(b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.response())[0] == 200


async def test_compression_is_not_negotiated(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        status, headers, _ = await peer.response()
        assert status == 101
        assert "sec-websocket-extensions" not in headers


async def test_an_http2_preface_is_answered_in_http1(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await peer.response())[0] in (400, 404, 405)
        peer = await connect(url)
        await peer.send(b"GET /v1/colours HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await peer.response())[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%00%2e%2e HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ? HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"GET /v1/colours HTTP/1.1\r\nHost: a b:99999\r\n\r\n",
        b"GET /v1/colours HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET /v1/colours?%ff=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/colours HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/legs/a/paint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        UPGRADE + b"Sec-WebSocket-Protocol: \xff\r\nSec-WebSocket-Extensions: \xff\r\n\r\n",
        UPGRADE.replace(b"Connection: Upgrade", b"Connection: \xff, Upgrade") + b"\r\n",
        UPGRADE + b"\r\n" + masked(3, b"x", mask=False),
    ],
)
async def test_a_malformed_request_hurts_only_its_own_connection(
    connect: Connect, engine: SmallEngine, request_bytes: bytes
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(engine) as url:
            bystander = await connect(url)
            await bystander.open_vsi()
            peer = await connect(url)
            await peer.send(request_bytes)
            try:
                await peer.response()
            except (EOFError, trio.BrokenResourceError):
                pass
            await peer.aclose()
            engine.bus.publish(LegMuted(leg_id="a"))
            assert (await bystander.event())["leg_id"] == "a"
    assert [line for line in logs if line["log_level"] == "error"] == []


async def test_a_too_large_body_is_refused_before_it_was_read(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(
            b"POST /v1/legs/a/paint HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000
        )
        status, _, body = await peer.response()
        assert status == 413
        assert json.loads(body)["error"]
        assert await peer.ended()


async def test_an_endless_chunked_body_is_cut(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"POST /v1/legs/a/paint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await send_for_ever(peer, b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def test_frames_sent_before_the_upgrade_was_answered_are_not_lost(
    connect: Connect, engine: SmallEngine
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(UPGRADE + b"\r\n" + masked(1, b'{"type":"list_colours"}'))
        assert (await peer.response())[0] == 101
        assert await peer.event() == {"type": "connected"}
        assert (await peer.event())["type"] == "list_colours.result"


async def test_a_silent_connection_is_closed(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_REQUEST_TIMEOUT_S", 0.2)
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"GET / HT")
        assert await peer.ended()


async def test_an_idle_connection_is_closed_but_a_websocket_is_not(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection, "KEEP_ALIVE_TIMEOUT_S", 0.3)
    async with serving(engine) as url:
        listening = await connect(url)
        await listening.open_vsi()
        peer = await connect(url)
        await peer.send(b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.response())[0] == 200
        assert await peer.ended()
        engine.bus.publish(LegMuted(leg_id="a"))
        assert (await listening.event())["leg_id"] == "a"


async def test_a_message_beyond_the_limit_closes_with_1009(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        await peer.send(masked(1, b" " * 1_048_577))
        assert await peer.close_code() == 1009
        assert await peer.ended()


async def test_endless_fragments_close_with_1009(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                await peer.send(masked(1, b"x", final=False))
                with suppress(trio.BrokenResourceError):
                    await send_for_ever(peer, masked(0, b"x" * 60_000, final=False))

            nursery.start_soon(flood)
            assert await peer.close_code() == 1009
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(1, b"{}", mask=False), 1002),
        (masked(3, b"x"), 1002),
        (bytes([0xF1, 0x80, 0, 0, 0, 0]), 1002),
        (masked(1, b"\xff\xfe"), 1007),
    ],
)
async def test_a_broken_frame_closes_with_its_reason(
    connect: Connect, engine: SmallEngine, data: bytes, code: int
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        await peer.send(data)
        assert await peer.close_code() == code
        assert await peer.ended()


async def test_a_flood_of_empty_fragments_leaves_the_loop_to_others(
    connect: Connect, engine: SmallEngine
) -> None:
    fragments = masked(1, b"", final=False) + masked(0, b"", final=False) * 20_000 + masked(9, b"done")
    turns: list[float] = []

    async def take_turns() -> None:
        while True:
            turns.append(process_time())
            await trio.lowlevel.checkpoint()

    async with serving(engine) as url, trio.open_nursery() as nursery:
        peer = await connect(url)
        await peer.open_vsi()
        nursery.start_soon(take_turns)
        await peer.send(fragments)
        assert await peer.frame() == (10, b"done")
        nursery.cancel_scope.cancel()
    assert max(after - before for before, after in pairwise(turns)) < 0.06


async def test_fragmented_text_is_one_command(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        await peer.send(masked(1, b'{"type":"list_', final=False))
        await peer.send(masked(9, b"hi"))
        await peer.send(masked(0, b'colours"}'))
        assert await peer.frame() == (10, b"hi")
        assert (await peer.event())["type"] == "list_colours.result"


async def test_a_close_frame_is_answered(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        await peer.send(masked(8, struct.pack(">H", 1000)))
        assert await peer.close_code() == 1000
        assert await peer.ended()


async def test_stop_closes_with_1000(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        await peer.say({"type": "stop"})
        assert await peer.close_code() == 1000


async def test_a_reader_that_never_reads_is_dropped_and_delays_nobody(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_S", 0.5)
    async with serving(engine) as url:
        stuck, reader = await connect(url), await connect(url)
        await stuck.open_vsi()
        await reader.open_vsi()
        with trio.fail_after(20):
            while len(engine.bus._subscribers) == 2:
                published = engine.bus.publish(LegMuted(leg_id="x" * 60_000))
                with trio.fail_after(0.4):
                    assert (await reader.event())["event_id"] == published.event_id


async def test_the_server_says_1001_and_sends_what_waits(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        engine.bus.publish(LegMuted(leg_id="last"))
    assert (await peer.event())["leg_id"] == "last"
    assert await peer.close_code() == 1001


async def test_a_cancelled_server_says_1001_too(connect: Connect, engine: SmallEngine) -> None:
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(partial(serve_http, engine, stop=trio.Event()))
        peer = await connect(url)
        await peer.open_vsi()
        nursery.cancel_scope.cancel()
    assert await peer.close_code() == 1001


async def test_a_running_request_is_finished_while_the_server_stops(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = trio.Event(), trio.Event()

    async def slow(engine: Engine, p: NoParams) -> Status:
        """Wait for a word."""
        running.set()
        await go_on.wait()
        return Status(status="done")

    register(monkeypatch, "slow", slow, Route("GET", "/v1/slow"), ())
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(partial(serve_http, engine, stop=stop))
        peer, idle = await connect(url), await connect(url)
        await peer.send(b"GET /v1/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await running.wait()
        stop.set()
        assert await idle.ended()
        go_on.set()
        assert (await peer.response())[0] == 200


async def test_a_command_that_never_ends_cannot_hold_up_the_stop(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = trio.Event()

    async def endless(engine: Engine, p: NoParams) -> Status:
        """Wait for nothing."""
        running.set()
        await trio.Event().wait()
        return Status(status="done")

    monkeypatch.setattr("vb.api.serve.GRACEFUL_TIMEOUT_S", 0.3)
    register(monkeypatch, "endless", endless, Route("GET", "/v1/endless"), ())
    with trio.fail_after(5):
        async with serving(engine) as url:
            peer = await connect(url)
            await peer.send(b"GET /v1/endless HTTP/1.1\r\nHost: x\r\n\r\n")
            await running.wait()
    assert await peer.ended()


async def test_a_fault_of_one_connection_is_counted_and_contained(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explode(self: connection.HttpConnection) -> None:
        raise ZeroDivisionError

    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
            patch.setattr(connection.HttpConnection, "run", explode)
            await (await connect(url)).ended()
        assert [line["event"] for line in logs] == ["connection failed"]
        engine.bus.publish(LegMuted(leg_id="a"))
        assert (await peer.event())["leg_id"] == "a"
    assert b'recovered_panics_total{component="api",site="connection"} 1.0' in engine.metrics.render()


async def test_connections_beyond_the_cap_are_refused(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.api.serve.MAX_CONNECTIONS", 1)
    async with serving(engine) as url:
        first, second = await connect(url), await connect(url)
        await first.open_vsi()
        assert await second.ended()
