"""Endpoints that find each other by NAPTR and SRV records of a name server on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from conformance.peers.dns import DnsServer, open_dns_server
from tests.support.sip_pair import ANSWER, OFFER
from vb import name_servers
from vb.ids import SystemIds
from vb.name_servers import NameServers
from vb.sip.call_events import Answered, CallEvent, Closed, DialFailed, Refused
from vb.sip.settings import AgentSettings
from vb.sip.tasks.endpoint import DialRequest, SipCall, SipEndpoint, SipSettings
from vb.sip.uri import parse_uri

pytestmark = pytest.mark.integration
LOOPBACK = SipSettings(port=0, agent=AgentSettings(tcp_enabled=True))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_servers, "OTHER_FAMILY_S", 0.1)


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with open_dns_server() as server:
        yield server


@asynccontextmanager
async def running(
    dns: DnsServer, on_invite: Callable[[SipCall], None] = lambda call: None
) -> AsyncIterator[tuple[SipEndpoint, int]]:
    look_up = NameServers([dns.address]).look_up
    endpoint = SipEndpoint(LOOPBACK, SystemIds(), on_invite, look_up=look_up)
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(endpoint.run)
            yield endpoint, bound[0].port
            nursery.cancel_scope.cancel()


def answering(call: SipCall) -> None:
    call.accept(ANSWER)


def overloaded(call: SipCall) -> None:
    call.reject(503)


def closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def serve(dns: DnsServer, *servers: tuple[int, str, int], transport: str = "udp") -> None:
    """Let example.com be served by servers of priority, host and port."""
    dns.records[f"_sip._{transport}.example.com", "SRV"] = [
        f"{priority} 0 {port} {host}." for priority, host, port in servers
    ]
    dns.records["a.example.com", "A"] = ["127.0.0.1"]


async def outcome(call: SipCall) -> CallEvent:
    while True:
        event = await call.next_event()
        if isinstance(event, (Answered, Refused, DialFailed, Closed)):
            return event


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("routed", [False, True])
async def test_the_second_server_gets_the_call_when_the_first_is_dead(
    dns: DnsServer, transport: str, routed: bool
) -> None:
    async with running(dns, answering) as (_, port), running(dns) as (alice, _):
        dead = closed_port()
        serve(dns, (1, "a.example.com", dead), (2, "a.example.com", port), transport=transport)
        to = "sip:bob@example.com"
        route = await alice.find_route(to) if routed else None
        call = alice.dial(DialRequest(to, OFFER, route=route))
        assert isinstance(await outcome(call), Answered)
        assert call.source == ("127.0.0.1", port)
        again = alice.dial(DialRequest(to, OFFER))
        assert isinstance(await outcome(again), Answered)
        assert again.invite.cseq.number == 1, "the dead one is not tried first again"


async def test_the_second_server_gets_the_call_when_the_first_is_overloaded(dns: DnsServer) -> None:
    asked: list[SipCall] = []

    def refuse(call: SipCall) -> None:
        asked.append(call)
        overloaded(call)

    async with (
        running(dns, refuse) as (_, full),
        running(dns, answering) as (_, port),
        running(dns) as (alice, _),
    ):
        serve(dns, (1, "a.example.com", full), (2, "a.example.com", port))
        for number in (1, 2):
            call = alice.dial(DialRequest("sip:bob@example.com", OFFER))
            assert isinstance(await outcome(call), Answered)
            assert call.source == ("127.0.0.1", port)
            assert len(asked) == number, "it answered, so that it is tried again"


async def test_a_server_whose_name_leads_nowhere_is_passed_over(dns: DnsServer) -> None:
    async with running(dns, answering) as (_, port), running(dns) as (alice, _):
        serve(dns, (1, "nobody.example.com", 5060), (2, "a.example.com", port))
        call = alice.dial(DialRequest("sip:bob@example.com", OFFER))
        assert isinstance(await outcome(call), Answered)


@pytest.mark.parametrize("kind", ["dead", "overloaded"])
async def test_when_all_servers_fail_the_last_failure_is_told(dns: DnsServer, kind: str) -> None:
    async with running(dns, overloaded) as (_, full), running(dns) as (alice, _):
        ports = (full, closed_port()) if kind == "dead" else (closed_port(), full)
        serve(dns, *((rank, "a.example.com", port) for rank, port in enumerate(ports)))
        call = alice.dial(DialRequest("sip:bob@example.com", OFFER))
        expected = DialFailed("transport") if kind == "dead" else Refused(503, "Service Unavailable")
        assert await outcome(call) == expected
        assert await call.next_event() == Closed()
        assert alice._targets == {}


async def test_the_domain_chooses_tcp_by_naptr(dns: DnsServer) -> None:
    async with running(dns, answering) as (_, port), running(dns) as (alice, _):
        dns.records["example.com", "NAPTR"] = [
            '10 10 "s" "SIP+D2T" "" _sip._tcp.example.com.',
            '20 10 "s" "SIP+D2U" "" _sip._udp.example.com.',
        ]
        serve(dns, (1, "a.example.com", port), transport="tcp")
        call = alice.dial(DialRequest("sip:bob@example.com", OFFER))
        assert isinstance(await outcome(call), Answered)
        assert call.invite.via.transport == "TCP"


async def test_every_address_of_a_name_with_a_port_is_tried(dns: DnsServer) -> None:
    async with running(dns, answering) as (_, port), running(dns) as (alice, _):
        dns.records["two.example.com", "A"] = ["127.0.0.1", "127.0.0.77"]
        for _ in range(4):  # they come in any order
            call = alice.dial(DialRequest(f"sip:bob@two.example.com:{port}", OFFER))
            assert isinstance(await outcome(call), Answered)
        assert dns.questions("SRV") == dns.questions("NAPTR") == []


async def test_the_domain_of_a_proxy_is_looked_up_like_that_of_a_target(dns: DnsServer) -> None:
    async with running(dns, answering) as (_, port), running(dns) as (alice, _):
        serve(dns, (1, "a.example.com", closed_port()), (2, "a.example.com", port))
        call = alice.dial(DialRequest("sip:bob@elsewhere.example", OFFER, outbound_proxy="sip:example.com"))
        assert isinstance(await outcome(call), Answered)
        assert call.invite.headers.get("Route") == "<sip:example.com;lr>"


async def test_a_domain_that_offers_no_such_service_is_not_called(dns: DnsServer) -> None:
    async with running(dns) as (alice, _):
        dns.records["_sip._udp.example.com", "SRV"] = ["0 0 0 ."]
        dns.records["example.com", "A"] = ["127.0.0.1"]
        call = alice.dial(DialRequest("sip:bob@example.com;transport=udp", OFFER))
        assert await outcome(call) == DialFailed("resolve")


async def test_a_bye_goes_where_the_srv_records_of_the_contact_say(dns: DnsServer) -> None:
    answered: list[SipCall] = []

    def keep(call: SipCall) -> None:
        answered.append(call)
        answering(call)

    async with running(dns, keep) as (_, port), running(dns) as (alice, _):
        serve(dns, (1, "a.example.com", port))
        call = alice.dial(DialRequest(f"sip:bob@127.0.0.1:{port}", OFFER))
        assert isinstance(await outcome(call), Answered)
        dialog = call._call.dialog
        assert dialog is not None
        dialog.remote_target = parse_uri("sip:bob@example.com")
        call.hangup()
        assert await outcome(answered[0]) == Closed()
        assert await outcome(call) == Closed()
