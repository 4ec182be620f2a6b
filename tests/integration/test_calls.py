"""Whole calls through a server in this process, over loopback sockets and the real clock."""

from __future__ import annotations

import os
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.raw_sip import SDP, open_raw
from tests.support.world import call_in, rest_of, sip_uri, wait_for
from vb.commands.views import Leg, RecordingStart
from vb.config import Config
from vb.errors import Conflict, NotFound
from vb.server import open_server
from vb.sip import call_events as sip
from vb.sip.errors import NoPendingOffer

pytestmark = pytest.mark.integration


async def test_two_phones_hear_each_other_and_not_themselves(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as one, open_phone(1000) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            await one.hear(60)
            await two.hear(60)
            assert one.tones() == {1000}
            assert two.tones() == {600}


async def test_a_room_recording_holds_both_voices(config: Config, tmp_path: Path) -> None:
    async with open_server(config) as server, open_phone(600) as one, open_phone(1000) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            started = await server.call("room_record_start", id="r")
            assert isinstance(started, RecordingStart)
            await one.hear(50)
            await server.call("room_record_stop", id="r")
            finished = await wait_for(events, "recording.finished", room_id="r")
    assert finished["file"] == started.file
    with wave.open(started.file) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16000, 2)
        assert 0.8 < file.getnframes() / 16000 < 1.6


async def test_the_last_leg_finishes_the_rooms_recording_before_it_disconnects(
    config: Config,
) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events, "r")
            await server.call("room_record_start", id="r")
            await phone.hear(20)
            phone.calls[0].hangup()
            seen: list[str] = []
            with trio.fail_after(5):
                while "leg.disconnected" not in seen:
                    seen.append((await events.get()).event.type)
            wanted = ["leg.left_room", "recording.finished", "leg.disconnected"]
            assert [kind for kind in seen if kind in wanted] == wanted
            with pytest.raises(NotFound):
                await server.call("get_leg", id=leg_id)


async def test_two_deletes_at_once_end_one_leg_once(config: Config) -> None:
    results: list[str] = []
    async with open_server(config) as server, open_phone(600) as phone:

        async def delete(leg_id: str) -> None:
            try:
                await server.call("delete_leg", id=leg_id)
                results.append("202")
            except NotFound:
                results.append("404")

        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(delete, leg_id)
                nursery.start_soon(delete, leg_id)
            await phone.wait_for(phone.calls[0], sip.RemoteHangup)
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == "api_hangup"
            assert [item for item in await rest_of(events) if item["type"] == "leg.disconnected"] == []
    assert sorted(results) == ["202", "404"]


async def test_an_outgoing_call_joins_its_room_when_it_is_answered(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg = await server.call("create_leg", type="sip", to=phone.uri, room_id="made")
            assert isinstance(leg, Leg)
            with trio.fail_after(5):
                await phone.arrived.wait()
            phone.answer(phone.calls[0])
            kinds: list[str] = []
            with trio.fail_after(5):
                while "leg.joined_room" not in kinds:
                    kinds.append((await events.get()).event.type)
            assert kinds == ["room.created", "leg.ringing", "leg.connected", "leg.joined_room"]


@pytest.mark.parametrize(
    ("reason", "status"), [("busy", 486), ("declined", 603), ("unavailable", 480), (None, 480)]
)
async def test_an_unanswered_call_is_refused_with_the_reason_given(
    config: Config, reason: str | None, status: int
) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            call = phone.dial(sip_uri(server))
            leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
            await server.call("delete_leg", id=leg_id, reason=reason)
            refused = await phone.wait_for(call, sip.Refused)
            assert refused.status == status
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == (reason or "caller_cancel")
            assert gone["cdr"]["duration_answered"] == 0
            assert "quality" not in gone


async def test_deleting_a_room_hangs_up_everybody_once(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as one, open_phone(1000) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            events.drain()
            await server.call("delete_room", id="r")
            await one.wait_for(one.calls[0], sip.RemoteHangup)
            await two.wait_for(two.calls[0], sip.RemoteHangup)
            seen = await rest_of(events)
    assert [item["type"] for item in seen] == [
        "leg.left_room",
        "leg.left_room",
        "room.deleted",
        "leg.disconnected",
        "leg.disconnected",
    ]
    assert {item["cdr"]["reason"] for item in seen if "cdr" in item} == {"room_deleted"}


async def test_a_stop_hangs_up_and_says_so(config: Config) -> None:
    seen: list[dict[str, Any]] = []
    async with open_phone(600) as phone:
        async with open_server(config) as server:
            server.engine.bus.subscribe(lambda published: seen.append(published.as_dict()))
            with server.events() as events:
                await call_in(server, phone, events)
        await phone.wait_for(phone.calls[0], sip.RemoteHangup)
    assert seen[-1]["type"] == "leg.disconnected"
    assert seen[-1]["cdr"]["reason"] == "server_shutdown"


async def leaves_nothing_behind(run: Callable[[], Awaitable[None]]) -> None:
    def sockets() -> int:
        count = 0
        for name in os.listdir("/proc/self/fd"):
            try:
                count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
            except OSError:
                continue
        return count

    tasks_before = trio.lowlevel.current_statistics().tasks_living
    sockets_before = sockets()
    await run()
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before
    assert sockets() == sockets_before


async def test_leaving_the_block_leaves_no_task_socket_or_port(config: Config) -> None:
    ports: list[bool] = []

    async def run() -> None:
        async with open_server(config) as server, open_phone(600) as phone:
            with server.events() as events:
                await call_in(server, phone, events, "r")
                ports.append(next(iter(server.engine.legs)).port is not None)
                await phone.hear(5)

    await leaves_nothing_behind(run)
    assert ports == [True]


async def test_a_server_can_be_left_the_moment_it_is_open(config: Config) -> None:
    for _ in range(10):
        with trio.fail_after(10):
            async with open_server(config):
                pass


async def test_a_cancellation_during_the_start_ends_the_server(config: Config) -> None:
    for delay_s in (0.0, 0.002, 0.005, 0.01, 0.02):
        with trio.fail_after(10):
            with trio.move_on_after(delay_s):
                async with open_server(config):
                    pass


@pytest.mark.parametrize("user", ["urn:service:sos", "http://x/y", "sip:a@b:595%0", "mailto:a@b.example"])
async def test_a_caller_whose_uri_is_not_a_sip_uri_can_call(config: Config, user: str) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            await phone.send_raw_invite(sip_uri(server), from_uri=user)
            ringing = await wait_for(events, "leg.ringing")
            assert "from" not in ringing
            await server.call("delete_leg", id=ringing["leg_id"])
            assert (await wait_for(events, "leg.disconnected"))["cdr"]["reason"] == "caller_cancel"


async def test_nothing_follows_the_end_of_a_leg_whose_hold_is_answered_late(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("hold_leg", id=leg_id)
            offer = await phone.wait_for(phone.calls[0], sip.OfferReceived)
            await server.call("delete_leg", id=leg_id)
            assert phone.negotiation is not None
            try:
                phone.calls[0].answer_offer(phone.negotiation.receive_offer(offer.sdp))
            except NoPendingOffer:
                pass
            kinds = [event["type"] for event in await rest_of(events)]
    assert kinds == ["leg.disconnected"]


async def test_the_id_of_a_room_is_free_only_when_its_end_is_told(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            await call_in(server, phone, events, "r")
            await server.call("room_record_start", id="r")
            conflicts = 0

            async def create_again() -> None:
                nonlocal conflicts
                while True:
                    try:
                        await server.call("create_room", id="r", webhook_secret="x")
                    except Conflict:
                        conflicts += 1
                        await trio.lowlevel.checkpoint()
                    else:
                        return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(create_again)
                await server.call("delete_room", id="r")
            kinds = [event["type"] for event in await rest_of(events) if event.get("room_id") == "r"]
    assert conflicts > 0
    assert kinds.index("room.deleted") < kinds.index("room.created")
    assert kinds[-1] == "room.created"


async def test_a_room_may_be_named_like_a_leg_and_both_are_recorded_apart(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("add_leg_to_room", room_id=leg_id, leg_id=leg_id)
            of_leg = await server.call("leg_record_start", id=leg_id)
            of_room = await server.call("room_record_start", id=leg_id)
            assert isinstance(of_leg, RecordingStart)
            assert isinstance(of_room, RecordingStart)
            await phone.hear(10)
            await server.call("leg_record_stop", id=leg_id)
            assert (await wait_for(events, "recording.finished"))["file"] == of_leg.file
            await server.call("room_record_stop", id=leg_id)
            assert (await wait_for(events, "recording.finished"))["file"] == of_room.file


async def test_a_call_that_is_cancelled_as_it_comes_in_does_not_ring(config: Config) -> None:
    settings = config.model_copy(update={"sip": config.sip.model_copy(update={"auto_ringing": True})})
    async with open_server(settings) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            cseq = await raw.request_and_cancel("INVITE", body=SDP)
            await raw.wait_status(487)
            await raw.request("ACK", cseq=cseq, branch_of="INVITE")
            gone = await wait_for(events, "leg.disconnected")
            assert gone["cdr"]["reason"] == "caller_cancel"
