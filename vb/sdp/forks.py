"""The sessions of a call that we made: every fork has one of its own, which begins with our one offer.

Spec: RFC 3261 §13.2.2.4, RFC 3264 §4.
"""

from typing import Final

from vb.sdp.errors import AnswerRejected
from vb.sdp.negotiate import Agreed
from vb.sdp.offer_answer import OfferAnswer, SavedSession

MAX_FORKS: Final = 32


class Forks:
    """Keeps the sessions of forks apart, by the To tag of each, until one of them gets the call.

    Args:
        negotiation: that of the call; it stands for the fork that spoke last.
    """

    __slots__ = ("_current", "_negotiation", "_others", "_start")

    def __init__(self, negotiation: OfferAnswer) -> None:
        self._negotiation = negotiation
        self._start: SavedSession | None = None
        self._current: str | None = None
        self._others: dict[str, SavedSession] = {}

    def __len__(self) -> int:
        return len(self._others)

    def enter(self, tag: str) -> None:
        """Let the negotiation stand for a fork; a new one begins with our offer, whatever others did."""
        if self._start is None:
            self._start = self._negotiation.save()
        if tag == self._current:
            return
        if self._current is not None and len(self._others) < MAX_FORKS:
            self._others[self._current] = self._negotiation.save()
        self._negotiation.restore(self._others.pop(tag, self._start))
        self._current = tag

    def receive_answer(self, tag: str, data: bytes) -> Agreed:
        """Apply a fork's answer to our offer; see `OfferAnswer.receive_answer`.

        Raises:
            AnswerRejected: it cannot be used; nothing has changed.
        """
        before = self._current
        self.enter(tag)
        try:
            return self._negotiation.receive_answer(data)
        except AnswerRejected:
            if before is not None:
                self.enter(before)
            raise

    def settle(self, tag: str, data: bytes | None) -> Agreed | None:
        """Give the call to the fork that accepted it, and forget the others.

        Args:
            tag: of its dialog.
            data: its answer; without one what it said before holds, never what another fork said.

        Returns:
            What is in force; None if nothing is.

        Raises:
            AnswerRejected: the answer cannot be used.
        """
        if data is not None:
            self.receive_answer(tag, data)
        else:
            self.enter(tag)
        self._others.clear()
        return self._negotiation.agreed
