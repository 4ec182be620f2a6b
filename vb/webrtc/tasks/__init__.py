"""Drivers of transports that carry STUN and DTLS beside media."""

from vb.webrtc.tasks.transport import Base, Transport

__all__ = ["Base", "Transport"]
