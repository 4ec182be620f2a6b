"""Hold where its re-INVITE meets one of the far end, is refused, or is overtaken by the next wish."""

from __future__ import annotations

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.raw_call import RawCall, open_raw_call
from tests.support.raw_sip import SDP
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import Conflict
from vb.server import open_server
from vb.sip import call_events as sip
from vb.sip.message import Request
from vb.sipleg.leg import SipLeg

pytestmark = pytest.mark.integration


async def meet(call: RawCall) -> None:
    """Ask for hold, and let its re-INVITE meet one of the far end."""
    await call.server.call("hold_leg", id=call.leg_id)
    await call.peer.respond(await call.peer.wait_request("INVITE"), 491)
    await call.peer.wait_request("ACK")


async def offered_again(call: RawCall) -> bytes:
    """Let the far end take the next offer of the server, and return it."""
    again: Request = await call.peer.wait_request("INVITE")
    direction = b"a=recvonly\r\n" if b"a=sendonly" in again.body else b""
    await call.peer.respond(again, 200, body=SDP + direction)
    await call.peer.wait_request("ACK")
    return again.body


async def test_after_glare_the_far_ends_offer_is_answered_and_then_ours_follows(config: Config) -> None:
    async with open_raw_call(config) as call:
        await meet(call)
        cseq = await call.peer.request("INVITE", body=SDP)
        answer = await call.peer.wait_status(200)
        assert b"a=sendrecv" in answer.body
        await call.peer.request("ACK", cseq=cseq)
        assert b"a=sendonly" in await offered_again(call)
        assert [event["type"] for event in await rest_of(call.events)] == ["leg.hold"]


async def test_after_glare_a_resume_wins_over_the_hold_that_was_not_sent_yet(config: Config) -> None:
    async with open_raw_call(config) as call:
        await meet(call)
        await call.server.call("unhold_leg", id=call.leg_id)
        cseq = await call.peer.request("INVITE")
        offer = await call.peer.wait_status(200)
        assert b"a=sendrecv" in offer.body
        await call.peer.request("ACK", cseq=cseq, body=SDP)
        assert b"a=sendrecv" in await offered_again(call)
        assert await rest_of(call.events) == []
        leg = await call.server.call("get_leg", id=call.leg_id)
        assert isinstance(leg, Leg)
        assert leg.held is False


async def test_the_command_that_failed_is_named_whatever_was_asked_for_since(config: Config) -> None:
    async with open_raw_call(config) as call:
        await call.server.call("hold_leg", id=call.leg_id)
        offer = await call.peer.wait_request("INVITE")
        await call.server.call("unhold_leg", id=call.leg_id)
        await call.peer.respond(offer, 488)
        found = await rest_of(call.events)
        assert [(event["type"], event["command"]) for event in found] == [("leg.command_failed", "hold")]


async def test_a_hold_ordered_before_the_ack_of_our_offer_fits_what_the_ack_answers(config: Config) -> None:
    async with open_raw_call(config) as call:
        cseq = await call.peer.request("INVITE")
        await call.peer.wait_status(200)
        await call.server.call("hold_leg", id=call.leg_id)
        answer = SDP.replace(b"40000 RTP/AVP 0", b"40002 RTP/AVP 8").replace(b"0 PCMU", b"8 PCMA")
        await call.peer.request("ACK", cseq=cseq, body=answer)
        hold = await call.peer.wait_request("INVITE")
        assert b" RTP/AVP 8" in hold.body
        assert b"a=sendonly" in hold.body
        await call.peer.respond(hold, 200, body=answer + b"a=recvonly\r\n")
        await call.peer.wait_request("ACK")
        await wait_for(call.events, "leg.hold")
        (leg,) = call.server.engine.legs
        assert isinstance(leg, SipLeg)
        agreed = leg.media.port.agreed
        assert agreed is not None
        assert agreed.remote_rtp is not None
        assert (agreed.send_codec.name, agreed.remote_rtp.port, agreed.direction) == (
            "PCMA",
            40002,
            "sendonly",
        )
        assert not leg.media.port.peer_may_send  # its silence does not end the call


async def test_a_reinvite_that_is_cancelled_before_it_is_read_changes_nothing(config: Config) -> None:
    async with open_raw_call(config) as call:
        offer = SDP.replace(b"40000", b"40600") + b"a=sendonly\r\n"
        cseq = await call.peer.request_and_cancel("INVITE", body=offer)
        await call.peer.wait_status(487)
        await call.peer.request("ACK", cseq=cseq, branch_of="INVITE")
        await call.server.call("hold_leg", id=call.leg_id)
        hold = await call.peer.wait_request("INVITE")
        assert b"a=sendonly" in hold.body  # it would be inactive towards a far end that holds
        (leg,) = call.server.engine.legs
        assert isinstance(leg, SipLeg)
        agreed = leg.media.negotiation.agreed
        assert agreed is not None
        assert agreed.remote_rtp is not None
        assert (agreed.remote_rtp.port, agreed.remote_held) == (40000, False)


async def test_a_hold_that_the_far_end_answers_with_its_own_is_told_once(config: Config) -> None:
    async with open_raw_call(config) as call:
        for command, direction, told in (
            ("hold_leg", b"a=inactive\r\n", ["leg.hold"]),
            ("unhold_leg", b"a=sendrecv\r\n", ["leg.unhold"]),
        ):
            await call.server.call(command, id=call.leg_id)
            offer = await call.peer.wait_request("INVITE")
            await call.peer.respond(offer, 200, body=SDP + direction)
            await call.peer.wait_request("ACK")
            assert [event["type"] for event in await rest_of(call.events)] == told


async def test_no_digit_waits_for_the_end_of_a_far_ends_hold(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            assert phone.negotiation is not None
            await server.call("send_leg_dtmf", id=leg_id, digits="1234567890123456")
            for held in (True, False):
                phone.negotiation.hold = held
                phone.calls[0].reoffer(phone.negotiation.offer())
                answered = await phone.wait_for(phone.calls[0], sip.OfferAnswered)
                phone.negotiation.receive_answer(answered.sdp)
                if held:
                    await wait_for(events, "leg.hold", leg_id=leg_id)
                    with pytest.raises(Conflict):
                        await server.call("send_leg_dtmf", id=leg_id, digits="9")
                    before = len(phone.digits)
            await wait_for(events, "leg.unhold", leg_id=leg_id)
            await phone.hear(25)
            await trio.lowlevel.checkpoint()
            assert len(phone.digits) <= before + 1
