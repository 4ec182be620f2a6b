"""Requests of a peer: the server transactions.  Spec: RFC 3261 §17.2, RFC 6026 §7.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vb.sip.hop import Hop, TransactionKey
from vb.sip.message import Headers, Request, Response
from vb.sip.timers import T1_S, TIMEOUT_S
from vb.sip.transaction import Transaction, TransactionHost
from vb.sip.transaction_tables import (
    INVITE_SERVER,
    NON_INVITE_SERVER,
    Sends,
    TransactionEvent,
    TransactionState,
    response_event,
)

# A UAS that needs longer than this for its first response lets the transaction send 100.
TRYING_DELAY_S = 0.2
_MAGIC_COOKIE: Final = "z9hg4bk"
"""What a branch begins with that is unique as RFC 3261 demands; older peers repeat theirs."""
# Looked up once: to Python 3.11 the member of an enumeration is a slow property.
_PROCEEDING: Final = TransactionState.PROCEEDING
_COMPLETED: Final = TransactionState.COMPLETED
_ACCEPTED: Final = TransactionState.ACCEPTED
_ANSWERED: Final = Request("", "", Headers())
"""Stands for a request that nobody needs any more: thousands wait half a minute for repetitions."""


class ServerTransaction(Transaction):
    """A request from a peer and our responses to it; `hop` is where responses go.

    Attributes:
        request: the request, as long as a response may be made of it.
        local_tag: our tag in the dialog that the request belongs to.
    """

    __slots__ = ("_last", "local_tag", "request")

    def __init__(
        self, host: TransactionHost, key: TransactionKey, request: Request, hop: Hop, local_tag: str
    ) -> None:
        super().__init__(host, key, hop)
        self.request = request
        self.local_tag = local_tag
        self._last: bytes | None = None

    def receive(self, request: Request, now: float) -> None:
        """Take a repetition of the request, or an ACK."""
        raise NotImplementedError

    def respond(self, response: Response, now: float) -> None:
        """Send a response; one after the final response is not sent."""
        raise NotImplementedError

    @property
    def is_pending(self) -> bool:
        """Whether no final response was sent yet."""
        return self.state is self.machine.first or self.state is _PROCEEDING

    @property
    def last_response(self) -> bytes:
        """The last response as sent, empty before the first."""
        return self._last or b""

    def _send(self, what: Sends) -> None:
        if self._last is not None:
            self._host.send(self._last, self.hop)


class InviteServerTransaction(ServerTransaction):
    """Spec: RFC 3261 §17.2.1, RFC 6026 §7.1.

    Attributes:
        identity: what is the same in every copy of the request, None where nobody looks for copies.
        on_ack: called with an ACK that reuses the INVITE's branch although a 2xx was sent.
        on_settled: called once a final response is out of our hands: the ACK of a 3xx..6xx came,
            or nobody sent one.
    """

    __slots__ = ("_trying", "identity", "on_ack", "on_settled")

    machine = INVITE_SERVER

    def __init__(
        self,
        host: TransactionHost,
        key: TransactionKey,
        request: Request,
        hop: Hop,
        local_tag: str,
        trying: Response,
        now: float,
    ) -> None:
        super().__init__(host, key, request, hop, local_tag)
        self.identity: tuple[str, str, int] | None = None
        self.on_ack: Callable[[Request, float], None] | None = None
        self.on_settled: Callable[[float], None] | None = None
        self._trying: Response | None = trying
        self._repeat_at = now + TRYING_DELAY_S
        host.schedule(self)

    def send_trying(self) -> None:
        """Send the 100 unless any response was sent."""
        if self._trying is not None and self.state is _PROCEEDING:
            self._keep(self._trying)
            self._send(Sends.RESPONSE)

    def _keep(self, response: Response) -> None:
        """Keep a response as the newest one: there is no need for the 100 any more."""
        self._trying = None
        self._repeat_at = None
        self._last = response.to_bytes()

    def respond(self, response: Response, now: float) -> None:
        """Send a response and keep it for repetitions of the INVITE; a 2xx is repeated by the user."""
        rule = self._rule(response_event(response.status))
        if rule is None:
            return
        self._keep(response)
        self._follow(rule, now)
        if self.state is _COMPLETED:
            if not self.hop.is_reliable:
                self._repeat_at = now + T1_S
            self._end_at = now + TIMEOUT_S
            self._host.schedule(self)

    def receive(self, request: Request, now: float) -> None:
        """Answer a repeated INVITE with the last response; take an ACK."""
        rule = self._rule(TransactionEvent.ACK if request.method == "ACK" else TransactionEvent.REQUEST)
        if rule is None:
            return
        self._follow(rule, now)
        if not rule.tells:
            return
        if self.state is not _ACCEPTED:
            self._settle(now)
        elif self.on_ack is not None:
            self.on_ack(request, now)

    def _send(self, what: Sends) -> None:
        if what is Sends.TRYING:
            self.send_trying()
        else:
            super()._send(what)

    def _repeat(self, now: float) -> None:
        if self.state is _COMPLETED:
            super()._repeat(now)
        elif (rule := self._rule(TransactionEvent.REPEAT_DUE)) is not None:
            self._follow(rule, now)  # the 100 goes out once: no timer follows

    def _end(self, now: float) -> None:
        rule = self._rule(TransactionEvent.END_DUE)
        if rule is not None:
            self._follow(rule, now)
            if rule.tells:
                self._settle(now)

    def terminate(self) -> None:
        """End at once, without telling the user, who is let go."""
        super().terminate()
        self.on_ack = None

    def let_go(self) -> None:
        """The user is done: what only absorbs repetitions of an answered INVITE needs neither him nor it."""
        self.on_ack = None
        if self.state is _ACCEPTED:
            self._last = None
            self.request = _ANSWERED

    def _settle(self, now: float) -> None:
        settled, self.on_settled = self.on_settled, None
        if settled is not None:
            settled(now)


class NonInviteServerTransaction(ServerTransaction):
    """Spec: RFC 3261 §17.2.2."""

    __slots__ = ()

    machine = NON_INVITE_SERVER

    def respond(self, response: Response, now: float) -> None:
        """Send a response and keep it for repetitions of the request."""
        rule = self._rule(response_event(response.status))
        if rule is not None:
            self._last = response.to_bytes()
            self._follow(rule, now)
            if self.state is _COMPLETED:
                self.request = _ANSWERED

    def receive(self, request: Request, now: float) -> None:
        """Answer a repetition with the last response."""
        rule = self._rule(TransactionEvent.REQUEST)
        if rule is not None:
            self._follow(rule, now)

    def _end(self, now: float) -> None:
        rule = self._rule(TransactionEvent.END_DUE)
        if rule is not None:
            self._follow(rule, now)


def server_key(request: Request) -> TransactionKey:
    """Return the key by which requests match a server transaction; ACK and CANCEL find their INVITE.

    Spec: RFC 3261 §17.2.3, with the fallback for branches of RFC 2543 peers.
    """
    via = request.via
    method = "INVITE" if request.method in ("ACK", "CANCEL") else request.method
    port = str(via.port or 5060)
    branch = via.params.get("branch") or ""
    unique = branch.lower()
    if unique.startswith(_MAGIC_COOKIE) and unique != _MAGIC_COOKIE:
        return (unique, via.host, port, method)
    cseq = str(request.cseq.number)
    return (branch, via.host, port, method, request.call_id, request.from_.tag, cseq)
