"""Nothing follows leg.disconnected, whatever a far end still says while its BYE is unanswered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.raw_sip import SDP, RawSip, open_raw
from tests.support.world import Events, rest_of, sip_uri, wait_for
from vb.config import Config
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[tuple[Server, Events, RawSip, str]]:
    async with open_server(config) as server, open_raw(sip_uri(server)) as peer:
        with server.events() as events:
            cseq = await peer.request("INVITE", body=SDP)
            leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
            await server.call("answer_leg", id=leg_id)
            await peer.wait_status(200)
            await peer.request("ACK", cseq=cseq)
            await wait_for(events, "leg.connected")
            yield server, events, peer, leg_id


async def test_a_hold_that_is_accepted_after_the_hangup_is_not_told(config: Config) -> None:
    async with connected(config) as (server, events, peer, leg_id):
        await server.call("hold_leg", id=leg_id)
        offer = await peer.wait_request("INVITE")
        await server.call("delete_leg", id=leg_id)
        bye = await peer.wait_request("BYE")
        await wait_for(events, "leg.disconnected")
        await peer.respond(offer, 200, body=SDP + b"a=recvonly\r\n")
        await peer.wait_request("ACK")
        found = await rest_of(events)
        print(found, server.engine.sip._agent.calls)
        assert found == []
        await peer.respond(bye, 200)


async def test_a_digit_that_comes_after_the_hangup_is_not_told(config: Config) -> None:
    taking_info = config.model_copy(update={"sip": config.sip.model_copy(update={"dtmf_info": True})})
    async with connected(taking_info) as (server, events, peer, leg_id):
        await server.call("delete_leg", id=leg_id)
        bye = await peer.wait_request("BYE")
        await wait_for(events, "leg.disconnected")
        relay = {"Content-Type": "application/dtmf-relay"}
        await peer.request("INFO", body=b"Signal=5\r\nDuration=160\r\n", headers=relay)
        await peer.wait_status(200, "INFO")
        assert await rest_of(events) == []
        await peer.respond(bye, 200)
