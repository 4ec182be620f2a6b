from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.names import (
    CACHE_NAMES,
    FAILURE_KEPT_S,
    KEPT_S,
    PER_DOMAIN,
    STALE_S,
    WAITING_PER_DOMAIN,
    NameLookup,
    NameNotFound,
)

HERE = ("192.0.2.1",)
PATIENCE_S = 5.0


class Resolver:
    """Answers from a table, in threads; a name with a gate only once that is open."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[str, ...] | Exception] = {}
        self.asked: list[str] = []
        self.gates: dict[str, threading.Event] = {}

    def hold(self, *hosts: str) -> Callable[[], None]:
        """Let these names wait until the returned function is called."""
        gate = threading.Event()
        self.gates.update(dict.fromkeys(hosts, gate))
        return gate.set

    def __call__(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host in self.gates:
            self.gates[host].wait()
        found = self.table.get(host, HERE)
        if isinstance(found, Exception):
            raise found
        return found


def slow_names(number: int, domain: str = "slow.example") -> list[str]:
    return [f"h{index}.{domain}" for index in range(number)]


async def settle(lookup: NameLookup) -> None:
    """Wait until no thread is at work."""
    while lookup.readings()[0][2]:
        await trio.lowlevel.checkpoint()


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    return mock_clock


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


@pytest.fixture
def names(resolver: Resolver, clock: MockClock) -> NameLookup:
    return NameLookup("test", threads=6, patience_s=PATIENCE_S, lookup=resolver)


async def test_an_answer_is_kept_for_half_a_minute(
    names: NameLookup, resolver: Resolver, clock: MockClock
) -> None:
    assert await names("A.example", 80) == HERE
    assert (names.cached("a.EXAMPLE"), names.names_of("192.0.2.1")) == (HERE, ["a.example"])
    resolver.table["a.example"] = ("192.0.2.2",)
    clock.jump(KEPT_S - 1)
    assert await names("a.example") == HERE
    clock.jump(1)
    assert names.cached("a.example") == ()
    assert await names("a.example") == ("192.0.2.2",)
    assert resolver.asked == ["a.example", "a.example"]


async def test_all_who_ask_for_a_name_share_one_look_up(names: NameLookup, resolver: Resolver) -> None:
    open_gate = resolver.hold("a.example")
    found = []

    async def ask() -> None:
        found.append(await names("a.example"))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        open_gate()
    assert found == [HERE] * 50
    assert resolver.asked == ["a.example"]


@pytest.mark.parametrize(
    "failure",
    [socket.gaierror(socket.EAI_AGAIN, "again"), UnicodeError("label too long"), RuntimeError("boom"), ()],
)
async def test_a_failure_is_an_error_that_is_kept_for_a_moment(
    names: NameLookup, resolver: Resolver, clock: MockClock, failure: Exception | tuple[str, ...]
) -> None:
    resolver.table["a.example"] = failure
    for _ in range(3):
        with pytest.raises(NameNotFound):
            await names("a.example")
    assert resolver.asked == ["a.example"]
    resolver.table["a.example"] = HERE
    clock.jump(FAILURE_KEPT_S)
    assert await names("a.example") == HERE


async def test_an_old_answer_serves_while_there_is_no_new_one(
    names: NameLookup, resolver: Resolver, clock: MockClock
) -> None:
    assert await names("a.example") == HERE
    resolver.table["a.example"] = socket.gaierror(socket.EAI_AGAIN, "again")
    clock.jump(KEPT_S)
    assert await names("a.example") == HERE
    assert await names("a.example") == HERE
    assert resolver.asked == ["a.example"] * 2, "the failure was not remembered"
    clock.jump(STALE_S)
    with pytest.raises(NameNotFound):
        await names("a.example")


async def test_a_name_that_is_gone_is_not_served_from_an_old_answer(
    names: NameLookup, resolver: Resolver, clock: MockClock
) -> None:
    assert await names("a.example") == HERE
    resolver.table["a.example"] = socket.gaierror(socket.EAI_NONAME, "no such name")
    clock.jump(KEPT_S)
    with pytest.raises(NameNotFound, match="no such name"):
        await names("a.example")


async def test_a_slow_name_is_given_up_and_keeps_its_thread(
    names: NameLookup, resolver: Resolver, clock: MockClock
) -> None:
    assert await names("a.example") == HERE
    open_gate = resolver.hold("a.example", "b.example")
    clock.jump(KEPT_S)
    clock.autojump_threshold = 0
    assert await names("a.example") == HERE, "the old answer"
    with pytest.raises(NameNotFound, match="not resolved in time"):
        await names("b.example")
    assert trio.current_time() >= 2 * PATIENCE_S
    clock.autojump_threshold = float("inf")
    assert names.readings()[0][2] == 2
    open_gate()
    await settle(names)
    assert names.cached("b.example") == HERE


async def test_slow_names_of_one_domain_hold_up_nobody_else(names: NameLookup, resolver: Resolver) -> None:
    slow = slow_names(PER_DOMAIN + WAITING_PER_DOMAIN + 5)
    open_gate = resolver.hold(*slow)
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
        assert await names("www.honest.example.org") == HERE
        open_gate()
    asked = set(resolver.asked)
    assert "www.honest.example.org" in asked
    assert len(asked) == len(resolver.asked) == len(slow) - 5 + 1


async def test_no_more_threads_than_allowed_are_used_and_the_line_moves_on(
    names: NameLookup, resolver: Resolver
) -> None:
    hosts = [f"a.d{index}.example{index}" for index in range(20)]
    open_gate = resolver.hold(*hosts)
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(names, host)
        await wait_all_tasks_blocked()
        assert [reading[2] for reading in names.readings()] == [6, 14, 0]
        open_gate()
    assert sorted(resolver.asked) == sorted(hosts)
    assert [reading[2] for reading in names.readings()] == [0, 0, 0]


async def test_who_gives_up_leaves_the_line(names: NameLookup, resolver: Resolver) -> None:
    slow = slow_names(PER_DOMAIN + 3)
    open_gate = resolver.hold(*slow)
    async with trio.open_nursery() as nursery:
        for host in slow:
            nursery.start_soon(names, host)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [reading[2] for reading in names.readings()] == [PER_DOMAIN, 0, 0]
    open_gate()
    await settle(names)
    assert len(resolver.asked) == PER_DOMAIN


async def test_the_cache_is_bounded_and_failures_go_first(names: NameLookup, resolver: Resolver) -> None:
    assert await names("proxy.example") == HERE
    for index in range(CACHE_NAMES + 10):
        host = f"x{index}.example{index}"
        resolver.table[host] = socket.gaierror(socket.EAI_NONAME, "no such name")
        with pytest.raises(NameNotFound):
            await names(host)
    assert names.cached("proxy.example") == HERE
    assert len(names._known) == CACHE_NAMES
