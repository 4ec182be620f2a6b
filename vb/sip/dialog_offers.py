"""Offers and answers inside a dialog: re-INVITE, UPDATE and PRACK, one exchange at a time.

An owner reads how an exchange ended some time after it did. An offer that fits that end can be made only
then, so that an offer of ours does not go out by itself: `OfferDue` takes its place in the queue of events.

Spec: RFC 3261 §14, RFC 3311 §5, RFC 3264 §4, RFC 6337.
"""

from __future__ import annotations

from collections.abc import Callable

from vb.sip.call_events import (
    NotAcknowledged,
    OfferAnswered,
    OfferDue,
    OfferReceived,
    OfferRefused,
    OfferRequested,
)
from vb.sip.call_host import CallContext, CallPart, HeaderList
from vb.sip.call_state import CallState
from vb.sip.client_transaction import ClientTransaction
from vb.sip.errors import CallStateError, NoPendingOffer, SipParseError
from vb.sip.invite_requests import build_ack_in, send_cancel
from vb.sip.message import Request, Response
from vb.sip.multipart import readable_sdp, sdp_of, unsupported_body_headers
from vb.sip.response_retransmission import ResponseRetransmission
from vb.sip.server_transaction import InviteServerTransaction, ServerTransaction
from vb.sip.timers import TIMEOUT_S
from vb.sip.transaction import FailureKind, final_status
from vb.sip.transaction_tables import TransactionState

Offer = bytes | Callable[[], bytes]

MAX_GLARES = 8
"""How often an offer of ours gives way to one of the peer's, which may never come."""
PATIENCE_S = 2 * TIMEOUT_S
"""How long a peer that has only sent provisional responses may leave a re-INVITE of ours unanswered.

Nobody has to be asked about a change of direction, and a proxy that waits in vain says so after 64·T1. Then
the re-INVITE is cancelled, so that a peer that is merely slow keeps its call.
"""


class DialogOffers(CallPart):
    """Who has offered what and still waits for an answer.

    Attributes:
        initial_pending: the first offer has no answer yet: others have to wait.
        initial_is_ours: that offer came from us.
        pending: what the peer asks for and the owner has not answered.
    """

    __slots__ = (
        "_ack",
        "_ack_brings_answer",
        "_backing_off",
        "_glares",
        "_is_due",
        "_local",
        "_local_offer",
        "_pending_ack",
        "_remote",
        "_waiting",
        "initial_is_ours",
        "initial_pending",
        "pending",
    )

    def __init__(self, call: CallContext) -> None:
        super().__init__(call)
        self.initial_pending = True
        self.initial_is_ours = call.direction == "outbound"
        self.pending: OfferReceived | OfferRequested | None = None
        self._remote: ServerTransaction | None = None  # the request of `pending`
        self._local: ClientTransaction | None = None  # our re-INVITE under way
        self._local_offer: Offer = b""
        self._waiting: Offer | None = None  # an offer that has not been sent yet
        self._is_due = False  # `OfferDue` is on its way to the owner
        self._glares = 0  # tries of one offer that met an offer of the peer's
        self._backing_off = False  # a 491 came: wait before the next try
        self._pending_ack: ResponseRetransmission | None = None
        self._ack = 0  # CSeq of the ACK that `_pending_ack` waits for
        self._ack_brings_answer = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self._remote is None and self._local is None and self._pending_ack is None

    @property
    def has_waiting(self) -> bool:
        """Whether an offer of ours waits to be sent."""
        return self._waiting is not None

    # -- the peer offers ------------------------------------------------------------------------

    def receive_offer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Take a re-INVITE or UPDATE."""
        call = self._call
        try:
            sdp = sdp_of(request)
        except SipParseError as error:
            status = 488 if error.status == 400 else error.status  # the session goes on as it is
            call.respond(transaction, status, now, headers=unsupported_body_headers(error))
            return
        if sdp is None and request.method != "INVITE":
            call.respond(transaction, 200, now)
            return
        refusal = self._glare(request)
        if refusal == 500:
            delay = call.host.ids.u16() % 11
            call.respond(transaction, 500, now, headers=[("Retry-After", str(delay))])
        elif refusal:
            call.respond(transaction, refusal, now)
        else:
            self._remote = transaction
            tag = request.from_.tag
            self.pending = OfferRequested() if sdp is None else OfferReceived(sdp, request.method, tag)
            call.emit(self.pending)

    def _glare(self, request: Request) -> int:
        """Return the status that refuses an offer now, 0 if it may come.

        Before the answer to the INVITE an offer may come by UPDATE or PRACK, never by another INVITE.

        Spec: RFC 3311 §5.2; RFC 3261 §14.2.
        """
        if request.method == "INVITE" and self._call.state is CallState.EARLY:
            return 491 if self._call.direction == "outbound" else 500
        pending = self.initial_pending and not self._call.has_early_answer(request.from_.tag)
        if self._local is not None or (pending and self.initial_is_ours):
            return 491
        if self._remote is not None or pending:
            return 500
        if self._pending_ack is not None and self._ack_brings_answer:
            return 491
        return 500 if self._pending_ack is not None and request.method == "INVITE" else 0

    def answer(self, sdp: bytes, now: float) -> None:
        """Accept the peer's request with our answer, or with the offer it asked for."""
        is_offer = isinstance(self.pending, OfferRequested)
        transaction = self._take_remote()
        self._call.respond(transaction, 200, now, body=sdp)
        if isinstance(transaction, InviteServerTransaction):
            self.await_ack(transaction, brings_answer=is_offer, now=now)
        else:
            self.resume()

    def refuse(self, status: int, reason: str | None, headers: HeaderList, now: float) -> None:
        """Refuse the peer's request."""
        self._call.respond(self._take_remote(), status, now, reason=reason, headers=headers)
        self.resume()

    def cancel(self, transaction: ServerTransaction, now: float) -> None:
        """The peer takes its re-INVITE back; an answer that the owner still gives finds no offer."""
        if transaction is self._remote:
            self.refuse(487, None, (), now)

    def _take_remote(self) -> ServerTransaction:
        transaction, self._remote, self.pending = self._remote, None, None
        if transaction is None:
            raise NoPendingOffer("the peer has no offer waiting")
        return transaction

    def await_ack(self, transaction: InviteServerTransaction, *, brings_answer: bool, now: float) -> None:
        """Repeat a 2xx until its ACK; used for the first INVITE of a callee as well."""
        self._ack = transaction.request.cseq.number
        self._ack_brings_answer = brings_answer
        transaction.on_ack = self._call.receive_ack
        self._pending_ack = ResponseRetransmission(
            self._call.host, transaction.last_response, transaction.hop, self._no_ack, now
        )

    def take_ack(self, ack: Request) -> bool:
        """Tell whether an ACK is the one waited for; if so, stop waiting."""
        if self._pending_ack is None or ack.cseq.number != self._ack:
            return False
        self._pending_ack.stop()
        self._pending_ack = None
        return True

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK of a 2xx to a re-INVITE."""
        if not self.take_ack(ack):
            return
        if self._ack_brings_answer:
            self._call.emit(OfferAnswered(readable_sdp(ack)))
        self.resume()

    def _no_ack(self, now: float) -> None:
        self._pending_ack = None
        call = self._call
        if call.dialog is None or call.state in (CallState.EARLY, CallState.CLOSED):
            return  # there is nothing that a BYE could end
        if call.state is not CallState.ENDING:
            call.emit(NotAcknowledged())
        call.send_bye(now)

    # -- we offer -------------------------------------------------------------------------------

    def offer(self, offer: Offer) -> None:
        """Take an offer to send by re-INVITE; it is due now, or when the exchange under way is over."""
        if self._call.state not in (CallState.ANSWERED, CallState.CONFIRMED):
            raise CallStateError("the call is not connected")
        if self._waiting is not None:
            raise CallStateError("another offer is waiting already")
        self._waiting = offer
        self.resume()

    def resume(self) -> None:
        """Something is over, or the dialog is confirmed: an offer that waited for that is due."""
        if self._may_send and not self._is_due:
            self._is_due = True
            self._call.emit(OfferDue())

    @property
    def _may_send(self) -> bool:
        return (
            self._waiting is not None
            and not self._backing_off
            and self.is_idle
            and self._call.state is CallState.CONFIRMED
        )

    def send_offer(self, now: float) -> None:
        """Send the offer that waits, unless something came before it: then it will be due once more."""
        self._is_due = False
        offer = self._waiting
        if offer is None or not self._may_send:
            return
        self._waiting = None
        self._local_offer = offer
        body = offer if isinstance(offer, bytes) else offer()
        self._call.send("INVITE", self._offer_done, now, body=body)

    def sent(self, transaction: ClientTransaction, now: float) -> None:
        """Our re-INVITE is on its way, once more if it was challenged."""
        self._local = transaction
        self._call.set_timer(self._lose_patience, now + PATIENCE_S)

    def _lose_patience(self, now: float) -> None:
        """Cancel our re-INVITE: a 487 leaves the session as it was, further silence counts as a 408.

        Spec: RFC 3261 §9.1, §14.1.
        """
        if self._local is None:
            return
        if self._local.state is TransactionState.PROCEEDING:
            send_cancel(self._call.host, self._local, now)
        self._local.end_by(now + TIMEOUT_S)

    def _settle(self) -> None:
        """Our re-INVITE has its final response."""
        self._local = None
        self._call.clear_timer(self._lose_patience)

    def _offer_done(
        self, transaction: ClientTransaction, outcome: Response | FailureKind, now: float
    ) -> None:
        """Our re-INVITE has a final response; a 2xx may come again."""
        if isinstance(outcome, Response) and outcome.status < 300:
            self._accepted(transaction, outcome, now)
            return
        self._settle()
        call = self._call
        status = final_status(outcome)
        if status in (408, 481):
            call.lost(status, now)
        elif status == 491 and self._waiting is None and self._may_try_again:
            self._glares += 1
            self._waiting = self._local_offer
            self._backing_off = True
            call.set_timer(self._try_again, now + self.glare_delay_s())
        else:
            self._glares = 0
            call.emit(OfferRefused(status))
            call.session.refused(now)
            self.resume()

    def _accepted(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        call = self._call
        if transaction.ack_sent is not None:
            call.host.send(*transaction.ack_sent)
            return
        assert call.dialog is not None
        call.dialog.refresh_target(response)
        transaction.ack_sent = build_ack_in(call.dialog, call.host, transaction.request)
        call.host.send(*transaction.ack_sent)
        self._settle()
        self._glares = 0
        call.session.accepted(response, now)
        call.emit(OfferAnswered(readable_sdp(response)))
        self.resume()

    @property
    def _may_try_again(self) -> bool:
        return self._glares < MAX_GLARES and self._call.state is CallState.CONFIRMED

    def _try_again(self, now: float) -> None:
        self._backing_off = False
        self.resume()

    def glare_delay_s(self) -> float:
        """Return how long to wait after a 491: the owner of the Call-ID longer.  Spec: RFC 3261 §14.1."""
        part = self._call.host.ids.u16() / 65535
        return 2.1 + 1.9 * part if self._call.direction == "outbound" else 2.0 * part

    def abort(self, now: float) -> None:
        """The call ends: stop repeating, answer what the peer still waits for.  Spec: §15.1.2."""
        if self._pending_ack is not None:
            self._pending_ack.stop()
            self._pending_ack = None
        self._waiting = None
        if self._local is not None:
            self._local.end_by(now + TIMEOUT_S)  # a 2xx of that time still gets its ACK
            self._settle()
        if self._remote is not None:
            self._call.respond(self._take_remote(), 487, now)
