from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from tests.api.harness import SmallEngine, register
from vb.api.edge import CommandRunner
from vb.api.frames import FRAMES
from vb.api.patterns import Pattern
from vb.api.vsi import VsiSession
from vb.commands.params import NoParams
from vb.commands.registry import Route
from vb.commands.views import Status
from vb.config import Config, HttpConfig
from vb.events.leg import LegMuted
from vb.events.room import RoomCreated

if TYPE_CHECKING:
    from vb.engine import Engine


def texts_of(data: bytes) -> list[str]:
    """The texts of unmasked frames that stand back to back."""
    connection = Connection(ConnectionType.CLIENT)
    connection.receive_data(data)
    return [event.data for event in connection.events() if isinstance(event, TextMessage)]


class Client:
    """The far end of a session: what it sends goes in, what it gets comes out."""

    def __init__(self, engine: SmallEngine, nursery: trio.Nursery, expression: str | None = None) -> None:
        self._to_session, self._inbox = trio.open_memory_channel[dict[str, Any]](100)
        self._outbox, self._from_session = trio.open_memory_channel[dict[str, Any]](10_000)
        self.reading = trio.Event()
        self.reading.set()
        self._refused_at: float | None = None
        self.session = VsiSession(
            engine,
            CommandRunner(engine),
            Pattern(expression) if expression else None,
            self._inbox.receive,
            self._send,
            self._refused_for,
        )
        nursery.start_soon(self._run)
        self.ended = trio.Event()

    async def _run(self) -> None:
        await self.session.run()
        self.ended.set()

    async def _send(self, message: dict[str, Any]) -> None:
        with trio.CancelScope(shield=message["type"] == FRAMES):  # as the connection writes them
            self._refused_at = trio.current_time()
            await self.reading.wait()
            self._refused_at = None
            if message["type"] != FRAMES:
                await self._outbox.send(message)
                return
            for text in texts_of(message["bytes"]):
                await self._outbox.send({"type": "websocket.send", "text": text})

    def _refused_for(self) -> float:
        return 0.0 if self._refused_at is None else trio.current_time() - self._refused_at

    async def message(self) -> dict[str, Any]:
        with trio.fail_after(100):
            return await self._from_session.receive()

    async def frame(self) -> Any:
        message = await self.message()
        assert message["type"] == "websocket.send"
        return json.loads(message["text"])

    async def open(self) -> None:
        assert (await self.message())["type"] == "websocket.accept"
        assert await self.frame() == {"type": "connected"}

    def send(self, frame: object) -> None:
        text = frame if isinstance(frame, str) else json.dumps(frame)
        self._to_session.send_nowait({"type": "websocket.receive", "bytes": None, "text": text})

    def send_raw(self, message: dict[str, Any]) -> None:
        self._to_session.send_nowait(message)

    async def ask(self, frame: object) -> Any:
        self.send(frame)
        return await self.frame()


async def test_events_published_before_the_first_frame_are_not_lost(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    client.reading = trio.Event()
    await trio.sleep(1)
    engine.bus.publish(LegMuted(leg_id="a"))
    client.reading.set()
    await client.open()
    assert (await client.frame())["type"] == "leg.muted"


async def test_a_command_is_answered_under_its_request_id(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    frame = {"type": "paint_leg", "request_id": "x", "payload": {"id": "a", "colour": "red", "from": "me"}}
    assert await client.ask(frame) == {
        "type": "paint_leg.result",
        "request_id": "x",
        "data": {"id": "a", "colour": "red", "coats": 1, "from": "me"},
    }


@pytest.mark.parametrize("frame", [{}, {"request_id": ""}, {"request_id": None, "payload": None, "extra": 1}])
async def test_without_a_request_id_the_answer_has_none(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, frame: dict[str, object]
) -> None:
    client = Client(engine, nursery)
    await client.open()
    answer = await client.ask({"type": "list_colours", **frame})
    assert answer == {"type": "list_colours.result", "data": [{"id": "a", "colour": "red", "coats": 1}]}


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "7",
        "",
        "null",
        '{"type":"list_colours"} x',
        '{"type":5}',
        '{"type":"x","request_id":5}',
        "[" * 9999,
    ],
)
async def test_what_is_no_frame_gets_an_error_with_code_400(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, text: str
) -> None:
    client = Client(engine, nursery)
    await client.open()
    assert await client.ask(text) == {"type": "error", "data": {"code": 400, "message": "invalid JSON"}}


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        ({"type": "fly", "request_id": "a"}, {"code": 400, "message": "unknown command: fly"}),
        ({"request_id": "a"}, {"code": 400, "message": "unknown command: "}),
        ({"type": None, "request_id": "a"}, {"code": 400, "message": "unknown command: "}),
        ({"type": "unpaint_leg", "request_id": "a"}, {"code": 404, "message": "leg not found"}),
        (
            {"type": "unpaint_leg", "request_id": "a", "payload": {"id": None}},
            {"code": 404, "message": "leg not found"},
        ),
        (
            {"type": "unpaint_leg", "request_id": "a", "payload": "x"},
            {"code": 400, "message": "invalid payload: must be an object"},
        ),
        (
            {"type": "unpaint_leg", "request_id": "a", "payload": {"id": 5}},
            {"code": 400, "message": "invalid payload: id: Input should be a valid string"},
        ),
        (
            {"type": "paint_leg", "request_id": "a", "payload": {"id": "x"}},
            {"code": 400, "message": "invalid payload: colour: is required"},
        ),
        (
            {"type": "paint_leg", "request_id": "a", "payload": {"colour": "x", "glitter": True}},
            {"code": 501, "message": "not available: glitter"},
        ),
        (
            {"type": "paint_leg", "request_id": "a", "payload": {"id": "broken", "colour": "x"}},
            {"code": 500, "message": "internal error"},
        ),
    ],
)
async def test_a_refused_command_says_why(
    engine: SmallEngine,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    frame: dict[str, object],
    data: dict[str, object],
) -> None:
    client = Client(engine, nursery)
    await client.open()
    assert await client.ask(frame) == {"type": "error", "request_id": "a", "data": data}


async def test_an_endless_command_name_is_not_echoed_in_full(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    assert len((await client.ask({"type": "x" * 100_000}))["data"]["message"]) < 200


async def test_pong_and_binary_are_not_answered(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    client.send({"type": "pong"})
    client.send_raw({"type": "websocket.receive", "bytes": b'{"type":"list_colours"}', "text": None})
    client.send_raw({"type": "websocket.receive", "bytes": b"", "text": None})
    assert (await client.ask({"type": "list_colours", "request_id": "only"}))["request_id"] == "only"


async def test_stop_closes_with_1000_after_the_events_that_wait(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    client.send({"type": "stop"})
    engine.bus.publish(LegMuted(leg_id="a"))
    assert (await client.frame())["type"] == "leg.muted"
    assert await client.message() == {"type": "websocket.close", "code": 1000, "reason": ""}
    await client.ended.wait()


async def test_a_closing_server_sends_what_waits_and_1001(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    for number in range(5):
        engine.bus.publish(LegMuted(leg_id=str(number)))
    client.session.close(1001)
    assert [(await client.frame())["leg_id"] for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert (await client.message())["code"] == 1001


async def test_a_client_that_does_not_read_cannot_hold_up_the_close(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    started = trio.current_time()
    client.session.close(1001)
    client.reading = trio.Event()
    await client.ended.wait()
    assert trio.current_time() - started == pytest.approx(2)


async def test_a_client_that_left_gets_no_close_frame(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    client.send_raw({"type": "websocket.disconnect", "code": 1006})
    await client.ended.wait()
    with pytest.raises(trio.WouldBlock):
        client._from_session.receive_nowait()


async def test_a_session_that_ended_is_no_longer_subscribed(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    client.session.close(1000)
    await client.ended.wait()
    assert engine.bus._subscribers == []


async def test_pings_come_every_30_seconds_and_count(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    started = trio.current_time()
    for number in (1, 2, 3):
        assert await client.frame() == {"type": "ping", "seq": number, "event_id": number}
        assert trio.current_time() - started == pytest.approx(30 * number)


async def test_a_client_that_only_listens_is_never_cut(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    for _ in range(500):
        await client.frame()
    assert not client.ended.is_set()


async def test_every_client_sees_events_and_only_the_asker_the_result(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    one, other = Client(engine, nursery), Client(engine, nursery)
    await one.open()
    await other.open()
    assert (await one.ask({"type": "list_colours"}))["type"] == "list_colours.result"
    published = engine.bus.publish(RoomCreated(room_id="r"))
    assert await one.frame() == published.as_dict()
    assert await other.frame() == published.as_dict()


@pytest.mark.parametrize(
    ("expression", "seen"),
    [("^$", ["none"]), ("foo", ["xfoox"]), ("^x", ["xfoox"]), (None, ["none", "xfoox"])],
)
async def test_the_filter_searches_the_app_id(
    engine: SmallEngine,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    expression: str | None,
    seen: list[str],
) -> None:
    client = Client(engine, nursery, expression)
    await client.open()
    engine.bus.publish(LegMuted(leg_id="none"))
    engine.bus.publish(LegMuted(leg_id="xfoox", app_id="xfoox"))
    client.session.close(1000)
    got = [(await client.frame())["leg_id"] for _ in seen]
    assert got == seen
    assert (await client.message())["type"] == "websocket.close"


def small_buffer(engine: SmallEngine, **settings: int) -> None:
    """Let 16 events wait for a client that does not read."""
    engine.config = Config(http=HttpConfig(addr="127.0.0.1:0", vsi_event_buffer_size=16, **settings))


def publish(engine: SmallEngine, count: int, first: int = 0) -> list[str]:
    return [
        engine.bus.publish(LegMuted(leg_id=str(number))).event_id for number in range(first, first + count)
    ]


async def test_of_a_burst_nothing_is_lost_to_a_client_that_takes_bytes(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    small_buffer(engine)
    clients = [Client(engine, nursery) for _ in range(3)]
    for client in clients:
        await client.open()
    ids = publish(engine, 5000)
    for client in clients:
        assert [(await client.frame())["event_id"] for _ in ids] == ids
    assert b"voiceblender_vsi_events_dropped_total 0.0" in engine.metrics.render()


async def test_a_client_that_refused_bytes_for_less_than_a_second_loses_nothing(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    small_buffer(engine)
    client = Client(engine, nursery)
    await client.open()
    client.reading = trio.Event()
    ids = publish(engine, 1)
    await trio.sleep(0.9)
    ids += publish(engine, 500, 1)
    client.reading.set()
    assert [(await client.frame())["event_id"] for _ in ids] == ids


async def test_a_client_that_refuses_bytes_loses_the_newest_and_is_told_before_the_next(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    small_buffer(engine)
    client = Client(engine, nursery)
    await client.open()
    client.reading = trio.Event()
    publish(engine, 1)
    await trio.sleep(1)
    publish(engine, 20, 1)
    client.reading.set()
    assert (await client.frame())["leg_id"] == "0"
    assert await client.frame() == {"type": "events_dropped", "count": 4}
    assert [(await client.frame())["leg_id"] for _ in range(16)] == [str(number) for number in range(1, 17)]
    engine.bus.publish(LegMuted(leg_id="later"))
    assert (await client.frame())["leg_id"] == "later"
    assert b"voiceblender_vsi_events_dropped_total 4.0" in engine.metrics.render()


async def test_no_more_bytes_wait_for_a_client_than_set(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    small_buffer(engine, vsi_buffer_bytes=65_536)
    client = Client(engine, nursery)
    await client.open()
    size = len(engine.bus.publish(LegMuted(leg_id="x" * 1000)).body)
    await client.frame()
    for _ in range(100):
        engine.bus.publish(LegMuted(leg_id="x" * 1000))
    fits = 65_536 // size
    assert await client.frame() == {"type": "events_dropped", "count": 100 - fits}
    assert [(await client.frame())["type"] for _ in range(fits)] == ["leg.muted"] * fits


async def test_an_event_that_cannot_be_written_is_missed_and_told_and_harms_nobody(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(engine, nursery)
    await client.open()

    def fail(*_args: object, **_kwargs: object) -> str:
        raise ValueError("circular")

    with monkeypatch.context() as patch:
        patch.setattr("vb.events.base.Event.written", fail)
        patch.setattr("vb.events.base.json.dumps", fail)
        publish(engine, 1)
    publish(engine, 1, 1)
    assert await client.frame() == {"type": "events_dropped", "count": 1}
    assert (await client.frame())["leg_id"] == "1"


async def test_a_result_waits_for_one_write_of_events_at_most(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    client.reading = trio.Event()
    for _ in range(100):
        engine.bus.publish(LegMuted(leg_id="x" * 3000))
    await trio.sleep(0.5)
    client.send({"type": "list_colours"})
    await trio.sleep(0.1)
    client.reading.set()
    types = [(await client.frame())["type"] for _ in range(101)]
    assert "list_colours.result" in types[:45]


async def test_a_result_does_not_wait_behind_events(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = Client(engine, nursery)
    await client.open()
    client.reading = trio.Event()
    for number in range(5):
        engine.bus.publish(LegMuted(leg_id=str(number)))
    await trio.sleep(1)
    client.send({"type": "list_colours"})
    await trio.sleep(1)
    client.reading.set()
    types = [(await client.frame())["type"] for _ in range(6)]
    assert "list_colours.result" in types[:2]


async def test_commands_of_one_client_run_in_their_order(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(engine: Engine, p: NoParams) -> Status:
        """Take a second."""
        await trio.sleep(1)
        return Status(status="slow")

    register(monkeypatch, "slow", slow, Route("POST", "/v1/slow"), ())
    client, other = Client(engine, nursery), Client(engine, nursery)
    await client.open()
    await other.open()
    client.send({"type": "slow"})
    client.send({"type": "list_colours"})
    await trio.sleep(0.5)
    assert (await other.ask({"type": "list_colours"}))["type"] == "list_colours.result"
    assert [(await client.frame())["type"] for _ in range(2)] == ["slow.result", "list_colours.result"]
    assert trio.current_time() == 1


async def test_a_command_runs_to_its_end_when_the_session_is_closed(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def slow(engine: Engine, p: NoParams) -> Status:
        """Take a second."""
        await trio.sleep(1)
        done.append("slow")
        return Status(status="slow")

    register(monkeypatch, "slow", slow, Route("POST", "/v1/slow"), ())
    client = Client(engine, nursery)
    await client.open()
    client.send({"type": "slow"})
    await trio.sleep(0.5)
    client.session.close(1001)
    await client.ended.wait()
    assert done == ["slow"]
