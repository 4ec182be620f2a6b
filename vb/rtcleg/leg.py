"""WebRTC legs: what the events of one session mean for the leg, and what its commands do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from vb.choices import SrtpKeying
from vb.errors import BadRequest
from vb.events.leg import LegConnected
from vb.legs.capabilities import Capability, TrickledCandidate
from vb.legs.protocols import LegHost
from vb.legs.state import LegState
from vb.rtcleg.connection import Loss, RtcConnection
from vb.rtcleg.digits import RtcDigits
from vb.sdp.errors import OfferRejected, SdpParseError
from vb.webrtc.candidate import CandidateError
from vb.webrtc.dtls import Role
from vb.webrtc.negotiation import PeerOffer, WebRtcNegotiation

LEG_TYPE: Final = "webrtc"
ICE_FAILURE: Final = "ice_failure"
"""Reason of every end that comes from the far end: clients know no other."""

_CAN: Final = frozenset({Capability.DTMF, Capability.CANDIDATES})


class RtcLeg(RtcDigits):
    """A leg whose far end is a browser, or a program that speaks as one; it is its own signalling.

    Args:
        host: the engine.
        connection: to the peer.
        negotiation: its descriptions.
        speech_detection: whether speaking events are told once it is connected.
    """

    inbound = True

    def __init__(
        self,
        host: LegHost,
        connection: RtcConnection,
        negotiation: WebRtcNegotiation,
        *,
        speech_detection: bool,
        leg_id: str,
        app_id: str | None,
        now: float,
    ) -> None:
        super().__init__(host, leg_id=leg_id, leg_type=LEG_TYPE, app_id=app_id, now=now)
        self.connection = connection
        self.media = connection.media
        self.negotiation = negotiation
        connection.belong_to(self)
        self._speech_detection = speech_detection
        self.adopt_port(self.media.port)

    def check_can(self, capability: Capability) -> None:
        """Refuse what WebRTC legs cannot do.

        Raises:
            VbError: it is not one of digits and candidates.
        """
        if capability not in _CAN:
            raise self.decline(capability)

    @property
    def srtp(self) -> SrtpKeying | None:
        """DTLS, once there is a connection."""
        return None if self.media.srtp is None else "dtls"

    @property
    def joins_early(self) -> bool:
        """Return True: it may sit in a room while its media is not up yet."""
        return True

    # -- the leg's tasks -----------------------------------------------------------------------------------

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Run the leg to its end."""
        await self.live(self, self._media_tasks, on_ready=on_ready)

    async def run(self) -> None:
        """Serve the transport until the leg ends."""
        await self.connection.transport.run()

    def hang_up(self, reason: str) -> None:
        """Say goodbye over DTLS, which is all the signalling that there is."""
        self.connection.close()

    @property
    def is_closed(self) -> bool:
        """Return True: nobody acknowledges a goodbye."""
        return True

    async def wait_closed(self) -> None:
        """Return at once: nobody acknowledges a goodbye."""
        await trio.lowlevel.checkpoint()

    def _media_tasks(self) -> AbstractAsyncContextManager[None]:
        return self.connection.tasks(self.contain, self.failed, self.digit_received)

    # -- the connection ------------------------------------------------------------------------------------

    def media_is_lost(self, loss: Loss) -> None:
        """End with the one reason that clients know."""
        self.hangup(ICE_FAILURE)

    def media_is_up(self) -> None:
        """Say that it is connected."""
        self.advance(LegState.CONNECTED)
        self.clock.answered_at = trio.current_time()
        self.publish(LegConnected(leg_id=self.id, app_id=self.app_id, leg_type=self.type, srtp=self.srtp))
        if self._speech_detection:
            self.media.port.detect_speaking = True

    # -- commands ------------------------------------------------------------------------------------------

    def add_candidate(self, candidate: TrickledCandidate) -> None:
        """Take a candidate of the peer, before or after the connection.

        Raises:
            BadRequest: it cannot be read.
        """
        try:
            found = self.connection.candidates.read(candidate)
        except CandidateError as exc:
            raise BadRequest(f"candidate: {exc}") from None
        if found is not None:
            self.connection.gathering.permit(found)
            self.connection.session.add_remote(found)
            self.connection.transport.wake()

    def take_candidates(self) -> tuple[list[TrickledCandidate], bool]:
        """Return our candidates since the last call, and whether there will be no further ones."""
        connection = self.connection
        candidates = connection.candidates
        return candidates.take(connection.session.ice.local), candidates.done

    def renegotiate(self, sdp: bytes, heard_hz: int | None = None) -> bytes:
        """Return our answer to a further offer of the peer, such as an ICE restart.

        Args:
            heard_hz: highest sample rate at which the peer will be heard; None for as before, or for its
                room's if that is higher.

        Raises:
            BadRequest: the offer cannot be answered; nothing has changed.
        """
        negotiation = self.negotiation
        offer = read_offer(negotiation, sdp)
        room_hz = 0 if self.room is None else self.room.sample_rate_hz
        negotiation.heard_hz = heard_hz or max(negotiation.heard_hz, room_hz)
        return answer_offer(negotiation, offer, self)

    def follow(self, offer: PeerOffer) -> bool:
        """Take what the peer says of its transport; True when it restarts ICE."""
        # We leave the first message to the peer: it then has AES-GCM first in its list, which is cheaper.
        role: Role = "client" if offer.transport.setup == "passive" else "server"
        return self.connection.follow(offer.transport, role)


def read_offer(negotiation: WebRtcNegotiation, sdp: bytes) -> PeerOffer:
    """Read an offer of the peer; nothing has changed yet.

    Raises:
        BadRequest: it cannot be answered.
    """
    try:
        return negotiation.read_offer(sdp)
    except (SdpParseError, OfferRejected) as exc:
        raise BadRequest(f"sdp: {exc}") from None


def answer_offer(negotiation: WebRtcNegotiation, offer: PeerOffer, leg: RtcLeg) -> bytes:
    """Apply an offer and return our answer, with the candidates that are known by now."""
    leg.follow(offer)
    carrier = None if offer.carrier is None else (offer.carrier.mid, offer.carrier.index)
    leg.connection.candidates.belong_to(offer.media.mid, offer.media.index, carrier)
    sdp = negotiation.answer(offer, leg.connection.local(), active=False)
    agreed = negotiation.agreed
    if agreed is not None:
        leg.media.agree(agreed.audio, agreed.audio_level_id)
    return sdp
