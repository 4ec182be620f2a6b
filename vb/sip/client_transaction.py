"""Requests of ours: the client transactions.  Spec: RFC 3261 §17.1, RFC 6026 §7.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vb.sip.framing import PING
from vb.sip.headers import Via
from vb.sip.hop import Hop
from vb.sip.message import Headers, Request, Response
from vb.sip.timers import KEEP_ALIVE_S, T1_S, T2_S, TIMEOUT_S
from vb.sip.transaction import FailureKind, Transaction, TransactionHost
from vb.sip.transaction_tables import (
    INVITE_CLIENT,
    NON_INVITE_CLIENT,
    Sends,
    TransactionEvent,
    TransactionState,
    response_event,
)

# Looked up once: to Python 3.11 the member of an enumeration is a slow property.
_PROCEEDING: Final = TransactionState.PROCEEDING
_MAY_COME_TWICE: Final = frozenset({"INVITE", "BYE", "CANCEL"})
_PROVISIONAL: Final = TransactionEvent.PROVISIONAL


class ClientTransaction(Transaction):
    """A request of ours and the responses to it.

    Args:
        on_response: called with every response that is not a repetition; of an INVITE also with
            every further 2xx.
        on_failure: called when no final response will come, at most once; see `outlives_flow`.

    Attributes:
        ack_sent: the user's ACK of a 2xx, for the 2xx that come again.
        flow: number of the connection that the request went out on; 0 = none.
        reuses_flow: that connection was up before the request.
        outlives_flow: once there was a provisional response, a lost connection is told to the user but ends
            nothing: a final response may come over another one.
    """

    __slots__ = (
        "_data",
        "_end_by",
        "_fallback",
        "_has_gone_again",
        "_on_failure",
        "_on_response",
        "ack_sent",
        "flow",
        "outlives_flow",
        "request",
        "reuses_flow",
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
        self.reuses_flow = False
        self.outlives_flow = False
        self._data = request.to_bytes()
        self._end_by: float | None = None
        self._fallback: Hop | None = None
        self._has_gone_again = False
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

    @property
    def can_go_again(self) -> bool:
        """Whether another connection is worth a try, because the lost one may have been dead before.

        Firewalls forget connections, and peers restart. Only a request that may come twice qualifies: an
        INVITE finds its transaction again, and the second BYE or CANCEL finds nothing to end.
        """
        is_first = self.state is self.machine.first and not self._has_gone_again
        return is_first and self.reuses_flow and self.request.method in _MAY_COME_TWICE

    def go_again(self) -> None:
        """Send the request once more, over another connection than the lost one."""
        self._has_gone_again = True
        self._host.send(self._data, self.hop, self.key)

    def _move(self, hop: Hop) -> None:
        """Go to another hop; the top Via names its transport.  Spec: RFC 3261 §18.1.1."""
        via = self.request.via
        self.hop = hop
        self.request.replace_top_via(Via(hop.transport.upper(), via.host, via.port, via.params))
        self._data = self.request.to_bytes()

    @property
    def is_pending(self) -> bool:
        """Whether a final response may still come."""
        return self.state is self.machine.first or self.state is _PROCEEDING

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
        if self.state is _PROCEEDING:
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
        if event is _PROVISIONAL:
            self._repeat_at, self._end_at = None, self._end_by
            if self.hop.is_reliable:
                self._repeat_at = now + KEEP_ALIVE_S
                self._host.schedule(self)
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

    def _repeat(self, now: float) -> None:
        if self.state is not _PROCEEDING:
            super()._repeat(now)
            return
        # It may ring for minutes, and proxies close what carries nothing: the response needs the connection.
        self._host.send(PING, self.hop, self.key)
        self._repeat_at = now + KEEP_ALIVE_S

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
        return T2_S if self.state is _PROCEEDING else super()._next_interval_s()


def _ignore(transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
    """What is over tells nobody anything."""
