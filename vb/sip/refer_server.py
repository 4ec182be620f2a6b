"""REFERs that a peer sends: one at a time, and the NOTIFYs that tell it what becomes of it.

Spec: RFC 3515 §2.4, RFC 6665 §4.2, RFC 4488.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal

from vb.sip.call_host import CallContext, CallPart
from vb.sip.call_state import CallState
from vb.sip.client_transaction import ClientTransaction
from vb.sip.errors import CallStateError, SipParseError
from vb.sip.message import Request, Response
from vb.sip.refer import PACKAGE, SIPFRAG, read_refer, sipfrag
from vb.sip.refer_events import ReferExpired, ReferReceived
from vb.sip.server_transaction import ServerTransaction
from vb.sip.status import reason_phrase
from vb.sip.transaction import FailureKind

EXPIRES_S = 60
"""What each NOTIFY says about the life of the subscription."""

REFRESH_S = 40.0
"""A peer that heard nothing for so long is told the newest status again."""

LIFETIME_S = 180.0
"""How long an accepted REFER may go on."""

BYE_DELAY_S = 2.0
"""How long a BYE waits for the answer to the last NOTIFY: a peer forgets the dialog with the BYE."""

MAX_REFERS = 10
WINDOW_S = 60.0

Phase = Literal["none", "undecided", "accepted"]


class ReferServer(CallPart):
    """The peer's REFERs in one dialog.

    Attributes:
        phase: whether one waits for a decision, or was accepted and has not come to its end.
    """

    __slots__ = (
        "_after_notify",
        "_arrivals",
        "_event",
        "_final_pending",
        "_last",
        "_seen",
        "_transaction",
        "_wants_notify",
        "phase",
    )

    def __init__(self, call: CallContext) -> None:
        super().__init__(call)
        self.phase: Phase = "none"
        self._transaction: ServerTransaction | None = None
        self._seen = 0
        self._arrivals: deque[float] = deque(maxlen=MAX_REFERS)
        self._event = PACKAGE
        self._wants_notify = True
        self._last = (100, reason_phrase(100))
        self._final_pending = False
        self._after_notify: Callable[[float], None] | None = None

    def receive(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Take a REFER of the peer: refuse it, or report it and wait for a decision."""
        call = self._call
        if call.state is not CallState.CONFIRMED:
            call.respond(transaction, 481 if call.state is CallState.ENDING else 603, now)
            return
        self._seen += 1
        try:
            refer = read_refer(request)
        except SipParseError as error:
            call.respond(transaction, error.status, now, reason=str(error))
            return
        if self.phase != "none":
            call.respond(transaction, 603, now)
            return
        if len(self._arrivals) == MAX_REFERS and now - self._arrivals[0] < WINDOW_S:
            retry_s = int(self._arrivals[0] + WINDOW_S - now) + 1
            call.respond(transaction, 503, now, headers=[("Retry-After", str(retry_s))])
            return
        self._arrivals.append(now)
        self.phase = "undecided"
        self._transaction = transaction
        self._wants_notify = refer.wants_notify
        # The first REFER of a dialog needs no id, every further one does (RFC 3515 §2.4.6).
        self._event = PACKAGE if self._seen == 1 else f"{PACKAGE};id={request.cseq.number}"
        call.set_timer(self._nobody_decided, now + call.host.settings.refer_consult_s)
        call.emit(ReferReceived(refer))

    # -- deciding -------------------------------------------------------------------------------

    def accept(self, now: float) -> None:
        """Send 202 and the first NOTIFY.

        Raises:
            CallStateError: if no REFER waits for a decision.
        """
        transaction = self._take()
        call = self._call
        headers = [("Contact", call.host.local_contact(transaction.hop))]
        if not self._wants_notify:
            headers.append(("Refer-Sub", "false"))
        call.respond(transaction, 202, now, headers=headers)
        self.phase = "accepted"
        call.set_timer(self._too_late, now + LIFETIME_S)
        self.notify(100, reason_phrase(100), now)

    def decline(self, status: int, reason: str | None, now: float) -> None:
        """Refuse the REFER.

        Raises:
            CallStateError: if no REFER waits for a decision.
        """
        transaction = self._take()
        self.phase = "none"
        self._call.respond(transaction, status, now, reason=reason)

    def _take(self) -> ServerTransaction:
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            raise CallStateError("no REFER waits for a decision")
        self._call.clear_timer(self._nobody_decided)
        return transaction

    def _nobody_decided(self, now: float) -> None:
        self.decline(603, None, now)
        self._call.emit(ReferExpired(603, reason_phrase(603)))

    # -- reporting ------------------------------------------------------------------------------

    def notify(self, status: int, reason: str, now: float) -> None:
        """Tell the peer how far its REFER has come; a final status ends it.

        Raises:
            CallStateError: if no REFER was accepted.
        """
        if self.phase != "accepted":
            raise CallStateError("no REFER was accepted")
        self._last = (status, reason)
        if status >= 200:
            self.phase = "none"
            self._call.clear_timer(self._refresh)
            self._call.clear_timer(self._too_late)
        if self._wants_notify:
            self._send(now)

    def _send(self, now: float) -> None:
        status, reason = self._last
        is_final = status >= 200
        state = "terminated;reason=noresource" if is_final else f"active;expires={EXPIRES_S}"
        headers = [
            ("Event", self._event),
            ("Subscription-State", state),
            ("Content-Type", f"{SIPFRAG};version=2.0"),
        ]
        if is_final:
            self._final_pending = True
        else:
            self._call.set_timer(self._refresh, now + REFRESH_S)
        done = partial(self._notified, is_final)
        self._call.send("NOTIFY", done, now, headers=headers, body=sipfrag(status, reason))

    def _refresh(self, now: float) -> None:
        self._send(now)

    def _notified(
        self,
        is_final: bool,
        transaction: ClientTransaction,
        outcome: Response | FailureKind,
        now: float,
    ) -> None:
        if not isinstance(outcome, Response) or outcome.status in (408, 481):
            self._wants_notify = False  # it does not listen any more (RFC 6665 §4.2.2)
            self._call.clear_timer(self._refresh)
        if is_final:
            self._final_pending = False
            self._release(now)

    def _too_late(self, now: float) -> None:
        self.notify(408, reason_phrase(408), now)
        self._call.emit(ReferExpired(408, reason_phrase(408)))

    # -- the end of the call --------------------------------------------------------------------

    def abort(self, now: float) -> None:
        """The call ends: answer what the peer still waits for, report nothing more."""
        if self._transaction is not None:
            self._call.respond(self._take(), 487, now)
        self.phase = "none"
        self._after_notify = None

    def after_notify(self, action: Callable[[float], None], now: float) -> None:
        """Run an action now, or when the last NOTIFY under way has been answered."""
        if not self._final_pending:
            action(now)
            return
        self._after_notify = action
        self._call.set_timer(self._release, now + BYE_DELAY_S)

    def _release(self, now: float) -> None:
        action, self._after_notify = self._after_notify, None
        self._call.clear_timer(self._release)
        if action is not None and self._call.state is not CallState.CLOSED:
            action(now)
