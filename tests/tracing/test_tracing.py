"""Spans made of events, and a collector that is slow, ill or gone."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio
from pydantic import SecretStr, ValidationError
from trio.testing import MockClock

from tests.support.web import FakeWeb
from vb.config import TracingConfig
from vb.events.agent import AgentConnected, AgentDisconnected, AgentTurn
from vb.events.base import Event
from vb.events.bus import EventBus
from vb.ids import SystemIds
from vb.names import NameLookup
from vb.tracing import spans
from vb.tracing.tasks import WAITING, Tracing

ENDPOINT = "http://127.0.0.1:4318"
ROOM = {"room_id": "r1"}


def turn(**fields: Any) -> AgentTurn:
    told = {"turn": 1, "played_ms": 900, "interrupted": False, "text": "secret", "heard": "secret"}
    return AgentTurn.model_validate({**ROOM, **told, **fields})


class Collector:
    """Answers with what a test has written; the last answer stays."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(json.loads(request.content))
        return httpx.Response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0], json={})

    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for body in self.bodies
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


def make(collector: Collector, **settings: Any) -> tuple[Tracing, EventBus]:
    now_ns = iter(range(1_800_000_000_000_000_000, 2_000_000_000_000_000_000, 1_000_000_000))
    bus = EventBus("i1", SystemIds(), lambda: next(now_ns))
    return Tracing(
        TracingConfig(endpoint=ENDPOINT, **settings),
        bus,
        SystemIds(),
        FakeWeb(collector, NameLookup("requests")),
    ), bus


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def publish_call(bus: EventBus) -> None:
    events: list[Event] = [
        AgentConnected(**ROOM, conversation_id="c"),
        turn(took_ms=700, endpointing_ms=400, first_heard_ms=600, policy_ms=400, early=True),
        AgentDisconnected(**ROOM, reason="stopped"),
    ]
    for event in events:
        bus.publish(event)


async def test_a_trace_has_a_span_for_the_whole_and_one_for_each_turn(autojump_clock: MockClock) -> None:
    collector = Collector(200)
    tracing, bus = make(collector, headers=SecretStr("x-key=k1"), service_name="desk")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tracing.run)
        publish_call(bus)
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    (request,) = collector.requests
    assert (str(request.url), request.headers["x-key"]) == (f"{ENDPOINT}/v1/traces", "k1")
    (resource,) = collector.bodies[0]["resourceSpans"]
    assert attributes(resource["resource"]) == {"service.name": "desk", "service.instance.id": "i1"}
    part, whole = collector.spans()
    assert part["traceId"] == whole["traceId"]
    assert (len(part["traceId"]), len(part["spanId"])) == (32, 16)
    assert (part["parentSpanId"], "parentSpanId" in whole) == (whole["spanId"], False)
    begun, ended = int(part["startTimeUnixNano"]), int(part["endTimeUnixNano"])
    assert ended - begun == 700_000_000
    assert int(whole["startTimeUnixNano"]) <= begun < ended <= int(whole["endTimeUnixNano"])
    at = {each["name"]: (int(each["timeUnixNano"]) - begun) // 1_000_000 for each in part["events"]}
    assert at == {"endpointing": 400, "first_heard": 600}
    told = attributes(part)
    assert (told["vb.policy_ms"], told["vb.early"], told["vb.interrupted"]) == ("400", True, False)
    assert "secret" not in json.dumps(collector.bodies)
    assert attributes(whole) == {"vb.room_id": "r1", "vb.reason": "stopped"}


@pytest.mark.parametrize(
    ("statuses", "requests", "delivered"),
    [([503, 429, 200], 3, 2), ([400, 200], 1, 0), ([503], 4, 0)],
)
async def test_a_collector_that_is_ill_is_tried_again_where_that_may_help(
    autojump_clock: MockClock, statuses: list[int], requests: int, delivered: int
) -> None:
    collector = Collector(*statuses)
    tracing, bus = make(collector)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tracing.run)
        publish_call(bus)
        await trio.sleep(60)
        assert len(collector.requests) == requests
        figures = {labels["outcome"]: value for name, _, value, labels in tracing.readings() if labels}
        assert figures == {"delivered": delivered, "lost": 2 - delivered}
        nursery.cancel_scope.cancel()


async def test_what_waits_at_the_end_is_brought_and_a_dead_collector_delays_it_for_two_seconds(
    autojump_clock: MockClock,
) -> None:
    for status, took_s in ((200, 0.0), (503, 2.0)):
        collector = Collector(status)
        tracing, bus = make(collector)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tracing.run)
            await trio.sleep(0.1)
            publish_call(bus)
            await trio.sleep(0.1)
            ended_at = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - ended_at == pytest.approx(took_s, abs=0.01)
        assert len(collector.spans()) >= 2


async def test_spans_that_nobody_takes_are_bounded_and_counted(autojump_clock: MockClock) -> None:
    tracing, bus = make(Collector(200))
    bus.publish(AgentConnected(**ROOM, conversation_id="c"))
    for _ in range(WAITING + 10):
        bus.publish(turn())
    figures = {labels["outcome"]: value for name, _, value, labels in tracing.readings() if labels}
    assert figures["lost"] == 10


def test_calls_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MAX_OPEN", 2)
    tracing, bus = make(Collector(200))
    for number in range(5):
        bus.publish(AgentConnected(room_id=f"r{number}", conversation_id="c"))
    figures = {name: value for name, _, value, labels in tracing.readings() if not labels}
    assert figures == {"trace_calls_skipped": 3}


@pytest.mark.parametrize("headers", ["nothing", "=x", "a=b,c", "a=b\r\nX: y"])
def test_headers_that_are_none_are_refused(headers: str) -> None:
    with pytest.raises(ValidationError):
        TracingConfig(endpoint=ENDPOINT, headers=SecretStr(headers))


async def test_without_a_collector_nothing_is_kept() -> None:
    bus = EventBus("i1", SystemIds())
    tracing = Tracing(TracingConfig(), bus, SystemIds(), FakeWeb(Collector(200), NameLookup("requests")))
    await tracing.run()
    publish_call(bus)
    assert list(tracing.readings()) == []
