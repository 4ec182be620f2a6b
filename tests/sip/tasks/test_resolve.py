from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from vb.dns_records import Answer, Kind, Record, Srv
from vb.names import NameLookup
from vb.sip.hop import Hop
from vb.sip.tasks.resolve import (
    AVOIDED_S,
    CHOSEN_S,
    MAX_TARGETS,
    REMEMBERED,
    RESOLVE_TIMEOUT_S,
    ResolveError,
    Resolver,
    Targets,
    advertised_host,
)

pytestmark = pytest.mark.integration


class Zone:
    """Name servers that answer from a table; `slow` names never do."""

    def __init__(self, records: dict[str, tuple[Record, ...]]) -> None:
        self.records = dict(records)
        self.slow: set[str] = set()
        self.asked: list[str] = []

    async def __call__(self, name: str, kind: Kind, within_s: float) -> Answer:
        self.asked.append(f"{name} {kind}")
        if name in self.slow or kind in self.slow:
            await trio.sleep_forever()
        found = self.records.get(name, ())
        return Answer(tuple(record for record in found if _kind(record) == kind))


def _kind(record: Record) -> Kind:
    return "address" if isinstance(record, str) else "SRV" if isinstance(record, Srv) else "NAPTR"


TWO: dict[str, tuple[Record, ...]] = {
    "_sip._udp.example.com": (Srv(1, 1, 5071, "one.example"), Srv(2, 1, 5072, "two.example")),
    "one.example": ("192.0.2.1", "2001:db8::1", "192.0.2.3"),
    "two.example": ("192.0.2.2",),
    "example.com": ("192.0.2.9",),
}
OPEN = Hop("udp", "example.com", 5060, search="naptr")
FIRST, SECOND, THIRD = (Hop("udp", f"192.0.2.{n}", port) for n, port in ((1, 5071), (3, 5071), (2, 5072)))


@pytest.fixture
def zone() -> Zone:
    return Zone(TWO)


@pytest.fixture
def resolver(zone: Zone, mock_clock: MockClock) -> Resolver:
    return Resolver((4,), NameLookup("sip", lookup=zone))


async def everything(targets: Targets) -> list[Hop]:
    found = []
    while (hop := await targets.next()) is not None:
        found.append(hop)
    return found


def test_numeric_hosts_need_no_look_up() -> None:
    for host in ("127.0.0.1", "::1"):
        assert Resolver((4, 6), NameLookup("sip")).cached(Hop("udp", host, 5060)) == Hop("udp", host, 5060)


async def test_an_answer_is_kept(resolver: Resolver, zone: Zone) -> None:
    hop = Hop("tcp", "two.example", 5060, flow=3)
    assert resolver.cached(hop) is None
    assert await resolver.resolve(hop) == Hop("tcp", "192.0.2.2", 5060, flow=3)
    assert resolver.cached(hop) == Hop("tcp", "192.0.2.2", 5060, flow=3)
    assert zone.asked == ["two.example address"]


async def test_a_name_of_this_machine_is_found_without_a_name_server() -> None:
    resolver = Resolver((4,), NameLookup("sip"))
    assert await resolver.resolve(Hop("udp", "localhost", 5060, search="naptr")) == Hop(
        "udp", "127.0.0.1", 5060
    )


async def test_a_name_without_an_address_is_an_error(resolver: Resolver) -> None:
    for host in ("x" * 70 + ".invalid", "nobody.example"):
        with pytest.raises(ResolveError):
            await resolver.resolve(Hop("udp", host, 5060))


async def test_every_address_of_every_server_is_a_target(resolver: Resolver, zone: Zone) -> None:
    targets = resolver.targets(OPEN)
    assert await targets.next() == FIRST
    assert "two.example address" not in zone.asked, "it is looked up when it is needed"
    assert await everything(targets) == [SECOND, THIRD]
    assert await targets.next() is None


async def test_targets_of_another_family_are_passed_over(zone: Zone) -> None:
    targets = Resolver((6, 4), NameLookup("sip", lookup=zone)).targets(OPEN)
    assert await targets.next() == Hop("udp", "2001:db8::1", 5071)
    assert await targets.next(4) == FIRST


async def test_no_call_tries_more_than_eight_servers(resolver: Resolver, zone: Zone) -> None:
    zone.records["one.example"] = tuple(f"192.0.2.{number}" for number in range(1, 30))
    assert len(await everything(resolver.targets(OPEN))) == MAX_TARGETS


async def test_who_did_not_answer_lately_comes_last_for_a_minute(
    resolver: Resolver, mock_clock: MockClock
) -> None:
    resolver.avoid(FIRST)
    assert await everything(resolver.targets(OPEN)) == [SECOND, THIRD, FIRST]
    mock_clock.jump(AVOIDED_S)
    assert await resolver.targets(OPEN).next() == FIRST


async def test_a_server_without_an_address_is_passed_over(resolver: Resolver, zone: Zone) -> None:
    del zone.records["one.example"]
    assert await everything(resolver.targets(OPEN)) == [THIRD]


@pytest.mark.parametrize("slow", ["NAPTR", "_sip._tcp.example.com"])
async def test_services_that_nobody_answers_for_leave_time_for_the_rest(
    resolver: Resolver, zone: Zone, autojump_clock: MockClock, slow: str
) -> None:
    zone.slow = {slow}
    assert await resolver.targets(OPEN).next() == FIRST
    assert trio.current_time() <= 2


async def test_a_name_that_nobody_answers_for_is_given_up(zone: Zone, autojump_clock: MockClock) -> None:
    zone.slow = {"address", "SRV", "NAPTR"}
    with pytest.raises(ResolveError):
        await Resolver((4,), NameLookup("sip", lookup=zone)).resolve(OPEN)
    assert trio.current_time() == RESOLVE_TIMEOUT_S


async def test_requests_to_a_domain_stay_with_the_server_that_was_chosen(
    zone: Zone, mock_clock: MockClock
) -> None:
    draws = iter([1, 0, 0, 1, 0, 0, 1, 0, 0])
    zone.records["_sip._udp.example.com"] = (Srv(1, 1, 5071, "one.example"), Srv(1, 1, 5072, "two.example"))
    resolver = Resolver((4,), NameLookup("sip", lookup=zone), draw=lambda most: next(draws) * most)
    assert resolver.cached(OPEN) is None
    chosen = await resolver.resolve(OPEN)
    for _ in range(3):
        assert await resolver.resolve(OPEN) == resolver.cached(OPEN) == chosen
    assert ("udp", "example.com", 5060) in resolver.known_as("udp", chosen.host, chosen.port)
    mock_clock.jump(CHOSEN_S)
    assert resolver.cached(OPEN) is None


async def test_over_tls_the_domain_is_kept_as_the_name_to_prove(zone: Zone) -> None:
    zone.records["_sips._tcp.example.com"] = (Srv(1, 1, 5071, "two.example"),)
    resolver = Resolver((4,), NameLookup("sip", lookup=zone))
    found = await resolver.resolve(Hop("tls", "example.com", 5061, search="naptr"))
    assert found == Hop("tls", "192.0.2.2", 5071, server_name="example.com")


async def test_what_is_remembered_of_servers_is_bounded(resolver: Resolver) -> None:
    for number in range(2 * REMEMBERED):
        resolver.avoid(Hop("udp", "192.0.2.1", number))
    assert len(resolver._silent) == REMEMBERED


def test_a_bound_address_is_advertised_as_it_is() -> None:
    assert advertised_host("127.0.0.9") == "127.0.0.9"
    assert advertised_host("2001:DB8:0::1") == "2001:db8::1"


def test_a_wildcard_advertises_a_usable_address() -> None:
    found = advertised_host("0.0.0.0")
    assert socket.inet_aton(found) != bytes(4)
