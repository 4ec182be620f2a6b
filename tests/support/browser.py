"""A far end for WebRTC legs: a session on a real socket that offers to a server, with a tone out."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import numpy as np
import trio

from tests.webrtc.leg import SSRC, Leg, open_leg
from vb.codecs.base import OPUS
from vb.commands.views import WebRtcAnswer
from vb.sdp.formats import Format, codec_format, event_format
from vb.server import Server
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import Connected
from vb.webrtc.srtp import protect_rows

EVENT_TYPE = 126
FORMATS = (codec_format(OPUS, 111), event_format(EVENT_TYPE, 8000))


class Browser:
    """Calls a server.

    Attributes:
        leg: its session, with what it hears.
        leg_id: of the server's leg.
        answer: what the server has answered.
    """

    def __init__(self, leg: Leg, formats: tuple[Format, ...]) -> None:
        self.leg = leg
        self.leg_id = ""
        self.answer = ""
        leg.event_type = EVENT_TYPE
        leg.talk = WebRtcNegotiation(codecs=[OPUS], session_id=1, ssrc=SSRC, cname="browser", offered=formats)

    def offer(self, *, candidates: bool = True) -> str:
        """Return its offer."""
        leg = self.leg
        transport = leg.session.local_transport([leg.candidate] if candidates else [], complete=candidates)
        return leg.talk.offer(transport).decode()

    async def use(self, sdp: str) -> None:
        """Take the server's answer."""
        self.answer = sdp
        agreed = self.leg.talk.read_answer(sdp.encode())
        self.leg.session.set_peer(agreed.transport, agreed.role, trio.current_time())
        await self.leg.step()

    async def call(self, server: Server, **fields: object) -> str:
        """Offer, and take the answer; returns the leg's id."""
        reply = cast("WebRtcAnswer", await server.call("webrtc_offer", sdp=self.offer(), **fields))
        self.leg_id = reply.leg_id
        await self.use(reply.sdp)
        return self.leg_id

    async def connected(self) -> None:
        """Wait until both sides have their keys."""
        with trio.fail_after(15):
            await self.leg.until(Connected)

    async def hear(self, frames: int) -> None:
        """Wait for so many frames from now on."""
        wanted = len(self.leg.heard) + frames
        with trio.fail_after(15):
            while len(self.leg.heard) < wanted:
                await self.leg.changed.wait()

    async def send_rtp(self, payload_type: int, timestamp: int, payload: bytes) -> bytes:
        """Send one packet, in sequence; returns it as it went out."""
        leg = self.leg
        sequence, leg.sequence = leg.sequence & 0xFFFF, leg.sequence + 1
        assert leg.srtp is not None
        route = leg.session.ice.route
        assert route is not None
        packet = struct.pack("!BBHII", 0x80, payload_type, sequence, timestamp, SSRC) + payload
        row = leg._rows.array[1]
        row[: len(packet)] = np.frombuffer(packet, np.uint8)
        lengths = np.array([len(packet)], np.int64)
        protect_rows([leg.srtp], leg._rows, [1], lengths)
        sent: bytes = row[: lengths[0]].tobytes()
        await leg.socket.sendto(sent, route[1])
        return sent


@asynccontextmanager
async def open_browser(
    pitch_hz: float, formats: tuple[Format, ...] = FORMATS, *, host: str = "127.0.0.1"
) -> AsyncIterator[Browser]:
    """A browser for as long as the block lasts."""
    leg = await open_leg(controlling=True, pitch_hz=pitch_hz, host=host)
    with leg.socket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leg.run)
            yield Browser(leg, formats)
            nursery.cancel_scope.cancel()
