"""WhatsApp calls that come in: from an INVITE to a ringing leg, and what is answered to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from vb.codecs.opus import opus_available
from vb.errors import BadRequest, Conflict, Unavailable
from vb.legs.cdr import REJECTIONS
from vb.legs.state import UNANSWERED, LegState
from vb.log import StrangersLog
from vb.sdp.errors import OfferRejected, SdpParseError
from vb.sdp.negotiate import OfferedCodec, offered_codecs
from vb.sip import call_events as sip
from vb.sip.errors import CallStateError, SipParseError
from vb.sip.tasks.call import SipCall
from vb.sip.uri import parse_uri
from vb.sipleg.headers import read_headers
from vb.sipleg.inbound import invite_hook, ringing_event
from vb.sipleg.srtp import new_keying
from vb.waleg.leg import GATHER_LIMIT_S, WhatsAppLeg, WhatsAppOptions
from vb.webrtc.negotiation import PeerOffer, WebRtcNegotiation

if TYPE_CHECKING:
    from vb.waleg.kind import WhatsAppLegs

strangers = StrangersLog(__name__)

LEG_TYPE: Final = "whatsapp_in"
_ANSWER: Final = "answer"
_EARLY: Final = "early media"


def is_whatsapp(call: SipCall, domain: str) -> bool:
    """Tell whether a call comes over TLS and from a domain, or one below it."""
    if call.transport != "tls" or not domain:
        return False
    try:
        host = parse_uri(call.invite.from_.uri).host.lower().removesuffix(".")
    except SipParseError:
        return False
    domain = domain.lower().removesuffix(".")
    return host == domain or host.endswith(f".{domain}")


def accept_call(kind: WhatsAppLegs, call: SipCall) -> None:
    """Take a new INVITE: refuse an offer that cannot be used, else start a leg for it."""
    negotiation = kind.new_negotiation()
    try:
        if call.offer is None:
            raise SdpParseError("the INVITE has no session description")
        offer = negotiation.read_offer(call.offer)
        offered = offered_codecs(call.offer, new_keying(kind.sip))
    except (SdpParseError, OfferRejected) as exc:
        strangers.info("WhatsApp call refused", problem=str(exc))
        call.reject(400, "Bad SDP Offer")
        return
    if not opus_available():
        call.reject(500, "Server Internal Error")
        return
    run = partial(_run, kind, call, negotiation, offer, offered)
    kind.engine.legs.start(run, name=f"WhatsApp call {call.call_id}")


async def _run(
    kind: WhatsAppLegs,
    call: SipCall,
    negotiation: WebRtcNegotiation,
    offer: PeerOffer,
    offered: list[OfferedCodec],
) -> None:
    engine = kind.engine
    try:
        with kind.rtc.open_connection(
            negotiation, controlling=False, mid=offer.media.mid, line_index=offer.media.index
        ) as connection:
            headers = read_headers(call.invite.headers)
            leg = InboundLeg(
                engine.legs,
                connection,
                negotiation,
                WhatsAppOptions(
                    ring_timeout_s=engine.config.sip.ring_timeout_s,
                    speech_detection=engine.config.speech.detection,
                ),
                leg_id=engine.ids.uuid(),
                leg_type=LEG_TYPE,
                app_id=headers.app_id,
                now=trio.current_time(),
            )
            leg.call, leg.offer = call, offer
            leg.headers = headers.shown
            hook = invite_hook(engine, headers) or engine.hooks.global_hook
            if hook is not None:
                engine.hooks.set_leg(leg.id, hook)

            def announce() -> None:
                engine.legs.admit(leg)
                leg.publish(ringing_event(leg, call, offered))
                if not leg.ended and call.is_unanswered:
                    call.ring()

            await leg.serve(announce)
    except Unavailable as exc:
        strangers.warning("WhatsApp call refused", problem=exc.message)
        kind.sip.endpoint.count_refused()
        call.reject(503, "Service Unavailable", [("Retry-After", str(exc.retry_after_s))])


class InboundLeg(WhatsAppLeg):
    """A leg whose far end called us.

    Attributes:
        offer: of the INVITE.
    """

    inbound = True
    offer: PeerOffer
    _sdp: bytes | None = None

    @property
    def answerable(self) -> bool:
        """Whether it has not been connected yet."""
        return self.state is LegState.RINGING

    @property
    def unanswered(self) -> bool:
        """Whether no final answer has been sent to it."""
        return self.call is not None and self.call.is_unanswered

    @property
    def refusable(self) -> bool:
        """Whether hanging up would refuse it with a final answer of the client's choice."""
        return self.state in UNANSWERED and self.call is not None and self.call.is_refusable

    def ring(self) -> None:
        """Send 180 once more.

        Raises:
            Conflict: it is not ringing.
        """
        self._open_call().ring()

    def start_early_media(self, codec: str | None) -> None:
        """Send 183 with our answer; `leg.early_media` follows when media is up.

        Raises:
            BadRequest: a codec is named.
            Conflict: it is not ringing.
        """
        self._refuse_codec(codec)
        self._respond(_EARLY, self._open_call().progress)

    def answer(self, codec: str | None, *, speech_detection: bool | None = None) -> None:
        """Send 200 with our answer; `leg.connected` follows when it is acknowledged and media is up.

        Args:
            codec: None; there is one codec only.
            speech_detection: whether speaking events are told, None as the leg was made.

        Raises:
            BadRequest: a codec is named.
            Conflict: already answered.
        """
        self._refuse_codec(codec)
        call = self._open_call(UNANSWERED)
        if speech_detection is not None:
            self._speech_detection = speech_detection
        self._respond(_ANSWER, call.accept)

    def _refuse_codec(self, codec: str | None) -> None:
        if codec is not None:
            raise BadRequest("codec: WhatsApp legs speak Opus only")

    def _open_call(
        self, states: frozenset[LegState] | set[LegState] = frozenset({LegState.RINGING})
    ) -> SipCall:
        """Return the call while it waits for a response of ours.

        Raises:
            Conflict: it does not.
        """
        call = self.call
        if self.state not in states:
            expected = " or ".join(
                state for state in (LegState.RINGING, LegState.EARLY_MEDIA) if state in states
            )
            raise Conflict(f"leg is {self.shown_state}, expected {expected}")
        if call is None or not call.is_unanswered or self.slots.get(_ANSWER) is not None:
            raise Conflict("leg has been answered")
        return call

    def _respond(self, name: str, send: Callable[[bytes], None]) -> None:
        """Send a response with our answer, once all candidates are there."""
        if self._sdp is not None or self.connection.candidates.done:
            self._send(send)
        elif self.slots.get(name) is None:
            self.slots.start(name, partial(self._send_complete, send))

    async def _send_complete(self, send: Callable[[bytes], None]) -> None:
        await self.connection.gathering.wait_done(GATHER_LIMIT_S)
        try:
            self._send(send)
        except CallStateError as exc:  # the caller has given up meanwhile, or was answered
            strangers.info("response not sent", leg_id=self.id, problem=str(exc))

    def _send(self, send: Callable[[bytes], None]) -> None:
        if self._sdp is None:
            self._sdp = self.answer_to(self.offer)
        send(self._sdp)

    def _end(self, call: SipCall, reason: str) -> None:
        status = REJECTIONS.get(reason)
        if status is not None and self.refusable:
            call.reject(status)
        else:
            call.hangup()

    def handle(self, call: SipCall, event: sip.CallEvent) -> None:
        """Take an event of the call."""
        match event:
            case sip.Acknowledged():
                self.accepted()
            case sip.NotAcknowledged():
                self.hangup("timeout")
            case sip.Cancelled():
                self.hangup("caller_cancel")
            case sip.InvitationExpired():
                self.hangup("ring_timeout")
            case _:
                super().handle(call, event)
