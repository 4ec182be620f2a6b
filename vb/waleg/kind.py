"""WhatsApp as a kind of leg: calls of the SIP endpoint that are the provider's, with the media of WebRTC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import trio

from vb.codecs.base import OPUS
from vb.engine import Engine
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.metrics import Reading
from vb.rtcleg.kind import RtcLegs
from vb.sip.tasks.call import SipCall
from vb.sipleg.kind import SipLegs
from vb.waleg import inbound, outbound
from vb.webrtc.negotiation import WebRtcNegotiation


class WhatsAppLegs:
    """All WhatsApp legs of a server.

    Args:
        engine: the server.
        sip: whose endpoint carries the signalling.
        rtc: opens the media.
    """

    name: Final = "whatsapp"
    leg_types: Final[tuple[LegType, ...]] = (inbound.LEG_TYPE, outbound.LEG_TYPE)

    def __init__(self, engine: Engine, sip: SipLegs, rtc: RtcLegs) -> None:
        self.engine = engine
        self.sip = sip
        self.rtc = rtc
        sip.claims.append(self._claim)

    async def create(self, request: CreateLeg) -> Leg:
        """Place an outgoing call and return its ringing leg.

        Raises:
            VbError: as `outbound.create_call` says; nothing was sent or created.
        """
        return await outbound.create_call(self, request)

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait until cancelled: the transports are those of SIP."""
        task_status.started(())
        await trio.sleep_forever()

    def readings(self) -> Iterator[Reading]:
        """Give no figures: its packets are counted with those of WebRTC, its messages with those of SIP."""
        return iter(())

    def new_negotiation(self) -> WebRtcNegotiation:
        """Return the descriptions of one more call."""
        ids = self.engine.ids
        return WebRtcNegotiation(
            codecs=(OPUS,),
            session_id=ids.u32() >> 1,
            ssrc=ids.u32(),
            cname=ids.token(8),
            offered=outbound.OFFERED,
        )

    def _claim(self, call: SipCall) -> bool:
        """Take a call that is the provider's."""
        if not inbound.is_whatsapp(call, self.engine.config.whatsapp.domain):
            return False
        inbound.accept_call(self, call)
        return True
