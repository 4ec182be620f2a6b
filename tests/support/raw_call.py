"""A call between a server and a peer whose messages the test writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.raw_sip import SDP, RawSip, open_raw
from tests.support.world import Events, sip_uri, wait_for
from vb.config import Config
from vb.server import Server, open_server


@dataclass
class RawCall:
    """A server, a peer that has called it, and the leg of that."""

    server: Server
    peer: RawSip
    events: Events
    leg_id: str


@asynccontextmanager
async def open_raw_call(config: Config) -> AsyncIterator[RawCall]:
    """A connected call for as long as the block lasts; its events so far have been read."""
    async with open_server(config) as server, open_raw(sip_uri(server)) as peer:
        with server.events() as events:
            cseq = await peer.request("INVITE", body=SDP)
            leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
            await server.call("answer_leg", id=leg_id)
            await peer.wait_status(200)
            await peer.request("ACK", cseq=cseq)
            await wait_for(events, "leg.connected")
            yield RawCall(server, peer, events, leg_id)
