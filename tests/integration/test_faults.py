"""What fails inside the mixer ends the smallest thing that owns it, and says so."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.mixer.support import Broken
from tests.support.engine import sip_of
from tests.support.phone import Phone, open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.config import Config
from vb.legs.leg import Leg
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


def counted(server: Server) -> set[tuple[str, str]]:
    """Component and site of what was contained."""
    text = server.engine.metrics.render().decode()
    found = re.findall(r'recovered_panics_total{component="(\w+)",site="(\w+)"} (\S+)', text)
    return {(component, site) for component, site, value in found if float(value)}


@asynccontextmanager
async def three_phones(config: Config) -> AsyncIterator[tuple[Server, tuple[Phone, Phone, Phone]]]:
    """A server, and phones that say 500, 700 and 900 Hz."""
    async with (
        open_server(config) as server,
        open_phone(500) as first,
        open_phone(700) as second,
        open_phone(900) as third,
    ):
        yield server, (first, second, third)


async def test_a_failing_participant_leaves_its_room_and_ends(config: Config) -> None:
    async with three_phones(config) as (server, (first, second, third)):
        with server.events() as events:
            legs = [await call_in(server, phone, events, "room") for phone in (first, second, third)]
            port = server.engine.legs.get(legs[0]).port
            assert port is not None
            port.add_private(Broken())
            left = await wait_for(events, "leg.left_room", leg_id=legs[0])
            ended = await wait_for(events, "leg.disconnected", leg_id=legs[0])
            later = await rest_of(events)
        assert left["room_id"] == "room"
        assert ended["cdr"]["reason"] == "mixer_panic"
        assert [event["type"] for event in later] == []
        await second.hear(60)
        assert second.tones() == {900}
        assert sip_of(server.engine).faults == 0


async def test_a_failing_room_ends_with_its_legs_and_no_other_does(config: Config) -> None:
    async with three_phones(config) as (server, (first, second, third)):
        with server.events() as events:
            for phone in (first, second):
                await call_in(server, phone, events, "good")
            doomed = await call_in(server, third, events, "bad")
            room = server.engine.rooms.get("bad")

            def fail() -> None:
                raise RuntimeError("broken room")

            room.mix.plan = fail  # type: ignore[method-assign, assignment]  # a fault that nothing outside can cause
            room.mix._changed()
            told = [await wait_for(events, kind) for kind in ("room.deleted", "leg.disconnected")]
        assert (told[0]["room_id"], told[1]["leg_id"]) == ("bad", doomed)
        assert told[1]["cdr"]["reason"] == "mixer_panic"
        assert [room.id for room in server.engine.rooms] == ["good"]
        assert counted(server) == {("engine", "room")}
        await first.hear(60)
        assert first.tones() == {700}


class FailsAtTheSecond:
    """Follows the members of a room, badly."""

    def __init__(self) -> None:
        self._left = 0

    def joined(self, leg: Leg) -> None:
        pass

    def left(self, leg: Leg) -> None:
        self._left += 1
        if self._left == 2:
            raise RuntimeError("broken watcher")


async def test_a_fault_in_the_end_of_a_room_costs_nobody_else_theirs(config: Config) -> None:
    async with three_phones(config) as (server, phones):
        with server.events() as events:
            legs = [await call_in(server, phone, events, "room") for phone in phones]
            room = server.engine.rooms.get("room")
            room.watchers = (*room.watchers, FailsAtTheSecond())
            await server.call("delete_room", id="room")
            ended = [await wait_for(events, "leg.disconnected") for _ in legs]
        assert {event["leg_id"] for event in ended} == set(legs)
        assert {event["cdr"]["reason"] for event in ended} == {"room_deleted"}
        assert room.members == {}
        assert counted(server) == {("engine", "room")}


async def test_a_fault_in_the_end_of_a_room_costs_neither_its_id_nor_the_server(config: Config) -> None:
    async with open_server(config, http=False) as server:
        await server.call("create_room", id="r")

        def fail() -> None:
            raise RuntimeError("broken room")

        server.engine.rooms.get("r").close = fail  # type: ignore[method-assign]  # nothing outside can cause it
        await server.call("delete_room", id="r")
        await server.call("create_room", id="r")
        assert counted(server) == {("engine", "room")}
