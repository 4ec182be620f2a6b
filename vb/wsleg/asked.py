"""Legs that their far ends ask for: which cannot be, and the rooms that they want to be in."""

from __future__ import annotations

from contextlib import suppress

import structlog

from vb.engine import Engine
from vb.errors import InternalError, VbError
from vb.ids import check_id
from vb.legs.leg import Leg
from vb.web.hooks import make_hook
from vb.wsleg.request import AskedLeg

log = structlog.get_logger(__name__)


def check_asked_leg(engine: Engine, wanted: AskedLeg, *, admit: bool) -> None:
    """Refuse a leg that its far end asks for and that cannot be one, whatever carries it.

    Args:
        engine: the server.
        wanted: what is asked for.
        admit: whether it is about to become a leg, so that there must be room for it.

    Raises:
        VbError: something in it cannot be used, or there is no room.
    """
    if wanted.room_id:
        check_id(wanted.room_id, "room_id")
    make_hook(engine.web.policy, wanted.webhook_url, wanted.webhook_secret)
    if admit:
        if wanted.room_id and engine.rooms.is_closing(wanted.room_id):
            raise InternalError(f"room {wanted.room_id} is being deleted")
        engine.legs.check_capacity()


def open_room(engine: Engine, room_id: str, leg: Leg) -> None:
    """Make the room that a leg is to join, if it is missing."""
    if room_id and room_id not in engine.rooms:
        with suppress(VbError):  # it is being deleted; the join says so
            engine.rooms.open(room_id, app_id=leg.app_id)


def join_room(engine: Engine, room_id: str, leg: Leg) -> None:
    """Let a leg that is connected join the room that was asked for."""
    if not room_id:
        return
    try:
        engine.rooms.join(leg, room_id)
    except VbError as exc:  # the room is being deleted: the leg goes on alone
        log.info("leg cannot join its room", leg_id=leg.id, problem=exc.message)
