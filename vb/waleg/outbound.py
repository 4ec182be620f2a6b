"""WhatsApp calls that go out: from a request to a ringing leg, and what becomes of its INVITE."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog
import trio

from vb.codecs.base import OPUS
from vb.codecs.opus import opus_available
from vb.errors import InvalidField, NotAvailable, Unavailable, VbError
from vb.events.hooks import Hook
from vb.events.leg import LegRinging
from vb.ids import check_id
from vb.legs.amd import amd_parameters, start_amd
from vb.legs.cdr import refusal_reason
from vb.legs.requests import PLAIN_SIP_FIELDS, WEBSOCKET_FIELDS, CreateLeg
from vb.limits.allowance import Ticket
from vb.log import StrangersLog
from vb.sdp.errors import AnswerRejected
from vb.sdp.formats import Format, codec_format, event_format
from vb.sip import call_events as sip
from vb.sip.tasks.call import SipCall
from vb.sip.tasks.endpoint import DialRequest
from vb.sipleg.destinations import check_destination
from vb.speech.amd_parameters import AmdParameters
from vb.waleg.leg import GATHER_LIMIT_S, WhatsAppLeg, WhatsAppOptions
from vb.web.hooks import make_hook

if TYPE_CHECKING:
    from vb.waleg.kind import WhatsAppLegs

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)

LEG_TYPE: Final = "whatsapp_out"
OFFERED: Final[tuple[Format, ...]] = (codec_format(OPUS, 111), event_format(126, 8000))
"""What the provider's calls are made of."""

_NUMBER: Final = re.compile(r"\+?([1-9][0-9]{4,14})")


async def create_call(kind: WhatsAppLegs, request: CreateLeg) -> WhatsAppLeg:
    """Start the outgoing call of a client and return its ringing leg; the call itself goes on by itself.

    Raises:
        VbError: something in the request cannot be used, there is no room, or no TLS; nothing was created.
    """
    engine = kind.engine
    request.refuse(WEBSOCKET_FIELDS, "WebSocket")
    request.refuse(PLAIN_SIP_FIELDS, "SIP")
    to = _number("to", request.to or request.uri)
    from_ = _number("from", request.from_)
    auth = request.auth
    if auth is None or not auth.password:
        raise InvalidField("auth.password", "is required for a WhatsApp leg")
    amd = amd_parameters(request.amd) if request.amd is not None else None
    if request.room_id:
        check_id(request.room_id, "room_id")
    hook = make_hook(engine.web.policy, request.webhook_url, request.webhook_secret)
    if engine.config.sip.tls_port is None:
        raise Unavailable("WhatsApp calls need SIP over TLS (SIP_TLS_PORT)")
    if not opus_available():
        raise NotAvailable("not available: WhatsApp needs libopus")
    target = f"sip:+{to}@{engine.config.whatsapp.edge};transport=tls"
    check_destination(kind.sip, target, "to")
    dial = DialRequest(
        to=target,
        from_=f"+{from_}",
        headers=request.headers or {},
        auth=(auth.username or from_, auth.password),
        direct=True,
    )
    kind.sip.endpoint.check(dial)
    engine.legs.check_capacity()
    ticket = engine.legs.allowance.open(request.app_id or None, trio.current_time(), time.time())
    call = OutgoingCall(kind, request, dial, ticket, amd, hook)
    leg: WhatsAppLeg = await engine.legs.start_ready(call.run, name=f"WhatsApp call to +{to}")
    return leg


def _number(field: str, value: str | None) -> str:
    """Return a phone number without its plus.

    Raises:
        InvalidField: it is missing, or none.
    """
    if not value:
        raise InvalidField(field, "is required for a WhatsApp leg")
    found = _NUMBER.fullmatch(value)
    if found is None:
        raise InvalidField(field, "must be a phone number in E.164 form, such as +4930123456")
    return found[1]


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """One outgoing call on its way."""

    kind: WhatsAppLegs
    request: CreateLeg
    dial: DialRequest
    ticket: Ticket
    amd: AmdParameters | None
    hook: Hook | None

    async def run(self, *, task_status: trio.TaskStatus[WhatsAppLeg] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the leg to its end; reports it once clients may see it.

        Raises:
            Unavailable: there is no port left, or the server stops.
        """
        try:
            await self._run(task_status)
        finally:
            self.ticket.close(trio.current_time(), time.time())

    async def _run(self, task_status: trio.TaskStatus[WhatsAppLeg]) -> None:
        kind, request = self.kind, self.request
        engine = kind.engine
        negotiation = kind.new_negotiation()
        wanted = request.speech_detection
        with kind.rtc.open_connection(negotiation, controlling=True, mid="0", line_index=0) as connection:
            leg = OutboundLeg(
                engine.legs,
                connection,
                negotiation,
                WhatsAppOptions(
                    ring_timeout_s=float(request.ring_timeout),
                    max_duration_s=float(request.max_duration),
                    speech_detection=engine.config.speech.detection if wanted is None else wanted,
                    on_connected=self._connected,
                    on_media=self._join,
                ),
                leg_id=engine.ids.uuid(),
                leg_type=LEG_TYPE,
                app_id=request.app_id or None,
                now=trio.current_time(),
            )
            leg.outgoing = self
            leg.accept_dtmf = request.accept_dtmf
            leg.headers = dict(request.headers or {})
            leg.metadata = dict(request.metadata or {})
            leg.auto_delete = request.retention_policy == "auto_delete"
            if self.hook is not None:
                engine.hooks.set_leg(leg.id, self.hook)

            def announce() -> None:
                engine.legs.admit(leg)
                engine.rooms.prepare(request.room_id, request.app_id)
                leg.publish(
                    LegRinging(
                        leg_id=leg.id,
                        app_id=leg.app_id,
                        leg_type=leg.type,
                        uri=self.dial.to,
                        from_=self.dial.from_,
                        to=f"+{_number('to', request.to or request.uri)}",
                        sip_headers=dict(self.dial.headers) or None,
                    )
                )
                task_status.started(leg)

            await leg.serve(announce)

    def _connected(self, leg: WhatsAppLeg) -> None:
        self.ticket.answered(trio.current_time(), time.time())
        if self.amd is not None and not leg.ended:
            start_amd(leg, self.amd)

    def _join(self, leg: WhatsAppLeg) -> None:
        self.kind.engine.rooms.join_asked(leg, self.request.room_id)

    async def place(self, leg: WhatsAppLeg) -> SipCall | None:
        """Send the INVITE once all candidates are there; None if the leg has ended by then.

        Raises:
            VbError: it cannot be sent.
        """
        endpoint = self.kind.sip.endpoint
        route = await endpoint.find_route(self.dial.to, direct=True)
        await leg.connection.gathering.wait_done(GATHER_LIMIT_S)
        if leg.ended:
            return None
        sdp = leg.negotiation.offer(leg.connection.local(trickles=False))
        return endpoint.dial(replace(self.dial, sdp=sdp, route=route))


class OutboundLeg(WhatsAppLeg):
    """A leg whose far end we call.

    Attributes:
        outgoing: the call.
    """

    outgoing: OutgoingCall
    _fork: str | None = None

    async def _open(self) -> SipCall | None:
        try:
            self.call = await self.outgoing.place(self)
        except VbError as exc:
            log.info("WhatsApp call cannot be placed", leg_id=self.id, problem=exc.message)
            self.hangup("invite_failed")
        return self.call

    def handle(self, call: SipCall, event: sip.CallEvent) -> None:
        """Take an event of the call."""
        match event:
            case sip.EarlyMedia(sdp=sdp, to_tag=tag):
                self._take_answer(sdp, tag)
            case sip.Answered(sdp=sdp, to_tag=tag):
                if self._is_answered_by(tag) or (sdp is not None and self._take_answer(sdp, tag)):
                    self.accepted()
                else:
                    self.hangup("bad_answer")
            case sip.Refused(status=status):
                self.hangup(refusal_reason(status))
            case sip.DialFailed():
                self.hangup("invite_failed")
            case _:
                super().handle(call, event)

    def _is_answered_by(self, tag: str) -> bool:
        """Whether the answer of this fork is in force: it said so in a provisional response."""
        return self._fork == tag

    def _take_answer(self, sdp: bytes, tag: str) -> bool:
        """Take the first answer that can be used; media has one way, so that other forks get none."""
        if self._fork is not None:
            return False
        try:
            self.take(self.negotiation.read_answer(sdp))
        except AnswerRejected as exc:
            strangers.info("answer cannot be used", leg_id=self.id, problem=str(exc))
            return False
        self._fork = tag
        return True
