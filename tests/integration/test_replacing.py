"""What the leg of an INVITE with Replaces inherits when its ACK comes late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.raw_call import RawCall, open_raw_call
from tests.support.raw_sip import SDP, RawSip, open_raw
from tests.support.world import rest_of, sip_uri, wait_for
from vb.commands.views import Leg
from vb.config import Config

pytestmark = pytest.mark.integration

ROOM = "desk"


@pytest.fixture
def config(config: Config) -> Config:
    """A server that does not wait long for peers that have gone."""
    return config.model_copy(update={"server": config.server.model_copy(update={"stop_timeout_s": 0.3})})


@asynccontextmanager
async def seated(config: Config) -> AsyncIterator[RawCall]:
    """A call in a room, with a role and muted."""
    async with open_raw_call(config) as call:
        await call.server.call("add_leg_to_room", room_id=ROOM, leg_id=call.leg_id, mute=True, role="agent")
        await wait_for(call.events, "leg.joined_room")
        yield call


def named(old: RawSip) -> dict[str, str]:
    """The header that names the dialog of a peer."""
    return {"Replaces": f"{old.call_id};to-tag={old.to_tag};from-tag={old.from_tag}"}


async def replace(call: RawCall, new: RawSip) -> str:
    """Let a peer call in, in the place of another one's call, up to our 200."""
    await new.request("INVITE", body=SDP, headers=named(call.peer))
    leg_id = str((await wait_for(call.events, "leg.ringing"))["leg_id"])
    await new.wait_status(200)
    return leg_id


async def connected(call: RawCall, new: RawSip, leg_id: str) -> Leg:
    """Acknowledge the 200, and return the new leg when everything has settled."""
    await new.request("ACK", cseq=1)
    await wait_for(call.events, "leg.connected", leg_id=leg_id)
    await rest_of(call.events)
    leg = await call.server.call("get_leg", id=leg_id)
    assert isinstance(leg, Leg)
    return leg


async def test_a_goodbye_that_overtakes_the_ack_leaves_the_place_to_the_new_leg(config: Config) -> None:
    async with seated(config) as call, open_raw(sip_uri(call.server)) as new:
        leg_id = await replace(call, new)
        await call.peer.request("BYE")
        gone = await wait_for(call.events, "leg.disconnected")
        assert gone["cdr"]["reason"] == "remote_bye"
        leg = await connected(call, new, leg_id)
        assert (leg.room_id, leg.role, leg.muted) == (ROOM, "agent", True)


@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("remove_leg_from_room", {"room_id": ROOM, "leg_id": "{leg}"}),
        ("delete_leg", {"id": "{leg}"}),
        ("delete_room", {"id": ROOM}),
    ],
)
async def test_a_place_that_was_taken_away_meanwhile_is_not_inherited(
    config: Config, command: str, values: dict[str, str]
) -> None:
    async with seated(config) as call, open_raw(sip_uri(call.server)) as new:
        leg_id = await replace(call, new)
        await call.server.call(command, **{name: v.format(leg=call.leg_id) for name, v in values.items()})
        leg = await connected(call, new, leg_id)
        assert leg.room_id in (None, "")


async def test_a_room_that_is_deleted_after_the_goodbye_is_not_made_again(config: Config) -> None:
    async with seated(config) as call, open_raw(sip_uri(call.server)) as new:
        leg_id = await replace(call, new)
        await call.peer.request("BYE")
        await wait_for(call.events, "leg.disconnected")
        await call.server.call("delete_room", id=ROOM)
        leg = await connected(call, new, leg_id)
        assert leg.room_id in (None, "")
        assert ROOM not in call.server.engine.rooms


async def test_a_second_call_for_the_same_place_is_declined(config: Config) -> None:
    async with (
        seated(config) as call,
        open_raw(sip_uri(call.server)) as first,
        open_raw(sip_uri(call.server)) as second,
    ):
        leg_id = await replace(call, first)
        await second.request("INVITE", body=SDP, headers=named(call.peer))
        await second.wait_status(603)
        assert (await connected(call, first, leg_id)).room_id == ROOM
        assert [leg.id for leg in call.server.engine.legs] == [leg_id]
