"""The SIP endpoint: drives one `UserAgent` with sockets and a clock, and hands out its calls.

sockets ─ received() ─▶ agent ─ events() ─▶ SipCall.next_event()
   ▲                      │
   └─── send() ◀─ outgoing()       every order, batch and timer ends in one `flush`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Literal

import structlog
import trio

from vb.beat import after_beat
from vb.errors import NotAvailable, Unavailable
from vb.ids import IdSource
from vb.name_servers import LookUp
from vb.names import NameLookup
from vb.sip.agent import AgentStats, UserAgent
from vb.sip.call import Call
from vb.sip.call_events import CallEvent, Closed, Incoming, NextTargetDue
from vb.sip.dialog import uri_hop
from vb.sip.digest import Credentials
from vb.sip.header_text import check_plain
from vb.sip.hop import Hop, TransactionKey
from vb.sip.identity import caller_identity, check_custom_headers
from vb.sip.inbound import InboundCall
from vb.sip.outbound import DialPlan, OutboundCall
from vb.sip.outside_dialog import RefuseNew
from vb.sip.settings import AgentSettings
from vb.sip.target import dial_target, proxy_route
from vb.sip.tasks.call import SipCall
from vb.sip.tasks.message_log import log_message
from vb.sip.tasks.resolve import RESOLVE_TIMEOUT_S, Targets, advertised_host
from vb.sip.tasks.settings import SipSettings
from vb.sip.tasks.transport import BoundAddress, SipTransport
from vb.sip.timers import AT_ONCE
from vb.sip.uri import SipUri, is_ip_address

log = structlog.get_logger(__name__)

__all__ = ["DialRequest", "SipCall", "SipEndpoint", "SipSettings"]

OnMessage = Callable[[Literal["in", "out"], bytes], None]


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one call, once it has been looked up.

    Attributes:
        local_host: our address that is advertised there.
        hop: the first server; None if none was found.
        targets: the other ones.
    """

    local_host: str
    hop: Hop | None
    targets: Targets


@dataclass(frozen=True, slots=True)
class DialRequest:
    """An outbound call as asked for.

    Attributes:
        to: a SIP URI or name-addr.
        sdp: our offer, or a function that makes it for the address we advertise to this peer, called
            once the peer's address is known.
        headers: custom headers of the INVITE.
        auth: user name and password for challenges.
        outbound_proxy: SIP URI of the next hop; None = as the endpoint is set.
        direct: the target itself is the next hop, whatever the endpoint is set to.
        server_headers: further headers, which a client may not set.
        route: where `find_route` found that the call goes; None = look it up.
    """

    to: str
    sdp: bytes | Callable[[str], bytes] = b""
    from_: str | None = None
    privacy: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    outbound_proxy: str | None = None
    direct: bool = False
    server_headers: tuple[tuple[str, str], ...] = ()
    route: Route | None = None


class SipEndpoint:
    """Listens, dials, and reports inbound calls.

    Args:
        look_up: asks for names; the system's name servers when None.
        on_invite: called with each new inbound call, without waiting; if it refuses the call at once,
            the caller gets no 100 before that. A fault in it refuses the call with 480.
        on_message: is shown every message as it is on the wire, `in` or `out`; must neither wait nor raise.
        refuse_new: asked before a new INVITE reaches `on_invite`, and before OPTIONS is answered.

    Attributes:
        names: looks up the hosts of peers.
        faults: datagrams, failures, timers, callbacks and messages to send whose handling failed.
        overflows: calls ended because their owner left too many events unread.
    """

    def __init__(
        self,
        settings: SipSettings,
        ids: IdSource,
        on_invite: Callable[[SipCall], None],
        *,
        refuse_new: RefuseNew | None = None,
        look_up: LookUp | None = None,
        on_message: OnMessage | None = None,
    ) -> None:
        self.settings = settings
        self._refuse_new = refuse_new
        self._on_message = on_message
        self.names = NameLookup("sip", patience_s=RESOLVE_TIMEOUT_S, lookup=look_up)
        self.faults = 0
        self.overflows = 0
        self._ids = ids
        self._on_invite = on_invite
        self._agent: UserAgent | None = None
        self._transport: SipTransport | None = None
        self._nursery: trio.Nursery | None = None
        self._handles: dict[Call, SipCall] = {}
        self._targets: dict[Call, Targets] = {}
        self._clock = trio.current_time
        self._timer_scope = trio.CancelScope()
        self._timer_at = inf
        self._is_flushing = False

    # -- running --------------------------------------------------------------------------------

    async def run(
        self, *, task_status: trio.TaskStatus[list[BoundAddress]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Bind and serve until cancelled; started with the bound addresses.

        Raises:
            OSError: if an address cannot be bound.
        """
        settings = self.settings
        hosts = [settings.listen_ip or settings.bind_ip]
        if settings.bind_ipv6:
            hosts.append(settings.listen_ipv6 or settings.bind_ipv6)
        self._transport = SipTransport(
            self,
            hosts,
            settings.port,
            names=self.names,
            tcp=settings.agent.tcp_enabled,
            tls=settings.tls,
            tls_port=settings.tls_port,
        )
        self._agent = UserAgent(self._agent_settings(self._transport), self._ids)
        self._agent.refuse_new = self._refuse_new
        self._clock = trio.lowlevel.current_clock().current_time
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(self._transport.run)
                nursery.start_soon(self._run_timers, self._agent)
                task_status.started(self._transport.bound)
        finally:
            self._nursery = None

    def _agent_settings(self, transport: SipTransport) -> AgentSettings:
        settings = self.settings
        return replace(
            settings.agent,
            host4=settings.external_ip or advertised_host(settings.bind_ip),
            host6=advertised_host(settings.bind_ipv6) if settings.bind_ipv6 else None,
            port=transport.port,
            tls_port=transport.tls_port,
        )

    async def _run_timers(self, agent: UserAgent) -> None:
        while True:
            self._timer_at = after_beat(agent.deadline() or inf)
            with trio.CancelScope(deadline=self._timer_at) as self._timer_scope:
                await trio.sleep_forever()
            self._contained("timer", lambda: agent.expire(trio.current_time(), AT_ONCE))
            self.flush()

    # -- dialling -------------------------------------------------------------------------------

    def check(self, request: DialRequest) -> None:
        """Check what can be known of a request before it is dialled; nothing is sent.

        Raises:
            SipTargetError: if `to`, `from`, `privacy` or `auth` cannot be used.
            HeaderRefused: if a custom header may not be set.
            NotAvailable: if the target asks for a transport that this server lacks.
        """
        self._plan(request, self.settings.agent.domain or self.settings.bind_ip)

    async def find_route(self, to: str, outbound_proxy: str | None = None, *, direct: bool = False) -> Route:
        """Look up where a call to a target goes, which tells our address there; good for one call.

        Raises:
            SipTargetError: if `to` or `outbound_proxy` cannot be used.
            NotAvailable: if the target asks for a transport that this server lacks.
            Unavailable: if the endpoint is not running.
        """
        agent, transport = self._agent, self._transport
        if agent is None or transport is None:
            raise Unavailable("SIP is not running")
        proxy = None if direct else self._route(outbound_proxy)
        targets = transport.resolver.targets(self._first_hop(dial_target(to)[0], proxy))
        hop = await targets.next()  # without one the dial itself will fail, and say so
        return Route(agent.settings.host(hop.family if hop is not None else 4), hop, targets)

    def dial(self, request: DialRequest) -> SipCall:
        """Start an outbound call.

        Raises:
            SipTargetError: if `to`, `from`, `privacy` or `auth` cannot be used.
            HeaderRefused: if a custom header may not be set.
            NotAvailable: if the target asks for a transport that this server lacks.
            Unavailable: if the endpoint is not running or too many calls are up.
        """
        agent, nursery, transport = self._agent, self._nursery, self._transport
        if agent is None or nursery is None or transport is None:
            raise Unavailable("SIP is not running")
        plan = self._plan(request, agent.settings.domain or agent.settings.host4)
        first_hop = self._first_hop(plan.target, plan.route)
        route = request.route
        hop = route.hop if route is not None else first_hop if is_ip_address(first_hop.host) else None
        sdp = b"" if hop is None else self._offer(request, hop)
        call = agent.dial(plan)
        handle = self._handle(call)
        targets = route.targets if route is not None else transport.resolver.targets(first_hop)
        if not is_ip_address(first_hop.host):
            self._targets[call] = targets
            call.has_alternatives = True
        if hop is None:
            nursery.start_soon(self._resolve_and_start, call, targets, request)
        else:
            self._start(call, hop, sdp)
        return handle

    def _start(self, call: OutboundCall, hop: Hop, sdp: bytes) -> None:
        """Send the INVITE; a call that cannot even do that leaves nothing behind."""
        is_started = False
        try:
            call.start(hop, sdp, trio.current_time())
            is_started = True
        finally:
            if not is_started:
                call.fail("transport", trio.current_time())
            self.flush()

    def _plan(self, request: DialRequest, public_host: str) -> DialPlan:
        target, to = dial_target(request.to)
        route = None if request.direct else self._route(request.outbound_proxy)
        self._first_hop(target, route)
        check_custom_headers(request.headers)
        product = self.settings.agent.product
        return DialPlan(
            target=target,
            to=to,
            identity=caller_identity(request.from_, request.privacy, host=public_host, product=product),
            headers=(*request.headers.items(), *request.server_headers),
            credentials=_credentials(*request.auth) if request.auth is not None else None,
            route=route,
        )

    def _route(self, outbound_proxy: str | None) -> SipUri | None:
        text = outbound_proxy or self.settings.outbound_proxy
        return proxy_route(text) if text else None

    def _first_hop(self, target: SipUri, route: SipUri | None) -> Hop:
        """Return where the INVITE goes; the proxy's transport decides where there is one."""
        hop = uri_hop(route or target)
        wanted = (route or target).transport
        if wanted not in ("udp", "tcp", "tls") or (wanted == "tls" and self.settings.tls is None):
            raise NotAvailable(f"{'outbound_proxy' if route else 'to'}: SIP over {wanted.upper()}")
        return hop

    async def _resolve_and_start(self, call: OutboundCall, targets: Targets, request: DialRequest) -> None:
        hop = await targets.next()
        if hop is None:
            call.fail("resolve", trio.current_time())
        else:
            started = self._contained(
                "offer", lambda: call.start(hop, self._offer(request, hop), trio.current_time())
            )
            if not started:
                call.fail("transport", trio.current_time())
        self.flush()

    def _go_on(self, call: OutboundCall, *, silent: bool) -> None:
        """Try the next server of a call, or end the call if there is none."""
        assert self._nursery is not None
        assert self._transport is not None
        assert call.peer is not None
        if silent:
            self._transport.resolver.avoid(call.peer)
        self._nursery.start_soon(self._start_elsewhere, call, self._targets[call], call.peer.family)

    async def _start_elsewhere(self, call: OutboundCall, targets: Targets, family: Literal[4, 6]) -> None:
        # Our offer names an address of one family.
        hop = await targets.next(family)
        if hop is None:
            call.give_up(trio.current_time())
        elif not self._contained("dial", lambda: call.start_elsewhere(hop, trio.current_time())):
            call.fail("transport", trio.current_time())
        self.flush()

    def _offer(self, request: DialRequest, hop: Hop) -> bytes:
        if isinstance(request.sdp, bytes):
            return request.sdp
        assert self._agent is not None
        return request.sdp(self._agent.settings.host(hop.family))

    # -- from the sockets (StreamHandler) -------------------------------------------------------

    def received(self, data: bytes, source: Hop) -> None:
        """Take one message; a fault in its handling touches nothing else."""
        agent = self._agent
        if agent is None:
            return
        if self.settings.debug:
            log_message("received", data, source)
        if self._on_message is not None:
            self._on_message("in", data)
        try:
            agent.receive(data, source, self._clock())
        except Exception:  # the SIP boundary, as in `_contained`
            self._fault("datagram")

    def unframed(self, data: bytes, status: int, source: Hop) -> None:
        """Answer what cannot be framed, if a request can be made out in it."""
        agent = self._agent
        if agent is not None:
            self._contained("stream", lambda: agent.refuse_unframed(data, status, source))

    def failed(self, transport: str, host: str, port: int, quoted: bytes) -> None:
        """Take note that a peer cannot be reached, by its address and by every name that it goes by."""
        agent, sockets = self._agent, self._transport
        if agent is None or sockets is None:
            return
        now = trio.current_time()
        places = sockets.resolver.known_as(transport, host, port)
        if agent.has_asked(places, quoted):
            for place in places:
                self._contained("failure", partial(agent.transport_failed, *place, now))

    def sent_on(self, sender: TransactionKey, flow: int, *, reused: bool) -> None:
        """Take note of the connection that a request goes out on, and whether that was up before."""
        if self._agent is not None:
            self._agent.sent_on(sender, flow, reused=reused)

    def undelivered(self, sender: TransactionKey) -> None:
        """Take note that a request cannot be sent."""
        agent = self._agent
        if agent is not None:
            self._contained("failure", lambda: agent.undelivered(sender, trio.current_time()))

    def flow_lost(self, flow: int) -> None:
        """Take note that a connection is gone."""
        agent = self._agent
        if agent is not None:
            self._contained("flow", lambda: agent.flow_lost(flow, trio.current_time()))

    def needs(self, flow: int) -> bool:
        """Say whether a call or a request of ours would suffer from the loss of a connection."""
        return self._agent is not None and self._agent.needs(flow)

    def flush(self) -> None:
        """Deliver events, send what is due, and set the timer; orders given meanwhile are included."""
        agent, transport = self._agent, self._transport
        if agent is None or transport is None or self._is_flushing:
            return
        self._is_flushing = True
        try:
            while agent.has_news:
                for call, event in agent.events():
                    try:
                        self._deliver(call, event)
                    except Exception:  # the SIP boundary, as in `_contained`
                        self._fault("event")
                for message in agent.outgoing():
                    if self.settings.debug:
                        log_message("sent", message.data, message.hop)
                    if self._on_message is not None:
                        self._on_message("out", message.data)
                    try:
                        transport.send(message)
                    except Exception:  # the SIP boundary, as in `_contained`
                        self._fault("send")
        finally:
            self._is_flushing = False
        deadline = agent.deadline(self._timer_at)
        if deadline is not None and (timer_at := after_beat(deadline)) < self._timer_at:
            self._timer_scope.deadline = self._timer_at = timer_at

    def _deliver(self, call: Call, event: CallEvent) -> None:
        match event:
            case Incoming():
                handle = self._handle(call)
                try:
                    self._on_invite(handle)
                except Exception:  # the SIP boundary, as in `_contained`
                    self._fault("invite")
                    call.hangup(trio.current_time())
            case NextTargetDue(silent=silent):
                assert isinstance(call, OutboundCall)
                self._go_on(call, silent=silent)
            case Closed():
                self._targets.pop(call, None)
                known = self._handles.pop(call, None)
                if known is not None:
                    known.finish()
            case _:
                known = self._handles.get(call)
                if known is not None and not known.put(event):
                    self.overflows += 1
                    call.hangup(trio.current_time())

    def _handle(self, call: Call) -> SipCall:
        assert isinstance(call, InboundCall | OutboundCall)
        assert self._agent is not None
        replaced = call.replaces if isinstance(call, InboundCall) else None
        handle = SipCall(
            call,
            self._agent.settings,
            self.flush,
            self._handles.get(replaced) if replaced is not None else None,
        )
        self._handles[call] = handle
        return handle

    def _contained(self, what: str, action: Callable[[], None]) -> bool:
        """Run an action; a fault in it is logged and counted, and everything else goes on."""
        try:
            action()
        except Exception:  # the SIP boundary: a fault ends one message or call, never the endpoint
            self._fault(what)
            return False
        return True

    def _fault(self, what: str) -> None:
        """Log and count the fault that is being handled."""
        self.faults += 1
        log.exception("sip_fault", what=what)

    # -- figures --------------------------------------------------------------------------------

    @property
    def stats(self) -> AgentStats:
        """Counters of the agent."""
        return self._agent.stats if self._agent is not None else AgentStats()

    def count_refused(self) -> None:
        """Count an INVITE that was let in and then refused for lack of room."""
        if self._agent is not None:
            self._agent.stats.refused_overload += 1

    @property
    def calls(self) -> int:
        """Number of calls that are not closed."""
        return self._agent.calls if self._agent is not None else 0

    @property
    def transactions(self) -> int:
        """Number of transactions, lingering ones included."""
        return self._agent.transactions if self._agent is not None else 0

    @property
    def dropped(self) -> int:
        """Messages lost because a send queue was full."""
        return self._transport.dropped if self._transport is not None else 0

    @property
    def refused_connections(self) -> int:
        """TCP and TLS connections beyond a limit."""
        return self._transport.refused if self._transport is not None else 0

    @property
    def connections(self) -> int:
        """Number of TCP and TLS connections."""
        return self._transport.connections if self._transport is not None else 0


def _credentials(username: str, password: str) -> Credentials:
    return Credentials(check_plain(username, "auth.username"), check_plain(password, "auth.password"))
