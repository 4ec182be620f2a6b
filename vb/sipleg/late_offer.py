"""The offer that a call gets from us because its INVITE had none.  Spec: RFC 3261 §13.2.1, RFC 3262 §5."""

from __future__ import annotations

from collections.abc import Callable

from vb.codecs.base import Codec, find_codec
from vb.errors import BadRequest, Conflict
from vb.sdp.errors import AnswerRejected
from vb.sdp.negotiate import Agreed
from vb.sdp.offer_answer import OfferAnswer
from vb.sip.errors import CallStateError

Send = Callable[[bytes], None]


class LateOffer:
    """Our first offer of an incoming call: in a reliable 1xx, or else in the 200. It is made once.

    Args:
        negotiation: that of the call.
        sent: called when the offer has gone out.

    Attributes:
        in_answer: it has gone into the 200, so that the ACK brings the answer; otherwise the PRACK does.
    """

    def __init__(self, negotiation: OfferAnswer, sent: Callable[[], None]) -> None:
        self._negotiation = negotiation
        self._sent = sent
        self._sdp = b""
        self.in_answer = False

    def codecs(self, name: str | None) -> tuple[Codec, ...] | None:
        """Return what an offer lists for the sake of one codec, None where no codec is named.

        Raises:
            BadRequest: the codec is unknown or not enabled.
        """
        if name is None:
            return None
        codec = find_codec(name)
        if codec is None or codec not in self._negotiation.codecs:
            raise BadRequest(f"codec: {name} is {'unknown' if codec is None else 'not enabled'}")
        return (codec,)

    def early(self, codec: str | None, send: Send) -> None:
        """Make the offer and send it in a 1xx.

        Raises:
            BadRequest: the codec is unknown or not enabled.
            Conflict: it has gone out already, or cannot go out now.
        """
        if self._sdp:
            raise Conflict("our offer has gone out already")
        self._make(codec, send)

    def final(self, codec: str | None, send: Send) -> None:
        """Send the offer in the 200: the one of the 1xx, which has settled the codec, or a new one.

        Raises:
            BadRequest: the codec is unknown or not enabled.
            Conflict: it cannot go out now.
        """
        if self._sdp:
            send(self._sdp)
            return
        self._make(codec, send)
        self.in_answer = True

    def _make(self, codec: str | None, send: Send) -> None:
        """Make the offer and send it; one that cannot be sent has not been made."""
        sdp = self._negotiation.offer(codecs=self.codecs(codec))
        try:
            send(sdp)
        except CallStateError:
            self._negotiation.withdraw_offer()
            raise
        self._sdp = sdp
        self._sent()

    def receive_answer(self, sdp: bytes | None) -> Agreed:
        """Apply the answer of the PRACK or ACK.

        Raises:
            AnswerRejected: there is none, or it cannot be used.
        """
        if sdp is None:
            raise AnswerRejected("the answer is missing")
        return self._negotiation.receive_answer(sdp)
