"""Calls that come in: from an INVITE to a ringing leg."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio

from vb.codecs.base import Codec
from vb.engine import Engine
from vb.errors import BadRequest, Unavailable
from vb.events.hooks import Hook
from vb.events.leg import LegRinging, OfferedCodecInfo
from vb.legs.leg import Leg
from vb.log import StrangersLog
from vb.sdp.address import local_network
from vb.sdp.errors import OfferRejected, SdpParseError
from vb.sdp.negotiate import Choice, OfferedCodec, check_reachable, examine_offer
from vb.sdp.parser import parse_sdp
from vb.sdp.session import SessionDescription
from vb.sip.errors import SipParseError
from vb.sip.headers import NameAddr
from vb.sip.tasks.endpoint import SipCall
from vb.sip.tel import tel_number
from vb.sip.uri import parse_uri
from vb.sipleg.headers import CallHeaders, read_headers
from vb.sipleg.leg import SipLeg, SipLegOptions
from vb.sipleg.media import SipMedia
from vb.sipleg.open_media import MediaUnavailable, OpenMedia
from vb.sipleg.replacing import Predecessor, predecessor
from vb.sipleg.srtp import new_keying
from vb.web.hooks import make_hook

if TYPE_CHECKING:
    from vb.sipleg.kind import SipLegs

strangers = StrangersLog(__name__)

Refusal = tuple[int, str, list[tuple[str, str]]]


class _Offer(NamedTuple):
    """An offer that can be answered, as `examine_offer` found it."""

    description: SessionDescription
    codecs: list[OfferedCodec]
    choice: Choice


def refusal(sip: SipLegs, is_call: bool) -> Refusal | None:
    """Return the answer to a new INVITE that there is no room for, or None when it may come in."""
    try:
        sip.engine.legs.check_capacity(is_call=is_call)
    except Unavailable as exc:
        return _unavailable(exc)
    return None


def _unavailable(exc: Unavailable) -> Refusal:
    return 503, "Service Unavailable", [("Retry-After", str(exc.retry_after_s))]


def accept_call(sip: SipLegs, call: SipCall) -> None:
    """Take a new INVITE: refuse an offer that cannot be answered, else start a leg for it."""
    try:
        sip.engine.legs.check_place()  # once more: several INVITEs of one burst were let in together
    except Unavailable as exc:
        sip.endpoint.count_refused()
        call.reject(*_unavailable(exc))
        return
    if any(claim(call) for claim in sip.claims):
        return
    try:
        offer: _Offer | None = None
        sdp = call.offer
        if sdp is not None:
            description = parse_sdp(sdp)
            network = local_network(call.local_host)
            offer = _Offer(description, *examine_offer(description, sip.codecs, network, new_keying(sip)))
    except SdpParseError:
        call.reject(400, "Bad SDP")
        return
    except OfferRejected as exc:
        _refuse_offer(call, exc)
        return
    run = partial(_run, sip, call, offer, predecessor(sip.engine, call))
    sip.engine.legs.start(run, name=f"call {call.call_id}")


def _refuse_offer(call: SipCall, problem: OfferRejected) -> None:
    headers = [("Warning", problem.warning)] if problem.warning else []
    call.reject(problem.status, problem.reason, headers)


async def _run(
    sip: SipLegs,
    call: SipCall,
    offer: _Offer | None,
    old: Predecessor | None,
) -> None:
    engine = sip.engine
    try:
        with OpenMedia(sip, call.local_host, sip.codecs) as media:
            description = offer.description if offer is not None else None
            if not await _can_be_reached(call, description, media, sip.codecs):
                return
            headers = read_headers(call.invite.headers)
            leg = SipLeg(
                engine.legs,
                call,
                media,
                SipLegOptions(
                    offer=description,
                    choice=offer.choice if offer is not None else None,
                    speech_detection=engine.config.speech.detection,
                    transfers=sip.transfers,
                    inband_digits=engine.config.sip.dtmf_inband,
                    ring_timeout_s=engine.config.sip.ring_timeout_s,
                    on_media=old.give_place_to if old is not None else None,
                ),
                leg_id=engine.ids.uuid(),
                app_id=headers.app_id or (old.app_id if old is not None else None),
                now=trio.current_time(),
            )
            leg.headers = headers.shown
            inherited = old.hook if old is not None else None
            hook = invite_hook(engine, headers) or inherited or engine.hooks.global_hook
            if hook is not None:
                engine.hooks.set_leg(leg.id, hook)

            def announce() -> None:
                engine.legs.admit(leg)
                leg.publish(ringing_event(leg, call, offer.codecs if offer is not None else []))
                if leg.ended or not call.is_unanswered:
                    return  # the caller has given up already
                if old is not None:
                    leg.answer(None)
                elif engine.config.sip.auto_ringing:
                    leg.ring()

            await leg.serve(announce)
    except MediaUnavailable as exc:
        strangers.warning("call refused", problem=str(exc))
        sip.endpoint.count_refused()
        call.reject(503, "Service Unavailable", [("Retry-After", "5")])


async def _can_be_reached(
    call: SipCall, offer: SessionDescription | None, media: SipMedia, codecs: tuple[Codec, ...]
) -> bool:
    """Look up the host names of an offer; the call is refused if its audio has no address then."""
    await media.look_up(call.offer, call.wait_closed)
    network = media.negotiation.network
    if offer is None or not network.names:
        return True
    try:
        check_reachable(offer, codecs, network, media.negotiation.keying)
    except OfferRejected as exc:
        _refuse_offer(call, exc)
        return False
    return True


def invite_hook(engine: Engine, headers: CallHeaders) -> Hook | None:
    """Return the webhook that the INVITE names, if callers may name one and it is of use."""
    if headers.webhook_url and not engine.config.sip.webhook_header:
        strangers.warning("webhook of an INVITE ignored", problem="VB_SIP_WEBHOOK_HEADER is off")
        return None
    try:
        return make_hook(engine.web.policy, headers.webhook_url, headers.webhook_secret)
    except BadRequest as exc:
        strangers.warning("webhook of an INVITE ignored", problem=exc.message)
        return None


def ringing_event(leg: Leg, call: SipCall, offered: list[OfferedCodec]) -> LegRinging:
    """Return the first event of a call that came in."""
    host, port = call.source
    return LegRinging(
        leg_id=leg.id,
        app_id=leg.app_id,
        leg_type=leg.type,
        from_=_user(call.invite.from_) or None,
        to=tel_number(call.invite.uri) or _user(call.invite.to) or None,
        sip_headers=leg.headers or None,
        offered_codecs=tuple(
            OfferedCodecInfo(
                name=item.name,
                payload_type=item.payload_type,
                clock_rate=item.clock_rate,
                priority=item.priority,
            )
            for item in offered
        )
        or None,
        source_address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    )


def _user(address: NameAddr) -> str:
    """Return the user part of a header's URI, a tel URI's number, or nothing for any other URI."""
    number = tel_number(address.uri)
    if number is not None:
        return number
    try:
        return parse_uri(address.uri).user or ""
    except SipParseError:
        return ""
