"""WhatsApp legs: what the events of one dialog and one connection mean for the leg, and what its commands do.

A call is connected once it is answered and its media is up, whichever comes last. Descriptions are complete:
nothing trickles. Nobody is held or transferred, because the far end has no way for either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Final

import trio

from vb.choices import SrtpKeying
from vb.errors import Conflict
from vb.events.leg import LegConnected, LegEarlyMedia
from vb.legs.capabilities import REFUSALS, Capability, Refusals
from vb.legs.facts import LegFacts
from vb.legs.protocols import LegHost
from vb.legs.state import UNANSWERED, LegState
from vb.log import StrangersLog
from vb.rtcleg.connection import Loss, RtcConnection
from vb.rtcleg.digits import RtcDigits
from vb.sdp.errors import AnswerRejected, OfferRejected, SdpParseError
from vb.sip import call_events as sip
from vb.sip.errors import CallStateError
from vb.sip.info import read_digit
from vb.sip.refer_events import ReferReceived
from vb.sip.tasks.call import SipCall
from vb.webrtc.agreement import AgreedWebRtc
from vb.webrtc.dtls import Role
from vb.webrtc.negotiation import PeerOffer, WebRtcNegotiation

strangers = StrangersLog(__name__)

GATHER_LIMIT_S: Final = 3.0
"""How long a description waits for servers that do not answer; it is complete with what is known then."""
_GOODBYE_S: Final = 2.0
"""From the goodbye of the media to the BYE that should follow it."""
_GOODBYE: Final = "goodbye"
_DECLINED: Final = 603

_LOSSES: Final[dict[Loss, str]] = {
    "no_connection": "ice_failed",
    "consent_lost": "ice_disconnected",
    "closed": "ice_disconnected",
    "dtls_failed": "connect_failed",
}
_CAN: Final = frozenset({Capability.ANSWER, Capability.DTMF, Capability.AMD})


@dataclass(frozen=True, slots=True)
class WhatsAppOptions:
    """What was asked of one leg.

    Attributes:
        speech_detection: whether speaking events are told once it is connected.
        on_connected: called once, after leg.connected.
        on_media: called once, when media can flow for the first time (early or answered).
    """

    ring_timeout_s: float = 0.0
    max_duration_s: float = 0.0
    speech_detection: bool = False
    on_connected: Callable[[WhatsAppLeg], None] | None = None
    on_media: Callable[[WhatsAppLeg], None] | None = None


class WhatsAppLeg(RtcDigits):
    """A leg whose far end is a WhatsApp user; it is its own signalling.

    Args:
        host: the engine.
        connection: its media.
        negotiation: its descriptions.
        options: what was asked of it.
    """

    refusals: ClassVar[Refusals] = MappingProxyType(
        {
            **REFUSALS,
            Capability.HOLD: partial(Conflict, "WhatsApp calls cannot be held"),
            Capability.TRANSFER: partial(Conflict, "WhatsApp calls cannot be transferred"),
        }
    )

    def __init__(
        self,
        host: LegHost,
        connection: RtcConnection,
        negotiation: WebRtcNegotiation,
        options: WhatsAppOptions,
        *,
        leg_id: str,
        leg_type: str,
        app_id: str | None,
        now: float,
    ) -> None:
        super().__init__(host, leg_id=leg_id, leg_type=leg_type, app_id=app_id, now=now)
        self.connection = connection
        self.media = connection.media
        self.negotiation = negotiation
        self.options = options
        self.call: SipCall | None = None
        self._speech_detection = options.speech_detection
        self._on_media = options.on_media
        self._is_accepted = False
        self._has_media = False
        connection.belong_to(self)
        self.adopt_port(self.media.port)

    def facts(self) -> LegFacts:
        """Return what the history of calls keeps besides events."""
        call, options = self.call, self.options
        return replace(
            super().facts(),
            join_timeout_s=options.ring_timeout_s or None,
            max_duration_s=options.max_duration_s or None,
            client_version=call.invite.headers.get("User-Agent")
            if call is not None and self.inbound
            else None,
            sip_dialog=None if call is None else (call.call_id, call.local_tag),
        )

    def check_can(self, capability: Capability) -> None:
        """Refuse what WhatsApp legs cannot do.

        Raises:
            VbError: it is not one of answering, digits and the detection of machines.
        """
        if capability not in _CAN:
            raise self.decline(capability)

    @property
    def srtp(self) -> SrtpKeying | None:
        """DTLS, once there is media."""
        return None if self.media.srtp is None else "dtls"

    # -- the leg's tasks -----------------------------------------------------------------------------------

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Run the leg to its end."""
        await self.live(self, self._media_tasks, on_ready=on_ready, outlives=False)

    @asynccontextmanager
    async def _media_tasks(self) -> AsyncIterator[None]:
        async with self.connection.tasks(self.contain, self.failed, self.digit_received):
            self.start_soon(self.contain, "transport", self.connection.transport.run)
            if self.options.ring_timeout_s:
                self.start_soon(self.contain, "ring timer", self._ring_timer)
            if self.options.max_duration_s:
                self.start_soon(self.contain, "duration timer", self._duration_timer)
            yield

    async def _ring_timer(self) -> None:
        with trio.move_on_after(self.options.ring_timeout_s):
            await self.connected.wait()
            return
        if not self._is_accepted:  # an answer has a limit of its own: that of its media
            self.hangup("ring_timeout")

    async def _duration_timer(self) -> None:
        await self.connected.wait()
        await trio.sleep(self.options.max_duration_s)
        self.hangup("max_duration")

    async def _open(self) -> SipCall | None:
        """Return the call, which may have to be placed first; None if the leg has ended."""
        return self.call

    async def run(self) -> None:
        """Consume the events of the call until it is closed, or one of them has ended the leg."""
        call = await self._open()
        while call is not None and not self._ended.is_set():
            event = await call.next_event()
            if isinstance(event, sip.Closed):
                self.hangup("internal_error")
                return
            self.handle(call, event)

    def hang_up(self, reason: str) -> None:
        """Say goodbye over DTLS, and end the call the way its state demands."""
        self.connection.close()
        if self.call is not None:
            self.call.ignore_events()
            self._end(self.call, reason)

    def _end(self, call: SipCall, reason: str) -> None:
        call.hangup()

    @property
    def is_closed(self) -> bool:
        """Whether the call's transactions are done."""
        return self.call is None or self.call.is_closed

    async def wait_closed(self) -> None:
        """Wait until the call's transactions are done."""
        if self.call is not None and not self.call.is_closed:
            await self.call.wait_closed()

    # -- the connection ------------------------------------------------------------------------------------

    def media_is_up(self) -> None:
        """Let early media begin, or the call be connected."""
        self._has_media = True
        self._settle()

    def media_is_lost(self, loss: Loss) -> None:
        """End, after a goodbye with a moment for the BYE that should follow it."""
        if loss == "closed":
            self.slots.start(_GOODBYE, self._wait_for_bye)
        else:
            self.hangup(_LOSSES[loss])

    async def _wait_for_bye(self) -> None:
        await trio.sleep(_GOODBYE_S)
        self.hangup(_LOSSES["closed"])

    def accepted(self) -> None:
        """The call is answered."""
        self._is_accepted = True
        self._settle()

    def _settle(self) -> None:
        """Tell what media and signalling have come to, together."""
        if not self._has_media or self.ended or self.state not in UNANSWERED:
            return
        if self._is_accepted:
            self._connect()
        elif self.state is LegState.RINGING:
            self.advance(LegState.EARLY_MEDIA)
            self.publish(LegEarlyMedia(leg_id=self.id, app_id=self.app_id, leg_type=self.type))
            self._media_flows()

    def _connect(self) -> None:
        self.clock.answered_at = trio.current_time()
        self.advance(LegState.CONNECTED)
        self.publish(LegConnected(leg_id=self.id, app_id=self.app_id, leg_type=self.type, srtp=self.srtp))
        self.media.port.detect_speaking = self._speech_detection
        if self.options.on_connected is not None:
            self.options.on_connected(self)
        self._media_flows()

    def _media_flows(self) -> None:
        on_media, self._on_media = self._on_media, None
        if on_media is not None:
            on_media(self)

    # -- signalling ----------------------------------------------------------------------------------------

    def handle(self, call: SipCall, event: sip.CallEvent) -> None:
        """Take an event of the call that means the same in both directions."""
        match event:
            case sip.RemoteHangup():
                self.hangup("remote_bye")
            case sip.DialogLost():
                self.hangup("timeout")
            case sip.SessionExpired():
                self.hangup("session_expired")
            case sip.OfferReceived(sdp=sdp):
                if call.pending_offer is event:
                    self._offered(call, sdp)
            case sip.OfferRequested():
                if call.pending_offer is event:
                    call.answer_offer(self._offer_again())
            case sip.OfferAnswered(sdp=sdp):
                self._answered_again(sdp)
            case sip.OfferRefused():
                self.negotiation.withdraw_offer()
            case sip.RefreshDue():
                self._refresh(call)
            case sip.InfoReceived(content_type=kind, body=body):
                pressed = read_digit(kind, body)
                if pressed is not None:
                    self.digit_received(pressed.digit, pressed.duration_ms / 1000, "info")
            case ReferReceived():
                call.decline_refer(_DECLINED)
            case _:
                pass

    def answer_to(self, offer: PeerOffer) -> bytes:
        """Apply an offer and return our answer, which is complete; we begin the handshake where we may."""
        role: Role = "server" if offer.transport.setup == "active" else "client"
        self.connection.follow(offer.transport, role)
        sdp = self.negotiation.answer(offer, self.connection.local(trickles=False), active=True)
        self._agree()
        return sdp

    def take(self, agreed: AgreedWebRtc) -> None:
        """Follow an answer of the far end."""
        self.connection.follow(agreed.transport, agreed.role)
        self._agree()

    def _agree(self) -> None:
        agreed = self.negotiation.agreed
        if agreed is not None:
            self.media.agree(agreed.audio, agreed.audio_level_id)
            self.set_holds(remote=agreed.audio.remote_held)

    def _offered(self, call: SipCall, sdp: bytes) -> None:
        """Answer an offer in the call; one that cannot be used leaves everything as it was."""
        try:
            offer = self.negotiation.read_offer(sdp)
        except (SdpParseError, OfferRejected) as exc:
            strangers.info("offer refused", leg_id=self.id, problem=str(exc))
            call.refuse_offer(exc.status if isinstance(exc, OfferRejected) and exc.status == 491 else 488)
            return
        call.answer_offer(self.answer_to(offer))

    def _offer_again(self) -> bytes:
        return self.negotiation.offer(self.connection.local(trickles=False))

    def _refresh(self, call: SipCall) -> None:
        """Offer the session in force once more; without an answer its time runs out."""
        if self.negotiation.offer_pending:
            return
        try:
            call.reoffer(self._offer_again)
        except CallStateError as exc:
            strangers.info("session not refreshed", leg_id=self.id, problem=str(exc))

    def _answered_again(self, sdp: bytes | None) -> None:
        try:
            self.take(self.negotiation.read_answer(sdp or b""))
        except AnswerRejected as exc:
            strangers.info("answer cannot be used", leg_id=self.id, problem=str(exc))
            self.negotiation.withdraw_offer()
