"""Calls that come in: the callee's side of an INVITE.  Spec: RFC 3261 §13.3, §9.2, §15; RFC 3262 §3."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Final, Literal
from weakref import ref

from vb.sip.call import Call, CallAgent, nobody
from vb.sip.call_events import (
    Acknowledged,
    Cancelled,
    EarlyOfferDue,
    InvitationExpired,
    NotAcknowledged,
    OfferAnswered,
    RemoteHangup,
)
from vb.sip.call_host import HeaderList
from vb.sip.call_state import CallState, CallStep
from vb.sip.dialog import Dialog
from vb.sip.errors import CallStateError
from vb.sip.framing import PING
from vb.sip.hop import Hop
from vb.sip.message import Request
from vb.sip.multipart import readable_sdp
from vb.sip.reliable import Provisional, ReliableProvisionals
from vb.sip.server_transaction import InviteServerTransaction, ServerTransaction
from vb.sip.timers import REOPEN_S

# Proxies give up on an INVITE that is silent for three minutes (RFC 3261 §13.3.1.1).
REPEAT_PROVISIONAL_S = 60.0
MAX_PATIENCE_S: Final = 86_400
"""Nobody rings for a day: a caller that gives a longer time gives as good as none."""
_DELTA = re.compile(r"[ \t]*+0*+([0-9]{0,10})[ \t]*+")

_NOTHING_SAID: Final = Provisional(183, None, (), None)
"""What is repeated of a call whose owner has sent no provisional response."""


class InboundCall(Call):
    """An INVITE of a peer and the dialog that comes of it.

    Attributes:
        invite: the request as received.
        offer: its session description; None asks for our offer in the 2xx.
    """

    direction: Literal["inbound", "outbound"] = "inbound"
    _reopened_at = -inf

    def __init__(
        self,
        host: CallAgent,
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
        self._replaces: Callable[[], Call | None] = nobody
        self.dialog = Dialog.from_invite(invite, local_tag, source)
        self._transaction = transaction
        self._provisional = _NOTHING_SAID
        self._reliable = ReliableProvisionals(host, host.ids, transaction, self)
        self._held: tuple[bytes, HeaderList] | None = None  # a 200 that waits for a PRACK
        self._hangup_headers: HeaderList = ()
        self.set_timer(self._repeat_provisional, now + REPEAT_PROVISIONAL_S)
        patience_s = patience_of(invite)
        if patience_s is not None:
            self.set_timer(self._expire_invitation, now + patience_s)

    @property
    def is_unanswered(self) -> bool:
        """Whether a final response is still ours to give."""
        return self.state is CallState.EARLY and self._held is None

    @property
    def is_refusable(self) -> bool:
        """Whether no final response has gone out: a 200 that waits for a PRACK can still be withheld."""
        return self.state is CallState.EARLY

    @property
    def takes_early_offer(self) -> bool:
        """Whether a 1xx may carry our offer: only one that is acknowledged.  Spec: RFC 3262 §5."""
        return self._reliable.is_supported

    @property
    def needs_early_offer(self) -> bool:
        """Whether the next 1xx has to carry our offer: the first reliable one, for an INVITE without any.

        Spec: RFC 3262 §5.
        """
        return self.is_unanswered and self._can_offer_early and self._reliable.is_required

    @property
    def _can_offer_early(self) -> bool:
        return self.offer is None and self._reliable.is_supported and not self._reliable.has_sent_sdp

    @property
    def replaces(self) -> Call | None:
        """The call that this one is to take the place of, as long as it lives; its owner ends it."""
        return self._replaces()

    def take_place_of(self, other: Call) -> None:
        """Note which call this one is to replace; neither outlives its end for the other's sake."""
        self._replaces = ref(other)
        other.replaced_by = ref(self)

    # -- orders ---------------------------------------------------------------------------------

    def ring(self, now: float, *, offer: bytes | None = None, headers: HeaderList = ()) -> None:
        """Send 180, again if told again.

        Args:
            offer: our offer, where `needs_early_offer` says so: `OfferAnswered` follows.

        Raises:
            CallStateError: after the final response, without the offer that is needed, or with one that
                cannot be sent reliably.
        """
        if offer is None and self.needs_early_offer:
            raise CallStateError("the first reliable response has to carry our offer")
        if offer is not None:
            self._need_early_offer()
        self._progress(Provisional(180, None, headers, offer, is_offer=offer is not None), now)

    def progress(self, sdp: bytes, now: float, *, headers: HeaderList = ()) -> None:
        """Send 183 with our answer, or with our offer if the INVITE had none: `OfferAnswered` follows.

        Raises:
            CallStateError: after the final response, or if an offer cannot be sent reliably.
        """
        is_offer = self.offer is None
        if is_offer:
            self._need_early_offer()
        self._progress(Provisional(183, None, headers, sdp, is_offer), now)

    def _need_early_offer(self) -> None:
        if not self._can_offer_early:
            raise CallStateError("the caller takes no offer in a provisional response")

    def _progress(self, response: Provisional, now: float) -> None:
        self._need_unanswered()
        if self._reliable.has_sent_sdp and response.sdp is not None:
            # Said for certain: a repetition would be a new offer.
            response = replace(response, sdp=None, is_offer=False)
        self._provisional = response
        if self._reliable.takes(response.sdp):
            self._reliable.put(response, now)
        else:
            self.send_provisional(response, (), now)
        self.set_timer(self._repeat_provisional, now + REPEAT_PROVISIONAL_S)

    def send_provisional(self, response: Provisional, extra: HeaderList, now: float) -> None:
        """Send a provisional response, repeated by nobody, with further headers."""
        headers = [*response.headers, *extra]
        if extra and response.sdp is not None:
            self.offers.initial_pending = response.is_offer
            self.offers.initial_is_ours = response.is_offer
        self.respond(
            self._transaction,
            response.status,
            now,
            reason=response.reason,
            headers=headers,
            body=response.sdp,
        )

    def _repeat_provisional(self, now: float) -> None:
        if not self.is_unanswered:
            return
        if self.needs_early_offer:
            self.emit(EarlyOfferDue())
        else:
            self._progress(self._provisional, now)

    def accept(self, sdp: bytes, now: float, *, headers: HeaderList = ()) -> None:
        """Send 200 with our answer, or with our offer if the INVITE had none, until the ACK comes.

        What a reliable 183 said is not said again; its PRACK comes before the 200 goes out.

        Raises:
            CallStateError: after the final response.
        """
        self._need_unanswered()
        self.clear_timer(self._repeat_provisional)
        self.clear_timer(self._expire_invitation)
        self._held = (sdp, headers)
        self._accept_held(now)

    def _accept_held(self, now: float) -> None:
        """Send the 200 unless an exchange of the early dialog is unfinished.  Spec: RFC 3262 §3."""
        if self._held is None or self._reliable.sdp_pending or not self.offers.is_idle:
            return
        (sdp, headers), self._held = self._held, None
        self._reliable.finish()
        self.move(CallStep.ACCEPT)
        self.is_answered = True
        says_sdp = not self._reliable.has_sent_sdp
        self.respond(self._transaction, 200, now, headers=headers, body=sdp if says_sdp else None)
        self.offers.initial_pending = False
        self.offers.await_ack(self._transaction, brings_answer=says_sdp and self.offer is None, now=now)

    def reject(self, status: int, now: float, *, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final response of 300 or more; the call closes when it is acknowledged.

        Without effect if the call has ended already, for a CANCEL may come first.

        Raises:
            CallStateError: if the call was answered and goes on.
        """
        if self.is_over:
            return
        if self.state is not CallState.EARLY:
            raise CallStateError("the call has its final response already")
        self.move(CallStep.END)
        self._held = None
        self._timers.clear()
        self._reliable.finish()
        self._transaction.on_settled = self._settled
        self.offers.abort(now)
        self.respond(self._transaction, status, now, reason=reason, headers=headers)

    def hangup(self, now: float, *, headers: HeaderList = ()) -> None:
        """Unanswered: 480. Answered but not acknowledged: BYE after the ACK or its time-out. Else BYE."""
        if self.state is CallState.EARLY:
            self.reject(480, now, headers=headers)
        elif self.state is CallState.ANSWERED:
            self.move(CallStep.END)
            self._hangup_headers = headers
        elif self.state is CallState.CONFIRMED:
            self.send_bye(now, headers)

    def _need_unanswered(self) -> None:
        if not self.is_unanswered:
            raise CallStateError("the call has its final response already")

    def _settled(self, now: float) -> None:
        self.close(now)

    def answer_offer(self, sdp: bytes, now: float) -> None:
        """Answer the peer's offer; a 200 that waited for this goes out."""
        super().answer_offer(sdp, now)
        self._accept_held(now)

    def refuse_offer(
        self, status: int, now: float, *, reason: str | None = None, headers: HeaderList = ()
    ) -> None:
        """Refuse the peer's offer; a 200 that waited for this goes out."""
        super().refuse_offer(status, now, reason=reason, headers=headers)
        self._accept_held(now)

    def _expire_invitation(self, now: float) -> None:
        """Nobody answered in the time that the caller gives.  Spec: RFC 3261 §13.3.1."""
        if self.is_unanswered:
            self.reject(487, now)
            self.emit(InvitationExpired())

    # -- from the peer --------------------------------------------------------------------------

    def receive_cancel(self, transaction: ServerTransaction, now: float) -> None:
        """Take a CANCEL, answered already; without effect after the final response."""
        if transaction is not self._transaction:
            super().receive_cancel(transaction, now)
        elif self.state is CallState.EARLY:
            self.reject(487, now)
            self.emit(Cancelled())

    def close(self, now: float) -> None:
        """Report `Closed` and leave the agent; any number of times."""
        super().close(now)
        self._transaction.let_go()

    def transport_lost(self, now: float) -> None:
        """The connection of the INVITE broke: before the answer another one is tried.

        A caller that it does not lead to, or that breaks it as well, has as good as cancelled.

        Spec: RFC 3261 §18.2.2.
        """
        if self.state is not CallState.EARLY:
            return
        if now - self._reopened_at >= REOPEN_S:
            self._reopened_at = now
            self.host.send(PING, self._transaction.hop, self._transaction.key)
        else:
            self._transaction.terminate()
            self._reliable.finish()
            self.emit(Cancelled())
            self.close(now)

    def reopened(self, flow: int) -> None:
        """Another connection leads to the caller, in place of the one that broke."""
        assert self.dialog is not None
        assert self.peer is not None
        lost, self.peer = self.peer, replace(self.peer, port=self._transaction.hop.port, flow=flow)
        if self.dialog.source == lost:
            self.dialog.source = self.peer

    def _receive_prack(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Take the PRACK of a reliable response, with the answer to our offer or an offer of its own."""
        acknowledged = self._reliable.acknowledge(request)
        if acknowledged is None:
            self.respond(transaction, 481, now)
            return
        if acknowledged.is_offer:
            self.respond(transaction, 200, now)
            self.offers.initial_pending = False
            self.emit(OfferAnswered(readable_sdp(request)))
        elif request.body and self.is_over:
            self.respond(transaction, 488, now)  # nobody would answer the offer
        elif request.body:
            self.offers.receive_offer(request, transaction, now)
        else:
            self.respond(transaction, 200, now)
        self._reliable.send_next(now)
        self._accept_held(now)

    def no_prack(self, now: float) -> None:
        """A reliable response was not acknowledged: the call cannot come about.  Spec: RFC 3262 §3."""
        if self.state is CallState.EARLY:
            self.reject(504, now)
            self.emit(NotAcknowledged())

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK of the first 2xx, or of a re-INVITE's."""
        first = ack.cseq.number == self.invite.cseq.number
        if not first or self.state not in (CallState.ANSWERED, CallState.ENDING):
            super().receive_ack(ack, now)
        elif self.offers.take_ack(ack):
            if self.state is CallState.ENDING:
                self.send_bye(now, self._hangup_headers)
                return
            self.move(CallStep.ACKNOWLEDGE)
            self.emit(Acknowledged(readable_sdp(ack)))
            self.offers.resume()

    def _remote_hangup(self, dialog: Dialog, now: float) -> None:
        """BYE before our final response ends the INVITE with 487.  Spec: RFC 3261 §15.1.2."""
        if self.state is CallState.EARLY:
            self.reject(487, now)
            self.emit(RemoteHangup())
            return
        super()._remote_hangup(dialog, now)


def patience_of(invite: Request) -> float | None:
    """Return the seconds that Expires gives for a final response, None if there is no limit to keep.

    Spec: RFC 3261 §13.3.1, §20.19.
    """
    if "expires" not in invite.headers.first:
        return None
    match = _DELTA.fullmatch(invite.headers.first["expires"] or "x")
    if match is None:
        return None
    seconds = int(match[1] or "0")
    return float(seconds) if seconds <= MAX_PATIENCE_S else None
