"""Where calls may go, and how many an application may place."""

from __future__ import annotations

import httpx
import pytest
import trio

from tests.integration.test_operating import settings
from tests.support.phone import open_phone
from tests.support.transfers import arrival, connected, with_sip
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import ConfigError, Forbidden, TooManyRequests
from vb.server import open_server
from vb.sip.refer import refer_to
from vb.sip.refer_events import ReferReceived, ReferRefused

pytestmark = pytest.mark.integration


async def test_a_destination_that_is_not_listed_is_refused_and_nothing_is_dialled(config: Config) -> None:
    listed = settings(config, server={"dial_allow": ("+49", "!+49900")})
    async with open_server(listed) as server, open_phone(600) as phone:
        host = phone.uri.partition("@")[2]
        with server.events() as events:
            async with httpx.AsyncClient(base_url=server.url or "") as client:
                for user in ("+1555", "+49900123", "anna"):
                    answer = await client.post("/v1/legs", json={"type": "sip", "to": f"sip:{user}@{host}"})
                    assert answer.status_code == 403
                    assert answer.json()["error"] == "to: calls to this destination are not allowed"
            assert await rest_of(events) == []
            assert phone.calls == []
            await server.call("create_leg", type="sip", to=f"sip:+4930123@{host}")
            await arrival(phone)


async def test_a_maddr_does_not_lead_past_the_list(config: Config) -> None:
    listed = settings(config, server={"dial_allow": ("@pbx.example",)})
    async with open_server(listed, http=False) as server, open_phone(600) as phone:
        host, _, port = phone.uri.partition("@")[2].partition(":")
        with pytest.raises(Forbidden):
            await server.call("create_leg", type="sip", to=f"sip:anna@pbx.example:{port};maddr={host}")
        assert phone.calls == []


async def test_a_proxy_does_not_lead_past_the_list(config: Config) -> None:
    listed = settings(config, server={"dial_allow": ("+49", "@pbx.example")})
    async with open_server(listed, http=False) as server, open_phone(600) as phone:
        proxy = f"sip:{phone.uri.partition('@')[2]}"
        with pytest.raises(Forbidden, match="outbound_proxy"):
            await server.call("create_leg", type="sip", to="sip:+1900@pbx.example", outbound_proxy=proxy)
        hidden = "sip:pbx.example;maddr=127.0.0.1"
        with pytest.raises(Forbidden, match="outbound_proxy"):
            await server.call("create_leg", type="sip", to="sip:+1900@pbx.example", outbound_proxy=hidden)
        assert phone.calls == []
        await server.call("create_leg", type="sip", to="sip:+4930@pbx.example", outbound_proxy=proxy)
        await arrival(phone)


async def test_the_servers_own_proxy_needs_no_rule(config: Config) -> None:
    async with open_phone(600) as phone:
        own = f"sip:{phone.uri.partition('@')[2]}"
        listed = settings(with_sip(config, outbound_proxy=own), server={"dial_allow": ("@pbx.example",)})
        async with open_server(listed, http=False) as server:
            for proxy in (None, own):
                await server.call("create_leg", type="sip", to="sip:a@pbx.example", outbound_proxy=proxy)
                await arrival(phone)
                phone.arrived = trio.Event()


async def test_an_attended_transfer_keeps_to_the_list_too(config: Config) -> None:
    listed = settings(config, server={"dial_allow": ("@pbx.example",)})
    async with connected(listed) as world, open_phone(900) as other:
        other_id = await call_in(world.server, other, world.events)
        world.events.drain()
        with pytest.raises(Forbidden, match="target"):
            await world.server.call(
                "leg_transfer",
                id=world.leg_id,
                target="sip:+1900555@premium.example",
                replaces_leg_id=other_id,
            )
        assert await rest_of(world.events) == []
        target = "sip:carol@pbx.example"
        await world.server.call("leg_transfer", id=world.leg_id, target=target, replaces_leg_id=other_id)
        asked: ReferReceived = await world.phone.wait_for(world.call, ReferReceived)
        assert asked.refer.target == target


async def test_a_blind_transfer_keeps_to_the_list_too(config: Config) -> None:
    async with connected(settings(config, server={"dial_allow": ("+49",)})) as world:
        with pytest.raises(Forbidden, match="target"):
            await world.server.call("leg_transfer", id=world.leg_id, target="sip:+1900@127.0.0.1:5099")
        assert await rest_of(world.events) == []


async def test_a_far_end_cannot_have_the_server_call_what_is_not_listed(config: Config) -> None:
    listed = settings(with_sip(config, refer_auto_dial=True), server={"dial_allow": ("+49",)})
    async with connected(listed) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        refused: ReferRefused = await world.phone.wait_for(world.call, ReferRefused)
        assert refused.status == 403
        await wait_for(world.events, "leg.transfer_failed", leg_id=world.leg_id)
        assert carol.calls == []


@pytest.mark.parametrize("rule", ["a b", "+49@", "!"])
def test_a_list_that_cannot_be_read_stops_the_start(rule: str) -> None:
    with pytest.raises(ConfigError, match="VB_DIAL_ALLOW"):
        Config.from_env({"VB_DIAL_ALLOW": rule})


async def test_an_application_has_so_many_calls_and_others_are_unharmed(config: Config) -> None:
    capped = settings(config, server={"app_max_calls": 1})
    async with open_server(capped) as server, open_phone(600) as phone:
        with server.events() as events:
            await call_in(server, phone, events)  # an incoming call counts for nobody
            body = {"type": "sip", "to": phone.uri, "app_id": "shop"}
            async with httpx.AsyncClient(base_url=server.url or "") as client:
                first = await client.post("/v1/legs", json=body)
                refused = await client.post("/v1/legs", json=body)
                assert (first.status_code, refused.status_code) == (201, 429)
                assert refused.headers["Retry-After"] == "5"
                other = await client.post("/v1/legs", json={**body, "app_id": "bank"})
                assert other.status_code == 201
                leg_id = first.json()["id"]
                await client.delete(f"/v1/legs/{leg_id}")
                await wait_for(events, "leg.disconnected", leg_id=leg_id)
                assert (await client.post("/v1/legs", json=body)).status_code == 201


async def test_a_call_that_could_not_be_placed_takes_no_place(config: Config) -> None:
    capped = settings(config, server={"app_max_calls": 1})
    async with open_server(capped, http=False) as server, open_phone(600) as phone:
        for _ in range(3):
            with pytest.raises(Exception, match="headers"):
                await server.call("create_leg", type="sip", to=phone.uri, headers={"Via": "x"})
        leg = await server.call("create_leg", type="sip", to=phone.uri)
        assert isinstance(leg, Leg)


async def test_transfers_that_far_ends_ask_for_count_for_the_application(config: Config) -> None:
    capped = settings(with_sip(config, refer_auto_dial=True), server={"app_max_calls": 1})
    async with connected(capped) as world, open_phone(900) as carol:
        await world.server.call("create_leg", type="sip", to=carol.uri)
        with pytest.raises(TooManyRequests):
            await world.server.call("create_leg", type="sip", to=carol.uri)
        await arrival(carol)
        world.call.refer(refer_to(carol.uri))
        refused: ReferRefused = await world.phone.wait_for(world.call, ReferRefused)
        assert refused.status == 429


@pytest.mark.parametrize(
    "bad",
    [
        {"headers": {"Via": "x"}},
        {"from": "a b"},
        {"privacy": "id\r\nX: 1"},
        {"to": '"a\r\nX-Evil: 1" <sip:x@127.0.0.1:9>'},
        {"auth": {"username": "a\r\nX-Evil: 1", "password": "p"}},
        {"auth": {"username": "a", "password": "p\nq"}},
        {"outbound_proxy": "nonsense"},
    ],
)
async def test_a_request_that_is_refused_uses_up_no_call(config: Config, bad: dict[str, object]) -> None:
    capped = settings(config, server={"max_calls_per_second": 1, "app_max_calls_per_second": 1})
    async with open_server(capped) as server, open_phone(600) as phone:
        body = {"type": "sip", "to": phone.uri, "app_id": "shop"}
        async with httpx.AsyncClient(base_url=server.url or "") as client:
            for _ in range(3):
                refused = await client.post("/v1/legs", json={**body, **bad})
                assert (refused.status_code, "\n" in refused.json()["error"]) == (400, False)
            assert (await client.post("/v1/legs", json=body)).status_code == 201
        await arrival(phone)
        assert len(phone.calls) == 1
