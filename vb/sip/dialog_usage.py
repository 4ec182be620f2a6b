"""A call's dialog at work: state and timers, our responses to the peer, our requests and their challenges.

Spec: RFC 3261 §12.2, §22.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from vb.sip.call_host import CallHost, Done, HeaderList
from vb.sip.call_state import CALL_TRANSITIONS, CallState, CallStep
from vb.sip.client_transaction import ClientTransaction
from vb.sip.dialog import Dialog, asks_for_sips
from vb.sip.dialog_offers import DialogOffers
from vb.sip.digest import AUTHORIZATIONS, DigestClient
from vb.sip.hop import Hop
from vb.sip.message import Request, Response, response_to
from vb.sip.options import SUPPORTED
from vb.sip.server_transaction import ServerTransaction
from vb.sip.session_refresh import SessionRefresher
from vb.sip.timers import QueueEntry
from vb.sip.transaction import FailureKind, final_status

# What is sent once more for a challenge although the call is over.
LAST_WORDS = frozenset({"BYE", "NOTIFY"})


class DialogUsage:
    """What a call has of its dialog.

    Attributes:
        host: the agent.
        dialog: the confirmed dialog, or the callee's early one; None before there is any.
        peer: where the peer's messages come from; names family and transport of the call.
        offers: offers and answers.
        session: the session timer.
    """

    direction: Literal["inbound", "outbound"]
    offers: DialogOffers
    session: SessionRefresher

    def __init__(self, host: CallHost, call_id: str, local_tag: str, peer: Hop | None) -> None:
        self.host = host
        self.call_id = call_id
        self.local_tag = local_tag
        self.peer = peer
        self.state = CallState.EARLY
        self.dialog: Dialog | None = None
        self.digest: DigestClient | None = None
        self.queued_as: QueueEntry | None = None
        self._timers: dict[Callable[[float], None], float] = {}

    def move(self, step: CallStep) -> None:
        """Take a step to another state."""
        self.state = CALL_TRANSITIONS[self.state][step]

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, though its last requests may still be under way."""
        return self.state in (CallState.ENDING, CallState.CLOSED)

    # -- the dialog -----------------------------------------------------------------------------

    def has_dialog(self, remote_tag: str) -> bool:
        """Whether a request with this From tag, in lower case, belongs to the call."""
        return self.dialog is not None and self.dialog.remote_tag == remote_tag

    def _dialog_of(self, request: Request) -> Dialog | None:
        return self.dialog if self.has_dialog(request.from_.tag) else None

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

    # -- responses and requests ------------------------------------------------------------------

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
        all_headers = response_headers(request, status, self.host, transaction.hop)
        if 200 <= status < 300 and request.method in ("INVITE", "UPDATE"):
            dialog = self._dialog_of(request)
            if dialog is not None:
                dialog.refresh_target(request)  # a refused request changes nothing (RFC 3261 §12.2.2)
            all_headers += self.session.answer(request, now)
        all_headers += headers
        if body is not None:
            all_headers.append(("Content-Type", "application/sdp"))
        response = response_to(request, status, reason, to_tag=self.local_tag, headers=all_headers)
        response.body = body or b""
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
            self.offers.sent(transaction, now)
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


def response_headers(request: Request, status: int, host: CallHost, hop: Hop) -> list[tuple[str, str]]:
    """Return what our responses carry besides the copied headers.

    A response that makes or refreshes a dialog names our Contact, one that makes it also the route
    (RFC 3261 §12.1.1); Contact means something else in 3xx.
    """
    method = request.method
    headers: list[tuple[str, str]] = []
    if method in ("INVITE", "UPDATE") and not 300 <= status < 400:
        secure = hop.transport == "tls" and asks_for_sips(request)
        headers.append(("Contact", host.local_contact(hop, secure=secure)))
        if 100 < status < 300 and "record-route" in request.headers.first:
            headers += [("Record-Route", route) for route in request.headers.get_all("Record-Route")]
    if method in ("INVITE", "UPDATE", "OPTIONS") or status == 405:
        headers.append(("Allow", host.allow))
        if 200 <= status < 300:
            headers.append(("Supported", SUPPORTED))
    if method == "OPTIONS" and status == 200:
        headers.append(("Accept", "application/sdp"))
    headers.append(("Server", host.settings.product))
    return headers
