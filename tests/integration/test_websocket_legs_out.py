"""WebSocket legs that the server opens: with a program of the test at the other end, and with none."""

from __future__ import annotations

import socket

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.program import open_host
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import BadRequest, InvalidField
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


async def dial(server: Server, **fields: object) -> Leg:
    leg = await server.call("create_leg", type="websocket", **fields)
    assert isinstance(leg, Leg)
    return leg


async def test_a_called_program_and_a_phone_hear_each_other(config: Config) -> None:
    async with open_server(config) as server, open_host() as host, open_phone(500) as phone:
        with server.events() as events:
            await call_in(server, phone, events, room="r")
            leg = await dial(
                server,
                url=host.url("/agent?x=1"),
                headers={"X-Key": "k", "Other": "o", "Authorization": "Bearer secret"},
                room_id="r",
                app_id="shop",
                from_="us",
            )
            assert (leg.type, leg.state, leg.headers) == (
                "websocket_out",
                "ringing",
                {"X-Key": "k", "Other": "o"},
            )
            ringing = await wait_for(events, "leg.ringing", leg_id=leg.id)
            assert (ringing["uri"], ringing["from"]) == (host.url("/agent?x=1"), "us")
            assert ringing["sip_headers"] == {"X-Key": "k", "Other": "o"}
            await wait_for(events, "leg.connected", leg_id=leg.id, leg_type="websocket_out")
            await wait_for(events, "leg.joined_room", leg_id=leg.id, room_id="r")
            program = await host.program()
            assert host.path == "/agent?x=1"
            assert (host.headers["x-key"], host.headers["authorization"]) == ("k", "Bearer secret")
            assert "sec-websocket-extensions" not in host.headers
            await program.talk(900, 0.8)
            assert program.level(500) > 0.05
            assert program.level(900) < 0.005
            assert phone.tones(20) == {900}
            await program.send({"type": "ping", "event_id": "a"})
            assert await program.frame("pong") == {"type": "pong", "event_id": "a"}
            assert [frame for frame in program.frames if frame["type"] == "connected"] == []
            await server.call("delete_leg", id=leg.id)
            assert (await wait_for(events, "leg.disconnected"))["cdr"]["reason"] == "api_hangup"
            with trio.fail_after(3):
                await program.closed.wait()
            assert program.close_code == 1000


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (503, "service_unavailable"),
        (500, "ws_dial_failed"),
        (302, "ws_dial_failed"),
    ],
)
async def test_a_refused_handshake_gives_its_reason(config: Config, status: int, reason: str) -> None:
    async with open_server(config) as server, open_host() as host:
        host.reject = status
        with server.events() as events:
            leg = await dial(server, url=host.url())
            ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
            assert ended["cdr"]["reason"] == reason
            assert ended["cdr"]["duration_answered"] == 0
            assert await rest_of(events) == []


async def test_a_refused_port_a_forbidden_and_an_unknown_host_end_the_leg(config: Config) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with open_server(config) as server:
            with server.events() as events:
                for url, reason in (
                    (f"ws://127.0.0.1:{port}/", "service_unavailable"),
                    ("ws://no-such-host.invalid/", "ws_dial_failed"),
                ):
                    leg = await dial(server, url=url)
                    ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
                    assert ended["cdr"]["reason"] == reason


async def test_nobody_answers_in_time(config: Config) -> None:
    async with open_server(config) as server, open_host() as host:
        host.answer_after_s = 30
        with server.events() as events:
            leg = await dial(server, url=host.url(), ring_timeout=1)
            ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
            assert ended["cdr"]["reason"] == "ring_timeout"
            leg = await dial(server, url=host.url())
            await server.call("delete_leg", id=leg.id)
            ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
            assert ended["cdr"]["reason"] == "api_hangup"


async def test_the_call_ends_after_its_longest_duration_or_when_the_program_hangs_up(config: Config) -> None:
    async with open_server(config) as server, open_host() as host:
        with server.events() as events:
            leg = await dial(server, url=host.url(), max_duration=1, rtt=True)
            await wait_for(events, "leg.connected", leg_id=leg.id)
            program = await host.program()
            await server.call("send_leg_rtt", id=leg.id, text="hi")
            assert await program.frame("text") == {"type": "text", "text": "hi"}
            ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
            assert ended["cdr"]["reason"] == "max_duration"
            for in_words in (True, False):
                host.came = trio.Event()
                leg = await dial(server, url=host.url())
                await wait_for(events, "leg.connected", leg_id=leg.id)
                program = await host.program()
                if in_words:
                    await program.send({"type": "hangup"})
                else:
                    await program.socket.aclose()
                ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
                assert ended["cdr"]["reason"] == "hangup"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "url"),
        ({"url": "http://x/"}, "url"),
        ({"url": "ws://"}, "url"),
        ({"url": "ws://10.0.0.1/"}, "url"),
        ({"url": "ws://0x7f000001/"}, "url"),
        ({"sample_rate": 11025}, "sample_rate"),
        ({"wire_format": "mp3"}, "wire_format"),
        ({"sample_format": "f32"}, "sample_format"),
        ({"headers": {"X-A": "a\r\nB: c"}}, "headers"),
        ({"headers": {"Sec-WebSocket-Key": "x"}}, "headers"),
        ({"headers": {"bad name": "x"}}, "headers"),
        ({"headers": {"X-Wide": "\u4e00"}}, "headers"),
        ({"room_id": "a b"}, "room_id"),
        ({"amd": {}}, "amd"),
        ({"codecs": ["opus"]}, "codecs"),
        ({"max_duration": -1}, "max_duration"),
        ({"webhook_url": "ftp://x"}, "webhook_url"),
    ],
)
async def test_a_field_that_cannot_be_used_is_one_clear_400(
    config: Config, fields: dict[str, object], field: str
) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            good = {} if field == "url" else {"url": "ws://127.0.0.1:1/"}
            with pytest.raises(BadRequest) as caught:
                await dial(server, **good, **fields)
            assert caught.value.message.startswith(field)
            assert await rest_of(events, 0.05) == []
            assert await server.call("list_legs") == []


async def test_a_sip_call_takes_no_field_of_websockets(config: Config) -> None:
    async with open_server(config) as server:
        with pytest.raises(InvalidField, match="sample_rate"):
            await server.call("create_leg", type="sip", to="sip:a@127.0.0.1", sample_rate=8000)
