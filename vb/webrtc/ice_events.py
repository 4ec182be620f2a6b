"""What an ICE agent tells, and what it wants sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from vb.webrtc.stun import Address


class Transmit(NamedTuple):
    """A datagram to send.

    Attributes:
        source: key of the base that it leaves from.
    """

    data: bytes
    source: Address
    destination: Address


@dataclass(frozen=True, slots=True)
class Selected:
    """The pair in use, at first and whenever it changes."""

    source: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class ConsentMissing:
    """The peer has not answered for a while; it may come back."""


@dataclass(frozen=True, slots=True)
class ConsentBack:
    """The peer answers again."""


@dataclass(frozen=True, slots=True)
class IceFailed:
    """No pair was found in time, or consent has run out; the agent does nothing any more."""

    reason: Literal["no_connection", "consent_lost"]


IceEvent = Selected | ConsentMissing | ConsentBack | IceFailed
