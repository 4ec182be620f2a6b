"""Calls that go out: from a request to a ringing leg."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from vb.codecs.base import Codec, find_codec
from vb.errors import BadRequest, Unavailable
from vb.events.hooks import Hook
from vb.events.leg import LegRinging
from vb.ids import check_id
from vb.legs.amd import amd_parameters, start_amd
from vb.legs.requests import WEBSOCKET_FIELDS, CreateLeg
from vb.limits.allowance import Ticket
from vb.rooms.room import Room
from vb.sip.tasks.endpoint import DialRequest
from vb.sipleg.destinations import check_destination, check_proxy
from vb.sipleg.leg import SipLeg, SipLegOptions
from vb.sipleg.open_media import MediaUnavailable, OpenMedia
from vb.sipleg.referral import Referral, ReferredLeg
from vb.speech.amd_parameters import AmdParameters
from vb.web.hooks import make_hook

if TYPE_CHECKING:
    from vb.sipleg.kind import SipLegs


async def create_call(sip: SipLegs, request: CreateLeg) -> SipLeg:
    """Start the outgoing call of a client and return its ringing leg; the call itself goes on by itself.

    Raises:
        VbError: as `prepare_call` and `OutgoingCall.run` say; nothing was sent or created.
    """
    hook = make_hook(sip.engine.web.policy, request.webhook_url, request.webhook_secret)
    outgoing = prepare_call(sip, request, hook=hook)
    leg: SipLeg = await sip.engine.legs.start_ready(outgoing.run, name=f"call to {outgoing.target}")
    return leg


def prepare_call(
    sip: SipLegs,
    request: CreateLeg,
    *,
    hook: Hook | None = None,
    room: Room | None = None,
    referral: Referral | None = None,
) -> OutgoingCall:
    """Check a call that is about to be placed and count it; it has to be run.

    Args:
        sip: the kind.
        request: what was asked for.
        hook: receives the leg's events.
        room: live room to join once media flows, unless it has been deleted by then.
        referral: the transfer that the call is placed for.

    Raises:
        BadRequest: something in the request cannot be used.
        Forbidden: the destination may not be called, or not through that proxy.
        TooManyRequests: the application has used up its calls.
        Unavailable: there is no room for another leg.
    """
    request.refuse(WEBSOCKET_FIELDS, "WebSocket")
    target = request.to or request.uri
    if not target:
        raise BadRequest("to: is required")
    amd = amd_parameters(request.amd) if request.amd is not None else None
    codecs = _codecs(sip.codecs, request.codecs)
    if request.room_id:
        check_id(request.room_id, "room_id")
    check_destination(sip, target, "to")
    if request.outbound_proxy:
        check_proxy(sip, request.outbound_proxy, target)
    dial = dial_request(request, target, referral)
    sip.endpoint.check(dial)  # before a place is taken: a bad request takes none
    legs = sip.engine.legs
    legs.check_capacity()
    ticket = legs.allowance.open(request.app_id or None, trio.current_time(), time.time())
    return OutgoingCall(sip, request, dial, codecs, ticket, amd=amd, hook=hook, room=room, referral=referral)


def dial_request(request: CreateLeg, target: str, referral: Referral | None = None) -> DialRequest:
    """Return what the SIP endpoint has to know of a call; its offer comes later."""
    auth = request.auth
    return DialRequest(
        to=target,
        from_=request.from_ or None,
        privacy=request.privacy or None,
        headers=request.headers or {},
        auth=(auth.username or request.from_ or "", auth.password) if auth is not None else None,
        outbound_proxy=request.outbound_proxy or None,
        server_headers=referral.refer.headers if referral is not None else (),
    )


def _codecs(available: tuple[Codec, ...], names: Sequence[str] | None) -> tuple[Codec, ...]:
    if not names:
        return available
    enabled = {codec.name: codec for codec in available}
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
    """One outgoing call on its way; see `prepare_call`."""

    sip: SipLegs
    request: CreateLeg
    dial: DialRequest
    codecs: tuple[Codec, ...]
    ticket: Ticket
    amd: AmdParameters | None = None
    hook: Hook | None = None
    room: Room | None = None
    referral: Referral | None = None

    @property
    def target(self) -> str:
        """Whom it calls, as it was asked for."""
        return self.dial.to

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
        engine, request = self.sip.engine, self.request
        route = await self.sip.endpoint.find_route(self.target, self.dial.outbound_proxy)
        engine.life.check_running()  # the look-up may have taken long
        try:
            with OpenMedia(
                self.sip,
                route.local_host,
                self.codecs,
                text=request.rtt,
                srtp=request.srtp,
                srtp_keying=request.srtp_keying,
            ) as media:
                call = self.sip.endpoint.dial(replace(self.dial, sdp=media.offer(), route=route))
                leg = self._leg_type(
                    engine.legs,
                    call,
                    media,
                    SipLegOptions(
                        ring_timeout_s=float(request.ring_timeout),
                        max_duration_s=float(request.max_duration),
                        speech_detection=self._speech_detection,
                        transfers=self.sip.transfers,
                        inband_digits=engine.config.sip.dtmf_inband,
                        on_connected=self._connected,
                        on_media=self._join,
                        on_end=self._release,
                    ),
                    leg_id=engine.ids.uuid(),
                    app_id=request.app_id or None,
                    now=trio.current_time(),
                )
                leg.accept_dtmf = request.accept_dtmf
                leg.headers = dict(request.headers or {})
                leg.metadata = dict(request.metadata or {})
                leg.auto_delete = request.retention_policy == "auto_delete"
                if self.hook is not None:
                    engine.hooks.set_leg(leg.id, self.hook)

                def announce() -> None:
                    engine.legs.admit(leg)
                    engine.rooms.prepare(request.room_id, request.app_id)
                    leg.publish(self._ringing(leg))
                    task_status.started(leg)

                await leg.serve(announce)
        except MediaUnavailable as exc:
            raise Unavailable(str(exc)) from None

    @property
    def _leg_type(self) -> Callable[..., SipLeg]:
        return SipLeg if self.referral is None else partial(ReferredLeg, self.referral)

    @property
    def _speech_detection(self) -> bool:
        wanted = self.request.speech_detection
        return self.sip.engine.config.speech.detection if wanted is None else wanted

    def _connected(self, leg: SipLeg) -> None:
        self.ticket.answered(trio.current_time(), time.time())
        if self.amd is not None and not leg.ended:
            start_amd(leg, self.amd)

    def _join(self, leg: SipLeg) -> None:
        rooms = self.sip.engine.rooms
        if self.request.room_id or self.room is None:
            rooms.join_asked(leg, self.request.room_id)
        else:
            rooms.join_live(leg, self.room)

    def _ringing(self, leg: SipLeg) -> LegRinging:
        return LegRinging(
            leg_id=leg.id,
            app_id=leg.app_id,
            leg_type=leg.type,
            uri=self.target,
            from_=self.dial.from_,
            sip_headers=dict(self.dial.headers) or None,
        )
