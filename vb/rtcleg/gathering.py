"""Finding our candidates: the socket itself, how STUN servers see it, and relays at TURN servers.

A call never waits for this: its answer names what is known by then, and the rest trickles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from vb.names import Resolve
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.ice_servers import IceServers, StunServer, TurnServer
from vb.rtcleg.relay import Relay
from vb.rtcleg.second_family import SecondSocket
from vb.webrtc.candidate import Candidate, local_candidate
from vb.webrtc.generation import RandomBytes
from vb.webrtc.reflexive import ReflexiveQueries
from vb.webrtc.session import Session, SessionEvent
from vb.webrtc.stun import Address
from vb.webrtc.tasks import Transport
from vb.webrtc.turn import TurnClient

LIMIT_S: Final = 10.0
"""From the offer to `done`, whatever the servers do; what is found later still counts."""
MAX_HOSTS: Final = 32


class Gathering:
    """The candidates of one leg.

    Args:
        base: the leg's own socket, as the session names it.
        bound: the address that this socket is bound to.
        candidates: where they go.
        servers: those that may be asked.
        resolve: looks the servers' names up.
        random_bytes: source of transaction ids.
        send: sends from the leg's own socket.
        second: the socket of the other address family, where there is one.

    Attributes:
        dropped: packets that relays which have ended could not send.
    """

    def __init__(
        self,
        base: Address,
        bound: Address,
        candidates: LocalCandidates,
        servers: IceServers,
        resolve: Resolve,
        random_bytes: RandomBytes,
        send: Callable[[bytes, Address], None],
        second: SecondSocket | None = None,
    ) -> None:
        self.base = base
        self._bound = bound
        self._candidates = candidates
        self._servers = servers
        self._resolve = resolve
        self._random = random_bytes
        self._send = send
        self._transport: Transport[SessionEvent] | None = None
        self._session: Session | None = None
        self._queries: list[ReflexiveQueries] = []
        self._answered = trio.Event()
        self._relays: dict[Address, Relay | SecondSocket] = {}
        self._second = second
        self._hosts: dict[str, None] = {}
        self.dropped = 0
        self._open: set[object] = {*servers.stun, *servers.turn}
        if second is not None:
            self._relays[second.base] = second
            self._open.update((server, second) for server in servers.stun)
        candidates.done = not self._open

    def attach(self, transport: Transport[SessionEvent], session: Session) -> None:
        """Tell what is found to a transport and its session too."""
        self._transport, self._session = transport, session

    def detach(self) -> None:
        """Let go of the transport."""
        if self._second is not None:
            self.dropped += self._second.dropped
            self._second = None
        self._transport = self._session = None

    def receive(self, data: bytes, source: Address) -> bool:
        """Take a STUN packet of the leg's own socket; False when no server of ours has sent it."""
        if any(queries.receive(data, source) for queries in self._queries):
            self._notify()
            return True
        return False

    def permit(self, candidate: Candidate) -> None:
        """Let a candidate's host through all relays, present and future."""
        if not candidate.is_usable or len(self._hosts) >= MAX_HOSTS:
            return
        self._hosts[candidate.host] = None
        for relay in self._relays.values():
            relay.permit(candidate.host)

    def way_to(self, source: Address, remote: Address) -> Address:
        """Return where the plane has to send what is to leave from a base for a peer."""
        relay = self._relays.get(source)
        if relay is None:
            return remote
        relay.aim(remote)
        return relay.front

    async def run(self) -> None:
        """Ask the servers, and keep what they grant until cancelled."""
        async with trio.open_nursery() as nursery:
            for stun in self._servers.stun:
                nursery.start_soon(self._ask, stun, None)
            if self._second is not None:
                if self._transport is not None:
                    self._transport.add_base(self._second.base, self._second)
                nursery.start_soon(self._second.run, self._second_received)
                for stun in self._servers.stun:
                    nursery.start_soon(self._ask, stun, self._second)
            for turn in self._servers.turn:
                nursery.start_soon(self._relay, turn)
            with trio.move_on_after(LIMIT_S):
                while self._open:
                    await self._answered.wait()
            self._candidates.done = True
            self._notify()

    async def wait_done(self, limit_s: float) -> None:
        """Wait until there will be no further candidates, or for so long."""
        with trio.move_on_after(limit_s):
            while not self._candidates.done:
                await self._answered.wait()

    def _notify(self) -> None:
        self._answered.set()
        self._answered = trio.Event()

    def _settle(self, server: object) -> None:
        self._open.discard(server)
        if not self._open:
            self._candidates.done = True
        self._notify()

    def _found(self, candidate: Candidate, base: Address) -> None:
        if self._transport is not None and self._session is not None:
            self._session.add_local(candidate, base)
            self._transport.wake()
        self._candidates.add(candidate)

    def _second_received(self, data: bytes, source: Address, base: Address) -> None:
        """Take a STUN or DTLS datagram of the socket of the other family."""
        if not self.receive(data, source) and self._transport is not None:
            self._transport.receive(data, source, base)

    async def _address(self, host: str, port: int, bound: Address) -> Address | None:
        """Look a server up; None when it has no address that a socket can send to."""
        try:
            found = await self._resolve(host, port)
        except OSError:
            return None
        alike = [address for address in found if (":" in address) == (":" in bound[0])]
        return (alike[0], port) if alike else None

    async def _ask(self, server: StunServer, second: SecondSocket | None) -> None:
        queries = ReflexiveQueries(self._random)
        bound, base, send = self._bound, self.base, self._send
        if second is not None:
            bound, base, send = second.bound, second.base, second.send
        try:
            address = await self._address(server.host, server.port, bound)
            if address is None:
                return
            self._queries.append(queries)
            send(queries.ask(address, trio.current_time()), address)
            while not queries.done:
                deadline = queries.deadline()
                with trio.move_on_at(math.inf if deadline is None else deadline):
                    await self._answered.wait()
                for data, to in queries.expire(trio.current_time()):
                    send(data, to)
            known = {candidate.address for candidate in self._candidates.found}
            for mapped in queries.found:
                if mapped not in known:
                    self._found(local_candidate("srflx", mapped, related=base), base)
        finally:
            if queries in self._queries:
                self._queries.remove(queries)
            self._settle(server if second is None else (server, second))

    async def _relay(self, server: TurnServer) -> None:
        try:
            address = await self._address(server.host, server.port, self._bound)
            if address is None:
                return
            client = TurnClient(
                username=server.username,
                password=server.password,
                random_bytes=self._random,
                stream=server.stream,
                family=6 if ":" in self._bound[0] else 4,
            )
            relay = Relay(
                client,
                address,
                stream=server.stream,
                tls_name=server.host if server.tls else None,
                local_host=self._bound[0],
                leg_socket=reachable(self._bound),
                host=_Told(self, server),
            )
            await relay.run()
        finally:
            self._settle(server)

    def relay_is_up(self, relay: Relay, relayed: Address, mapped: Address | None) -> None:
        """Take a relay into use."""
        self._relays[relayed] = relay
        for host in self._hosts:
            relay.permit(host)
        if self._transport is not None:
            self._transport.add_base(relayed, relay)
        self._found(local_candidate("relay", relayed, related=mapped or self.base), relayed)

    def relay_is_down(self, relay: Relay) -> None:
        """Take a relay out of use."""
        self.dropped += relay.dropped
        relayed = relay.relayed
        if relayed is None or self._relays.pop(relayed, None) is None:
            return
        if self._transport is not None:
            self._transport.remove_base(relayed)

    def relay_received(self, data: bytes, peer: Address, relayed: Address) -> None:
        """Pass on what came through a relay."""
        if self._transport is not None:
            self._transport.receive(data, peer, relayed)


class _Told:
    """Passes on what a relay tells, and settles its server."""

    def __init__(self, gathering: Gathering, server: TurnServer) -> None:
        self._gathering = gathering
        self._server = server

    def relay_is_up(self, relay: Relay, relayed: Address, mapped: Address | None) -> None:
        self._gathering.relay_is_up(relay, relayed, mapped)
        self._gathering._settle(self._server)

    def relay_is_down(self, relay: Relay) -> None:
        self._gathering.relay_is_down(relay)
        self._gathering._settle(self._server)

    def relay_received(self, data: bytes, peer: Address, relayed: Address) -> None:
        self._gathering.relay_received(data, peer, relayed)


def reachable(bound: Address) -> Address:
    """Return an address at which this machine reaches a socket of its own."""
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return wildcard.get(bound[0], bound[0]), bound[1]
