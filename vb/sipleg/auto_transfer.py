"""Carrying out a far end's REFER without asking the application (SIP_REFER_AUTO_DIAL)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vb.config import SipConfig
from vb.errors import Unavailable, VbError, first_of
from vb.legs.requests import CreateLeg
from vb.log import StrangersLog
from vb.sip.refer import ReferRequest
from vb.sip.target import proxy_route
from vb.sip.tel import at_gateway, tel_number
from vb.sipleg.destinations import check_destination
from vb.sipleg.leg import SipLeg
from vb.sipleg.outbound import OutgoingCall, prepare_call
from vb.sipleg.referral import Referral
from vb.sipleg.transfers import TransferPolicy

if TYPE_CHECKING:
    from vb.sipleg.kind import SipLegs

strangers = StrangersLog(__name__)

GUARD_S = 5.0
"""How long a REFER waits at most for the server itself, which decides as soon as the leg reads of it."""


def transfer_policy(sip: SipLegs) -> TransferPolicy:
    """Return what the settings say about transfers of either side."""
    config = sip.engine.config.sip
    return TransferPolicy(
        consults=config.refer_consult_timeout_ms > 0,
        dial=partial(dial_referral, sip) if config.refer_auto_dial else None,
        check=partial(check_destination, sip),
    )


def decision_time_s(config: SipConfig) -> float:
    """Return how long a REFER may wait: the time to think is for an application, where one is asked."""
    consult_s = config.refer_consult_timeout_ms / 1000
    return max(consult_s, GUARD_S) if config.refer_auto_dial or not consult_s else consult_s


def dial_referral(sip: SipLegs, leg: SipLeg, refer: ReferRequest) -> Referral:
    """Call whom a far end asks for.

    The new leg has the app id and webhook of the one that asked, and joins its room; it lives on its own.

    Raises:
        VbError: the target cannot be called; nothing was started.
    """
    engine, referral = sip.engine, Referral(refer, leg.transfers.report)
    call = prepare_call(
        sip,
        CreateLeg.model_construct(type="sip", to=_dialled(sip, refer.target), app_id=leg.app_id),
        room=engine.rooms.find(leg.room.id) if leg.room is not None else None,
        hook=engine.hooks.leg_hook(leg.id),
        referral=referral,
    )
    engine.legs.start(partial(_run, call, referral), name=f"transfer of leg {leg.id}")
    return referral


def _dialled(sip: SipLegs, target: str) -> str:
    """Return what to dial for a target: a bare number is for the gateway behind the server's proxy."""
    number, proxy = tel_number(target), sip.engine.config.sip.outbound_proxy
    return str(at_gateway(number, proxy_route(proxy))) if number is not None and proxy else target


async def _run(call: OutgoingCall, referral: Referral) -> None:
    try:
        await call.run()
    except* VbError as group:
        exc = first_of(group)
        strangers.warning("transfer cannot be carried out", to=call.target, problem=str(exc))
        referral.finish(503 if isinstance(exc, Unavailable) else 500)
    finally:
        referral.finish(500)  # without effect where the call itself has told its end
