"""Bridges between rooms, with real calls and tones."""

from __future__ import annotations

import pytest

from tests.support.phone import Phone, open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.config import Config
from vb.server import open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration


async def hearing(*phones: Phone) -> list[set[int]]:
    """The tones that each phone hears from now on."""
    for phone in phones:
        await phone.hear(55)
    return [phone.tones() for phone in phones]


async def test_a_bridge_carries_audio_where_its_direction_says(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(900) as two:
        with server.events() as events:
            await call_in(server, one, events, "A")
            await call_in(server, two, events, "B")
            await server.call("bridge_create", room_id="A", peer_room_id="B", bridge_id="x")
            assert await hearing(one, two) == [{900}, {500}]
            for direction, heard in {
                "send": [set(), {500}],
                "receive": [{900}, set()],
                "none": [set(), set()],
            }.items():
                await server.call("bridge_update", room_id="A", bridge_id="x", direction=direction)
                assert await hearing(one, two) == heard, direction
            await server.call("bridge_update", room_id="B", bridge_id="x", direction="bidirectional")
            assert await hearing(one, two) == [{900}, {500}]
            await server.call("bridge_delete", room_id="A", bridge_id="x")
            assert await hearing(one, two) == [set(), set()]


async def test_a_room_without_legs_passes_audio_on(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(900) as two:
        with server.events() as events:
            await call_in(server, one, events, "A")
            await call_in(server, two, events, "C")
            await server.call("create_room", id="B")
            await server.call("bridge_create", room_id="A", peer_room_id="B")
            await server.call("bridge_create", room_id="B", peer_room_id="C")
            assert await hearing(one, two) == [{900}, {500}]
            await server.call("mute_leg", id=next(iter(server.engine.legs)).id)
            assert await hearing(one, two) == [{900}, set()]


async def test_deleting_a_room_ends_its_bridge_before_its_calls(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as one, open_phone(900) as two:
        with server.events() as events:
            await call_in(server, one, events, "A")
            await call_in(server, two, events, "B")
            await server.call("bridge_create", room_id="A", peer_room_id="B", bridge_id="x")
            await wait_for(events, "room.bridged", bridge_id="x")
            await server.call("delete_room", id="B")
            await two.wait_for(two.calls[0], sip.RemoteHangup)
            seen = await rest_of(events)
            assert [item["type"] for item in seen] == [
                "room.unbridged",
                "leg.left_room",
                "room.deleted",
                "leg.disconnected",
            ]
            assert seen[0]["reason"] == "room_deleted"
            assert await server.call("bridge_list", room_id="A") == []
            assert server.engine.plane.ports == 1
