"""Transfers in both roles, with real calls: we ask a phone to call another, and a phone asks us."""

from __future__ import annotations

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.transfers import CAROL, arrival, connected, kinds, with_sip
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotFound
from vb.server import open_server
from vb.sip import call_events as sip
from vb.sip.refer import Replaces, refer_to
from vb.sip.refer_events import (
    ReferAccepted,
    ReferFinished,
    ReferProgress,
    ReferRefused,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def dialling(config: Config) -> Config:
    """A server that carries REFERs out by itself."""
    return with_sip(config, refer_auto_dial=True)


async def test_decisions_exclude_each_other(config: Config) -> None:
    async with connected(config) as world:
        with pytest.raises(NotFound):
            await world.server.call("complete_transfer", id=world.leg_id, success=True)
        world.call.refer(refer_to(CAROL))
        await wait_for(world.events, "leg.transfer_requested")
        with pytest.raises(Conflict):
            await world.server.call("progress_transfer", id=world.leg_id, status_code=180)
        with pytest.raises(Conflict):
            await world.server.call("complete_transfer", id=world.leg_id, success=True)
        await world.server.call("accept_transfer", id=world.leg_id)
        with pytest.raises(Conflict):
            await world.server.call("accept_transfer", id=world.leg_id)
        with pytest.raises(Conflict):
            await world.server.call("decline_transfer", id=world.leg_id)


@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("progress_transfer", {"status_code": 200}),
        ("progress_transfer", {"status_code": 99}),
        ("progress_transfer", {"status_code": 180, "reason": "a\r\nb"}),
        ("progress_transfer", {}),
        ("complete_transfer", {"success": True, "status_code": 486}),
        ("complete_transfer", {"success": False, "status_code": 200}),
        ("complete_transfer", {"success": "yes"}),
        ("decline_transfer", {"code": 200}),
    ],
)
async def test_bad_values_are_refused(config: Config, command: str, values: dict[str, object]) -> None:
    async with open_server(config, http=False) as server:
        with pytest.raises(BadRequest):
            await server.call(command, id="nobody", **values)


async def test_a_leg_that_is_deleted_while_the_application_thinks_is_just_gone(config: Config) -> None:
    async with connected(config) as world:
        world.call.refer(refer_to(CAROL))
        await wait_for(world.events, "leg.transfer_requested")
        await world.server.call("delete_leg", id=world.leg_id)
        assert (await world.phone.wait_for(world.call, ReferRefused)).status == 487
        with pytest.raises(NotFound):
            await world.server.call("accept_transfer", id=world.leg_id)
        assert kinds(await rest_of(world.events)) == ["leg.disconnected"]


async def test_a_phone_that_hangs_up_while_the_application_thinks_is_just_gone(config: Config) -> None:
    async with connected(config) as world:
        world.call.refer(refer_to(CAROL))
        await wait_for(world.events, "leg.transfer_requested")
        world.call.hangup()
        (gone,) = await rest_of(world.events)
        assert gone["cdr"]["reason"] == "remote_bye"


# -- a phone asks, and the server carries it out --------------------------------------------------------


async def test_a_new_leg_takes_the_place_of_the_one_that_asked(dialling: Config) -> None:
    async with connected(dialling, "r") as world, open_phone(900) as carol, open_phone(1200) as bob:
        await call_in(world.server, bob, world.events, "r")
        world.events.drain()
        world.call.refer(refer_to(carol.uri))
        await world.phone.wait_for(world.call, ReferAccepted)
        await arrival(carol)
        assert "Replaces" not in carol.calls[0].invite.headers
        assert carol.calls[0].invite.headers.get("Referred-By") == "<sip:127.0.0.1>"
        assert await world.phone.wait_for(world.call, ReferProgress) == ReferProgress(100, "Trying")
        carol.calls[0].ring()
        assert await world.phone.wait_for(world.call, ReferProgress) == ReferProgress(180, "Ringing")
        carol.answer(carol.calls[0])
        assert await world.phone.wait_for(world.call, ReferFinished) == ReferFinished(200, "OK")
        await world.phone.wait_for(world.call, sip.RemoteHangup)
        await carol.hear(60)
        assert carol.tones() == {1200}
        seen = await rest_of(world.events)
        assert kinds(seen) == [
            "leg.transfer_requested",
            "leg.ringing",
            "leg.transfer_progress",
            "leg.connected",
            "leg.joined_room",
            "leg.transfer_completed",
            "leg.left_room",
            "leg.disconnected",
        ]
        assert seen[0]["declined"] is False
        assert seen[1]["uri"] == carol.uri
        assert seen[4]["room_id"] == "r"
        assert (seen[7]["leg_id"], seen[7]["cdr"]["reason"]) == (world.leg_id, "transfer_completed")
        carol.calls[0].hangup()
        gone = await wait_for(world.events, "leg.disconnected", leg_id=seen[1]["leg_id"])
        assert gone["cdr"]["reason"] == "remote_bye"


async def test_a_server_that_dials_by_itself_needs_no_time_to_think(dialling: Config) -> None:
    settings = with_sip(dialling, refer_consult_timeout_ms=0)
    async with connected(settings) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        await world.phone.wait_for(world.call, ReferAccepted)
        await arrival(carol)


async def test_an_attended_transfer_names_the_dialog_to_replace(dialling: Config) -> None:
    async with connected(dialling) as world, open_phone(900) as carol:
        asking = world.phone.dial(carol.uri)
        await arrival(carol)
        carol.answer(carol.calls[0])
        await world.phone.wait_for(asking, sip.Answered)
        replaces = Replaces(asking.call_id, to_tag=asking.remote_tag, from_tag=asking.local_tag)
        carol.arrived = trio.Event()
        world.call.refer(refer_to(carol.uri, replaces))
        asked = await wait_for(world.events, "leg.transfer_requested")
        assert (asked["kind"], asked["replaces_call_id"]) == ("attended", asking.call_id)
        await arrival(carol)
        assert carol.calls[1].invite.headers.get("Replaces") == str(replaces)


async def test_the_new_leg_has_the_app_id_and_webhook_of_the_one_that_asked(dialling: Config) -> None:
    async with open_server(dialling) as server, open_phone(600) as phone, open_phone(900) as carol:
        with server.events() as events:
            leg = await server.call(
                "create_leg",
                type="sip",
                to=phone.uri,
                app_id="shop",
                webhook_url="http://127.0.0.1:9/hook",
            )
            assert isinstance(leg, Leg)
            await arrival(phone)
            phone.answer(phone.calls[0])
            await wait_for(events, "leg.connected")
            phone.calls[0].refer(refer_to(carol.uri))
            ringing = await wait_for(events, "leg.ringing")
            assert ringing["app_id"] == "shop"
            hook = server.engine.hooks.leg_hook(ringing["leg_id"])
            assert hook is not None
            assert hook.url == "http://127.0.0.1:9/hook"


@pytest.mark.parametrize("status", [486, 404, 500])
async def test_the_real_status_of_a_failed_call_is_told_and_the_call_goes_on(
    dialling: Config, status: int
) -> None:
    async with connected(dialling) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        await arrival(carol)
        carol.calls[0].reject(status)
        finished: ReferFinished = await world.phone.wait_for(world.call, ReferFinished)
        assert finished.status == status
        failed = await wait_for(world.events, "leg.transfer_failed", leg_id=world.leg_id)
        assert failed["status_code"] == status
        gone = await wait_for(world.events, "leg.disconnected")
        assert (gone["leg_id"] != world.leg_id, gone["cdr"]["reason"]) == (True, "transfer_originate_failed")
        leg = await world.server.call("get_leg", id=world.leg_id)
        assert isinstance(leg, Leg)
        assert leg.state == "connected"


async def test_a_new_leg_without_usable_media_has_failed_to_connect(dialling: Config) -> None:
    async with connected(dialling) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        await arrival(carol)
        no_audio = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        carol.calls[0].accept("\r\n".join([*no_audio, "m=audio 0 RTP/AVP 0", ""]).encode())
        finished: ReferFinished = await world.phone.wait_for(world.call, ReferFinished)
        assert finished.status == 488
        gone = await wait_for(world.events, "leg.disconnected")
        assert gone["cdr"]["reason"] == "transfer_connect_failed"


async def test_a_target_that_cannot_be_reached_is_told(dialling: Config) -> None:
    async with connected(dialling) as world:
        world.call.refer(refer_to("sip:nobody@127.0.0.1:9"))
        finished: ReferFinished = await world.phone.wait_for(world.call, ReferFinished)
        assert finished.status == 503


async def test_a_new_leg_that_is_deleted_ends_the_transfer(dialling: Config) -> None:
    async with connected(dialling) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        ringing = await wait_for(world.events, "leg.ringing")
        await world.server.call("delete_leg", id=ringing["leg_id"])
        finished: ReferFinished = await world.phone.wait_for(world.call, ReferFinished)
        assert finished.status == 487
        gone = await wait_for(world.events, "leg.disconnected")
        assert gone["cdr"]["reason"] == "api_hangup"


async def test_a_phone_that_hangs_up_at_once_is_transferred_all_the_same(dialling: Config) -> None:
    async with connected(dialling) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        await world.phone.wait_for(world.call, ReferAccepted)
        await arrival(carol)
        world.call.hangup()
        gone = await wait_for(world.events, "leg.disconnected")
        assert (gone["leg_id"], gone["cdr"]["reason"]) == (world.leg_id, "remote_bye")
        carol.answer(carol.calls[0])
        connected_leg = await wait_for(world.events, "leg.connected")
        assert connected_leg["leg_id"] != world.leg_id
        assert await rest_of(world.events) == []


async def test_the_application_has_no_say_in_what_the_server_carries_out(dialling: Config) -> None:
    async with connected(dialling) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        await arrival(carol)
        for command, values in (
            ("accept_transfer", {}),
            ("decline_transfer", {}),
            ("complete_transfer", {"success": True}),
        ):
            with pytest.raises(Conflict):
                await world.server.call(command, id=world.leg_id, **values)


async def test_a_full_server_says_so(dialling: Config) -> None:
    small = dialling.model_copy(update={"server": dialling.server.model_copy(update={"max_legs": 1})})
    async with connected(small) as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        refused: ReferRefused = await world.phone.wait_for(world.call, ReferRefused)
        assert refused.status == 503
        assert carol.calls == []


async def test_a_transferred_leg_does_not_bring_back_a_room_that_was_deleted(dialling: Config) -> None:
    async with connected(dialling, "lobby") as world, open_phone(900) as carol:
        world.call.refer(refer_to(carol.uri))
        await arrival(carol)
        await world.server.call("remove_leg_from_room", room_id="lobby", leg_id=world.leg_id)
        await world.server.call("delete_room", id="lobby")
        carol.answer(carol.calls[0])
        connected_leg = await wait_for(world.events, "leg.connected")
        assert "leg.joined_room" not in kinds(await rest_of(world.events))
        assert await world.server.call("list_rooms") == []
        assert connected_leg["leg_id"] != world.leg_id


async def test_ports_that_run_out_meanwhile_are_told_with_503(dialling: Config) -> None:
    few = dialling.model_copy(
        update={"rtp": dialling.rtp.model_copy(update={"port_min": 41000, "port_max": 41100})}
    )
    async with connected(few) as world, open_phone(900) as carol:
        ports = world.server.engine.ports
        taken = [ports.take() for _ in range(ports.free)]
        assert taken
        world.call.refer(refer_to(carol.uri))
        finished: ReferFinished = await world.phone.wait_for(world.call, ReferFinished)
        assert finished.status == 503
        assert carol.calls == []
