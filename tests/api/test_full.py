"""As many connections as there may be: who makes room for a newcomer, and who does not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.api.harness import SmallEngine, register_held, serving
from tests.api.peer import Connect
from vb.events.leg import LegMuted

pytestmark = pytest.mark.integration


async def test_who_waits_longest_for_a_request_makes_room_for_a_newcomer(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.api.serve.MAX_CONNECTIONS", 3)
    async with serving(engine) as url:
        vsi, asked, silent = await connect(url), await connect(url), await connect(url)
        await vsi.open_vsi()
        for peer in (silent, asked):
            await peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await peer.response())[0] == 200
        await silent.send(b"GET /healthz HTTP/1.1\r\nHo")  # begun, and not a request yet
        newcomer = await connect(url)
        assert await silent.ended()
        await newcomer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await newcomer.response())[0] == 200
        await asked.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asked.response())[0] == 200
        engine.bus.publish(LegMuted(leg_id="a"))
        assert (await vsi.event())["leg_id"] == "a"


async def test_who_reads_slowly_what_is_open_to_all_makes_room_too(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.api.serve.MAX_CONNECTIONS", 1)
    long = SimpleNamespace(html=b"x" * 32 * 1_048_576)  # more than the system holds
    monkeypatch.setattr("vb.api.documents.Documents.current", lambda _: long)
    async with serving(engine) as url:
        slow = await connect(url)
        await slow.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
        await slow.read(100)
        newcomer = await connect(url)
        await newcomer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await newcomer.response())[0] == 200


async def test_who_is_answered_makes_no_room_while_somebody_waits(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.api.serve.MAX_CONNECTIONS", 2)
    long = SimpleNamespace(html=b"x" * 16 * 1_048_576)  # more than the system holds
    monkeypatch.setattr("vb.api.documents.Documents.current", lambda _: long)
    async with serving(engine) as url:
        asked, silent = await connect(url), await connect(url)
        await asked.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
        await asked.read(100)
        await connect(url)
        assert await silent.ended()
        for _ in range(15):
            await asked.read(1_048_576)


async def test_who_waits_for_a_command_makes_no_room(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.api.serve.MAX_CONNECTIONS", 1)
    begun, go_on = register_held(monkeypatch)
    async with serving(engine) as url:
        first = await connect(url)
        await first.send(b"GET /v1/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await begun.wait()
        assert await (await connect(url)).ended()
        go_on.set()
        assert (await first.response())[0] == 200


async def test_connections_beyond_the_cap_are_refused(
    connect: Connect, engine: SmallEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.api.serve.MAX_CONNECTIONS", 1)
    async with serving(engine) as url:
        first = await connect(url)
        await first.open_vsi()
        second = await connect(url)
        assert await second.ended()
