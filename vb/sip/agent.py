"""The user agent: one object that owns every transaction, dialog and call.

Bytes, orders and time go in; bytes, events and the next deadline come out. The driver in
`vb.sip.tasks` feeds it, so no socket and no clock is needed to test any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s

from vb.errors import Unavailable
from vb.ids import IdSource
from vb.sip.admission import Refusal, check_request
from vb.sip.call import Call
from vb.sip.call_events import CallEvent, Incoming
from vb.sip.client_transaction import ClientTransaction, InviteClientTransaction, NonInviteClientTransaction
from vb.sip.dialog_usage import response_headers
from vb.sip.errors import SipParseError
from vb.sip.fates import Fates, Place
from vb.sip.headers import Via
from vb.sip.hop import Hop, Outgoing, TransactionKey, default_port
from vb.sip.inbound import InboundCall
from vb.sip.invite_handler import InviteHandler
from vb.sip.message import Request, Response, response_to
from vb.sip.outbound import DialPlan, OutboundCall
from vb.sip.outside_dialog import OutsideHandler, OutsideRequest, RefuseNew, method_table
from vb.sip.parser import parse_message
from vb.sip.replacing import EndedDialogs
from vb.sip.server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
    server_key,
)
from vb.sip.settings import AgentSettings
from vb.sip.timers import TimerQueue
from vb.sip.transaction import FailureKind, Transaction
from vb.sip.uri import bracketed

RETRY_AFTER_S = 5
MAX_UDP_REQUEST_BYTES = 1300
_KEEP_ALIVE_BYTES = b"\r\n\0 \t"


@dataclass(slots=True)
class AgentStats:
    """What happened since the start, for metrics."""

    messages: int = 0
    malformed: int = 0
    ignored_header_lines: int = 0
    keep_alives: int = 0
    stray: int = 0
    refused_overload: int = 0


class UserAgent:
    """A SIP user agent without I/O.

    Args:
        further_methods: what handles methods outside dialogs that no call needs.

    Attributes:
        methods: the methods that are taken.
        allow: value of the Allow header.
        schedule: takes note of a changed deadline.
        deadline: tells when `expire` should be called next, None if that is not before some time.
        ended: calls that ended not long ago.
        refuse_new: asked before a new INVITE becomes a call, and what would become of one.
    """

    def __init__(
        self,
        settings: AgentSettings,
        ids: IdSource,
        further_methods: Mapping[str, OutsideHandler] | None = None,
    ) -> None:
        self.settings = settings
        self.ids = ids
        self.stats = AgentStats()
        self.refuse_new: RefuseNew | None = None
        self._secret = ids.token(16).encode()
        self._clients: dict[TransactionKey, ClientTransaction] = {}
        self._servers: dict[TransactionKey, ServerTransaction] = {}
        self._fates = Fates()
        self._invites = InviteHandler(self)
        self.methods = method_table(
            self._invites, self._invites.tell_options, info=settings.accept_info, further=further_methods
        )
        self.allow = self.methods.allow
        self._contacts: dict[tuple[str, bool, bool], str] = {}
        self._calls: dict[tuple[str, str], Call] = {}
        self.ended = EndedDialogs()
        self._timers = TimerQueue()
        self.schedule, self.deadline = self._timers.schedule, self._timers.deadline
        self._outgoing: list[Outgoing] = []
        self._events: list[tuple[Call, CallEvent]] = []
        self._unanswered: list[InviteServerTransaction] = []

    # -- the six verbs --------------------------------------------------------------------------

    def receive(self, data: bytes, source: Hop, now: float) -> None:
        """Take one message; nothing that a peer sends raises."""
        if not data.strip(_KEEP_ALIVE_BYTES):
            self.stats.keep_alives += 1
            return
        self.stats.messages += 1
        try:
            message = parse_message(data)
            self.stats.ignored_header_lines += message.ignored_lines
            if isinstance(message, Response):
                self._receive_response(message, now)
            else:
                self._receive_request(message, source, now)
        except SipParseError as error:
            self._answer_malformed(error, source)

    def refuse_unframed(self, data: bytes, status: int, source: Hop) -> None:
        """Answer a request from a stream that cannot be cut into messages, as far as it is readable."""
        try:
            message = parse_message(data)
        except SipParseError as error:
            self._answer_malformed(error, source)
            return
        if isinstance(message, Request) and message.method != "ACK":
            self._answer_malformed(SipParseError("bad framing", status=status, request=message), source)

    def dial(self, plan: DialPlan) -> OutboundCall:
        """Make an outbound call; its `start` sends the INVITE.

        Raises:
            Unavailable: if there are too many calls or transactions.
        """
        if self._is_full():
            self.count_overload()
            raise Unavailable("too many SIP calls", retry_after_s=RETRY_AFTER_S)
        call = OutboundCall(self, plan, self.ids.token(16), self.ids.token(8))
        self._calls[call.call_id, call.local_tag] = call
        return call

    def outgoing(self) -> list[Outgoing]:
        """Return what is to be sent; new calls that were not refused at once get their 100 here."""
        for transaction in self._unanswered:
            transaction.send_trying()
        self._unanswered.clear()
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    @property
    def has_news(self) -> bool:
        """Whether `events` or `outgoing` would return anything."""
        return bool(self._events or self._outgoing or self._unanswered)

    def events(self) -> list[tuple[Call, CallEvent]]:
        """Return what happened since the last time; `Incoming` brings a new call."""
        events, self._events = self._events, []
        return events

    def expire(self, now: float, most: int | None = None) -> None:
        """Run the timers that are due, at most so many of them: then the deadline stays in the past."""
        self._timers.expire(now, most)

    def has_asked(self, places: Sequence[Place], quoted: bytes) -> bool:
        """Say whether a report of the network that quotes this is about a request that awaits a peer."""
        return self._fates.has_asked(places, quoted)

    def transport_failed(self, transport: str, host: str, port: int, now: float) -> None:
        """The transport reports that a peer cannot be reached: requests that wait for it fail.

        A peer that some requests know by a name is reported under that as well.
        """
        for transaction in self._fates.waiting_for((transport, host, port)):
            self._fail_over(transaction, now)

    def undelivered(self, sender: TransactionKey, now: float) -> None:
        """A request of ours could not be sent; that says nothing of others to the same peer."""
        transaction = self._clients.get(sender)
        if transaction is not None:
            self._fail_over(transaction, now)
        elif (call := self._invited_by(sender)) is not None:
            call.transport_lost(now)

    def sent_on(self, sender: TransactionKey, flow: int, *, reused: bool = False) -> None:
        """A request of ours, or a keep-alive to a caller, goes out on this connection: it shares its fate.

        A connection that is used once more may have died unnoticed.
        """
        transaction = self._clients.get(sender)
        if transaction is not None:
            self._fates.ride(transaction, flow, reused=reused)
        elif (call := self._invited_by(sender)) is not None:
            call.reopened(flow)
            self._fates.ride_in(call, flow)

    def _invited_by(self, key: TransactionKey) -> InboundCall | None:
        """Return the call that an INVITE of a peer has made, by the key of its transaction."""
        transaction = self._servers.get(key)
        if not isinstance(transaction, InviteServerTransaction) or transaction.identity is None:
            return None
        call = self._calls.get((transaction.identity[0], transaction.local_tag))
        return call if isinstance(call, InboundCall) else None

    def _fail_over(self, transaction: ClientTransaction, now: float) -> None:
        if transaction.can_fall_back:
            self._fates.leave(transaction)
            transaction.fall_back(now)
            self._fates.enter(transaction)
        else:
            transaction.transport_failed(now)

    def flow_lost(self, flow: int, now: float) -> None:
        """A connection is gone: requests on it fail; a call that came over it and rings tries another one."""
        requests, calls = self._fates.lost(flow)
        for transaction in requests:
            transaction.flow = 0
            if transaction.can_go_again and not transaction.can_fall_back:
                transaction.go_again()
            else:
                self._fail_over(transaction, now)
        for call in calls:
            if isinstance(call, InboundCall):
                call.transport_lost(now)

    def needs(self, flow: int) -> bool:
        """Say whether a call came over a connection, or a request of ours went out on it."""
        return self._fates.hangs_on(flow)

    @property
    def calls(self) -> int:
        """Number of calls that are not closed."""
        return len(self._calls)

    @property
    def transactions(self) -> int:
        """Number of transactions, lingering ones included."""
        return len(self._clients) + len(self._servers)

    # -- for transactions and calls (CallHost, TransactionHost) -----------------------------------

    def send(self, data: bytes, hop: Hop, sender: TransactionKey | None = None) -> None:
        """Queue bytes for a hop; `sender` is the transaction that they are the request of."""
        self._outgoing.append(Outgoing(data, hop, sender))

    def start_client(
        self,
        request: Request,
        hop: Hop,
        on_response: Callable[[ClientTransaction, Response, float], None],
        on_failure: Callable[[ClientTransaction, FailureKind, float], None],
        now: float,
    ) -> ClientTransaction:
        """Send a request in a transaction of its own.

        A long request goes over TCP unless UDP was asked for (RFC 3261 §18.1.1).
        """
        kind = InviteClientTransaction if request.method == "INVITE" else NonInviteClientTransaction
        transaction = kind(self, request, hop, on_response, on_failure)
        if transaction.size > MAX_UDP_REQUEST_BYTES and self._may_go_over_tcp(hop):
            transaction.try_first(Hop("tcp", hop.host, hop.port))
        self._clients[transaction.key] = transaction
        self._fates.enter(transaction)
        transaction.start(now)
        return transaction

    def _may_go_over_tcp(self, hop: Hop) -> bool:
        return hop.may_switch and self.settings.tcp_enabled

    def forget(self, transaction: Transaction) -> None:
        """Drop a terminated transaction."""
        if isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)
            self._fates.forget(transaction)
        elif isinstance(transaction, ServerTransaction):
            self._servers.pop(transaction.key, None)
            if isinstance(transaction, InviteServerTransaction):
                self._invites.forget(transaction)

    @property
    def known_calls(self) -> Mapping[tuple[str, str], Call]:
        """The calls that are not closed, by Call-ID and our tag."""
        return self._calls

    def add_inbound(self, call: InboundCall, transaction: InviteServerTransaction, source: Hop) -> None:
        """Take a new call in, and tell its owner."""
        self._calls[call.call_id, call.local_tag] = call
        self._fates.ride_in(call, source.flow)
        self._unanswered.append(transaction)
        self.emit(call, Incoming())

    def emit(self, call: Call, event: CallEvent) -> None:
        """Queue an event for the owner of a call."""
        self._events.append((call, event))

    def closed(self, call: Call) -> None:
        """Forget a call."""
        self._timers.discard(call)
        if self._calls.pop((call.call_id, call.local_tag), None) is not None and call.is_answered:
            self.ended.add(call.call_id, call.local_tag)
        self._fates.forget_call(call)

    def local_via(self, hop: Hop) -> str:
        """Return a Via value with a new branch for a request to a hop."""
        host = bracketed(self.settings.host(hop.family))
        branch = f"z9hG4bK{self.ids.token(8)}"
        port = self.settings.port_of(hop.transport)
        return f"SIP/2.0/{hop.transport.upper()} {host}:{port};branch={branch};rport"

    def local_contact(self, hop: Hop, *, secure: bool = False) -> str:
        """Return our Contact for a peer at a hop; a SIPS URI over TLS if it has to be secure."""
        kind = (hop.transport, ":" in hop.host, secure)
        contact = self._contacts.get(kind)
        if contact is None:
            contact = self._contacts[kind] = self._make_contact(hop, secure=secure)
        return contact

    def _make_contact(self, hop: Hop, *, secure: bool) -> str:
        host = bracketed(self.settings.host(hop.family))
        port = self.settings.port_of(hop.transport)
        if secure and hop.transport == "tls":
            return f"<sips:{host}:{port}>"
        transport = "" if hop.transport == "udp" else f";transport={hop.transport}"
        return f"<sip:{host}:{port}{transport}>"

    # -- responses ------------------------------------------------------------------------------

    def _receive_response(self, response: Response, now: float) -> None:
        via = response.via
        transaction = self._clients.get((via.branch.lower(), response.cseq.method))
        # A second Via means that the response was meant for somebody else (RFC 3261 §8.1.3.3).
        ours = (
            via.host in (self.settings.host4, self.settings.host6)
            and len(response.headers.get_list("Via")) == 1
        )
        transport = via.transport.lower()
        to_port = via.port or default_port(transport)
        if transaction is None or not ours or to_port != self.settings.port_of(transport):
            self.stats.stray += 1
            return
        transaction.receive(response, now)

    # -- requests -------------------------------------------------------------------------------

    def _receive_request(self, request: Request, source: Hop, now: float) -> None:
        key, tag = server_key(request), request.to.tag
        transaction = self._servers.get(key)
        if request.method == "CANCEL":
            self._receive_cancel(request, transaction, self._response_hop(request, source), now)
            return
        if transaction is not None:
            transaction.receive(request, now)
            return
        if request.method == "ACK":
            call = self._calls.get((request.call_id, tag))
            if call is not None and call.has_dialog(request.from_.tag):
                call.receive_ack(request, now)
            return
        hop = self._response_hop(request, source)
        refusal = check_request(request, self.methods)
        call = self._calls.get((request.call_id, tag)) if tag else None
        if refusal is None and tag and (call is None or not call.has_dialog(request.from_.tag)):
            refusal = Refusal(481)
        if refusal is None:
            if call is None:
                refusal = self.methods.handle(OutsideRequest(request, key, hop, source), now)
            else:
                refusal = self.refusal_when_full(in_dialog=True)
        if refusal is not None:
            self._refuse(request, refusal, hop, local_tag=call.local_tag if call is not None else None)
        elif call is not None:
            call.receive_request(
                request, self.new_server(key, request, hop, call.local_tag, now), source, now
            )

    def _receive_cancel(
        self, request: Request, transaction: ServerTransaction | None, hop: Hop, now: float
    ) -> None:
        """Answer a CANCEL without a transaction of its own: while its INVITE is known, always the same."""
        if transaction is None:
            self._refuse(request, Refusal(481), hop)
            return
        self._refuse(request, Refusal(200), hop, local_tag=transaction.local_tag)
        call = self._calls.get((request.call_id, transaction.local_tag))
        if call is not None:
            call.receive_cancel(transaction, now)

    def new_server(
        self, key: TransactionKey, request: Request, hop: Hop, local_tag: str, now: float
    ) -> ServerTransaction:
        """Begin a server transaction."""
        transaction: ServerTransaction
        if request.method == "INVITE":
            headers = response_headers(request, 100, self, hop)
            trying = response_to(request, 100, to_tag=local_tag, headers=headers)
            transaction = InviteServerTransaction(self, key, request, hop, local_tag, trying, now)
        else:
            transaction = NonInviteServerTransaction(self, key, request, hop, local_tag)
        self._servers[key] = transaction
        return transaction

    def _response_hop(self, request: Request, source: Hop) -> Hop:
        """Mark the top Via with what we saw and return where responses go.

        Spec: RFC 3261 §18.2.1, §18.2.2; RFC 3581 §4.
        """
        via = request.via
        wants_rport = "rport" in via.params
        if wants_rport or via.host != source.host:
            params = dict(via.params)
            if wants_rport:
                params["rport"] = str(source.port)
            params["received"] = source.host
            request.replace_top_via(Via(via.transport, via.host, via.port, params))
        if source.transport == "udp" and (wants_rport or self.settings.use_source_socket):
            return source
        return Hop(source.transport, source.host, via.port or default_port(source.transport), source.flow)

    # -- answers without a transaction ------------------------------------------------------------

    def _refuse(self, request: Request, refusal: Refusal, hop: Hop, *, local_tag: str | None = None) -> None:
        """Respond without keeping any state, so that a flood costs no memory.

        A repeated request gets the same response with the same tag (RFC 3261 §8.2.7).
        """
        tag = local_tag or self._stateless_tag(request)
        headers = response_headers(request, refusal.status, self, hop)
        response = response_to(request, refusal.status, refusal.reason, to_tag=tag, headers=headers)
        for name, value in refusal.headers:
            response.headers.set(name, value)
        self.send(response.to_bytes(), hop)

    def _stateless_tag(self, request: Request) -> str:
        text = f"{request.via.branch}|{request.headers.get('Call-ID')}".encode("utf-8", "replace")
        return blake2s(text, key=self._secret, digest_size=8).hexdigest()

    def _answer_malformed(self, error: SipParseError, source: Hop) -> None:
        self.stats.malformed += 1
        request = error.request
        if request is None or request.method == "ACK":
            return
        try:
            hop = self._response_hop(request, source)
            self._refuse(
                request, Refusal(error.status, f"Bad Request ({error})" if error.status == 400 else None), hop
            )
        except SipParseError:
            self.stats.stray += 1

    def refusal_when_full(self, *, in_dialog: bool, counts: bool = True) -> Refusal | None:
        """Return how a request is refused, and count it, if there is no room for it."""
        if not self._is_full(in_dialog=in_dialog):
            return None
        if counts:
            self.count_overload()
        return Refusal(503, headers=(("Retry-After", str(RETRY_AFTER_S)),))

    def count_overload(self) -> None:
        """Count a request that was refused for lack of room."""
        self.stats.refused_overload += 1

    def _is_full(self, *, in_dialog: bool = False) -> bool:
        """Whether a new call, or a new transaction of a known call, has no place."""
        if self.transactions >= self.settings.max_transactions:
            return True
        return not in_dialog and len(self._calls) >= self.settings.max_calls
