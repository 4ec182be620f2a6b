"""Who controls: the role of an agent, and what happens when both sides think the same of themselves.

Spec: RFC 8445 §6.1.1, §7.2.5.1, §7.3.1.1.
"""

from __future__ import annotations

from enum import Enum, auto

from vb.webrtc.generation import RandomBytes
from vb.webrtc.stun import Attr, Message


class Conflict(Enum):
    """What a request makes of our role."""

    NONE = auto()
    REFUSE = auto()
    """The peer is to change its role."""
    SWITCH = auto()
    """We are to change ours."""


class IceRole:
    """Our role, with the number that decides a conflict.

    Args:
        fixed: we cannot control, as a lite agent.

    Attributes:
        controlling: the role.
        tie_breaker: the number.
    """

    __slots__ = ("_fixed", "_random", "controlling", "tie_breaker")

    def __init__(self, random_bytes: RandomBytes, *, controlling: bool, fixed: bool) -> None:
        self.controlling = controlling and not fixed
        self.tie_breaker = random_bytes(8)
        self._random = random_bytes
        self._fixed = fixed

    def judge(self, request: Message) -> Conflict:
        """Compare our role with the one that a request claims."""
        theirs = request.get(Attr.ICE_CONTROLLING if self.controlling else Attr.ICE_CONTROLLED)
        if theirs is None:
            return Conflict.NONE
        if self._fixed or (self.tie_breaker >= theirs) == self.controlling:
            return Conflict.REFUSE
        return Conflict.SWITCH

    def refused(self, *, claimed: bool) -> bool:
        """Take the refusal of a role that we claimed in a request; True when we are to change it."""
        self.tie_breaker = self._random(8)
        return claimed == self.controlling and not self._fixed
