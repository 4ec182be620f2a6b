"""Two servers, the proxy between them, and phones behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import trio

from conformance.expect import Difference
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call, Headers
from conformance.peers.sip_message import SipMessage
from conformance.peers.sip_ua import SipUa, open_udp
from interop.application import Application, CommandFailed, Event, application
from interop.proxy_config import IDLE_S
from interop.proxy_kamailio import Kamailio, free_port, running_kamailio
from interop.proxy_tls import Identities, make_identities
from interop.report import Report
from interop.server import Server, running_server

CONNECT_S = 8.0
END_S = 8.0
SESSION_S = 90
T1_S = 0.5
REPEATS = 10


@dataclass(frozen=True, slots=True)
class End:
    """One server with its application."""

    server: Server
    app: Application
    tls_port: int
    folder: Path

    def leg_events(self, leg_id: str) -> list[str]:
        """Types of a leg's events so far, in order."""
        return [str(event["type"]) for event in self.app.events if event.get("leg_id") == leg_id]

    async def dial(self, to: str, **fields: object) -> str:
        """Start a call and return the leg's id."""
        return await self.app.dial(to, **fields)

    async def rung(self, user: str, within_s: float = CONNECT_S) -> str:
        """The id of the inbound leg that a call to a user made.

        Raises:
            Difference: there is none in time.
        """

        def found() -> list[str]:
            return [
                str(event["leg_id"])
                for event in self.app.events
                if event["type"] == "leg.ringing"
                and event.get("leg_type") == "sip_inbound"
                and event.get("to") == user
            ]

        await self.app.wait(lambda: bool(found()), within_s)
        if not found():
            raise Difference(f"call to {user}", "leg.ringing", "nothing")
        return found()[0]

    async def event(self, leg_id: str, kind: str, within_s: float = CONNECT_S) -> Event:
        """A leg's first event of a type.

        Raises:
            Difference: it does not come in time.
        """
        event = await self.app.wait_for(leg_id, kind, within_s)
        if event is None:
            raise Difference("application", kind, self.leg_events(leg_id))
        return event

    async def end(self, leg_id: str, within_s: float = END_S) -> str:
        """Wait for a leg's end and return its reason.

        Raises:
            Difference: it does not end in time.
        """
        event = await self.event(leg_id, "leg.disconnected", within_s)
        cdr = event.get("cdr")
        return str(cdr.get("reason")) if isinstance(cdr, Mapping) else "no cdr"

    def logged(self, event: str) -> list[Mapping[str, object]]:
        """The lines of one kind in the server's log."""
        found: list[Mapping[str, object]] = []
        for line in (self.folder / "server.log").read_text(errors="replace").splitlines():
            with suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict) and value.get("event") == event:
                    found.append(value)
        return found


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a scenario needs.

    Attributes:
        west: a server that knows no proxy; its calls name one, or dial it.
        east: a server whose calls all go through the proxy, over TLS.
    """

    report: Report
    folder: Path
    identities: Identities
    kamailio: Kamailio
    west: End
    east: End
    _names: count[int]

    def name(self, word: str) -> str:
        """A name that no other call has."""
        return f"{word}{next(self._names)}"

    def proxied(self, does: str, *ports: int, transport: str = "tls", word: str = "call") -> tuple[str, str]:
        """The user and the URI that make the proxy do something, reached over a transport."""
        user = ".".join([does, *map(str, ports), self.name(word)])
        return user, f"sip:{user}@{self.proxy(transport)}"

    def proxy(self, transport: str) -> str:
        """Host, port and parameter of the proxy's URI for a transport."""
        ports = self.kamailio.ports
        if transport == "tls":
            return f"localhost:{ports.tls};transport=tls"
        return f"127.0.0.1:{ports.plain}" + ("" if transport == "udp" else f";transport={transport}")

    @asynccontextmanager
    async def phone(self) -> AsyncIterator[SipUa]:
        """A scripted phone over UDP whose requests go to the proxy."""
        async with open_udp(("127.0.0.1", self.kamailio.ports.plain)) as ua:
            yield ua


Scenario = Callable[[World], Awaitable[None]]


async def run_scenario(world: World, name: str, scenario: Scenario, within_s: float) -> None:
    """Run one scenario; whatever ends it early is a failed check."""
    try:
        with trio.fail_after(within_s):
            await scenario(world)
    except* (Difference, CommandFailed, trio.TooSlowError) as group:
        for problem in _leaves(group):
            world.report.check(False, f"{name} comes to its end", f"{type(problem).__name__}: {problem}")


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for problem in group.exceptions:
        leaves += _leaves(problem) if isinstance(problem, BaseExceptionGroup) else [problem]
    return leaves


def answer_sdp(ua: SipUa) -> bytes:
    """What a phone says about its audio; nobody listens on the port."""
    return audio_sdp(ua.local[1] ^ 1)


def routes_of(message: SipMessage) -> list[tuple[str, str]]:
    """Route headers for requests of the side that got this request (RFC 3261 §12.1.1)."""
    return [("Route", value) for value in message.all("Record-Route")]


async def answer(call: Call, request: SipMessage | None = None) -> None:
    """Let a phone answer an INVITE with 200 and wait for the ACK."""
    invite = request or call.invite
    assert invite is not None
    await insist(call, invite, 200, "ACK", sdp=answer_sdp(call.ua))


async def insist(
    call: Call,
    request: SipMessage,
    status: int,
    wanted: str,
    *,
    sdp: bytes | None = None,
    headers: Headers = (),
) -> SipMessage:
    """Let a phone repeat a response over UDP until the request that it calls for comes, and return that.

    Raises:
        Difference: it does not come.

    Spec: RFC 3261 §13.3.1.4, RFC 3262 §3.
    """
    for _ in range(REPEATS):
        await call.reply(request, status, sdp=sdp, headers=headers)
        found = await call.inbox.take(lambda message: message.is_request and message.method == wanted, T1_S)
        if found is not None:
            return found
    raise Difference(f"sip {call.name}", f"a {wanted}", f"none after {REPEATS} times {status}")


async def takes_bye(call: Call) -> SipMessage:
    """Let a phone take a BYE."""
    bye = await call.request("BYE", 4)
    await call.reply(bye, 200)
    return bye


@asynccontextmanager
async def _end(folder: Path, identities: Identities, settings: Mapping[str, str]) -> AsyncIterator[End]:
    await trio.Path(folder).mkdir()
    tls_port = free_port()
    common = {
        "SIP_TCP_ENABLED": "true",
        "SIP_TLS_PORT": str(tls_port),
        "SIP_TLS_CERT": str(identities.honest.certificate),
        "SIP_TLS_KEY": str(identities.honest.key),
        "SIP_TLS_CA_FILE": str(identities.authority),
        "VB_RTP_TIMEOUT": "0",  # the phones send no audio
        "VB_SIP_SESSION_EXPIRES": str(SESSION_S),
        "VB_DTMF_INFO": "true",
    }
    async with (
        running_server(folder, common | dict(settings)) as server,
        application(server.vsi_url, {}) as app,
    ):
        yield End(server, app, tls_port, folder)


@asynccontextmanager
async def world(report: Report, folder: Path) -> AsyncIterator[World]:
    """Start everything for the time of the block."""
    identities = make_identities(folder)
    async with running_kamailio(folder / "kamailio", identities) as kamailio:
        proxy = f"sip:localhost:{kamailio.ports.tls};transport=tls;lr"
        async with (
            _end(folder / "west", identities, {}) as west,
            _end(folder / "east", identities, {"SIP_OUTBOUND_PROXY": proxy}) as east,
        ):
            yield World(report, folder, identities, kamailio, west, east, count(1))


@asynccontextmanager
async def own_proxy(world: World, *, idle_s: int = IDLE_S) -> AsyncIterator[World]:
    """The same world with a proxy of its own, which may crash or sleep, or close what is idle."""
    folder = world.folder / world.name("proxy")
    async with running_kamailio(folder, world.identities, idle_s=idle_s) as kamailio:
        yield replace(world, kamailio=kamailio)
