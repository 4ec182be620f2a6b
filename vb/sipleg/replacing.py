"""Calls that take the place of others: what the leg of an INVITE with Replaces inherits.

The new call has its place once its media flows, which takes as long as its ACK. The far end of the old call
may have said goodbye by then, because it has heard of the 200.

Spec: RFC 3891 §3.
"""

from __future__ import annotations

from vb.engine import Engine
from vb.errors import VbError
from vb.log import StrangersLog
from vb.sip.tasks.endpoint import SipCall
from vb.sipleg.leg import SipLeg

strangers = StrangersLog(__name__)


class Predecessor:
    """The leg that a new one is to take the place of: held until then, and no longer.

    Attributes:
        app_id: of its application.
        hook: its webhook, which is forgotten with its last event.
    """

    def __init__(self, engine: Engine, leg: SipLeg) -> None:
        self.app_id = leg.app_id
        self.hook = engine.hooks.leg_hook(leg.id)
        self._engine = engine
        self._leg: SipLeg | None = leg

    def give_place_to(self, leg: SipLeg) -> None:
        """Let a leg take the place, once."""
        old, self._leg = self._leg, None
        if old is not None:
            take_over(self._engine, old, leg)


def predecessor(engine: Engine, call: SipCall) -> Predecessor | None:
    """Return the live leg that a new call is to take the place of, if there is one."""
    if call.replaces is None:
        return None
    for leg in engine.legs:
        if isinstance(leg, SipLeg) and leg.call is call.replaces:
            return Predecessor(engine, leg)
    return None


def take_over(engine: Engine, old: SipLeg, leg: SipLeg) -> None:
    """Put a leg where another one is, or was when its far end left, and hang up the other one.

    A leg that a client has hung up meanwhile leaves nothing behind.
    """
    if leg.ended:
        return
    if old.end_reason != "api_hangup":
        _inherit(engine, old, leg)
    old.hangup("transfer_completed")


def _inherit(engine: Engine, old: SipLeg, leg: SipLeg) -> None:
    place = old.room or old.last_room
    room = engine.rooms.find(place.id) if place is not None else None
    try:
        if room is not None and room is place:
            engine.rooms.join_live(leg, room, old.role or None)
    except VbError as exc:  # the room is being deleted: the call goes on alone
        strangers.info("leg cannot join its room", leg_id=leg.id, problem=exc.message)
    old.give_place_to(leg)
    leg.set_muted(leg.muted or old.muted)
    leg.set_deaf(leg.deaf or old.deaf)
