"""Who gets an event over HTTP: the leg's webhook, the room's, or the global one; never two of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vb.events.base import Published


@dataclass(frozen=True, slots=True)
class Hook:
    """Where events are posted.

    Attributes:
        url: http or https URL.
        secret: key of the signature; empty for unsigned bodies.
        trusted: whether the operator set it, so that it may point into a private network.
    """

    url: str
    secret: str = field(default="", repr=False)
    trusted: bool = False


class HookTable:
    """The webhooks in force, by leg and by room.

    Args:
        global_hook: takes every event that no leg or room hook takes.
    """

    def __init__(self, global_hook: Hook | None = None) -> None:
        self.global_hook = global_hook
        self._legs: dict[str, Hook] = {}
        self._rooms: dict[str, Hook] = {}

    def set_leg(self, leg_id: str, hook: Hook | None) -> None:
        """Give a leg its own hook; None takes it away."""
        if hook is None:
            self.drop_leg(leg_id)
        else:
            self._legs[leg_id] = hook

    def leg_hook(self, leg_id: str) -> Hook | None:
        """Return a leg's own hook, if it has one."""
        return self._legs.get(leg_id)

    def set_room(self, room_id: str, hook: Hook | None) -> None:
        """Give a room its own hook; None takes it away."""
        if hook is None:
            self.drop_room(room_id)
        else:
            self._rooms[room_id] = hook

    def drop_leg(self, leg_id: str) -> None:
        """Forget a leg's hook, after its last event. Harmless when it has none."""
        self._legs.pop(leg_id, None)

    def drop_room(self, room_id: str) -> None:
        """Forget a room's hook, after its last event. Harmless when it has none."""
        self._rooms.pop(room_id, None)

    def route(self, published: Published) -> Hook | None:
        """Return the one hook that gets an event: the leg's, else the room's, else the global one."""
        if not (self._legs or self._rooms):
            return self.global_hook  # an event is slow to say that it has no such id
        leg_id, room_id = published.leg_id, published.room_id
        if leg_id is not None and leg_id in self._legs:
            return self._legs[leg_id]
        if room_id is not None and room_id in self._rooms:
            return self._rooms[room_id]
        return self.global_hook
