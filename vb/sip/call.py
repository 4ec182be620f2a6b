"""One call: the INVITE usage of a dialog, what both directions share.  Spec: RFC 3261 §12, §15.

The owner of a call gives orders (`hangup`, `answer_offer`, …) and reads events; `Closed` is always the
last. `vb.sip.inbound` and `vb.sip.outbound` add how a call comes about, `vb.sip.exchange` what changes
its session later, `vb.sip.refresh` what keeps it alive, `vb.sip.refer_client` and `vb.sip.refer_server`
what transfers it. Extensions attach at `_IN_DIALOG`, by method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Literal, Protocol

from vb.sip.call_events import (
    CallEvent,
    Closed,
    DialogLost,
    InfoReceived,
    OfferReceived,
    OfferRequested,
    RemoteHangup,
    SessionExpired,
)
from vb.sip.call_host import CallHost, Done, HeaderList
from vb.sip.call_state import CALL_TRANSITIONS, CallState, CallStep
from vb.sip.client_transaction import ClientTransaction
from vb.sip.dialog import Dialog, asks_for_sips
from vb.sip.digest import AUTHORIZATIONS, DigestClient
from vb.sip.exchange import Offer, OfferExchange
from vb.sip.headers import media_type
from vb.sip.hop import Hop
from vb.sip.info_client import InfoClient
from vb.sip.message import Request, Response, response_to
from vb.sip.options import SUPPORTED
from vb.sip.refer_client import ReferClient
from vb.sip.refer_server import ReferServer
from vb.sip.refresh import SessionKeeper
from vb.sip.server_transaction import ServerTransaction
from vb.sip.transaction import FailureKind, final_status

# What is sent once more for a challenge although the call is over.
LAST_WORDS = frozenset({"BYE", "NOTIFY"})


class CallAgent(CallHost, Protocol):
    """What a call needs from its agent beyond what its parts need."""

    def emit(self, call: Call, event: CallEvent) -> None:
        """Queue an event for the owner of a call."""
        ...

    def closed(self, call: Call) -> None:
        """Forget a call."""
        ...


class Call:
    """What inbound and outbound calls share.

    Attributes:
        dialog: the confirmed dialog, or the callee's early one; None before there is any.
        peer: where the peer's messages come from; names family and transport of the call.
        is_answered: a 2xx to the INVITE was sent or received.
        replaced_by: the newest call that was let in to take the place of this one, as long as it lives.
    """

    direction: Literal["inbound", "outbound"]

    def __init__(self, host: CallAgent, call_id: str, local_tag: str, peer: Hop | None) -> None:
        self.host = host
        self.call_id = call_id
        self.local_tag = local_tag
        self.peer = peer
        self.state = CallState.EARLY
        self.is_answered = False
        self.replaced_by: Callable[[], Call | None] = nobody
        self.dialog: Dialog | None = None
        self.digest: DigestClient | None = None
        self.queued_for: float | None = None
        self.exchange = OfferExchange(self)
        self.session = SessionKeeper(self, host.settings.session_expires_s)
        self.info_client = InfoClient(self)
        self.refer_client = ReferClient(self)
        self.refer_server = ReferServer(self)
        self._timers: dict[Callable[[float], None], float] = {}

    def move(self, step: CallStep) -> None:
        """Take a step to another state."""
        self.state = CALL_TRANSITIONS[self.state][step]

    # -- timers ---------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When the next timer of the call is due."""
        return min(self._timers.values()) if self._timers else None

    def expire(self, now: float) -> None:
        """Run the timers that are due."""
        for action, at in list(self._timers.items()):
            if at <= now and self._timers.get(action) == at:
                del self._timers[action]
                action(now)

    def set_timer(self, action: Callable[[float], None], at: float) -> None:
        """Run an action once at a time, in place of its earlier wish; a closed call has no timers."""
        if self.state is not CallState.CLOSED:
            self._timers[action] = at
            self.host.schedule(self)

    def clear_timer(self, action: Callable[[float], None]) -> None:
        """Forget a timer."""
        self._timers.pop(action, None)

    # -- orders ---------------------------------------------------------------------------------

    def hangup(self, now: float, *, headers: HeaderList = ()) -> None:
        """End the call the way its state demands; any number of times."""
        raise NotImplementedError

    def answer_offer(self, sdp: bytes, now: float) -> None:
        """Answer the peer's offer, or give the offer it asked for.

        Raises:
            NoPendingOffer: if there is none.
        """
        self.exchange.answer(sdp, now)

    def refuse_offer(
        self, status: int, now: float, *, reason: str | None = None, headers: HeaderList = ()
    ) -> None:
        """Refuse the peer's offer; the session stays as it was.

        Raises:
            NoPendingOffer: if there is none.
        """
        self.exchange.refuse(status, reason, headers, now)

    def reoffer(self, offer: Offer, now: float) -> None:
        """Offer a new session by re-INVITE; `OfferAnswered`, `OfferRefused` or `DialogLost` follows.

        The offer waits for the end of an exchange that runs; then `OfferDue` comes, behind how that one
        ended, and `send_offer` sends it. A function is asked for its text only then, so that it fits what
        was agreed meanwhile.

        Raises:
            CallStateError: if the call is not confirmed, or an offer is waiting already.
        """
        self.exchange.offer(offer)

    def send_offer(self, now: float) -> None:
        """Send the offer that is due; one that has to wait again becomes due again."""
        self.exchange.send_offer(now)

    @property
    def pending_offer(self) -> OfferReceived | OfferRequested | None:
        """The event whose offer, or wish for one, waits for our answer: the very object that was emitted."""
        return self.exchange.pending

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, though its last requests may still be under way."""
        return self.state in (CallState.ENDING, CallState.CLOSED)

    # -- requests of the peer -------------------------------------------------------------------

    def has_dialog(self, remote_tag: str) -> bool:
        """Whether a request with this From tag, in lower case, belongs to the call."""
        return self.dialog is not None and self.dialog.remote_tag == remote_tag

    def has_early_answer(self, remote_tag: str) -> bool:
        """Whether the INVITE's offer was answered for good in this early dialog."""
        return False

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours."""
        self.exchange.receive_ack(ack, now)

    def receive_cancel(self, transaction: ServerTransaction, now: float) -> None:
        """Take a CANCEL, answered already, for a pending request of the peer."""
        self.exchange.cancel(transaction, now)

    def receive_request(
        self, request: Request, transaction: ServerTransaction, source: Hop, now: float
    ) -> None:
        """Take a request inside the dialog; it has passed the checks that need no dialog."""
        dialog = self._dialog_of(request)
        if dialog is None or self.state is CallState.CLOSED:
            self.respond(transaction, 481, now)
            return
        if not dialog.accept_sequence(request):
            self.respond(transaction, 500, now)
            return
        dialog.source = source
        handler = self._IN_DIALOG.get(request.method)
        if handler is None:  # a method that is taken outside dialogs only
            self.respond(transaction, 405, now)
        else:
            handler(self, request, transaction, now)

    def _dialog_of(self, request: Request) -> Dialog | None:
        return self.dialog if self.has_dialog(request.from_.tag) else None

    def _receive_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, 200, now)
        dialog = self._dialog_of(request)
        assert dialog is not None  # or the request would not have come here
        self._remote_hangup(dialog, now)

    def _receive_offer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if self.state is CallState.ENDING:
            self.respond(transaction, 481, now)  # for us the session is over: nobody would answer
        else:
            self.exchange.receive_offer(request, transaction, now)

    def _receive_options(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, 200, now)

    def _receive_info(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, 200, now)
        kind = media_type(request.headers.get("Content-Type") or "")
        self.emit(InfoReceived(kind, request.body))

    def _receive_refer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.refer_server.receive(request, transaction, now)

    def _receive_notify(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.refer_client.receive_notify(request, transaction, now)

    def _receive_prack(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """No reliable response of ours is out."""
        self.respond(transaction, 481, now)

    _IN_DIALOG: ClassVar[Mapping[str, Callable[[Call, Request, ServerTransaction, float], None]]] = {
        "INVITE": _receive_offer,
        "UPDATE": _receive_offer,
        "BYE": _receive_bye,
        # An inbound call has its own.
        "PRACK": lambda call, request, transaction, now: call._receive_prack(request, transaction, now),
        "REFER": _receive_refer,
        "NOTIFY": _receive_notify,
        "OPTIONS": _receive_options,
        "INFO": _receive_info,
    }

    def _remote_hangup(self, dialog: Dialog, now: float) -> None:
        """The peer's BYE was answered."""
        ending = self.state is CallState.ENDING
        self.exchange.abort(now)
        self.refer_server.abort(now)
        if not ending:
            self.emit(RemoteHangup())
        self.close(now)

    # -- for the parts of a call ----------------------------------------------------------------

    def emit(self, event: CallEvent) -> None:
        """Report an event unless the call is closed."""
        if self.state is not CallState.CLOSED:
            self.host.emit(self, event)

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        headers: HeaderList = (),
        body: bytes | None = None,
    ) -> None:
        """Respond to a request of the peer."""
        request = transaction.request
        response = response_to(request, status, reason, to_tag=self.local_tag)
        add_response_headers(response, request, self.host, transaction.hop)
        if 200 <= status < 300 and request.method in ("INVITE", "UPDATE"):
            dialog = self._dialog_of(request)
            if dialog is not None:
                dialog.refresh_target(request)  # a refused request changes nothing (RFC 3261 §12.2.2)
            for name, value in self.session.answer(request, now):
                response.headers.add(name, value)
        for name, value in headers:
            response.headers.add(name, value)
        if body is not None:
            response.headers.add("Content-Type", "application/sdp")
            response.body = body
        transaction.respond(response, now)

    def send(
        self,
        method: str,
        done: Done,
        now: float,
        *,
        dialog: Dialog | None = None,
        headers: HeaderList = (),
        body: bytes = b"",
        attempt: int = 0,
    ) -> ClientTransaction:
        """Send a request inside the dialog.

        Challenges are answered with the call's credentials.

        Args:
            done: called once with the final response, or with the way it failed; for an INVITE also
                with every further 2xx. After the end of the call only with a 2xx to an INVITE.
            attempt: how often this request was challenged before.
        """
        dialog = dialog or self.dialog
        assert dialog is not None
        dialog.local_cseq += 1
        hop = dialog.next_hop(to_source=self.host.settings.use_source_socket)
        uri, routes = dialog.request_target()
        all_headers = dialog.headers(self.host.local_via(hop), dialog.local_cseq, method, routes)
        if method in ("INVITE", "UPDATE"):
            all_headers.add("Contact", self.host.local_contact(hop, secure=dialog.is_secure))
            all_headers.add("Allow", self.host.allow)
            all_headers.add("Supported", SUPPORTED)
            all_headers.add("User-Agent", self.host.settings.product)
            for name, value in self.session.timer.request_headers():
                all_headers.add(name, value)
        elif method in ("REFER", "NOTIFY"):
            all_headers.add("Contact", self.host.local_contact(hop, secure=dialog.is_secure))
        for name, value in headers:
            all_headers.add(name, value)
        if body and "Content-Type" not in all_headers:
            all_headers.add("Content-Type", "application/sdp")
        retry = partial(self.send, method, done, dialog=dialog, body=body)
        # Both are methods of the call: until the outcome is told, its transaction keeps the call alive.
        transaction = self.host.start_client(
            Request(method, uri, all_headers, body),
            hop,
            partial(self._response, retry, done, list(headers), attempt),
            partial(self._outcome, done),
            now,
        )
        if method == "INVITE":
            self.exchange.sent(transaction, now)
        return transaction

    def _response(
        self,
        retry: Callable[..., ClientTransaction],
        done: Done,
        headers: list[tuple[str, str]],
        attempt: int,
        transaction: ClientTransaction,
        response: Response,
        now: float,
    ) -> None:
        request = transaction.request
        if response.status < 200:
            return
        if not self.is_over or request.method in LAST_WORDS:
            kept = [item for item in headers if item[0].lower() not in AUTHORIZATIONS]
            if response.status in (401, 407) and self.digest is not None:
                answers = self.digest.answer(response, request.method, request.uri, request.headers, attempt)
                if answers is not None:
                    retry(now, headers=kept + answers, attempt=attempt + 1)
                    return
            if self.session.raised(response):
                retry(now, headers=kept, attempt=attempt)  # used nonces are not sent twice
                return
        self._outcome(done, transaction, response, now)

    def _outcome(
        self, done: Done, transaction: ClientTransaction, outcome: Response | FailureKind, now: float
    ) -> None:
        """Tell how a request ended; once the call is closed that concerns nobody, but a 2xx wants its ACK."""
        wants_ack = transaction.request.method == "INVITE" and final_status(outcome) < 300
        if self.state is not CallState.CLOSED or wants_ack:
            done(transaction, outcome, now)

    def send_bye(self, now: float, headers: HeaderList = ()) -> None:
        """Send BYE and close when it is answered."""
        self.move(CallStep.END)
        self._timers.clear()
        self.exchange.abort(now)
        self.refer_client.abort()
        self.refer_server.abort(now)
        self.refer_server.after_notify(partial(self._send_bye, headers), now)

    def _send_bye(self, headers: HeaderList, now: float) -> None:
        self.send("BYE", self._bye_done, now, headers=headers)

    def _bye_done(self, transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
        self.close(now)

    def lost(self, status: int, now: float) -> None:
        """The peer has lost the dialog: say so, and send BYE all the same.  Spec: RFC 3261 §12.2.1.2."""
        if self.state is CallState.CONFIRMED:
            self.emit(SessionExpired() if self.session.refreshing else DialogLost(status))
            self.send_bye(now)

    def close(self, now: float) -> None:
        """Report `Closed` and leave the agent; any number of times."""
        if self.state is CallState.CLOSED:
            return
        self.exchange.abort(now)
        self.refer_client.abort()
        self.refer_server.abort(now)
        self.emit(Closed())
        self.move(CallStep.CLOSE)
        self._timers.clear()
        self.host.closed(self)


def nobody() -> None:
    """Stand in for a weak reference to a call where there is no call."""


def add_response_headers(response: Response, request: Request, host: CallHost, hop: Hop) -> None:
    """Add what our responses carry besides the copied headers.

    A response that makes or refreshes a dialog names our Contact, one that makes it also the route
    (RFC 3261 §12.1.1); Contact means something else in 3xx.
    """
    headers = response.headers
    if request.method in ("INVITE", "UPDATE") and not 300 <= response.status < 400:
        secure = hop.transport == "tls" and asks_for_sips(request)
        headers.add("Contact", host.local_contact(hop, secure=secure))
        if 100 < response.status < 300:
            for route in request.headers.get_all("Record-Route"):
                headers.add("Record-Route", route)
    if request.method in ("INVITE", "UPDATE", "OPTIONS") or response.status == 405:
        headers.add("Allow", host.allow)
        if 200 <= response.status < 300:
            headers.add("Supported", SUPPORTED)
    if request.method == "OPTIONS" and response.status == 200:
        headers.add("Accept", "application/sdp")
    headers.add("Server", host.settings.product)
