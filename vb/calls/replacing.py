"""Calls that take the place of others: what the leg of an INVITE with Replaces inherits.

Spec: RFC 3891 §3.
"""

from __future__ import annotations

import structlog

from vb.calls.rooms import put_into_room
from vb.engine import Engine
from vb.errors import VbError
from vb.legs.sip import SipLeg
from vb.sip.tasks.endpoint import SipCall

log = structlog.get_logger(__name__)


def replaced_leg(engine: Engine, call: SipCall) -> SipLeg | None:
    """Return the live leg that a new call is to take the place of, if there is one."""
    if call.replaces is None:
        return None
    for leg in engine.legs:
        if isinstance(leg, SipLeg) and leg.call is call.replaces:
            return leg
    return None


def take_over(engine: Engine, leg: SipLeg, old: SipLeg) -> None:
    """Put a leg where another one was, once its media flows, and hang up the other one."""
    if leg.ended:
        return
    try:
        if old.room is not None:
            put_into_room(engine, leg, old.room.id, old.role or None)
    except VbError as exc:  # the room is being deleted: the call goes on alone
        log.info("leg cannot join its room", leg_id=leg.id, problem=exc.message)
    leg.set_muted(old.muted)
    leg.set_deaf(old.deaf)
    old.hangup("transfer_completed")
