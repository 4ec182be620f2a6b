"""Hold from our side, and digits in both directions, with real calls."""

from __future__ import annotations

import pytest
import trio

from tests.support.phone import Phone, open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import Conflict
from vb.server import Server, open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration


async def answer_offer(phone: Phone) -> bytes:
    """Let the phone take the next offer of the server and return it."""
    offer: sip.OfferReceived = await phone.wait_for(phone.calls[0], sip.OfferReceived)
    assert phone.negotiation is not None
    phone.calls[0].answer_offer(phone.negotiation.receive_offer(offer.sdp))
    return offer.sdp


async def shown(server: Server, leg_id: str) -> Leg:
    leg = await server.call("get_leg", id=leg_id)
    assert isinstance(leg, Leg)
    return leg


async def test_hold_and_resume_are_offered_and_told_once_each(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("hold_leg", id=leg_id)
            assert b"a=sendonly" in await answer_offer(phone)
            await wait_for(events, "leg.hold", leg_id=leg_id)
            leg = await shown(server, leg_id)
            assert (leg.state, leg.held) == ("held", True)
            await server.call("hold_leg", id=leg_id)
            await server.call("unhold_leg", id=leg_id)
            assert b"a=sendrecv" in await answer_offer(phone)
            await wait_for(events, "leg.unhold", leg_id=leg_id)
            assert (await shown(server, leg_id)).state == "connected"
            assert await rest_of(events) == []


async def test_a_refused_hold_leaves_the_call_as_it_was(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("hold_leg", id=leg_id)
            await phone.wait_for(phone.calls[0], sip.OfferReceived)
            phone.calls[0].refuse_offer(488)
            failed = await wait_for(events, "leg.command_failed", leg_id=leg_id)
            assert failed["command"] == "hold"
            assert (await shown(server, leg_id)).held is False
            await server.call("hold_leg", id=leg_id)
            assert b"a=sendonly" in await answer_offer(phone)


async def test_a_resume_asked_for_while_the_hold_is_on_its_way_follows_it(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("hold_leg", id=leg_id)
            await server.call("unhold_leg", id=leg_id)
            assert b"a=sendonly" in await answer_offer(phone)
            assert b"a=sendrecv" in await answer_offer(phone)
            kinds = [event["type"] for event in await rest_of(events)]
            assert kinds == ["leg.hold", "leg.unhold"]


async def test_a_ringing_leg_cannot_be_held(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        leg = await server.call("create_leg", type="sip", to=phone.uri)
        assert isinstance(leg, Leg)
        with pytest.raises(Conflict):
            await server.call("hold_leg", id=leg.id)


async def test_the_far_ends_resume_does_not_lift_our_hold(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("hold_leg", id=leg_id)
            await answer_offer(phone)
            await wait_for(events, "leg.hold")
            assert phone.negotiation is not None
            phone.calls[0].reoffer(phone.negotiation.offer)
            answered: sip.OfferAnswered = await phone.wait_for(phone.calls[0], sip.OfferAnswered)
            assert answered.sdp is not None
            assert b"a=sendonly" in answered.sdp
            assert (await shown(server, leg_id)).held is True


async def test_digits_reach_room_mates_that_take_them_and_never_the_sender(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_phone(600) as one,
        open_phone(900) as two,
        open_phone(1200) as three,
    ):
        with server.events() as events:
            sender = await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            deaf_to_digits = await call_in(server, three, events, "r")
            await server.call("reject_leg_dtmf", id=deaf_to_digits)
            await one.press("5#")
            first = await wait_for(events, "dtmf.received", leg_id=sender)
            second = await wait_for(events, "dtmf.received", leg_id=sender)
        assert [(first["digit"], first["seq"]), (second["digit"], second["seq"])] == [("5", 1), ("#", 2)]
        with trio.fail_after(5):
            while two.digits != "5#":
                await two.hear(5)
        assert (one.digits, three.digits) == ("", "")


async def test_sent_digits_are_heard_as_telephone_events_in_order(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("send_leg_dtmf", id=leg_id, digits="1x9a")
            with trio.fail_after(5):
                while phone.digits != "19A":
                    await phone.hear(5)


async def test_digits_in_the_audio_count_when_there_are_no_telephone_events(config: Config) -> None:
    listening = config.model_copy(update={"sip": config.sip.model_copy(update={"dtmf_inband": True})})
    async with open_server(listening) as server, open_phone(770, second_hz=1336, events=False) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            heard = await wait_for(events, "dtmf.received", leg_id=leg_id)
            assert heard["digit"] == "5"


async def test_tones_in_the_audio_are_no_digits_when_there_are_telephone_events(config: Config) -> None:
    listening = config.model_copy(update={"sip": config.sip.model_copy(update={"dtmf_inband": True})})
    async with open_server(listening) as server, open_phone(770, second_hz=1336) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await phone.press("9")
            heard = await wait_for(events, "dtmf.received", leg_id=leg_id)
            assert (heard["digit"], heard["seq"]) == ("9", 1)
