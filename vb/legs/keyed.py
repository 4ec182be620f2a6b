"""Legs whose far ends press keys."""

from __future__ import annotations

import trio

from vb.events.leg import DtmfReceived
from vb.legs.keypresses import KeyPresses, Way
from vb.legs.leg import Leg
from vb.legs.protocols import LegHost
from vb.legs.state import LegState


class KeyedLeg(Leg):
    """A leg that tells of digits, whichever way they come."""

    def __init__(self, host: LegHost, *, leg_id: str, leg_type: str, app_id: str | None, now: float) -> None:
        super().__init__(host, leg_id=leg_id, leg_type=leg_type, app_id=app_id, now=now)
        self._digits = 0
        self._keypresses = KeyPresses()

    def digit_received(self, digit: str, lasted_s: float = 0.0, way: Way = "event") -> None:
        """Tell of a digit from the far end, whichever way it came, and pass it on to the room; once."""
        if self.state is LegState.HUNG_UP:
            return  # its packet was read while the leg said its last word
        if not self._keypresses.is_new(digit, way, trio.current_time(), lasted_s=lasted_s):
            return
        self._digits += 1
        self.publish(DtmfReceived(leg_id=self.id, app_id=self.app_id, digit=digit, seq=self._digits))
        if self.room is not None:
            self.room.relay_digit(self, digit)
