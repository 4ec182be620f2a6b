"""Nothing follows leg.disconnected, whatever a far end still says while its BYE is unanswered."""

from __future__ import annotations

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.raw_call import open_raw_call
from tests.support.raw_sip import SDP
from tests.support.world import call_in, rest_of, wait_for
from vb.config import Config
from vb.server import open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration


async def test_a_hold_that_is_accepted_after_the_hangup_is_not_told(config: Config) -> None:
    async with open_raw_call(config) as call:
        await call.server.call("hold_leg", id=call.leg_id)
        offer = await call.peer.wait_request("INVITE")
        await call.server.call("delete_leg", id=call.leg_id)
        bye = await call.peer.wait_request("BYE")
        await wait_for(call.events, "leg.disconnected")
        await call.peer.respond(offer, 200, body=SDP + b"a=recvonly\r\n")
        await call.peer.wait_request("ACK")
        assert await rest_of(call.events) == []
        await call.peer.respond(bye, 200)


async def test_a_digit_that_comes_after_the_hangup_is_not_told(config: Config) -> None:
    taking_info = config.model_copy(update={"sip": config.sip.model_copy(update={"dtmf_info": True})})
    async with open_raw_call(taking_info) as call:
        await call.server.call("delete_leg", id=call.leg_id)
        bye = await call.peer.wait_request("BYE")
        await wait_for(call.events, "leg.disconnected")
        relay = {"Content-Type": "application/dtmf-relay"}
        await call.peer.request("INFO", body=b"Signal=5\r\nDuration=160\r\n", headers=relay)
        await call.peer.wait_status(200, "INFO")
        assert await rest_of(call.events) == []
        await call.peer.respond(bye, 200)


async def test_a_feature_that_ends_slowly_keeps_no_audio_flowing(config: Config) -> None:
    async with open_server(config, http=False) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await phone.hear(5)
            leg = server.engine.legs.get(leg_id)

            async def feature() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.move_on_after(2, shield=True):
                        await trio.sleep(0.4)

            leg.slots.start("slow", feature)
            await server.call("delete_leg", id=leg_id)
            await phone.wait_for(phone.calls[0], sip.RemoteHangup)
            heard = len(phone.heard)
            await wait_for(events, "leg.disconnected")
            assert len(phone.heard) - heard <= 2  # what was on its way
