"""Calls that go out: from a request to a ringing leg."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio

from vb.calls.destinations import check_destination, check_proxy
from vb.calls.media import MediaUnavailable, open_media
from vb.calls.rooms import put_into_live_room, put_into_room
from vb.codecs.base import Codec, find_codec
from vb.engine import Engine, check_id
from vb.errors import BadRequest, Conflict, Unavailable, VbError
from vb.events.hooks import Hook
from vb.events.leg import LegRinging
from vb.features.amd import start_amd
from vb.legs.referral import Referral, ReferredLeg
from vb.legs.sip import SipLeg, SipLegOptions
from vb.limits.allowance import Ticket
from vb.rooms.room import Room
from vb.sip.tasks.endpoint import DialRequest, Route
from vb.speech.amd_parameters import AmdParameters

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What a client asked for.

    Attributes:
        to: SIP URI to call.
        from_: caller as a user, number or SIP URI.
        codecs: names to offer, in order; None offers the server's.
        auth: user name and password for a digest challenge.
        outbound_proxy: SIP URI of the next hop; None as the server is set.
        room_id: room to join once media flows; made if there is none, then as now.
        room: live room to join once media flows, unless it has been deleted by then.
        rtt: whether the offer asks for real-time text.
        hook: receives the leg's events.
        amd: limits of the answering machine detection that starts with the answer; None starts none.
        speech_detection: whether speaking events are told; None as the server is set.
        referral: the transfer that the call is placed for.
    """

    to: str
    from_: str | None = None
    privacy: str | None = None
    codecs: tuple[str, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    outbound_proxy: str | None = None
    ring_timeout_s: float = 0.0
    max_duration_s: float = 0.0
    room_id: str | None = None
    room: Room | None = None
    app_id: str | None = None
    accept_dtmf: bool = True
    rtt: bool = False
    hook: Hook | None = None
    amd: AmdParameters | None = None
    speech_detection: bool | None = None
    referral: Referral | None = None


async def place_call(engine: Engine, request: CallRequest) -> SipLeg:
    """Start an outgoing call and return its ringing leg; the call itself goes on by itself.

    Raises:
        VbError: as `prepare_call` and `OutgoingCall.run` say; nothing was sent or created.
    """
    outgoing = prepare_call(engine, request)
    leg: SipLeg = await engine.start_leg_ready(outgoing.run, name=f"call to {request.to}")
    return leg


def prepare_call(engine: Engine, request: CallRequest) -> OutgoingCall:
    """Check a call that is about to be placed and count it; it has to be run.

    Raises:
        BadRequest: something in the request cannot be used.
        Forbidden: the destination may not be called, or not through that proxy.
        TooManyRequests: the application has used up its calls.
        Unavailable: there is no room for another leg.
    """
    codecs = _codecs(engine, request.codecs)
    if request.room_id:
        check_id(request.room_id, "room_id")
    check_destination(engine, request.to, "to")
    if request.outbound_proxy:
        check_proxy(engine, request.outbound_proxy, request.to)
    engine.sip.check(dial_request(request))  # before a place is taken: a bad request takes none
    engine.check_capacity()
    ticket = engine.allowance.open(request.app_id, trio.current_time(), time.time())
    return OutgoingCall(engine, request, codecs, ticket)


def dial_request(request: CallRequest, sdp: bytes = b"", route: Route | None = None) -> DialRequest:
    """Return what the SIP endpoint has to know of a call."""
    return DialRequest(
        to=request.to,
        sdp=sdp,
        from_=request.from_,
        privacy=request.privacy,
        headers=request.headers,
        auth=request.auth,
        outbound_proxy=request.outbound_proxy,
        server_headers=request.referral.refer.headers if request.referral is not None else (),
        route=route,
    )


def _codecs(engine: Engine, names: tuple[str, ...] | None) -> tuple[Codec, ...]:
    if not names:
        return engine.codecs
    enabled = {codec.name: codec for codec in engine.codecs}
    chosen: list[Codec] = []
    for name in names:
        codec = find_codec(name)
        if codec is None or codec.name not in enabled:
            raise BadRequest(f"codecs: {name} is {'unknown' if codec is None else 'not enabled'}")
        if codec not in chosen:
            chosen.append(codec)
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """One outgoing call on its way."""

    engine: Engine
    request: CallRequest
    codecs: tuple[Codec, ...]
    ticket: Ticket

    async def run(self, *, task_status: trio.TaskStatus[SipLeg] = trio.TASK_STATUS_IGNORED) -> None:
        """Open media, send the INVITE, and run the leg to its end; reports the leg once it rings.

        Raises:
            BadRequest: something in the request cannot be used; nothing was sent or created.
            Unavailable: there is no port left, or the server stops.
        """
        try:
            await self._run(task_status)
        finally:
            self._release()

    def _release(self) -> None:
        self.ticket.close(trio.current_time(), time.time())

    async def _run(self, task_status: trio.TaskStatus[SipLeg]) -> None:
        engine, request = self.engine, self.request
        route = await engine.sip.find_route(request.to, request.outbound_proxy)
        engine.check_running()  # the look-up may have taken long
        try:
            async with open_media(engine, route.local_host, self.codecs, text=request.rtt) as media:
                call = engine.sip.dial(dial_request(request, media.offer(), route))
                leg = self._leg_type(
                    engine,
                    call,
                    media,
                    SipLegOptions(
                        ring_timeout_s=request.ring_timeout_s,
                        max_duration_s=request.max_duration_s,
                        speech_detection=self._speech_detection,
                        transfers=engine.transfers,
                        inband_digits=engine.config.sip.dtmf_inband,
                        on_connected=self._connected,
                        on_media=self._join,
                        on_end=self._release,
                    ),
                    leg_id=engine.ids.uuid(),
                    app_id=request.app_id,
                    now=trio.current_time(),
                )
                leg.accept_dtmf = request.accept_dtmf
                leg.headers = dict(request.headers)
                if request.hook is not None:
                    engine.hooks.set_leg(leg.id, request.hook)

                def announce() -> None:
                    engine.admit(leg)
                    self._open_room()
                    leg.publish(self._ringing(leg))
                    task_status.started(leg)

                await leg.serve(announce)
        except MediaUnavailable as exc:
            raise Unavailable(str(exc)) from None

    def _open_room(self) -> None:
        request = self.request
        if request.room_id and request.room_id not in self.engine.rooms:
            with suppress(Conflict):  # it is being deleted; the join makes it anew
                self.engine.open_room(request.room_id, app_id=request.app_id)

    @property
    def _leg_type(self) -> Callable[..., SipLeg]:
        referral = self.request.referral
        return SipLeg if referral is None else partial(ReferredLeg, referral)

    @property
    def _speech_detection(self) -> bool:
        wanted = self.request.speech_detection
        return self.engine.config.speech.detection if wanted is None else wanted

    def _connected(self, leg: SipLeg) -> None:
        self.ticket.answered(trio.current_time(), time.time())
        if self.request.amd is not None and not leg.ended:
            start_amd(leg, self.request.amd)

    def _join(self, leg: SipLeg) -> None:
        request = self.request
        try:
            if request.room_id:
                put_into_room(self.engine, leg, request.room_id)
            elif request.room is not None:
                put_into_live_room(self.engine, leg, request.room)
        except VbError as exc:  # the room is being deleted: the call goes on alone
            log.info("leg cannot join its room", leg_id=leg.id, problem=exc.message)

    def _ringing(self, leg: SipLeg) -> LegRinging:
        return LegRinging(
            leg_id=leg.id,
            app_id=leg.app_id,
            leg_type=leg.type,
            uri=self.request.to,
            from_=self.request.from_,
            sip_headers=dict(self.request.headers) or None,
        )
