"""Calls that come in: the callee's side of an INVITE.  Spec: RFC 3261 §13.3, §9.2, §15."""

from __future__ import annotations

from typing import Literal

from vb.sip.call import Acknowledged, Call, CallHost, CallState, Cancelled, HeaderList, RemoteHangup
from vb.sip.dialog import Dialog
from vb.sip.errors import CallStateError
from vb.sip.exchange import readable_sdp
from vb.sip.hop import Hop
from vb.sip.message import Request
from vb.sip.transaction import InviteServerTransaction, ServerTransaction

# Proxies give up on an INVITE that is silent for three minutes (RFC 3261 §13.3.1.1).
REPEAT_PROVISIONAL_S = 60.0


class InboundCall(Call):
    """An INVITE of a peer and the dialog that comes of it.

    Attributes:
        invite: the request as received.
        offer: its session description; None asks for our offer in the 2xx.
    """

    direction: Literal["inbound", "outbound"] = "inbound"

    def __init__(
        self,
        host: CallHost,
        transaction: InviteServerTransaction,
        local_tag: str,
        offer: bytes | None,
        source: Hop,
        now: float,
    ) -> None:
        """Take an INVITE that has passed every check.

        Raises:
            SipParseError: if no dialog can be made of it.
        """
        invite = transaction.request
        super().__init__(host, invite.call_id, local_tag, source)
        self.invite = invite
        self.offer = offer
        self.dialog = Dialog.from_invite(invite, local_tag, source)
        self._transaction = transaction
        self._provisional: tuple[int, str | None, HeaderList, bytes | None] = (183, None, (), None)
        self._hangup_headers: HeaderList = ()
        self.set_timer(self._repeat_provisional, now + REPEAT_PROVISIONAL_S)

    @property
    def is_unanswered(self) -> bool:
        """Whether a final response is still ours to give."""
        return self.state is CallState.EARLY

    # -- orders ---------------------------------------------------------------------------------

    def ring(self, now: float, *, headers: HeaderList = ()) -> None:
        """Send 180, again if told again.

        Raises:
            CallStateError: after the final response.
        """
        self._progress(180, None, headers, None, now)

    def progress(self, sdp: bytes, now: float, *, headers: HeaderList = ()) -> None:
        """Send 183 with a session description.

        Raises:
            CallStateError: after the final response.
        """
        self._progress(183, None, headers, sdp, now)

    def _progress(
        self, status: int, reason: str | None, headers: HeaderList, sdp: bytes | None, now: float
    ) -> None:
        self._need_unanswered()
        self._provisional = (status, reason, headers, sdp)
        self.respond(self._transaction, status, now, reason=reason, headers=headers, body=sdp)
        self.set_timer(self._repeat_provisional, now + REPEAT_PROVISIONAL_S)

    def _repeat_provisional(self, now: float) -> None:
        if self.is_unanswered:
            status, reason, headers, sdp = self._provisional
            self._progress(status, reason, headers, sdp, now)

    def accept(self, sdp: bytes, now: float, *, headers: HeaderList = ()) -> None:
        """Send 200 with our answer, or with our offer if the INVITE had none, until the ACK comes.

        Raises:
            CallStateError: after the final response.
        """
        self._need_unanswered()
        self.state = CallState.ANSWERED
        self.is_answered = True
        self.clear_timer(self._repeat_provisional)
        self.respond(self._transaction, 200, now, headers=headers, body=sdp)
        self.exchange.initial_pending = False
        self.exchange.await_ack(self._transaction, brings_answer=self.offer is None, now=now)

    def reject(self, status: int, now: float, *, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final response of 300 or more; the call closes when it is acknowledged.

        Without effect if the call has ended already, for a CANCEL may come first.

        Raises:
            CallStateError: if the call was answered and goes on.
        """
        if self.state in (CallState.ENDING, CallState.CLOSED):
            return
        self._need_unanswered()
        self.state = CallState.ENDING
        self._timers.clear()
        self._transaction.on_settled = self._settled
        self.exchange.abort(now)
        self.respond(self._transaction, status, now, reason=reason, headers=headers)

    def hangup(self, now: float, *, headers: HeaderList = ()) -> None:
        """Unanswered: 480. Answered but not acknowledged: BYE after the ACK or its time-out. Else BYE."""
        if self.state is CallState.EARLY:
            self.reject(480, now, headers=headers)
        elif self.state is CallState.ANSWERED:
            self.state = CallState.ENDING
            self._hangup_headers = headers
        elif self.state is CallState.CONFIRMED:
            self.send_bye(now, headers)

    def _need_unanswered(self) -> None:
        if not self.is_unanswered:
            raise CallStateError("the call has its final response already")

    def _settled(self, now: float) -> None:
        self.close()

    # -- from the peer --------------------------------------------------------------------------

    def receive_cancel(self, transaction: ServerTransaction, now: float) -> None:
        """Take a CANCEL, answered already; without effect after the final response."""
        if transaction is not self._transaction:
            super().receive_cancel(transaction, now)
        elif self.is_unanswered:
            self.reject(487, now)
            self.emit(Cancelled())

    def transport_lost(self, now: float) -> None:
        """The connection of the INVITE broke: before the answer that is as good as a CANCEL."""
        if self.is_unanswered:
            self._transaction.terminate()
            self.emit(Cancelled())
            self.close()

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK of the first 2xx, or of a re-INVITE's."""
        first = ack.cseq.number == self.invite.cseq.number
        if not first or self.state not in (CallState.ANSWERED, CallState.ENDING):
            super().receive_ack(ack, now)
        elif self.exchange.take_ack(ack):
            if self.state is CallState.ENDING:
                self.send_bye(now, self._hangup_headers)
                return
            self.state = CallState.CONFIRMED
            self.emit(Acknowledged(readable_sdp(ack)))
            self.exchange.resume(now)

    def _remote_hangup(self, dialog: Dialog, now: float) -> None:
        """BYE before our final response ends the INVITE with 487.  Spec: RFC 3261 §15.1.2."""
        if self.is_unanswered:
            self.reject(487, now)
            self.emit(RemoteHangup())
            return
        super()._remote_hangup(dialog, now)
