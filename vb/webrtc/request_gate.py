"""Which Binding requests of the network are looked at: signed with our password, and not too many of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vb.webrtc.generation import Generation
from vb.webrtc.stun import Attr, Message

REQUESTS_PER_S: Final = 100.0


class RequestGate:
    """Limits what a flood of requests can cost: each one that names us needs a signature to be computed."""

    __slots__ = ("_allowance", "_at")

    def __init__(self) -> None:
        self._allowance = REQUESTS_PER_S
        self._at = 0.0

    def admit(self, message: Message, generations: Iterable[Generation], now: float) -> Generation | None:
        """Return the generation that a request is meant for, None when it gets no answer.

        Nobody who lacks our password is answered: a refusal would only serve reflection attacks.
        """
        user = (message.get(Attr.USERNAME) or b"").partition(b":")[0]
        for generation in generations:
            if generation.local.ufrag.encode() == user:
                signed = self._allowed(now) and message.verify(generation.local.password.encode())
                return generation if signed else None
        return None

    def _allowed(self, now: float) -> bool:
        earned = max(0.0, now - self._at) * REQUESTS_PER_S
        self._allowance = min(REQUESTS_PER_S, self._allowance + earned)
        self._at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
