"""SIP legs: what the events of one dialog mean for the leg, and what its commands do to the dialog."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import trio

from vb.choices import SrtpKeying
from vb.errors import BadRequest, Conflict
from vb.events.leg import LegConnected, LegEarlyMedia, QualityInfo
from vb.legs.capabilities import Capability
from vb.legs.cdr import REJECTIONS, refusal_reason
from vb.legs.facts import LegFacts
from vb.legs.keyed import KeyedLeg
from vb.legs.leg import Leg
from vb.legs.protocols import LegHost
from vb.legs.state import UNANSWERED, LegState
from vb.log import StrangersLog
from vb.sdp.errors import AnswerRejected, CodecNotOffered
from vb.sdp.forks import Forks
from vb.sdp.negotiate import Agreed, Choice
from vb.sdp.session import SessionDescription
from vb.sip import call_events as sip
from vb.sip.info import read_digit
from vb.sip.refer_events import ReferEvent
from vb.sip.tasks.endpoint import SipCall
from vb.sipleg.digit_sending import send_digits
from vb.sipleg.late_offer import LateOffer
from vb.sipleg.media import SipMedia
from vb.sipleg.media_tasks import MediaTasks
from vb.sipleg.session import Session
from vb.sipleg.transfers import TransferPolicy, Transfers

strangers = StrangersLog(__name__)

TEXT_SLOT = "text"


@dataclass(frozen=True, slots=True)
class SipLegOptions:
    """What was asked of one SIP leg.

    Attributes:
        offer: the offer of an incoming call, as it was read; None if the call brought none.
        choice: what `examine_offer` would answer it with.
        speech_detection: whether speaking events are told once it is connected.
        inband_digits: whether to listen for digits in the audio when there are no telephone-events.
        transfers: what becomes of the far end's REFERs.
        on_connected: called once, after leg.connected.
        on_media: called once with the leg, when media can flow for the first time (early or answered); with
            the leg that takes its place, if one does before that.
        on_end: called once, right before leg.disconnected.
    """

    offer: SessionDescription | None = None
    choice: Choice | None = None
    ring_timeout_s: float = 0.0
    max_duration_s: float = 0.0
    speech_detection: bool = False
    inband_digits: bool = False
    transfers: TransferPolicy = field(default_factory=TransferPolicy)
    on_connected: Callable[[SipLeg], None] | None = None
    on_media: Callable[[SipLeg], None] | None = None
    on_end: Callable[[], None] | None = None


class SipLeg(KeyedLeg):
    """A leg whose far end is a SIP user agent; it is its own signalling."""

    def __init__(
        self,
        host: LegHost,
        call: SipCall,
        media: SipMedia,
        options: SipLegOptions,
        *,
        leg_id: str,
        app_id: str | None,
        now: float,
    ) -> None:
        kind = "sip_inbound" if call.direction == "inbound" else "sip_outbound"
        super().__init__(host, leg_id=leg_id, leg_type=kind, app_id=app_id, now=now)
        self.inbound = call.direction == "inbound"
        self.call = call
        self.media = media
        self.options = options
        self._tasks = MediaTasks(self, options)
        self.late_offer = LateOffer(media.negotiation, self._tasks.expect)
        self.forks = Forks(media.negotiation)
        self._on_media = options.on_media
        self._speech_detection = options.speech_detection
        self.session = Session(self, call, media)
        self.transfers = Transfers(self, options.transfers)
        self.adopt_port(media.port)

    def facts(self) -> LegFacts:
        """Return what the history of calls keeps besides events."""
        options = self.options
        return replace(
            super().facts(),
            join_timeout_s=options.ring_timeout_s or None,
            max_duration_s=options.max_duration_s or None,
            client_version=self.call.invite.headers.get("User-Agent") if self.inbound else None,
            sip_dialog=(self.call.call_id, self.call.local_tag),
        )

    def check_can(self, capability: Capability) -> None:
        """Refuse what SIP legs cannot do.

        Raises:
            VbError: candidates are for WebRTC only.
        """
        if capability is Capability.CANDIDATES:
            raise self.decline(capability)

    @property
    def answerable(self) -> bool:
        """Whether it is an incoming call that has not been connected yet."""
        return self.inbound and self.state is LegState.RINGING

    @property
    def unanswered(self) -> bool:
        """Whether no final answer has been sent to it."""
        return self.inbound and self.call.is_unanswered

    @property
    def refusable(self) -> bool:
        """Whether hanging up would refuse it with a final answer of the client's choice."""
        return self.inbound and self.state in UNANSWERED and self.call.is_refusable

    # -- the leg's tasks -----------------------------------------------------------------------------------

    def serve(self, on_ready: Callable[[], None]) -> Awaitable[None]:
        """Run the leg to its end."""
        return self.live(self, lambda: self._tasks, on_ready=on_ready, outlives=False)

    def _publish_end(self) -> None:
        if self.options.on_end is not None:
            self.options.on_end()
        super()._publish_end()
        self.transfers.leg_ended()

    def quality(self) -> QualityInfo | None:
        """Return the quality of the received RTP; None below two packets."""
        return self.media.quality_info()

    @property
    def srtp(self) -> SrtpKeying | None:
        """How the keys of its audio are agreed on; None where it is not protected."""
        return self.media.security.keying

    # -- commands ------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """Send 180.

        A caller that made no offer and takes only reliable responses gets ours with it: its answer starts
        early media, as that to any 1xx does.

        Raises:
            BadRequest: the leg is not an incoming call.
            Conflict: it is not ringing.
        """
        self._require_ringing()
        if self.call.needs_early_offer:
            self.late_offer.early(None, lambda offer: self.call.ring(offer=offer))
        else:
            self.call.ring()

    def start_early_media(self, codec: str | None) -> None:
        """Send 183 with our answer and start media.

        To a call without an offer ours is sent, and media starts with its answer; leg.command_failed follows
        if the caller cannot acknowledge it.

        Raises:
            BadRequest: not an incoming call, or the codec cannot be answered with or offered.
            Conflict: not ringing, or our offer has gone out already.
        """
        self._require_ringing()
        offer = self.options.offer
        if offer is None:
            self._offer_early(codec)
            return
        self.call.progress(self._answer(offer, codec))
        self._follow_agreed()
        self._start_early()

    def _offer_early(self, codec: str | None) -> None:
        if not self.call.takes_early_offer:
            self.late_offer.codecs(codec)
            self.command_failed("early_media", "the call brought no offer, and its caller has no 100rel")
            return
        self.late_offer.early(codec, self.call.progress)

    def _start_early(self) -> None:
        self.advance(LegState.EARLY_MEDIA)
        self.publish(LegEarlyMedia(leg_id=self.id, app_id=self.app_id, leg_type=self.type))
        self._media_is_up()

    def answer(self, codec: str | None, *, speech_detection: bool | None = None) -> None:
        """Send 200; media flows at once, `leg.connected` follows the ACK.

        Args:
            codec: codec of the answer, or the only one to offer; None for the preferred one, or all. Early
                media has settled it before.
            speech_detection: whether speaking events are told, None as the leg was made.

        Raises:
            BadRequest: not an incoming call, or the codec cannot be answered with or offered.
            Conflict: already answered.
        """
        self._require_inbound()
        if self.state not in UNANSWERED:
            raise Conflict(f"leg is {self.shown_state}, expected ringing or early_media")
        self._require_no_answer()
        offer = self.options.offer
        early = self.media.negotiation.local_description if self.state is LegState.EARLY_MEDIA else None
        if early is not None:
            self.call.accept(early)
        elif offer is None:
            self.late_offer.final(codec, self.call.accept)
        else:
            self.call.accept(self._answer(offer, codec))
            self._follow_agreed()
        if speech_detection is not None:
            self._speech_detection = speech_detection

    def set_hold(self, held: bool) -> None:
        """Put the call on hold or resume it; told by leg.hold, leg.unhold or leg.command_failed.

        Raises:
            Conflict: the call is not connected.
        """
        if self.state is not LegState.CONNECTED:
            raise Conflict(f"leg is {self.shown_state}, expected connected or held")
        self.session.set_hold(held)

    def send_digits(self, digits: str) -> None:
        """Queue digits for the far end, as telephone-events where it takes them; see `digit_sending`.

        Raises:
            Conflict: the call is held, has no audio yet, or too many digits wait.
        """
        send_digits(self.call, self.media.port, digits)

    def _send_again(self, digits: str) -> None:
        """Send what INFO requests could not bring, another way."""
        try:
            self.send_digits(digits)
        except Conflict as exc:
            self.command_failed("dtmf", exc.message)

    def relay_digit(self, digit: str) -> None:
        """Pass a room mate's digit on to the far end, if it takes any now."""
        self.media.port.send_digits(digit)

    def transfer(self, target: str, replaced: Leg | None) -> None:
        """Ask the far end to call somebody else, in place of the call of another leg if one is given.

        Raises:
            Forbidden: the target may not be called.
            Conflict: one of the calls is not connected, or a transfer is under way.
        """
        if self.state is not LegState.CONNECTED:
            raise Conflict(f"leg is {self.shown_state}, expected connected or held")
        if replaced is not None and not (
            isinstance(replaced, SipLeg) and replaced.state is LegState.CONNECTED
        ):
            raise Conflict("replaces_leg_id: must be a connected or held SIP leg")
        self.transfers.start(target, replaced)

    @property
    def asked_transfer(self) -> Transfers:
        """Return the transfers of this leg, which decide about the one that the far end asks for."""
        return self.transfers

    @property
    def has_text(self) -> bool:
        """Whether text can be sent to the far end now."""
        return self.media.text.can_send

    def send_text(self, text: str) -> bool:
        """Queue text for the far end; False when it takes none, or too much waits already."""
        return self.has_text and self.media.text.queue(text)

    def _answer(self, offer: SessionDescription, codec: str | None) -> bytes:
        try:
            return self.media.receive_offer(offer, codec=codec, known=self.options.choice)
        except CodecNotOffered as exc:
            raise BadRequest(f"codec: {exc}") from None

    def _require_ringing(self) -> None:
        """Refuse what may come before the answer only; the state is ringing until the ACK, too."""
        self._require_inbound()
        if self.state is not LegState.RINGING:
            raise Conflict(f"leg is {self.shown_state}, not ringing")
        self._require_no_answer()

    def _require_no_answer(self) -> None:
        if not self.call.is_unanswered:
            raise Conflict("leg has been answered")

    def _require_inbound(self) -> None:
        if not self.inbound:
            raise BadRequest("Not a SIP inbound leg")

    # -- signalling ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Consume the events of the call until it is closed, or one of them has ended the leg."""
        while not self._ended.is_set():
            event = await self.call.next_event()
            if isinstance(event, sip.Closed):
                self.hangup("internal_error")
                return
            sdp = getattr(event, "sdp", None)
            if sdp is not None:
                await self.media.look_up(sdp, self.call.wait_closed)
            self._handle(event)

    def hang_up(self, reason: str) -> None:
        """Tell the far end what the state of the dialog demands: BYE, CANCEL or a final answer."""
        self.call.ignore_events()
        status = REJECTIONS.get(reason)
        if self.refusable:
            if status is None and reason == "not_acceptable":
                status = 488
            if status is not None:
                self.call.reject(status)
                return
        self.call.hangup()

    @property
    def is_closed(self) -> bool:
        """Whether the call's transactions are done."""
        return self.call.is_closed

    async def wait_closed(self) -> None:
        """Wait until the call's transactions are done."""
        if not self.call.is_closed:
            await self.call.wait_closed()

    def _handle(self, event: sip.CallEvent) -> None:
        if self.ended:
            return  # what is still on its way means nothing any more, and nothing may follow the end
        if isinstance(event, ReferEvent):
            self.transfers.handle(event)
            return
        match event:
            case sip.EarlyMedia(sdp=sdp, to_tag=tag):
                self._on_early_media(sdp, tag)
            case sip.Answered(sdp=sdp, to_tag=tag):
                self._on_answered(sdp, tag)
            case sip.Refused(status=status):
                self.hangup(refusal_reason(status))
            case sip.DialFailed():
                self.hangup("invite_failed")
            case sip.Acknowledged(sdp=sdp):
                self._on_acknowledged(sdp)
            case sip.NotAcknowledged():
                self.hangup("timeout")
            case sip.Cancelled():
                self.hangup("caller_cancel")
            case sip.InvitationExpired():
                self.hangup("ring_timeout")
            case sip.RemoteHangup():
                self.hangup("remote_bye")
            case sip.OfferReceived():
                if self.state in UNANSWERED and not self.inbound:
                    self.forks.enter(event.from_tag)
                self.session.offer_received(event)
            case sip.OfferRequested():
                self.session.offer_requested(event)
            case sip.EarlyOfferDue():
                self._early_offer_due()
            case sip.OfferAnswered(sdp=sdp):
                if self.state in UNANSWERED:
                    self._on_early_answer(sdp)
                else:
                    self.session.offer_answered(sdp)
            case sip.OfferRefused(status=status):
                self.session.offer_refused(status)
            case sip.DialogLost():
                self.hangup("timeout")
            case sip.InfoReceived(content_type=kind, body=body):
                pressed = read_digit(kind, body)
                if pressed is not None:
                    self.digit_received(pressed.digit, pressed.duration_ms / 1000, "info")
            case sip.DigitsRefused(digits=digits):
                self._send_again(digits)
            case sip.RefreshDue():
                self.session.refresh()
            case sip.SessionExpired():
                self.hangup("session_expired")
            case _:
                pass

    def _on_early_media(self, sdp: bytes, tag: str) -> None:
        if self.ended or self.state not in UNANSWERED:
            return
        try:
            self.follow(self.forks.receive_answer(tag, sdp))
        except AnswerRejected as exc:
            strangers.info("early media answer ignored", leg_id=self.id, problem=str(exc))
            return
        if self.state is LegState.RINGING:
            self._start_early()

    def _early_offer_due(self) -> None:
        if self.call.needs_early_offer:
            self.late_offer.early(None, self.call.progress)

    def _on_early_answer(self, sdp: bytes | None) -> None:
        """The PRACK of the 1xx with our offer came."""
        if self._take_late_answer(sdp) and self.state is LegState.RINGING:
            self._start_early()

    def _take_late_answer(self, sdp: bytes | None) -> bool:
        try:
            self.follow(self.late_offer.receive_answer(sdp))
        except AnswerRejected as exc:
            strangers.info("late answer cannot be used", leg_id=self.id, problem=str(exc))
            self.hangup("connect_failed")
            return False
        return True

    def _on_answered(self, sdp: bytes | None, tag: str) -> None:
        if self.ended:
            return
        try:
            agreed = self.forks.settle(tag, sdp)
        except AnswerRejected as exc:
            strangers.info("answer cannot be used", leg_id=self.id, problem=str(exc))
            self.hangup("connect_failed")
            return
        if agreed is None:
            self.hangup("invite_failed")
            return
        self.follow(agreed)
        self._connect()

    def _on_acknowledged(self, sdp: bytes | None) -> None:
        if self.state not in UNANSWERED or (self.late_offer.in_answer and not self._take_late_answer(sdp)):
            return
        self._connect()

    def _connect(self) -> None:
        self.clock.answered_at = trio.current_time()
        self.advance(LegState.CONNECTED)
        self.media.answered()
        self.publish(LegConnected(leg_id=self.id, app_id=self.app_id, leg_type=self.type, srtp=self.srtp))
        if self.remote_hold:
            self._hold_changed(True)
        self.media.port.detect_speaking = self._speech_detection
        if self.options.on_connected is not None:
            self.options.on_connected(self)
        self._media_is_up()

    def follow(self, agreed: Agreed, *, local_hold: bool | None = None) -> None:
        """Let media and hold follow what was agreed; text runs from its first agreement on."""
        self.media.follow(agreed, self.call.transport)
        self._tasks.serve_rtp()
        self._tasks.serve_transport()
        self.set_holds(local=local_hold, remote=agreed.remote_held)
        if agreed.text is not None and self.slots.get(TEXT_SLOT) is None and not self.ended:
            self.slots.start(TEXT_SLOT, self._run_text)

    async def _run_text(self) -> None:
        await self.media.text.run(lambda chunk: self.text_received(chunk.text, lost=chunk.lost))

    def _follow_agreed(self) -> None:
        agreed = self.media.negotiation.agreed
        if agreed is not None:
            self.follow(agreed)

    def _media_is_up(self) -> None:
        self.give_place_to(self)

    def give_place_to(self, leg: SipLeg) -> None:
        """Let a leg have what this one was to have with its first media; without effect after that."""
        on_media, self._on_media = self._on_media, None
        if on_media is not None:
            on_media(leg)
