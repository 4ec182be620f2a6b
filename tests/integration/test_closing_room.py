"""A room whose deletion takes a while: what comes to it meanwhile is told so, and harms nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from tests.support.engine import open_engine
from tests.support.phone import open_phone
from tests.support.raw_sip import SDP, open_raw
from tests.support.world import Events, call_in, rest_of, sip_uri, wait_for
from vb.config import Config
from vb.server import Server, open_server
from vb.sip import call_events as sip
from vb.sip.refer import Replaces
from vb.sip.tasks.endpoint import DialRequest

pytestmark = pytest.mark.integration


@asynccontextmanager
async def closing(server: Server, room_id: str) -> AsyncIterator[None]:
    """Inside the block the room is being deleted: something in it takes its time to end."""
    begun, finished = trio.Event(), trio.Event()

    async def slow() -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await finished.wait()

    server.engine.rooms.get(room_id).slots.start("slow", slow)
    await begun.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.call, "delete_room", id=room_id))
        for _ in range(1000):
            if room_id not in server.engine.rooms:
                break
            await trio.lowlevel.checkpoint()
        try:
            yield
        finally:
            finished.set()


async def ringing(events: Events) -> str:
    return str((await wait_for(events, "leg.ringing"))["leg_id"])


async def test_a_leg_that_is_answered_into_a_room_that_ends_is_told_to_have_failed(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as peer:
        with server.events() as events:
            await server.call("create_room", id="r")
            cseq = await peer.request("INVITE", body=SDP)
            leg_id = await ringing(events)
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
            await peer.wait_status(200)
            async with closing(server, "r"):
                await peer.request("ACK", cseq=cseq)
                failed = await wait_for(events, "leg.command_failed", leg_id=leg_id)
                assert failed["command"] == "add_to_room"
            assert [event["type"] for event in await rest_of(events)] == ["room.deleted"]


async def test_a_call_that_takes_the_place_of_one_in_a_room_that_ends_goes_on_alone(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as bob, open_phone(700) as carol:
        with server.events() as events:
            old_id = await call_in(server, bob, events, "r")
            old = bob.calls[0]
            async with closing(server, "r"):
                assert carol.negotiation is not None
                value = str(Replaces(old.call_id, to_tag=old.remote_tag, from_tag=old.local_tag))
                call = carol.endpoint.dial(
                    DialRequest(
                        to=sip_uri(server),
                        sdp=carol.negotiation.offer(),
                        server_headers=(("Replaces", value),),
                    )
                )
                carol.calls.append(call)
                new_id = await ringing(events)
                carol.use_answer((await carol.wait_for(call, sip.Answered)).sdp)
                ended = await wait_for(events, "leg.disconnected", leg_id=old_id)
                assert ended["cdr"]["reason"] == "transfer_completed"
            kinds = [(event["type"], event.get("leg_id")) for event in await rest_of(events)]
            assert ("leg.disconnected", new_id) not in kinds
            await server.call("delete_leg", id=new_id)


async def test_a_call_for_a_room_that_ends_is_placed_and_joins_one_made_anew(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            await server.call("create_room", id="r")
            async with closing(server, "r"):
                await server.call("create_leg", type="sip", to=phone.uri, room_id="r")
                leg_id = await ringing(events)
            await wait_for(events, "room.deleted", room_id="r")
            with trio.fail_after(5):
                await phone.arrived.wait()
            phone.answer(phone.calls[0])
            await wait_for(events, "room.created", room_id="r")
            await wait_for(events, "leg.joined_room", leg_id=leg_id, room_id="r")


@pytest.mark.parametrize("moment", ["before it begins", "while the recording ends"])
async def test_a_caller_who_is_cancelled_changes_nothing_in_the_order_of_events(
    config: Config, moment: str
) -> None:
    async with open_server(config) as server, open_phone(600) as bob, open_phone(700) as carol:
        with server.events() as events:
            legs = [await call_in(server, phone, events, "r") for phone in (bob, carol)]
            await server.call("room_record_start", id="r")
            await bob.hear(5)
            await rest_of(events)
            async with trio.open_nursery() as nursery:
                if moment == "before it begins":
                    nursery.cancel_scope.cancel()
                nursery.start_soon(partial(server.call, "delete_room", id="r"))
                while "r" in server.engine.rooms:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                nursery.cancel_scope.cancel()
            told = [(event["type"], event.get("leg_id")) for event in await rest_of(events)]
    assert told[:4] == [
        ("recording.finished", None),
        *(("leg.left_room", leg_id) for leg_id in legs),
        ("room.deleted", None),
    ]
    assert sorted(told[4:]) == sorted(("leg.disconnected", leg_id) for leg_id in legs)


async def test_a_cancelled_caller_waits_for_a_feature_that_hangs_for_five_seconds_at_most(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_engine() as observed, trio.open_nursery() as nursery:
        room, hanging = observed.engine.rooms.open("r"), trio.Event()

        async def hang() -> None:
            with trio.CancelScope(shield=True):
                await hanging.wait()

        room.slots.start("hanging", hang)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        nursery.cancel_scope.cancel()
        try:
            await observed.engine.rooms.close("r")
        finally:
            waited_s = trio.current_time() - begun
            hanging.set()
    assert waited_s == pytest.approx(5)
    assert observed.told() == [("room.created",), ("room.deleted",)]
