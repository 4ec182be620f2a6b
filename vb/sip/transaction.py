"""Transactions: the state machines of `vb.sip.transaction_tables` at work.  Spec: RFC 3261 §17, RFC 6026.

A transaction sends through its host, keeps at most two timers (when to repeat, when to end) and
tells its user what happened by two callbacks. It never reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

from vb.sip.headers import Via
from vb.sip.hop import Hop, TransactionKey
from vb.sip.message import Headers, Request, Response
from vb.sip.timers import T1_S, T2_S, TIMEOUT_S, Timed
from vb.sip.transaction_tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Machine,
    Rule,
    Sends,
    TransactionEvent,
    TransactionState,
    response_event,
)

FailureKind = Literal["timeout", "transport"]


def final_status(outcome: Response | FailureKind) -> int:
    """Return what a request came to, where none came: 408 for silence, 503 for a peer out of reach.

    Spec: RFC 3261 §8.1.3.1.
    """
    if isinstance(outcome, Response):
        return outcome.status
    return 408 if outcome == "timeout" else 503


# A UAS that needs longer than this for its first response lets the transaction send 100.
TRYING_DELAY_S = 0.2


class TransactionHost(Protocol):
    """What a transaction needs from the agent that owns it."""

    def send(self, data: bytes, hop: Hop, sender: TransactionKey | None = None) -> None:
        """Queue bytes for a hop; `sender` is the transaction that they are the request of."""
        ...

    def schedule(self, item: Timed) -> None:
        """Take note of a changed deadline."""
        ...

    def forget(self, transaction: Transaction) -> None:
        """Drop a terminated transaction."""
        ...


class Transaction:
    """State shared by all four kinds.

    Attributes:
        machine: the table that it follows.
    """

    __slots__ = ("_end_at", "_host", "_interval_s", "_repeat_at", "hop", "key", "queued_for", "state")

    machine: ClassVar[Machine]

    def __init__(self, host: TransactionHost, key: TransactionKey, hop: Hop) -> None:
        self._host = host
        self.key = key
        self.hop = hop
        self.state = self.machine.first
        self.queued_for: float | None = None
        self._repeat_at: float | None = None
        self._end_at: float | None = None
        self._interval_s = T1_S

    @property
    def deadline(self) -> float | None:
        """When `expire` is due."""
        if self._repeat_at is None:
            return self._end_at
        if self._end_at is None:
            return self._repeat_at
        return min(self._repeat_at, self._end_at)

    def expire(self, now: float) -> None:
        """Repeat or end, whatever is due."""
        if self._end_at is not None and now >= self._end_at:
            self._end(now)
        elif self._repeat_at is not None and now >= self._repeat_at:
            self._repeat(now)

    @property
    def is_terminated(self) -> bool:
        """Whether the host has forgotten this transaction."""
        return self.state is TransactionState.TERMINATED

    def terminate(self) -> None:
        """End at once, without telling the user."""
        self.state = TransactionState.TERMINATED
        self._repeat_at = self._end_at = None
        self._host.forget(self)

    # -- following the table ----------------------------------------------------------------------

    def _rule(self, event: TransactionEvent) -> Rule | None:
        """Return what an event does now; None if it is ignored."""
        return self.machine.rules[self.state].get(event)

    def _follow(self, rule: Rule, now: float) -> None:
        """Send what a rule says and go where it leads; whom it tells is up to the caller."""
        if rule.sends is not Sends.NOTHING:
            self._send(rule.sends)
        if rule.state is not self.state:
            self._enter(rule.state, now)

    def _enter(self, state: TransactionState, now: float) -> None:
        """Go to a state; one that only absorbs repetitions ends after a while, or at once."""
        self.state = state
        linger = self.machine.lingers.get(state)
        if linger is not None:
            seconds = linger[1] if self.hop.is_reliable else linger[0]
            self._repeat_at = None
            if seconds > 0:
                self._end_at = now + seconds
                self._host.schedule(self)
                return
        if linger is not None or state is TransactionState.TERMINATED:
            self.terminate()

    def _send(self, what: Sends) -> None:
        """Send what a rule names."""
        raise NotImplementedError

    def _end(self, now: float) -> None:
        """Take the end timer."""
        raise NotImplementedError

    def _repeat(self, now: float) -> None:
        """Take the timer of repetitions, and set it anew."""
        rule = self._rule(TransactionEvent.REPEAT_DUE)
        if rule is not None:
            self._follow(rule, now)
            self._interval_s = self._next_interval_s()
            self._repeat_at = now + self._interval_s

    def _next_interval_s(self) -> float:
        """Return how long to wait after this repetition."""
        return min(self._interval_s * 2, T2_S)


class ClientTransaction(Transaction):
    """A request of ours and the responses to it.

    Args:
        on_response: called with every response that is not a repetition; of an INVITE also with
            every further 2xx.
        on_failure: called when no final response will come, at most once; see `outlives_flow`.

    Attributes:
        ack_sent: the user's ACK of a 2xx, for the 2xx that come again.
        flow: number of the connection that the request went out on; 0 = none.
        outlives_flow: once there was a provisional response, a lost connection is told to the user but ends
            nothing: a final response may come over another one.
    """

    __slots__ = (
        "_data",
        "_end_by",
        "_fallback",
        "_on_failure",
        "_on_response",
        "ack_sent",
        "flow",
        "outlives_flow",
        "request",
    )

    def __init__(
        self,
        host: TransactionHost,
        request: Request,
        hop: Hop,
        on_response: Callable[[ClientTransaction, Response, float], None],
        on_failure: Callable[[ClientTransaction, FailureKind, float], None],
    ) -> None:
        super().__init__(host, (request.via.branch.lower(), request.method), hop)
        self.request = request
        self.ack_sent: tuple[bytes, Hop] | None = None
        self.flow = 0
        self.outlives_flow = False
        self._data = request.to_bytes()
        self._end_by: float | None = None
        self._fallback: Hop | None = None
        self._on_response = on_response
        self._on_failure = on_failure

    def start(self, now: float) -> None:
        """Send the request; timers A/E and B/F begin."""
        self._host.send(self._data, self.hop, self.key)
        if not self.hop.is_reliable:
            self._repeat_at = now + T1_S
        self._end_at = now + TIMEOUT_S
        self._host.schedule(self)

    @property
    def size(self) -> int:
        """Length of the request in bytes."""
        return len(self._data)

    def try_first(self, hop: Hop) -> None:
        """Before the start: try another hop first, and the present one where that cannot be reached."""
        self._fallback = self.hop
        self._move(hop)

    @property
    def can_fall_back(self) -> bool:
        """Whether another hop is left that may be reached."""
        return self._fallback is not None and self.state is self.machine.first

    def fall_back(self, now: float) -> None:
        """Start again over the hop that is left."""
        assert self._fallback is not None
        self._move(self._fallback)
        self._fallback = None
        self.start(now)

    def _move(self, hop: Hop) -> None:
        """Go to another hop; the top Via names its transport.  Spec: RFC 3261 §18.1.1."""
        via = self.request.via
        self.hop = hop
        self.request.replace_top_via(Via(hop.transport.upper(), via.host, via.port, via.params))
        self._data = self.request.to_bytes()

    @property
    def is_pending(self) -> bool:
        """Whether a final response may still come."""
        return self.state is self.machine.first or self.state is TransactionState.PROCEEDING

    def end_by(self, at: float) -> None:
        """Fail at a time unless a final response comes before, whatever provisional ones say till then."""
        if self.is_pending:
            self._end_by = at
            self._end_at = at if self._end_at is None else min(self._end_at, at)
            self._host.schedule(self)

    def receive(self, response: Response, now: float) -> None:
        """Take a response that matches this transaction."""
        raise NotImplementedError

    def transport_failed(self, now: float) -> None:
        """The transport cannot deliver (ICMP refusal, broken connection); a ringing peer is believed more."""
        if self.state is TransactionState.PROCEEDING:
            if not self.hop.is_reliable:
                return
            if self.outlives_flow:
                self._on_failure(self, "transport", now)
                return
        self._fail(TransactionEvent.TRANSPORT_ERROR, "transport", now)

    def _end(self, now: float) -> None:
        self._fail(TransactionEvent.END_DUE, "timeout", now)

    def _fail(self, event: TransactionEvent, kind: FailureKind, now: float) -> None:
        rule = self._rule(event)
        if rule is None:
            return
        on_failure = self._on_failure  # the end lets go of it
        self._follow(rule, now)
        if rule.tells:
            on_failure(self, kind, now)

    def terminate(self) -> None:
        """End at once, without telling the user, who is let go."""
        super().terminate()
        self._on_response = self._on_failure = _ignore

    def _send(self, what: Sends) -> None:
        self._host.send(self._data, self.hop, self.key)


class InviteClientTransaction(ClientTransaction):
    """Spec: RFC 3261 §17.1.1, RFC 6026 §7.2."""

    __slots__ = ("_ack",)

    machine = INVITE_CLIENT
    _ack: bytes

    def receive(self, response: Response, now: float) -> None:
        """Take a response; the ACK of a 3xx..6xx is sent from here, that of a 2xx by the user."""
        event = response_event(response.status)
        rule = self._rule(event)
        if rule is None:
            return
        on_response = self._on_response  # the end lets go of it
        if event is TransactionEvent.PROVISIONAL:
            self._repeat_at, self._end_at = None, self._end_by
        elif rule.sends is Sends.ACK and self.is_pending:
            self._ack = self._build_ack(response).to_bytes()
        self._follow(rule, now)
        if rule.tells:
            on_response(self, response, now)

    def _send(self, what: Sends) -> None:
        if what is Sends.ACK:
            self._host.send(self._ack, self.hop)
        else:
            super()._send(what)

    def _next_interval_s(self) -> float:
        return self._interval_s * 2  # timer A has no upper end

    def _build_ack(self, response: Response) -> Request:
        """Build the ACK of a non-2xx final response.  Spec: RFC 3261 §17.1.1.3."""
        invite = self.request
        headers = Headers()
        headers.add("Via", str(invite.via))
        for route in invite.headers.get_all("Route"):
            headers.add("Route", route)
        headers.add("Max-Forwards", "70")
        headers.add("From", invite.required("From"))
        headers.add("To", response.required("To"))
        headers.add("Call-ID", invite.call_id)
        headers.add("CSeq", f"{invite.cseq.number} ACK")
        return Request("ACK", invite.uri, headers)


class NonInviteClientTransaction(ClientTransaction):
    """Spec: RFC 3261 §17.1.2."""

    __slots__ = ()

    machine = NON_INVITE_CLIENT

    def receive(self, response: Response, now: float) -> None:
        """Take a response; repeated finals are dropped."""
        rule = self._rule(response_event(response.status))
        if rule is None:
            return
        on_response = self._on_response  # the end lets go of it
        self._follow(rule, now)
        if rule.tells:
            on_response(self, response, now)

    def _next_interval_s(self) -> float:
        return T2_S if self.state is TransactionState.PROCEEDING else super()._next_interval_s()


class ServerTransaction(Transaction):
    """A request from a peer and our responses to it; `hop` is where responses go.

    Attributes:
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
        return self.state is self.machine.first or self.state is TransactionState.PROCEEDING

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
        on_ack: called with an ACK that reuses the INVITE's branch although a 2xx was sent.
        on_settled: called once a final response is out of our hands: the ACK of a 3xx..6xx came,
            or nobody sent one.
    """

    __slots__ = ("_trying", "on_ack", "on_settled")

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
        self.on_ack: Callable[[Request, float], None] | None = None
        self.on_settled: Callable[[float], None] | None = None
        self._trying: Response | None = trying
        self._repeat_at = now + TRYING_DELAY_S
        host.schedule(self)

    def send_trying(self) -> None:
        """Send the 100 unless any response was sent."""
        if self._trying is not None and self.state is TransactionState.PROCEEDING:
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
        if self.state is TransactionState.COMPLETED:
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
        if self.state is not TransactionState.ACCEPTED:
            self._settle(now)
        elif self.on_ack is not None:
            self.on_ack(request, now)

    def _send(self, what: Sends) -> None:
        if what is Sends.TRYING:
            self.send_trying()
        else:
            super()._send(what)

    def _repeat(self, now: float) -> None:
        if self.state is TransactionState.COMPLETED:
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
        if self.state is TransactionState.ACCEPTED:
            self._last = None
            self.request.body = b""

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
    if via.has_magic_branch:
        return (via.branch.lower(), via.host, port, method)
    cseq = str(request.cseq.number)
    return (via.branch, via.host, port, method, request.call_id, request.from_.tag, cseq)


def _ignore(transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
    """What is over tells nobody anything."""
