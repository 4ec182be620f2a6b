"""The HTTP edge on real sockets: what only a connection shows."""

from __future__ import annotations

import json
import math
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import trio.lowlevel
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.api.harness import SmallEngine, register, register_held, serving
from vb.api import connection
from vb.api.serve import serve_http
from vb.commands.params import NoParams
from vb.commands.registry import Route
from vb.commands.views import Status
from vb.events.leg import LegMuted

if TYPE_CHECKING:
    from vb.engine import Engine

from tests.api.peer import UPGRADE, Connect, masked, send_for_ever

pytestmark = pytest.mark.integration


async def test_requests_share_a_connection_and_may_be_pipelined(
    connect: Connect, engine: SmallEngine
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        assert [(await peer.response())[0] for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n\n" * 8])
async def test_empty_lines_before_a_request_are_ignored(
    connect: Connect, engine: SmallEngine, empty: bytes
) -> None:
    request = b"POST /v1/colours HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(empty + request + empty + request + empty)
        assert [(await peer.response())[0] for _ in range(2)] == [405, 405]
        await peer.send(request)
        assert (await peer.response())[0] == 405
        await peer.send(empty + UPGRADE + b"\r\n")
        assert (await peer.response())[0] == 101


async def test_an_empty_line_may_come_in_two_pieces(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"\r")
        await wait_all_tasks_blocked(0.01)
        await peer.send(b"\nGET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await peer.response())[0] == 200


@pytest.mark.parametrize("lines", [b"\r\n" * 17, b"\r\r\n", b" \r\n", b"\r"])
async def test_more_than_a_few_empty_lines_before_a_request_are_refused(
    connect: Connect, engine: SmallEngine, lines: bytes
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(lines + b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, _ = await peer.response()
        assert (status, headers["connection"]) == (400, "close")


async def test_empty_lines_do_not_keep_a_silent_connection_open(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FIRST_REQUEST_TIMEOUT_S", 0.1)
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(b"\r\n")
        with pytest.raises(EOFError):
            await peer.response()


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


@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
async def test_no_other_method_opens_a_websocket(
    connect: Connect, engine: SmallEngine, method: bytes
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(UPGRADE.replace(b"GET", method) + b"Content-Length: 0\r\n\r\n")
        assert (await peer.response())[0] == 405


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
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://a]/v1/colours HTTP/1.1\r\nHost: x\r\n\r\n",
        UPGRADE.replace(b"/v1/vsi", b"http://[/v1/vsi") + b"\r\n",
        UPGRADE + b"Origin: http://[\r\n\r\n",
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


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/legs/a/paint HTTP/1.1\r\nHost: x\r\n",
        b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n",
        UPGRADE,
    ],
)
async def test_two_ways_to_tell_the_length_of_a_body_end_the_connection(
    connect: Connect, engine: SmallEngine, request_bytes: bytes
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(
            request_bytes + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            b"GET /v1/colours HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        status, headers, _ = await peer.response()
        assert (status, headers["connection"]) == (400, "close")
        with pytest.raises(EOFError):
            await peer.response()


async def test_a_too_large_body_is_refused_before_it_was_read(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.send(
            b"POST /v1/legs/a/paint HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000
        )
        status, headers, body = await peer.response()
        assert (status, headers["connection"]) == (413, "close")
        assert json.loads(body)["error"]
        assert await peer.ended()


async def test_a_body_that_was_read_leaves_the_connection_open(connect: Connect, engine: SmallEngine) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        for _ in range(2):
            await peer.send(b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            status, headers, _ = await peer.response()
            assert (status, "connection" in headers) == (404, False)


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


async def test_a_running_request_is_finished_while_the_server_stops(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = register_held(monkeypatch)
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


@pytest.mark.parametrize(
    ("left_s", "takes_s"), [(-1.0, 0.5), (0.7, 0.7), (60.0, 1.5)], ids=["nothing", "little", "much"]
)
async def test_a_client_that_does_nothing_has_what_is_left_of_the_stop(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch, left_s: float, takes_s: float
) -> None:
    monkeypatch.setattr("vb.api.serve.GRACEFUL_TIMEOUT_S", 1.5)
    stop, deadline = trio.Event(), trio.current_time() + 60
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, engine, stop=stop, deadline=lambda: deadline)
        url: str = await nursery.start(serve)
        peer = await connect(url)
        await peer.send(b"POST /v1/legs/a/paint HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n")
        await peer.send(b"Content-Length: 100\r\n\r\n{")
        assert (await peer.response())[0] == 100
        began = trio.current_time()
        deadline = began + left_s
        stop.set()
    assert takes_s - 0.1 < trio.current_time() - began < takes_s + 0.4


async def test_a_client_that_reads_nothing_does_not_delay_the_stop_by_what_is_written_to_it(
    connect: Connect, engine: SmallEngine
) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, engine, stop=stop, deadline=trio.current_time)
        url: str = await nursery.start(serve)
        peer = await connect(url)
        await peer.open_vsi()
        for _ in range(40):
            for _ in range(500):
                engine.bus.publish(LegMuted(leg_id="a" * 400))
            await wait_all_tasks_blocked()
        began = trio.current_time()
        stop.set()
    assert trio.current_time() - began < 1.5


async def test_the_end_of_a_connection_comes_after_what_is_being_written() -> None:
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    app = ASGIWrapper(QuartTrio(__name__))
    context = WorkerContext(None)
    ending = connection.HttpConnection(app, HypercornConfig(), context, lambda *_: False, ours, {})
    long = bytes(range(256)) * 8000  # more than the sockets hold
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ending._write, long)
        await wait_all_tasks_blocked()
        nursery.start_soon(ending._begin_close)
        await wait_all_tasks_blocked()
        nursery.start_soon(ending._write, b"too late")
        read = b""
        with trio.fail_after(5):
            while data := await theirs.receive_some():
                read += data
    assert read == long
    await theirs.aclose()
    await ours.aclose()


class _Trickle:
    """A far end that takes so many bytes every second."""

    broken = False

    def __init__(self, per_second: int) -> None:
        self.taken = 0
        self._per_second = per_second
        self._room = 0

    async def wait(self) -> None:
        await trio.sleep(1 if self._per_second else math.inf)
        self._room = self._per_second

    def unanswered_for(self) -> float | None:
        return None

    def write(self, data: memoryview) -> int:
        count = min(len(data), self._room)
        self._room -= count
        self.taken += count
        return count


@pytest.mark.parametrize(("per_second", "taken"), [(500, 65_536), (100, 500), (0, 0)])
async def test_a_client_that_reads_slowly_keeps_its_connection_and_an_idle_one_does_not(
    autojump_clock: MockClock, per_second: int, taken: int
) -> None:
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    app = ASGIWrapper(QuartTrio(__name__))
    context = WorkerContext(None)
    subject = connection.HttpConnection(app, HypercornConfig(), context, lambda *_: False, ours, {})
    flow = _Trickle(per_second)
    vars(subject).update(_flow=flow, _protocol=SimpleNamespace(client=None))
    await subject._write(bytes(65_536))
    assert flow.taken == pytest.approx(taken, abs=per_second)
    assert subject._broken == (taken < 65_536)
    await theirs.aclose()
    await ours.aclose()


class _Silent:
    """A far end that takes what is written, and acknowledges so many bytes of it every six seconds."""

    broken = False

    def __init__(self, per_six_seconds: int) -> None:
        self._began = trio.current_time()
        self._per_six_seconds = per_six_seconds
        self._seen, self._seen_at = 0, self._began

    def write(self, data: memoryview) -> int:
        return len(data)

    def unanswered_for(self) -> float | None:
        now = trio.current_time()
        taken = int((now - self._began) / 6) * self._per_six_seconds
        if taken >= 10_000:
            return None
        if taken > self._seen:
            self._seen, self._seen_at = taken, now
        return now - self._seen_at


@pytest.mark.parametrize(("per_six_seconds", "stays"), [(0, False), (500, True), (10_000, True)])
async def test_a_peer_that_acknowledges_nothing_for_ten_seconds_has_vanished(
    autojump_clock: MockClock, per_six_seconds: int, stays: bool
) -> None:
    ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
    app = ASGIWrapper(QuartTrio(__name__))
    subject = connection.HttpConnection(
        app, HypercornConfig(), WorkerContext(None), lambda *_: False, ours, {}
    )
    flow = _Silent(per_six_seconds)
    vars(subject).update(_flow=flow, _protocol=SimpleNamespace(client=None), _read_deadline=math.inf)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject._read)
        await wait_all_tasks_blocked()
        await subject._write(bytes(10_000))
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert subject._broken != stays
    assert trio.current_time() - began >= 100
    await theirs.aclose()
    await ours.aclose()


async def test_frames_that_come_as_the_peer_is_looked_after_are_not_lost() -> None:
    """A scope whose time is up as a read returns cancels whatever is awaited next in it."""
    taken: list[bytes] = []

    class Frames:
        is_open = True

        def take(self, data: bytes) -> bool:
            self.left = data
            return False

        async def settle(self) -> None:
            await trio.lowlevel.checkpoint()
            taken.append(self.left)

        async def receive(self, data: bytes) -> None:
            self.take(data)
            await self.settle()

    class Bytes:
        def __init__(self) -> None:
            self.left = [b"one", b"two", b""]

        async def read(self, _: int) -> bytes:
            await trio.lowlevel.checkpoint()
            if self.left[0] == b"one":
                here._read_scope.cancel()
            return self.left.pop(0)

    here = SimpleNamespace(
        _flow=Bytes(),
        _read_deadline=math.inf,
        _move_deadline=lambda: None,
        _closing=False,
        _is_there=lambda: True,
    )
    read = connection.HttpConnection._read_websocket
    assert not await read(here, Frames())  # type: ignore[arg-type]  # as much of both as is used
    assert taken == [b"one", b"two"]
