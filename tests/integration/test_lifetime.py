"""A leg that is over goes at once, with all its parts, and needs no garbage collector for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest
import trio
import trio.testing

from tests.support.phone import open_phone
from tests.support.program import open_host, open_program
from tests.support.raw_call import open_raw_call
from tests.support.raw_sip import SDP, open_raw
from tests.support.transfers import arrival
from tests.support.world import call_in, sip_uri, wait_for
from vb.config import Config
from vb.server import open_server

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_an_incoming_leg_that_was_mixed_and_played_to_is_gone(config: Config) -> None:
    async with open_server(config, http=False) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events, "r")
            await server.call("send_leg_dtmf", id=leg_id, digits="1")
            await server.call("leg_play_start", id=leg_id, tone="us_busy")
            gone = ref(server.engine.legs.get(leg_id))
            await server.call("delete_leg", id=leg_id)
            await wait_for(events, "leg.disconnected")
            with trio.fail_after(5):
                await server.engine.legs.wait_idle()
            await trio.testing.wait_all_tasks_blocked()
            assert gone() is None


async def test_an_outgoing_leg_is_gone(config: Config) -> None:
    async with open_server(config, http=False) as server, open_phone(600) as phone:
        with server.events() as events:
            await server.call("create_leg", type="sip", to=phone.uri, room_id="r")
            await arrival(phone)
            phone.answer(phone.calls[0])
            joined = await wait_for(events, "leg.joined_room")
            gone = ref(server.engine.legs.get(joined["leg_id"]))
            phone.calls[0].hangup()
            await wait_for(events, "leg.disconnected")
            with trio.fail_after(5):
                await server.engine.legs.wait_idle()
            await trio.testing.wait_all_tasks_blocked()
            assert gone() is None


async def test_a_websocket_leg_is_gone_with_its_place(config: Config) -> None:
    async with open_server(config) as server:
        with server.events() as events:
            url = f"{server.url}/v1/legs/websocket?room_id=r&rtt=1"
            async with open_program(url) as program:
                await program.talk(700, 0.2)
                leg_id = (await wait_for(events, "leg.connected"))["leg_id"]
                gone = ref(server.engine.legs.get(leg_id))
                await server.call("delete_leg", id=leg_id)
                await wait_for(events, "leg.disconnected")
                with trio.fail_after(5):
                    await server.engine.legs.wait_idle()
                await trio.testing.wait_all_tasks_blocked()
                assert gone() is None
                assert server.engine.plane.ports == 0


async def test_a_websocket_leg_that_we_opened_is_gone_with_its_place(config: Config) -> None:
    async with open_server(config) as server, open_host() as host:
        with server.events() as events:
            await server.call("create_leg", type="websocket", url=host.url(), room_id="r")
            leg_id = (await wait_for(events, "leg.connected"))["leg_id"]
            gone = ref(server.engine.legs.get(leg_id))
            program = await host.program()
            await program.send({"type": "hangup"})
            await wait_for(events, "leg.disconnected")
            with trio.fail_after(5):
                await server.engine.legs.wait_idle()
            await trio.testing.wait_all_tasks_blocked()
            assert gone() is None
            assert server.engine.plane.ports == 0


async def test_a_leg_that_was_replaced_is_gone_while_its_successor_talks(config: Config) -> None:
    async with open_raw_call(config) as call, open_raw(sip_uri(call.server)) as new:
        engine, old = call.server.engine, call.peer
        gone = ref(engine.legs.get(call.leg_id))
        named = f"{old.call_id};to-tag={old.to_tag};from-tag={old.from_tag}"
        await new.request("INVITE", body=SDP, headers={"Replaces": named})
        await new.wait_status(200)
        await new.request("ACK", cseq=1)
        await old.respond(await old.wait_request("BYE"), 200)
        await wait_for(call.events, "leg.disconnected")
        with trio.fail_after(5):
            while engine.legs.running > 1:
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert len(engine.legs) == 1
        assert gone() is None
