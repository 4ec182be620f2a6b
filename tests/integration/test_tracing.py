"""A call with an agent, as a collector of traces on loopback gets it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.agents.provider import open_provider
from tests.integration.test_own_agents import open_world

pytestmark = pytest.mark.integration


async def test_a_call_is_a_trace_and_each_turn_a_span_of_it(tmp_path: Any) -> None:
    async with open_provider() as collector:
        collector.answers["POST /v1/traces"] = (200, {})
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http_url}
        async with open_world(tmp_path, **settings) as world:
            await world.start(tools=["hangup"])
            await world.user_says("bravo")
            turn = await world.next("agent.turn")
            await world.user_says("goodbye")
            await world.next("leg.disconnected")
        spans: list[dict[str, Any]] = []
        with trio.fail_after(5):
            while not any(span["name"] == "call" for span in spans):
                _, head, body = await collector.request("POST /v1/traces")
                spans += body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert "content-type: application/json" in head.lower()
    (call,) = [span for span in spans if span["name"] == "call"]
    turns = [span for span in spans if span["name"] == "agent turn"]
    assert len(turns) == 2
    assert {span["parentSpanId"] for span in turns} == {call["spanId"]}
    assert {span["traceId"] for span in spans} == {call["traceId"]}
    told = {each["key"]: each["value"] for each in turns[0]["attributes"]}
    assert told["vb.server_ms"] == {"intValue": str(turn["server_ms"])}
    assert "bravo" not in str(spans)
