"""Limits, access, draining and the webhook spool of a whole server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.support.phone import open_phone
from tests.support.world import call_in, sip_uri, wait_for
from vb.config import Config
from vb.server import open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration


def settings(config: Config, **changes: dict[str, Any]) -> Config:
    """The same settings with some of a group's values replaced."""
    groups = {name: getattr(config, name).model_copy(update=update) for name, update in changes.items()}
    return config.model_copy(update=groups)


async def test_the_call_rate_is_limited_with_503_and_retry_after(config: Config) -> None:
    limited = settings(config, server={"max_calls_per_second": 1})
    async with open_server(limited) as server, open_phone(600) as phone:
        with server.events() as events:
            first, second = phone.dial(sip_uri(server)), phone.dial(sip_uri(server))
            refused = await phone.wait_for(second, sip.Refused)
            assert refused.status == 503
            await wait_for(events, "leg.ringing")
            assert not first.is_closed


async def test_the_cap_on_legs_refuses_one_more(config: Config) -> None:
    async with open_server(settings(config, server={"max_legs": 1})) as server, open_phone(600) as phone:
        with server.events() as events:
            await call_in(server, phone, events)
            refused = await phone.wait_for(phone.dial(sip_uri(server)), sip.Refused)
            assert refused.status == 503
            async with httpx.AsyncClient(base_url=server.url or "") as client:
                answer = await client.post("/v1/legs", json={"type": "sip", "to": phone.uri})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


async def test_without_its_token_the_api_is_closed(config: Config) -> None:
    from pydantic import SecretStr

    closed = settings(config, http={"api_tokens": (SecretStr("letmein"),)})
    async with open_server(closed) as server, httpx.AsyncClient(base_url=server.url or "") as client:
        refused = await client.get("/v1/legs")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert "instance_id" in refused.json()
        headers = {"Authorization": "Bearer letmein"}
        assert (await client.get("/v1/legs", headers=headers)).status_code == 200
        assert (await client.get("/v1/legs?token=letmein")).status_code == 401
        assert (await client.get("/readyz")).status_code == 200


async def test_an_address_that_is_not_listed_is_forbidden_everywhere(config: Config) -> None:
    closed = settings(config, http={"allowed_ips": ("192.0.2.0/24",)})
    async with open_server(closed) as server, httpx.AsyncClient(base_url=server.url or "") as client:
        for path in ("/v1/legs", "/metrics", "/healthz", "/v1/vsi"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")


async def test_draining_lets_a_call_finish_before_the_server_stops(config: Config) -> None:
    draining = settings(config, server={"drain_timeout_s": 20.0})
    seen: list[dict[str, Any]] = []
    async with open_phone(600) as phone, trio.open_nursery() as nursery, open_server(draining) as server:
        server.engine.bus.subscribe(lambda published: seen.append(published.as_dict()))
        with server.events() as events:
            await call_in(server, phone, events)
        uri = sip_uri(server)

        async def refuse_and_hang_up() -> None:
            with trio.fail_after(5):
                while not server.engine.stopping:
                    await phone.hear(1)
            refused = await phone.wait_for(phone.dial(uri), sip.Refused)
            assert refused.status == 503
            phone.calls[0].hangup()

        nursery.start_soon(refuse_and_hang_up)
    assert seen[-1]["cdr"]["reason"] == "remote_bye"


async def test_webhooks_left_by_one_run_go_out_in_the_next_with_the_same_id(
    config: Config, tmp_path: Path
) -> None:
    got: list[tuple[str, dict[str, Any]]] = []
    arrived = trio.Event()

    async def sink(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                data += await stream.receive_some()
            head, _, body = data.partition(b"\r\n\r\n")
            event_id = next(
                line.partition(b": ")[2].decode()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"x-event-id")
            )
            got.append((event_id, json.loads(body)))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            arrived.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, sink, 0)
        port = listeners[0].socket.getsockname()[1]
        dead = settings(
            config,
            webhook={"url": "http://127.0.0.1:1/hook", "spool_dir": str(tmp_path / "spool")},
            server={"stop_timeout_s": 0.2},
        )
        async with open_server(dead) as server:
            with server.events() as events:
                await server.call("create_room", id="kept")
                created = await wait_for(events, "room.created")
        alive = settings(dead, webhook={"url": f"http://127.0.0.1:{port}/hook"})
        async with open_server(alive):
            with trio.fail_after(5):
                await arrived.wait()
        nursery.cancel_scope.cancel()
    assert [(event_id, body["room_id"]) for event_id, body in got] == [(created["event_id"], "kept")]
    assert got[0][1]["event_id"] == created["event_id"]


async def test_the_cap_on_legs_holds_in_a_burst(config: Config) -> None:
    async with open_server(settings(config, server={"max_legs": 3})) as server, open_phone(600) as phone:
        calls = [phone.dial(sip_uri(server)) for _ in range(20)]
        refused = 0
        with server.events() as events:
            for _ in range(3):
                await wait_for(events, "leg.ringing")
        for call in calls:
            with trio.move_on_after(0.5):
                refused += (await phone.wait_for(call, sip.Refused)).status == 503
        assert refused == 17
        assert len(server.engine.legs) == 3


async def test_the_cap_on_legs_holds_for_outgoing_calls_in_a_burst(config: Config) -> None:
    statuses: list[int] = []
    async with open_server(settings(config, server={"max_legs": 3})) as server, open_phone(600) as phone:

        async def place(client: httpx.AsyncClient) -> None:
            answer = await client.post("/v1/legs", json={"type": "sip", "to": phone.uri})
            statuses.append(answer.status_code)

        async with httpx.AsyncClient(base_url=server.url or "") as client, trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(place, client)
    assert sorted(statuses) == [201] * 3 + [503] * 9


async def test_a_stop_keeps_to_its_time_although_a_far_end_is_silent(config: Config) -> None:
    quick = settings(config, server={"stop_timeout_s": 0.5})
    async with open_phone(600) as phone:
        async with open_server(quick) as server:
            with server.events() as events:
                await call_in(server, phone, events)
            phone.go_silent()
            began = trio.current_time()
        assert trio.current_time() - began < 2.0
