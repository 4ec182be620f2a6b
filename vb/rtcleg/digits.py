"""Digits of WebRTC media: telephone-events both ways."""

from __future__ import annotations

from vb.errors import Conflict
from vb.events.leg import DtmfReceived
from vb.legs.capabilities import Capability
from vb.legs.leg import Leg
from vb.rtcleg.media import RtcMedia


class RtcDigits(Leg):
    """A leg whose digits are telephone-events only.

    Attributes:
        media: its media.
    """

    media: RtcMedia
    _digits = 0

    def digit_received(self, digit: str) -> None:
        """Tell of a digit from the far end, and pass it on to the room."""
        if self.ended:
            return
        self._digits += 1
        self.publish(DtmfReceived(leg_id=self.id, app_id=self.app_id, digit=digit, seq=self._digits))
        if self.room is not None:
            self.room.relay_digit(self, digit)

    def send_digits(self, digits: str) -> None:
        """Queue digits for the far end, as telephone-events.

        Raises:
            Conflict: there is no audio yet, or too many digits wait.
            InternalError: the far end has not said that it takes them.
        """
        port = self.media.port
        if not port.transmitting:
            raise Conflict("DTMF cannot be sent: no audio goes to the far end")
        if port.digits is None:
            raise self.decline(Capability.DTMF)
        if not port.send_digits(digits):
            raise Conflict("DTMF cannot be sent: too many digits wait")

    def relay_digit(self, digit: str) -> None:
        """Pass a room mate's digit on to the far end, if it takes any now."""
        self.media.port.send_digits(digit)
