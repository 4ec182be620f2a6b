"""Which way digits go to the far end of a SIP call: telephone-events, INFO, or tones in the audio."""

from __future__ import annotations

from vb.errors import Conflict
from vb.mixer.port import RtpPort
from vb.sip.tasks.endpoint import SipCall


def send_digits(call: SipCall, port: RtpPort, digits: str) -> None:
    """Queue digits for the far end, by the best way that it takes.

    Raises:
        Conflict: the call is held, has no audio yet, or too many digits wait; none is sent.
    """
    if port.remote_hold:
        raise Conflict("DTMF cannot be sent: the far end holds the call")
    if not port.transmitting:
        raise Conflict("DTMF cannot be sent: no audio goes to the far end")
    if port.digits is not None:
        queued = port.send_digits(digits)
    elif call.takes_info_digits:
        queued = call.send_info_digits(digits)
    elif port.local_hold:
        raise Conflict("DTMF cannot be sent: the call is held, and the far end takes it as audio only")
    else:
        queued = port.send_tones(digits)
    if not queued:
        raise Conflict("DTMF cannot be sent: too many digits wait")
