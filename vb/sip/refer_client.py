"""REFERs that we send: one at a time, and the NOTIFYs that tell what becomes of it.

Spec: RFC 3515 §2.4, RFC 6665 §4.1, RFC 4488.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from vb.sip.call_host import CallContext, CallPart
from vb.sip.call_state import CallState
from vb.sip.client_transaction import ClientTransaction
from vb.sip.errors import CallStateError, SipParseError
from vb.sip.message import Request, Response
from vb.sip.refer import (
    SIPFRAG,
    SubscriptionState,
    event_id,
    has_no_subscription,
    read_sipfrag,
    subscription_state,
)
from vb.sip.refer_events import ReferAccepted, ReferFinished, ReferProgress, ReferRefused
from vb.sip.server_transaction import ServerTransaction
from vb.sip.status import reason_phrase
from vb.sip.transaction import FailureKind, final_status
from vb.sip.uri import bracketed

NOTIFY_TIMEOUT_S = 60.0
"""How long the peer may be silent about an accepted REFER."""

MAX_SUBSCRIPTION_S = 300.0
"""How far a longer subscription, as named by the peer, stretches that."""


@dataclass(slots=True, eq=False)
class _Sent:
    """A REFER on its way.

    Attributes:
        first_cseq: of its first attempt; a challenge makes another.
        cseq: of the attempt that was accepted, None before that.
        last: newest status that a NOTIFY brought.
    """

    first_cseq: int
    cseq: int | None = None
    was_notified: bool = False
    last: tuple[int, str] | None = None


class ReferClient(CallPart):
    """Our REFERs in one dialog."""

    __slots__ = ("_has_abandoned", "_sent")

    def __init__(self, call: CallContext) -> None:
        super().__init__(call)
        self._sent: _Sent | None = None
        self._has_abandoned = False

    @property
    def is_busy(self) -> bool:
        """Whether a REFER waits for its end."""
        return self._sent is not None

    def refer(self, refer_to: str, now: float) -> None:
        """Send a REFER.

        Raises:
            CallStateError: if the call is not confirmed, or another REFER is under way.
        """
        call = self._call
        if call.state is not CallState.CONFIRMED or call.dialog is None:
            raise CallStateError("the call is not connected")
        if self._sent is not None:
            raise CallStateError("a transfer is under way already")
        sent = self._sent = _Sent(call.dialog.local_cseq + 1)
        settings = call.host.settings
        family = call.peer.family if call.peer is not None else 4
        host = bracketed(settings.domain or settings.host(family))
        headers = [("Refer-To", refer_to), ("Referred-By", f"<sip:{host}>")]
        call.send("REFER", partial(self._answered, sent), now, headers=headers)

    def _answered(
        self, sent: _Sent, transaction: ClientTransaction, outcome: Response | FailureKind, now: float
    ) -> None:
        if self._sent is not sent:
            return  # a NOTIFY was faster and brought the end
        if not isinstance(outcome, Response):
            if not sent.was_notified:
                status = final_status(outcome)
                self._refused(status, reason_phrase(status), now)
            return
        if outcome.status >= 300:
            self._refused(outcome.status, outcome.reason, now)
            return
        sent.cseq = transaction.request.cseq.number
        is_subscribed = not has_no_subscription(outcome)
        if is_subscribed:
            self._wait(None, now)
        else:
            self.abort()
        self._call.emit(ReferAccepted(outcome.status, outcome.reason, is_subscribed))

    def _refused(self, status: int, reason: str, now: float) -> None:
        self.abort()
        self._call.emit(ReferRefused(status, reason))
        if status in (408, 481):
            self._call.lost(status, now)

    # -- NOTIFY ---------------------------------------------------------------------------------

    def receive_notify(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Take a NOTIFY; one that belongs to no REFER of ours gets 481."""
        call, sent = self._call, self._match(request)
        if sent is None:
            call.respond(transaction, 481, now)
            return
        try:
            state, told = subscription_state(request), read_sipfrag(request)
        except SipParseError as error:
            accept = [("Accept", SIPFRAG)] if error.status == 415 else []
            call.respond(transaction, error.status, now, headers=accept)
            return
        call.respond(transaction, 200, now)
        sent.was_notified = True
        sent.last = told or sent.last
        if state is None:  # older peers leave it out: a final status is then the last word
            state = SubscriptionState(told is not None and told[0] >= 200)
        if state.is_terminated:
            self._finish(f"the far end ended the subscription: {state.reason or 'no reason given'}")
            return
        self._wait(state.expires_s, now)
        if told is not None:
            call.emit(ReferProgress(*told))

    def _match(self, request: Request) -> _Sent | None:
        """Return the REFER that a NOTIFY belongs to.

        Without an id it is the oldest one whose subscription may still live.

        Spec: RFC 3515 §2.4.6.
        """
        sent, found, dialog = self._sent, event_id(request), self._call.dialog
        if sent is None or found is None or dialog is None:
            return None
        if not found:
            return None if self._has_abandoned else sent
        if sent.cseq is not None:
            return sent if found == str(sent.cseq) else None
        attempts = range(sent.first_cseq, dialog.local_cseq + 1)
        return sent if found in map(str, attempts) else None

    def _wait(self, expires_s: int | None, now: float) -> None:
        wait_s = max(NOTIFY_TIMEOUT_S, min(float(expires_s or 0), MAX_SUBSCRIPTION_S))
        self._call.set_timer(self._give_up, now + wait_s)

    def _give_up(self, now: float) -> None:
        self._has_abandoned = True
        self._finish("no NOTIFY came in time")

    def _finish(self, problem: str) -> None:
        """Report the end: the newest status if it is final, else the problem."""
        sent = self._sent
        assert sent is not None
        self.abort()
        status, reason = sent.last or (None, None)
        is_final = status is not None and status >= 200
        self._call.emit(ReferFinished(status, reason, None if is_final else problem))

    def abort(self) -> None:
        """Forget the REFER: its end is known, or that of the call."""
        self._sent = None
        self._call.clear_timer(self._give_up)
