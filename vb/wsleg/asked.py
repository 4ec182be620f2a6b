"""Legs that their far ends ask for: which cannot be."""

from __future__ import annotations

from vb.engine import Engine
from vb.errors import InternalError
from vb.ids import check_id
from vb.web.hooks import make_hook
from vb.wsleg.request import AskedLeg


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
