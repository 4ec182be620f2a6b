"""Which Binding requests of the network are looked at: signed with our password, and not too many of them.

A lite agent never asks whether the peer is there, so for it such a request counts only where it came first:
whoever has seen it can send it again, from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vb.webrtc.checklist import Route
from vb.webrtc.generation import Generation
from vb.webrtc.stun import Attr, Message

REQUESTS_PER_S: Final = 100.0
REMEMBERED: Final = 4096
"""Transaction ids: five hours of a peer that sends a check every 4 to 6 s, in about 500 kB.

Only who knows our password makes new ones, so that nobody else can drive an old one out.
"""


class RequestGate:
    """Limits what a flood of requests can cost: each one that names us needs a signature to be computed.

    One that was seen before is the peer's retransmission if it comes the same way. From elsewhere it tells
    nothing of where the peer is; a peer that gets another address is found by its next check.

    Args:
        remembers: drop what was seen before and comes from elsewhere.
    """

    __slots__ = ("_allowance", "_at", "_latest", "_remembers", "_ways")

    def __init__(self, *, remembers: bool) -> None:
        self._remembers = remembers
        self._allowance = REQUESTS_PER_S
        self._at = 0.0
        self._ways: dict[bytes, Route] = {}
        self._latest: Route | None = None

    def admit(
        self, message: Message, way: Route, generations: Iterable[Generation], now: float
    ) -> Generation | None:
        """Return the generation that a request is meant for, None when it gets no answer.

        Nobody who lacks our password is answered: a refusal would only serve reflection attacks.

        Args:
            way: the base that it came to, and where from.
        """
        if self._ways.get(message.transaction_id, way) != way:
            return None
        user = (message.get(Attr.USERNAME) or b"").partition(b":")[0]
        for generation in generations:
            if generation.local.ufrag.encode() == user:
                if not (self._allowed(now) and message.verify(generation.local.password.encode())):
                    return None
                if self._remembers:
                    self._remember(message.transaction_id, way)
                return generation
        return None

    def _remember(self, transaction_id: bytes, way: Route) -> None:
        if transaction_id not in self._ways and len(self._ways) >= REMEMBERED:
            del self._ways[next(iter(self._ways))]
        # Requests that come the same way share one object.
        self._latest = self._latest if self._latest == way else way
        self._ways[transaction_id] = self._latest

    def _allowed(self, now: float) -> bool:
        earned = max(0.0, now - self._at) * REQUESTS_PER_S
        self._allowance = min(REQUESTS_PER_S, self._allowance + earned)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
