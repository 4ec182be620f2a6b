"""What the bandwidth lines of a peer's description allow us to report.

Spec: RFC 3556 §2.
"""

from collections.abc import Iterable
from typing import Final, Literal

from vb.sdp.parser import decimal
from vb.sdp.session import Line, MediaDescription, SessionDescription

RtcpUse = Literal["always", "sending", "never"]
"""When RTCP may go out: always, only while we send media, or not at all."""

_MAX_BITS_PER_S: Final = 4_294_967_295


def rtcp_use(description: SessionDescription, media: MediaDescription) -> RtcpUse:
    """Tell when a peer wants RTCP for a media line of its description.

    Without bandwidth for receivers only those who send report; without any for senders either, nobody. No
    bandwidth for senders alone makes them equal to receivers, and forbids nothing.
    """
    limits = {**_limits(description.other), **_limits(media.other)}
    if limits.get("RR") != 0:
        return "always"
    return "never" if limits.get("RS") == 0 else "sending"


def _limits(lines: Iterable[Line]) -> dict[str, int]:
    """Return the bits a second of each modifier; the first line of a modifier counts."""
    limits: dict[str, int] = {}
    for line in lines:
        modifier, _, value = line.value.partition(":")
        number = decimal(value.strip(), _MAX_BITS_PER_S)
        if line.kind == "b" and number is not None:
            limits.setdefault(modifier.strip().upper(), number)
    return limits
