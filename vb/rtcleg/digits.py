"""Digits of WebRTC media: telephone-events both ways."""

from __future__ import annotations

from vb.errors import Conflict
from vb.legs.capabilities import Capability
from vb.legs.keyed import KeyedLeg
from vb.rtcleg.media import RtcMedia


class RtcDigits(KeyedLeg):
    """A leg that is sent digits as telephone-events only.

    Attributes:
        media: its media.
    """

    media: RtcMedia

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
