"""Calls that go out: the caller's side of an INVITE, with its forks.

Spec: RFC 3261 §13.2, §9.1; RFC 3262 §4; RFC 4028 §7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vb.sip.call import Call, CallAgent
from vb.sip.call_events import (
    Answered,
    DialFailed,
    DialFailure,
    EarlyMedia,
    NextTargetDue,
    Refused,
    RemoteHangup,
    Ringing,
)
from vb.sip.call_host import HeaderList
from vb.sip.call_state import CallState, CallStep
from vb.sip.client_transaction import ClientTransaction
from vb.sip.dialog import Dialog
from vb.sip.digest import Credentials, DigestClient
from vb.sip.hop import Hop
from vb.sip.identity import Identity
from vb.sip.invite_requests import build_ack_in, ignore_outcome, send_cancel
from vb.sip.message import Headers, Request, Response
from vb.sip.multipart import readable_sdp
from vb.sip.options import SUPPORTED
from vb.sip.reliable import reliable_number
from vb.sip.timers import TIMEOUT_S
from vb.sip.transaction import FailureKind
from vb.sip.transaction_tables import TransactionState
from vb.sip.uri import SipUri

MAX_FORKS = 32


@dataclass(frozen=True, slots=True)
class DialPlan:
    """What an INVITE of ours says.

    Attributes:
        to: value of the To header.
        headers: further headers, checked already.
        route: a proxy that the INVITE goes through; its URI has `lr`.
    """

    target: SipUri
    to: str
    identity: Identity
    headers: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None
    route: SipUri | None = None

    @property
    def is_secure(self) -> bool:
        """Whether our Contact has to be a SIPS URI.  Spec: RFC 3261 §8.1.1.8."""
        return "sips" in (self.target.scheme, self.route.scheme if self.route is not None else "")


class OutboundCall(Call):
    """An INVITE of ours and the dialogs that come of it; the first 2xx decides which one is the call's.

    Attributes:
        invite: the request as sent last; None until `start`.
        has_alternatives: where a server cannot take the call, others are to be tried (RFC 3263 §4.3).
    """

    direction: Literal["inbound", "outbound"] = "outbound"

    def __init__(self, host: CallAgent, plan: DialPlan, call_id: str, local_tag: str) -> None:
        super().__init__(host, call_id, local_tag, None)
        self.plan = plan
        self.invite: Request | None = None
        self.has_alternatives = False
        self._failure: Refused | DialFailed | None = None  # of the server that was tried last
        self._sdp = b""
        self._cseq = 0
        self._transaction: ClientTransaction | None = None
        self._early: dict[str, Dialog] = {}
        self._surplus: dict[str, Dialog] = {}  # early dialogs of the forks that did not get the call
        self._rseq: dict[str, int] = {}  # of the last reliable response of each fork
        self._early_answers: set[str] = set()  # forks that answered our offer for good
        self._acks: dict[str, tuple[bytes, Hop]] = {}
        self._cancel_sent = False
        self._challenged = 0
        if plan.credentials is not None:
            self.digest = DigestClient(plan.credentials, lambda: host.ids.token(8))

    # -- orders ---------------------------------------------------------------------------------

    def start(self, hop: Hop, sdp: bytes, now: float) -> None:
        """Send the INVITE; without effect if the call was hung up meanwhile."""
        if self.state is not CallState.EARLY or self._transaction is not None:
            return
        self.peer = hop
        self._sdp = sdp
        self._challenged = 0
        self._send_invite(hop, [], now)

    def start_elsewhere(self, hop: Hop, now: float) -> None:
        """Send the INVITE to another server, as `NextTargetDue` asks."""
        self.start(hop, self._sdp, now)

    def give_up(self, now: float) -> None:
        """No other server is left: report how the last one failed, and close."""
        if self.state is CallState.EARLY and self._failure is not None:
            self.emit(self._failure)
        self.close(now)

    def _goes_on(self, failure: Refused | DialFailed) -> bool:
        """Say whether another server is to be tried; then the driver is asked for it."""
        if not self.has_alternatives or self.state is not CallState.EARLY:
            return False
        self._failure, self._transaction = failure, None
        self._forget_forks()
        self.emit(NextTargetDue(silent=isinstance(failure, DialFailed)))
        return True

    def fail(self, kind: DialFailure, now: float) -> None:
        """The call cannot be set up: report it and close."""
        if self.state is CallState.EARLY:
            self.emit(DialFailed(kind))
        self.close(now)

    def hangup(self, now: float, *, headers: HeaderList = ()) -> None:
        """Not answered: CANCEL, held back until the first provisional response. Else BYE."""
        if self.state is CallState.CONFIRMED:
            self.send_bye(now, headers)
        elif self.state is CallState.EARLY:
            self.move(CallStep.END)
            self._timers.clear()
            if self._transaction is None:
                self.close(now)
            elif self._transaction.state is TransactionState.PROCEEDING:
                self._send_cancel(now)

    def _send_invite(self, hop: Hop, authorization: list[tuple[str, str]], now: float) -> None:
        host, plan = self.host, self.plan
        self._cseq += 1
        custom = {name.lower() for name, _ in plan.headers}
        headers = Headers(
            [
                ("Via", host.local_via(hop)),
                ("Max-Forwards", "70"),
                *([("Route", f"<{plan.route}>")] if plan.route is not None else []),
                ("From", f"{plan.identity.from_};tag={self.local_tag}"),
                ("To", plan.to),
                ("Call-ID", self.call_id),
                ("CSeq", f"{self._cseq} INVITE"),
                ("Contact", host.local_contact(hop, secure=plan.is_secure)),
                ("Allow", host.allow),
                ("Supported", SUPPORTED),
                *self.session.timer.initial_headers(),
            ]
        )
        defaults = [
            ("User-Agent", host.settings.product),
            ("P-Asserted-Identity", plan.identity.asserted),
            ("Privacy", plan.identity.privacy),
        ]
        for name, value in defaults:
            if value is not None and name.lower() not in custom:
                headers.add(name, value)
        for name, value in [*plan.headers, *authorization]:
            headers.add(name, value)
        if self._sdp:
            headers.add("Content-Type", "application/sdp")
        self.invite = Request("INVITE", plan.target.as_request_uri(), headers, self._sdp)
        self._transaction = host.start_client(self.invite, hop, self._on_response, self._on_failure, now)
        self._transaction.outlives_flow = True

    def _send_cancel(self, now: float) -> None:
        """Send CANCEL once; without a final response in 64·T1 the call is over.  Spec: RFC 3261 §9.1."""
        transaction = self._transaction
        if self._cancel_sent or transaction is None:
            return
        self._cancel_sent = True
        self.set_timer(self._give_up, now + TIMEOUT_S)
        send_cancel(self.host, transaction, now)

    def _give_up(self, now: float) -> None:
        if self._transaction is not None:
            self._transaction.terminate()
        self.close(now)

    # -- responses to the INVITE ----------------------------------------------------------------

    def _on_failure(self, transaction: ClientTransaction, kind: FailureKind, now: float) -> None:
        if transaction is not self._transaction:
            return
        if transaction.is_pending and self.state is CallState.EARLY:
            # It rang, and may be answered over another connection: take it back.
            self.emit(DialFailed(kind))
            self.hangup(now)
        elif not transaction.is_pending and not self._goes_on(DialFailed(kind)):
            self.fail(kind, now)

    def _on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            self._on_provisional(response, now)
        elif response.status < 300:
            self._on_success(transaction, response, now)
        else:
            self._on_refusal(transaction, response, now)

    def _on_provisional(self, response: Response, now: float) -> None:
        if self.state is CallState.ENDING:
            self._send_cancel(now)
            return
        tag = response.to.tag
        if response.status == 100 or self.state is not CallState.EARLY:
            return
        has_dialog = bool(tag) and (tag in self._early or len(self._early) < MAX_FORKS)
        number = reliable_number(response)
        if number is not None and not (has_dialog and self._is_next(tag, number)):
            return  # seen before, or its predecessor was lost: it comes again (RFC 3262 §4)
        if has_dialog:
            self._early[tag] = self._dialog_from(response)
        sdp = readable_sdp(response)
        if number is not None:
            self._acknowledge(tag, number, response, now)
            if sdp is not None:
                self._early_answers.add(tag)
        if sdp is None:
            self.emit(Ringing(response.status, response.reason))
        else:
            self.emit(EarlyMedia(response.status, sdp, tag))

    def _is_next(self, tag: str, number: int) -> bool:
        return tag not in self._rseq or number == self._rseq[tag] + 1

    def _acknowledge(self, tag: str, number: int, response: Response, now: float) -> None:
        """Send PRACK in the early dialog.  Spec: RFC 3262 §4, §7.2."""
        self._rseq[tag] = number
        rack = f"{number} {response.cseq.number} INVITE"
        # The INVITE goes on, whatever happens to a PRACK.
        self.send("PRACK", ignore_outcome, now, dialog=self._early[tag], headers=[("RAck", rack)])

    def has_early_answer(self, remote_tag: str) -> bool:
        """Whether a fork answered our offer reliably, so that offers may follow in its early dialog."""
        return remote_tag in self._early_answers

    def _forget_forks(self) -> None:
        self._early.clear()
        self._rseq.clear()
        self._early_answers.clear()

    def _dialog_from(self, response: Response) -> Dialog:
        assert self.invite is not None
        assert self.peer is not None
        tag = response.to.tag
        known = self._early.get(tag) or self._surplus.get(tag)
        dialog = Dialog.from_response(self.invite, response, self.plan.target, self.peer)
        if known is None:
            return dialog
        known.renew(dialog)  # the same one: a request in it may have to be sent again
        return known

    def _on_success(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Acknowledge every 2xx; the first is the call, every other fork gets BYE."""
        tag = response.to.tag
        if tag not in self._acks:
            if len(self._acks) >= MAX_FORKS:
                return
            dialog = self._dialog_from(response)
            self._acks[tag] = build_ack_in(dialog, self.host, transaction.request)
            self.host.send(*self._acks[tag])
            self._take_fork(dialog, response, now)
            return
        self.host.send(*self._acks[tag])

    def _take_fork(self, dialog: Dialog, response: Response, now: float) -> None:
        if self.dialog is not None or self.state is CallState.CLOSED:
            # A surplus fork is gone, whatever it says.
            self.send("BYE", ignore_outcome, now, dialog=dialog)
            return
        self.dialog = dialog
        self.is_answered = True
        self._surplus.update(self._early)
        self._forget_forks()
        self.offers.initial_pending = False
        if self.state is CallState.ENDING:
            self.send_bye(now)
            return
        self.move(CallStep.ESTABLISH)
        self.session.accepted(response, now)
        self.emit(Answered(readable_sdp(response), response.headers, dialog.remote_tag))

    def _on_refusal(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if self.dialog is not None or transaction is not self._transaction:
            return
        if self.state is CallState.EARLY:
            if self.digest is not None and response.status in (401, 407):
                request = transaction.request
                answers = self.digest.answer(
                    response, "INVITE", request.uri, request.headers, self._challenged
                )
                if answers is not None:
                    self._challenged += 1
                    self._forget_forks()
                    self._send_invite(transaction.hop, answers, now)
                    return
            if self.session.raised(response):
                self._forget_forks()
                self._send_invite(transaction.hop, [], now)  # used nonces are not sent twice
                return
            refused = Refused(response.status, response.reason)
            if response.status == 503 and self._goes_on(refused):
                return
            self.emit(refused)
        self.close(now)

    # -- requests of the peer before the answer ---------------------------------------------------

    def has_dialog(self, remote_tag: str) -> bool:
        """Whether a request with this From tag belongs to the call or to a fork of it."""
        return super().has_dialog(remote_tag) or remote_tag in self._early

    def _dialog_of(self, request: Request) -> Dialog | None:
        return super()._dialog_of(request) or self._early.get(request.from_.tag)

    def _remote_hangup(self, dialog: Dialog, now: float) -> None:
        """A callee that ends its early dialog: the call goes on while other forks ring."""
        if dialog is self.dialog:
            super()._remote_hangup(dialog, now)
            return
        self._early.pop(dialog.remote_tag, None)
        if not self._early and self.state is CallState.EARLY:
            self.emit(RemoteHangup())
            self.hangup(now)
