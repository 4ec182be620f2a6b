"""How live objects look to clients."""

from __future__ import annotations

from typing import cast

from vb.commands import views
from vb.legs.kind import LegType
from vb.legs.leg import Leg
from vb.rooms.bridge import Bridge
from vb.rooms.room import Room


def show_leg(leg: Leg) -> views.Leg:
    """Return a leg as clients see it."""
    return views.Leg(
        id=leg.id,
        type=cast("LegType", leg.type),
        state=cast("views.LegState", str(leg.shown_state)),
        room_id=leg.room.id if leg.room is not None else None,
        muted=leg.muted,
        deaf=leg.deaf,
        accept_dtmf=leg.accept_dtmf,
        held=leg.held,
        role=leg.role or None,
        app_id=leg.app_id,
        sip_headers=leg.headers if leg.headers and leg.type in ("sip_inbound", "whatsapp_in") else None,
        headers=leg.headers or None,
        srtp=leg.srtp,
    )


def show_room(room: Room) -> views.Room:
    """Return a room with its members in the order of their joining."""
    return views.Room(
        id=room.id,
        app_id=room.app_id,
        sample_rate=room.sample_rate_hz,
        participants=[show_leg(leg) for leg in room.members.values() if not leg.ended],
    )


def show_bridge(bridge: Bridge, room: Room) -> views.Bridge:
    """Return a bridge as one of its rooms sees it."""
    return views.Bridge(
        id=bridge.id,
        room_id=bridge.peer_of(room).id,
        direction=bridge.direction_from(room),
        sample_rate=bridge.sample_rate_hz,
    )
