"""WebSockets on real sockets: frames, limits, closing, and readers that do not read."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from functools import partial
from itertools import pairwise
from time import process_time
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import trio.lowlevel

from tests.api.harness import SmallEngine, serving
from vb.api import connection
from vb.api.serve import serve_http
from vb.config import Config, HttpConfig
from vb.events.leg import LegMuted

if TYPE_CHECKING:
    pass

from tests.api.peer import Connect, masked, send_for_ever

pytestmark = pytest.mark.integration


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


async def test_more_commands_at_once_than_the_session_has_room_for_are_all_run_in_order(
    connect: Connect, engine: SmallEngine
) -> None:
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        asked = [json.dumps({"type": "list_colours", "request_id": str(number)}) for number in range(100)]
        await peer.send(b"".join(masked(1, text.encode()) for text in asked))
        assert [(await peer.event())["request_id"] for _ in asked] == [str(number) for number in range(100)]


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


async def test_a_slow_reader_of_a_burst_misses_nothing_and_stays(
    connect: Connect, engine: SmallEngine
) -> None:
    """It pauses after each of the first events, while the system has no room for more."""
    engine.config = Config(
        http=HttpConfig(addr="127.0.0.1:0", vsi_event_buffer_size=16, vsi_buffer_bytes=64 * 1_048_576)
    )
    async with serving(engine) as url:
        peer = await connect(url)
        await peer.open_vsi()
        ids = [engine.bus.publish(LegMuted(leg_id="x" * 60_000)).event_id for _ in range(200)]
        ids += [engine.bus.publish(LegMuted(leg_id="y")).event_id for _ in range(200)]
        for index, event_id in enumerate(ids):
            if index < 40:
                await trio.sleep(0.05)
                engine.bus.publish(LegMuted(leg_id="later"))
            assert (await peer.event())["event_id"] == event_id
        assert [(await peer.event())["leg_id"] for _ in range(40)] == ["later"] * 40


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
