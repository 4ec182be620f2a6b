"""WebRTC legs: what the events of one session mean for the leg, and what its commands do."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Final

import structlog
import trio

from vb.errors import BadRequest, Conflict
from vb.events.leg import DtmfReceived, LegConnected
from vb.legs.capabilities import Capability, TrickledCandidate
from vb.legs.leg import Leg
from vb.legs.protocols import LegHost
from vb.legs.state import LegState
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.gathering import Gathering
from vb.rtcleg.media import RtcMedia
from vb.rtcleg.transport import Transport
from vb.sdp.errors import OfferRejected, SdpParseError
from vb.webrtc.candidate import CandidateError
from vb.webrtc.dtls import Role
from vb.webrtc.negotiation import PeerOffer, WebRtcNegotiation
from vb.webrtc.session import (
    Closed,
    Connected,
    Disconnected,
    Failed,
    NewAddress,
    Reconnected,
    Session,
    SessionEvent,
)

log = structlog.get_logger(__name__)

LEG_TYPE: Final = "webrtc"
ICE_FAILURE: Final = "ice_failure"
"""Reason of every end that comes from the far end: clients know no other."""

_CAN: Final = frozenset({Capability.DTMF, Capability.CANDIDATES})


class RtcLeg(Leg):
    """A leg whose far end is a browser, or a program that speaks as one; it is its own signalling.

    Args:
        host: the engine.
        media: its sockets and its place in the plane.
        negotiation: its descriptions.
        session: its transport.
        candidates: ours.
        gathering: finds them.
        speech_detection: whether speaking events are told once it is connected.
    """

    inbound = True

    def __init__(
        self,
        host: LegHost,
        media: RtcMedia,
        negotiation: WebRtcNegotiation,
        session: Session,
        candidates: LocalCandidates,
        gathering: Gathering,
        *,
        speech_detection: bool,
        leg_id: str,
        app_id: str | None,
        now: float,
    ) -> None:
        super().__init__(host, leg_id=leg_id, leg_type=LEG_TYPE, app_id=app_id, now=now)
        self.media = media
        self.negotiation = negotiation
        self.session = session
        self.candidates = candidates
        self.gathering = gathering
        self.transport = Transport(
            session, media.port, gathering.base, media, gathering.receive, self._handle
        )
        gathering.attach(self.transport)
        self._speech_detection = speech_detection
        self._digits = 0
        self.adopt_port(media.port)

    def check_can(self, capability: Capability) -> None:
        """Refuse what WebRTC legs cannot do.

        Raises:
            VbError: it is not one of digits and candidates.
        """
        if capability not in _CAN:
            raise self.decline(capability)

    @property
    def joins_early(self) -> bool:
        """Return True: it may sit in a room while its media is not up yet."""
        return True

    def dropped(self) -> Counter[str]:
        """Return how many packets were dropped, by reason."""
        found = Counter(stun=self.session.ice.dropped, transport=self.session.dropped)
        found["relay"] = self.gathering.dropped
        srtp = self.media.srtp
        if srtp is not None:
            found.update(asdict(srtp.counts))
        return found

    # -- the leg's tasks -----------------------------------------------------------------------------------

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Run the leg to its end."""
        await self.live(self, self._media_tasks, on_ready=on_ready)

    async def run(self) -> None:
        """Serve the transport until the leg ends."""
        await self.transport.run()

    def hang_up(self, reason: str) -> None:
        """Say goodbye over DTLS, which is all the signalling that there is."""
        self.transport.close()

    @property
    def is_closed(self) -> bool:
        """Return True: nobody acknowledges a goodbye."""
        return True

    async def wait_closed(self) -> None:
        """Return at once: nobody acknowledges a goodbye."""
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _media_tasks(self) -> AsyncIterator[None]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.contain, "rtp", self._run_rtp)
                nursery.start_soon(self.contain, "gathering", self.gathering.run)
                try:
                    yield
                finally:
                    self.media.close()
                    self.gathering.detach()
                    nursery.cancel_scope.cancel()
        finally:
            self.media.endpoint.close()

    async def _run_rtp(self) -> None:
        await self.media.run(self._digit)

    def _digit(self, digit: str) -> None:
        if self.ended:
            return
        self._digits += 1
        self.publish(DtmfReceived(leg_id=self.id, app_id=self.app_id, digit=digit, seq=self._digits))
        if self.room is not None:
            self.room.relay_digit(self, digit)

    # -- the session ---------------------------------------------------------------------------------------

    def _handle(self, event: SessionEvent) -> None:
        if self.ended:
            return
        match event:
            case Connected(keys=keys, source=source, remote=remote):
                self.media.secure(keys)
                self.media.aim(self.gathering.way_to(source, remote))
                self._media_is_up()
            case NewAddress(source=source, remote=remote):
                self.media.aim(self.gathering.way_to(source, remote))
            case Disconnected():
                log.info("peer is silent", leg_id=self.id)
            case Reconnected():
                log.info("peer is back", leg_id=self.id)
            case Closed():
                log.info("peer has said goodbye", leg_id=self.id)
                self.hangup(ICE_FAILURE)
            case Failed(reason=reason, detail=detail):
                log.info("transport failed", leg_id=self.id, reason=reason, detail=detail)
                self.hangup(ICE_FAILURE)

    def _media_is_up(self) -> None:
        self.advance(LegState.CONNECTED)
        self.clock.answered_at = trio.current_time()
        self.publish(LegConnected(leg_id=self.id, app_id=self.app_id, leg_type=self.type))
        if self._speech_detection:
            self.media.port.detect_speaking = True

    # -- commands ------------------------------------------------------------------------------------------

    def add_candidate(self, candidate: TrickledCandidate) -> None:
        """Take a candidate of the peer, before or after the connection.

        Raises:
            BadRequest: it cannot be read.
        """
        try:
            found = self.candidates.read(candidate)
        except CandidateError as exc:
            raise BadRequest(f"candidate: {exc}") from None
        if found is not None:
            self.gathering.permit(found)
            self.session.add_remote(found)
            self.transport.wake()

    def take_candidates(self) -> tuple[list[TrickledCandidate], bool]:
        """Return our candidates since the last call, and whether there will be no further ones."""
        return self.candidates.take(self.session.ice.local), self.candidates.done

    def send_digits(self, digits: str) -> None:
        """Queue digits for the far end, as telephone-events.

        Raises:
            Conflict: there is no audio yet, or too many digits wait.
            InternalError: the far end has not said that it takes them.
        """
        port = self.media.port
        if not port.transmitting:
            raise Conflict("DTMF cannot be sent: no audio goes to the far end")
        if port.digits is None:
            raise self.decline(Capability.DTMF)
        if not port.send_digits(digits):
            raise Conflict("DTMF cannot be sent: too many digits wait")

    def relay_digit(self, digit: str) -> None:
        """Pass a room mate's digit on to the far end, if it takes any now."""
        self.media.port.send_digits(digit)

    def renegotiate(self, sdp: bytes) -> bytes:
        """Return our answer to a further offer of the peer, such as an ICE restart.

        Raises:
            BadRequest: the offer cannot be answered; nothing has changed.
        """
        return answer_offer(self.negotiation, read_offer(self.negotiation, sdp), self)

    def follow(self, offer: PeerOffer) -> bool:
        """Take what the peer says of its transport; True when it restarts ICE."""
        # We leave the first message to the peer: it then has AES-GCM first in its list, which is cheaper.
        role: Role = "client" if offer.transport.setup == "passive" else "server"
        restart = self.session.set_peer(offer.transport, role, trio.current_time())
        if restart:
            self.candidates.again()
        for candidate in offer.transport.candidates:
            self.gathering.permit(candidate)
        self.transport.wake()
        return restart


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
    candidates = leg.candidates
    sdp = negotiation.answer(
        offer,
        leg.session.local_transport(candidates.found, complete=candidates.done),
        active=False,
    )
    agreed = negotiation.agreed
    if agreed is not None:
        leg.media.agree(agreed.audio, agreed.audio_level_id)
    return sdp
