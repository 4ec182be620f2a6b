"""Carrying out a far end's REFER without asking the application (SIP_REFER_AUTO_DIAL)."""

from __future__ import annotations

from functools import partial

import structlog

from vb.calls.outbound import CallRequest, OutgoingCall, prepare_call
from vb.config import SipConfig
from vb.engine import Engine
from vb.errors import Unavailable, VbError, first_of
from vb.legs.referral import Referral
from vb.legs.sip import SipLeg
from vb.legs.transfer import TransferPolicy
from vb.sip.refer import ReferRequest
from vb.sip.target import proxy_route
from vb.sip.tel import at_gateway, tel_number

log = structlog.get_logger(__name__)

GUARD_S = 5.0
"""How long a REFER waits at most for the server itself, which decides as soon as the leg reads of it."""


def transfer_policy(engine: Engine) -> TransferPolicy:
    """Return what the settings say about REFERs of far ends."""
    sip = engine.config.sip
    return TransferPolicy(
        consults=sip.refer_consult_timeout_ms > 0,
        dial=partial(dial_referral, engine) if sip.refer_auto_dial else None,
    )


def decision_time_s(sip: SipConfig) -> float:
    """Return how long a REFER may wait: the time to think is for an application, where one is asked."""
    consult_s = sip.refer_consult_timeout_ms / 1000
    return max(consult_s, GUARD_S) if sip.refer_auto_dial or not consult_s else consult_s


def dial_referral(engine: Engine, leg: SipLeg, refer: ReferRequest) -> Referral:
    """Call whom a far end asks for.

    The new leg has the app id and webhook of the one that asked, and joins its room; it lives on its own.

    Raises:
        VbError: the target cannot be called; nothing was started.
    """
    referral = Referral(refer, leg.transfers.report)
    request = CallRequest(
        to=_dialled(engine, refer.target),
        room=engine.rooms.find(leg.room.id) if leg.room is not None else None,
        app_id=leg.app_id,
        hook=engine.hooks.leg_hook(leg.id),
        referral=referral,
    )
    call = prepare_call(engine, request)
    engine.start_leg(partial(_run, call, referral), name=f"transfer of leg {leg.id}")
    return referral


def _dialled(engine: Engine, target: str) -> str:
    """Return what to dial for a target: a bare number is for the gateway behind the server's proxy."""
    number, proxy = tel_number(target), engine.config.sip.outbound_proxy
    return str(at_gateway(number, proxy_route(proxy))) if number is not None and proxy else target


async def _run(call: OutgoingCall, referral: Referral) -> None:
    try:
        await call.run()
    except* VbError as group:
        exc = first_of(group)
        log.warning("transfer cannot be carried out", to=call.request.to, problem=str(exc))
        referral.finish(503 if isinstance(exc, Unavailable) else 500)
    finally:
        referral.finish(500)  # without effect where the call itself has told its end
