from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.dns_records import Answer, Kind, LookupFailed, Record, Srv
from vb.names import (
    CACHE_NAMES,
    FAILURE_KEPT_S,
    KEPT_S,
    LEAST_KEPT_S,
    MOST_KEPT_S,
    PER_DOMAIN,
    STALE_S,
    WAITING_PER_DOMAIN,
    NameLookup,
    NameNotFound,
)

HERE: tuple[Record, ...] = ("192.0.2.1",)
PATIENCE_S = 5.0


class Servers:
    """Name servers that answer from a table; a name with a gate only once that is open."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[Record, ...] | Exception] = {}
        self.ttl_s: float | None = None
        self.asked: list[str] = []
        self.gates: dict[str, trio.Event] = {}

    def hold(self, *hosts: str) -> Callable[[], None]:
        """Let these names wait until the returned function is called."""
        gate = trio.Event()
        self.gates.update(dict.fromkeys(hosts, gate))
        return gate.set

    async def __call__(self, name: str, kind: Kind, within_s: float) -> Answer:
        self.asked.append(name)
        if name in self.gates:
            await self.gates[name].wait()
        found = self.table.get(name, HERE)
        if isinstance(found, Exception):
            raise found
        return Answer(found, self.ttl_s)


def slow_names(number: int, domain: str = "slow.example") -> list[str]:
    return [f"h{index}.{domain}" for index in range(number)]


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    return mock_clock


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
def names(servers: Servers, clock: MockClock) -> NameLookup:
    return NameLookup("test", at_once=PER_DOMAIN + 2, patience_s=PATIENCE_S, lookup=servers)


async def test_an_answer_is_kept_for_half_a_minute(
    names: NameLookup, servers: Servers, clock: MockClock
) -> None:
    assert await names("A.example", 80) == [*HERE]
    assert (names.cached("a.EXAMPLE"), names.names_of("192.0.2.1")) == (HERE, ["a.example"])
    servers.table["a.example"] = ("192.0.2.2",)
    clock.jump(KEPT_S - 1)
    assert await names("a.example") == [*HERE]
    clock.jump(1)
    assert names.cached("a.example") == ()
    assert await names("a.example") == ["192.0.2.2"]
    assert servers.asked == ["a.example", "a.example"]


async def test_all_who_ask_for_a_name_share_one_look_up(names: NameLookup, servers: Servers) -> None:
    open_gate = servers.hold("a.example")
    found = []

    async def ask() -> None:
        found.append(await names("a.example"))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        open_gate()
    assert found == [[*HERE]] * 50
    assert servers.asked == ["a.example"]


@pytest.mark.parametrize(
    "failure",
    [LookupFailed("again"), UnicodeError("label too long"), RuntimeError("boom"), ()],
)
async def test_a_failure_is_an_error_that_is_kept_for_a_moment(
    names: NameLookup, servers: Servers, clock: MockClock, failure: Exception | tuple[Record, ...]
) -> None:
    servers.table["a.example"] = failure
    for _ in range(3):
        with pytest.raises(NameNotFound):
            await names("a.example")
    assert servers.asked == ["a.example"]
    servers.table["a.example"] = HERE
    clock.jump(FAILURE_KEPT_S)
    assert await names("a.example") == [*HERE]


async def test_an_old_answer_serves_while_there_is_no_new_one(
    names: NameLookup, servers: Servers, clock: MockClock
) -> None:
    assert await names("a.example") == [*HERE]
    servers.table["a.example"] = LookupFailed("again")
    clock.jump(KEPT_S)
    assert await names("a.example") == [*HERE]
    assert await names("a.example") == [*HERE]
    assert servers.asked == ["a.example"] * 2, "the failure was not remembered"
    clock.jump(STALE_S)
    with pytest.raises(NameNotFound):
        await names("a.example")


async def test_a_name_that_is_gone_is_not_served_from_an_old_answer(
    names: NameLookup, servers: Servers, clock: MockClock
) -> None:
    assert await names("a.example") == [*HERE]
    servers.table["a.example"] = ()
    clock.jump(KEPT_S)
    with pytest.raises(NameNotFound, match="no such name"):
        await names("a.example")


async def test_a_slow_name_is_given_up(names: NameLookup, servers: Servers, clock: MockClock) -> None:
    assert await names("a.example") == [*HERE]
    servers.hold("a.example", "b.example")
    clock.jump(KEPT_S)
    clock.autojump_threshold = 0
    assert await names("a.example") == [*HERE], "the old answer"
    with pytest.raises(NameNotFound, match="not resolved in time"):
        await names("b.example")
    assert trio.current_time() >= 2 * PATIENCE_S
    assert names.readings()[0][2] == 0


async def test_when_the_first_who_asks_gives_up_the_next_goes_on(
    names: NameLookup, servers: Servers, clock: MockClock
) -> None:
    open_gate = servers.hold("a.example")
    found = []

    async def ask() -> None:
        found.append(await names("a.example"))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            async with trio.open_nursery() as impatient:
                impatient.start_soon(names, "a.example")
                await wait_all_tasks_blocked()
                for _ in range(3):
                    nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                first.cancel()
        await wait_all_tasks_blocked()
        assert names.readings()[0][2] == 1
        open_gate()
    assert found == [[*HERE]] * 3
    assert servers.asked == ["a.example", "a.example"]
    assert names.readings()[0][2] == 0


@pytest.mark.parametrize(
    ("ttl_s", "kept_s"), [(0.0, LEAST_KEPT_S), (7.0, 7.0), (86_400.0, MOST_KEPT_S), (None, KEPT_S)]
)
async def test_an_answer_is_kept_as_long_as_it_says_within_bounds(
    names: NameLookup, servers: Servers, clock: MockClock, ttl_s: float | None, kept_s: float
) -> None:
    servers.ttl_s = ttl_s
    await names("a.example")
    clock.jump(kept_s - 0.1)
    await names("a.example")
    assert len(servers.asked) == 1
    clock.jump(0.1)
    await names("a.example")
    assert len(servers.asked) == 2


async def test_each_kind_of_record_is_kept_by_itself(names: NameLookup, servers: Servers) -> None:
    servers.table["a.example"] = (Srv(1, 2, 5060, "b.example"),)
    assert await names.records("a.example", "SRV") == servers.table["a.example"]
    servers.table["a.example"] = HERE
    assert await names("a.example") == [*HERE]
    assert (names.cached("a.example"), names.names_of("192.0.2.1")) == (HERE, ["a.example"])
    servers.table["b.example"] = ()
    assert await names.records("b.example", "NAPTR") == ()


@pytest.mark.parametrize("host", ["192.0.2.9", "::1"])
async def test_an_address_is_its_own_answer(names: NameLookup, servers: Servers, host: str) -> None:
    assert await names(host) == (host,)
    assert servers.asked == []


async def test_slow_names_of_one_domain_hold_up_nobody_else(names: NameLookup, servers: Servers) -> None:
    slow = slow_names(PER_DOMAIN + WAITING_PER_DOMAIN + 5)
    open_gate = servers.hold(*slow)
    refused = []

    async def ask(host: str) -> None:
        try:
            await names(host)
        except NameNotFound as error:
            refused.append(str(error))

    async with trio.open_nursery() as nursery:
        for host in slow:
            nursery.start_soon(ask, host)
        await wait_all_tasks_blocked()
        assert refused == ["too many names are being looked up"] * 5
        assert [reading[2] for reading in names.readings()] == [PER_DOMAIN, WAITING_PER_DOMAIN, 5]
        assert await names("www.honest.example.org") == [*HERE]
        open_gate()
    asked = set(servers.asked)
    assert "www.honest.example.org" in asked
    assert len(asked) == len(servers.asked) == len(slow) - 5 + 1


async def test_no_more_than_allowed_are_looked_up_at_once_and_the_line_moves_on(
    names: NameLookup, servers: Servers
) -> None:
    hosts = [f"a.d{index}.example{index}" for index in range(20)]
    open_gate = servers.hold(*hosts)
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(names, host)
        await wait_all_tasks_blocked()
        assert [reading[2] for reading in names.readings()] == [PER_DOMAIN + 2, 18 - PER_DOMAIN, 0]
        open_gate()
    assert sorted(servers.asked) == sorted(hosts)
    assert [reading[2] for reading in names.readings()] == [0, 0, 0]


async def test_who_gives_up_leaves_the_line(names: NameLookup, servers: Servers) -> None:
    slow = slow_names(PER_DOMAIN + 3)
    servers.hold(*slow)
    async with trio.open_nursery() as nursery:
        for host in slow:
            nursery.start_soon(names, host)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [reading[2] for reading in names.readings()] == [0, 0, 0]
    assert len(servers.asked) == PER_DOMAIN
    assert names._flights == {}


async def test_the_cache_is_bounded_and_failures_go_first(names: NameLookup, servers: Servers) -> None:
    assert await names("proxy.example") == [*HERE]
    for index in range(CACHE_NAMES + 10):
        host = f"x{index}.example{index}"
        servers.table[host] = ()
        with pytest.raises(NameNotFound):
            await names(host)
    assert names.cached("proxy.example") == HERE
    assert len(names._known) == CACHE_NAMES
