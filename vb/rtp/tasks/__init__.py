"""Drivers of RTP: a leg's sockets and its slow task."""

from vb.rtp.tasks.endpoint import RtpEndpoint, bind_endpoint, open_endpoint
from vb.rtp.tasks.keeper import KeptService, RtpKeeper
from vb.rtp.tasks.rtt import TextStream
from vb.rtp.tasks.session import RtpService, RtpTiming

__all__ = [
    "KeptService",
    "RtpEndpoint",
    "RtpKeeper",
    "RtpService",
    "RtpTiming",
    "TextStream",
    "bind_endpoint",
    "open_endpoint",
]
