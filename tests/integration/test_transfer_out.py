"""Transfers in both roles, with real calls: we ask a phone to call another, and a phone asks us."""

from __future__ import annotations

import pytest

from tests.support.phone import open_phone
from tests.support.transfers import CAROL, connected, kinds, with_sip
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import Leg, Status
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotFound
from vb.server import open_server
from vb.sip import call_events as sip
from vb.sip.refer import Replaces, refer_to
from vb.sip.refer_events import (
    ReferAccepted,
    ReferFinished,
    ReferProgress,
    ReferReceived,
    ReferRefused,
)

pytestmark = pytest.mark.integration


# -- we ask -------------------------------------------------------------------------------------------


async def test_a_blind_transfer_ends_the_leg_when_it_has_succeeded(config: Config) -> None:
    async with connected(config, "r") as world:
        answer = await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        assert answer == Status(status="transfer_initiated")
        asked: ReferReceived = await world.phone.wait_for(world.call, ReferReceived)
        assert (asked.refer.target, asked.refer.replaces) == (CAROL, None)
        world.call.accept_refer()
        world.call.notify_refer(180, "Ringing")
        world.call.notify_refer(200, "OK")
        await world.phone.wait_for(world.call, sip.RemoteHangup)
        seen = await rest_of(world.events)
    assert kinds(seen) == [
        "leg.transfer_initiated",
        "leg.transfer_progress",
        "leg.transfer_progress",
        "leg.transfer_completed",
        "leg.left_room",
        "leg.disconnected",
    ]
    assert (seen[0]["kind"], seen[0]["target"]) == ("blind", CAROL)
    assert "replaces_leg_id" not in seen[0]
    assert [(item["status_code"], item["reason"]) for item in seen[1:4]] == [
        (100, "Trying"),
        (180, "Ringing"),
        (200, "OK"),
    ]
    assert seen[5]["cdr"]["reason"] == "transfer_completed"


async def test_an_attended_transfer_ends_both_legs_in_order(config: Config) -> None:
    async with connected(config) as world, open_phone(900) as other:
        other_id = await call_in(world.server, other, world.events)
        await world.server.call("leg_transfer", id=world.leg_id, target=other.uri, replaces_leg_id=other_id)
        asked: ReferReceived = await world.phone.wait_for(world.call, ReferReceived)
        theirs = other.calls[0]
        assert asked.refer.replaces == Replaces(
            theirs.call_id, to_tag=theirs.local_tag, from_tag=theirs.remote_tag
        )
        world.call.accept_refer()
        world.call.notify_refer(200, "OK")
        await other.wait_for(theirs, sip.RemoteHangup)
        seen = await rest_of(world.events)
    ends = [(item["leg_id"], item["cdr"]["reason"]) for item in seen if "cdr" in item]
    assert ends == [(world.leg_id, "transfer_completed"), (other_id, "transfer_completed")]
    initiated = seen[0]
    assert (initiated["kind"], initiated["replaces_leg_id"]) == ("attended", other_id)


@pytest.mark.parametrize("ours", ["unanswered", "accepted"])
async def test_a_transfer_that_the_far_end_asks_for_meanwhile_has_its_own_outcome(
    config: Config, ours: str
) -> None:
    async with connected(config) as world, open_phone(900) as other:
        server, call = world.server, world.call
        other_id = await call_in(server, other, world.events)
        await server.call("leg_transfer", id=world.leg_id, target=other.uri, replaces_leg_id=other_id)
        await world.phone.wait_for(call, ReferReceived)
        if ours == "accepted":
            call.accept_refer()
        call.refer(refer_to(CAROL))
        await wait_for(world.events, "leg.transfer_requested")
        if ours == "accepted":
            await server.call("decline_transfer", id=world.leg_id)
            await wait_for(world.events, "leg.transfer_failed")
            call.notify_refer(200, "OK")
        else:
            await server.call("accept_transfer", id=world.leg_id)
            await server.call("complete_transfer", id=world.leg_id, success=True)
        gone = [item["leg_id"] for item in await rest_of(world.events) if "cdr" in item]
    assert gone == ([world.leg_id, other_id] if ours == "accepted" else [world.leg_id])


async def test_a_refused_transfer_leaves_the_call_up(config: Config) -> None:
    async with connected(config) as world:
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)
        world.call.decline_refer(603)
        failed = await wait_for(world.events, "leg.transfer_failed")
        assert (failed["status_code"], failed["reason"]) == (603, "Decline")
        assert failed["error"]
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)


async def test_a_failed_transfer_leaves_the_call_up_and_can_be_tried_again(config: Config) -> None:
    async with connected(config) as world:
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)
        world.call.accept_refer()
        with pytest.raises(Conflict):
            await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        world.call.notify_refer(486, "Busy Here")
        failed = await wait_for(world.events, "leg.transfer_failed")
        assert (failed["status_code"], failed["reason"], "error" in failed) == (486, "Busy Here", False)
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)
        world.call.accept_refer()
        world.call.notify_refer(200, "OK")
        gone = await wait_for(world.events, "leg.disconnected")
        assert gone["cdr"]["reason"] == "transfer_completed"


async def test_a_phone_that_hangs_up_after_the_202_has_hung_up(config: Config) -> None:
    async with connected(config) as world:
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)
        world.call.accept_refer()
        await wait_for(world.events, "leg.transfer_progress")
        world.call.hangup()
        (gone,) = await rest_of(world.events)
        assert (gone["type"], gone["cdr"]["reason"]) == ("leg.disconnected", "remote_bye")


async def test_a_deleted_leg_tells_nothing_of_its_transfer(config: Config) -> None:
    async with connected(config) as world:
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)
        await world.server.call("delete_leg", id=world.leg_id)
        seen = await rest_of(world.events)
    assert kinds(seen) == ["leg.transfer_initiated", "leg.disconnected"]


async def test_a_held_leg_can_be_transferred(config: Config) -> None:
    async with connected(config) as world:
        await world.server.call("hold_leg", id=world.leg_id)
        offer: sip.OfferReceived = await world.phone.wait_for(world.call, sip.OfferReceived)
        assert world.phone.negotiation is not None
        world.call.answer_offer(world.phone.negotiation.receive_offer(offer.sdp))
        await wait_for(world.events, "leg.hold")
        await world.server.call("leg_transfer", id=world.leg_id, target=CAROL)
        await world.phone.wait_for(world.call, ReferReceived)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"target": ""},
        {"target": "carol"},
        {"target": "sip:"},
        {"target": "http://x/"},
        {"target": "sip:a@b\r\nX: y"},
        {"target": 5},
        {"target": CAROL, "replaces_leg_id": "nobody"},
        {"target": f"{CAROL}?X=y", "replaces_leg_id": "somebody"},
    ],
)
async def test_a_bad_request_is_refused_before_the_leg_is_looked_up(
    config: Config, values: dict[str, object]
) -> None:
    async with open_server(config, http=False) as server:
        with pytest.raises(BadRequest):
            await server.call("leg_transfer", id="nobody", **values)
        with pytest.raises(NotFound):
            await server.call("leg_transfer", id="nobody", target=CAROL)


async def test_only_calls_that_are_up_can_be_transferred_or_replaced(config: Config) -> None:
    async with connected(config) as world, open_phone(900) as other:
        ringing = await world.server.call("create_leg", type="sip", to=other.uri)
        assert isinstance(ringing, Leg)
        for values in (
            {"id": ringing.id},
            {"id": world.leg_id, "replaces_leg_id": ringing.id},
            {"id": world.leg_id, "replaces_leg_id": "nobody"},
        ):
            with pytest.raises(Conflict):
                await world.server.call("leg_transfer", target=CAROL, **values)
        assert "leg.transfer_initiated" not in kinds(await rest_of(world.events))


# -- a phone asks, and the application decides ----------------------------------------------------------


async def test_a_silent_application_declines(config: Config) -> None:
    async with connected(config) as world:
        world.call.refer(refer_to(CAROL))
        refused: ReferRefused = await world.phone.wait_for(world.call, ReferRefused)
        assert refused.status == 603
        asked, failed = await rest_of(world.events)
        assert (asked["type"], asked["kind"], asked["target"], asked["declined"]) == (
            "leg.transfer_requested",
            "blind",
            CAROL,
            False,
        )
        assert (failed["type"], failed["status_code"], failed["reason"]) == (
            "leg.transfer_failed",
            603,
            "Decline",
        )
        leg = await world.server.call("get_leg", id=world.leg_id)
        assert isinstance(leg, Leg)
        assert leg.state == "connected"


async def test_without_a_consult_time_a_transfer_is_declined_at_once(config: Config) -> None:
    async with connected(with_sip(config, refer_consult_timeout_ms=0)) as world:
        world.call.refer(refer_to(CAROL))
        await world.phone.wait_for(world.call, ReferRefused)
        asked, failed = await rest_of(world.events)
        assert (asked["declined"], failed["status_code"]) == (True, 603)


async def test_an_application_carries_a_transfer_out(config: Config) -> None:
    async with connected(config) as world:
        world.call.refer(refer_to(CAROL, Replaces("a@b", "1", "2")))
        asked = await wait_for(world.events, "leg.transfer_requested")
        assert (asked["kind"], asked["replaces_call_id"]) == ("attended", "a@b")
        await world.server.call("accept_transfer", id=world.leg_id)
        await world.phone.wait_for(world.call, ReferAccepted)
        assert await world.phone.wait_for(world.call, ReferProgress) == ReferProgress(100, "Trying")
        await world.server.call("progress_transfer", id=world.leg_id, status_code=180)
        assert await world.phone.wait_for(world.call, ReferProgress) == ReferProgress(180, "Ringing")
        await world.server.call("complete_transfer", id=world.leg_id, success=True)
        assert await world.phone.wait_for(world.call, ReferFinished) == ReferFinished(200, "OK")
        await world.phone.wait_for(world.call, sip.RemoteHangup)
        seen = await rest_of(world.events)
    assert kinds(seen) == ["leg.transfer_progress", "leg.transfer_completed", "leg.disconnected"]
    assert seen[2]["cdr"]["reason"] == "transfer_completed"


async def test_a_transfer_that_the_application_could_not_make_leaves_the_call_up(config: Config) -> None:
    async with connected(config) as world:
        world.call.refer(refer_to(CAROL))
        await wait_for(world.events, "leg.transfer_requested")
        await world.server.call("accept_transfer", id=world.leg_id)
        await world.server.call(
            "complete_transfer", id=world.leg_id, success=False, status_code=486, reason="Busy"
        )
        assert await world.phone.wait_for(world.call, ReferFinished) == ReferFinished(486, "Busy")
        (failed,) = await rest_of(world.events)
        assert (failed["type"], failed["status_code"]) == ("leg.transfer_failed", 486)


async def test_an_application_declines(config: Config) -> None:
    async with connected(config) as world:
        world.call.refer(refer_to(CAROL))
        await wait_for(world.events, "leg.transfer_requested")
        await world.server.call("decline_transfer", id=world.leg_id, code=480, reason="Later")
        refused = await world.phone.wait_for(world.call, ReferRefused)
        assert refused == ReferRefused(480, "Later")
        (failed,) = await rest_of(world.events)
        assert (failed["status_code"], failed["reason"]) == (480, "Later")
        with pytest.raises(NotFound):
            await world.server.call("accept_transfer", id=world.leg_id)
