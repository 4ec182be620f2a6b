"""Host names in place of media addresses: looked up in bounded time, and not at all when there are none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf

import pytest
import trio

from vb.sdp.address import Network
from vb.sipleg.media_names import PATIENCE_S, look_up_names

V4 = Network(version=4)
NAMED = b"v=0\r\nc=IN IP4 A.example\r\nm=audio 9 RTP/AVP 0\r\nc=IN IP4 b.example\r\n"


def finding(
    known: dict[str, Sequence[str]], after_s: float = 0.0
) -> Callable[[str], Awaitable[Sequence[str]]]:
    async def lookup(host: str) -> Sequence[str]:
        await trio.sleep(after_s)
        if host not in known:
            raise OSError("no such name")
        return known[host]

    return lookup


async def never(host: str) -> Sequence[str]:
    raise AssertionError(host)


async def test_literals_cost_no_look_up() -> None:
    sdp = b"v=0\r\nc=IN IP4 192.0.2.1\r\nc=IN IP6 2001:db8::1\r\n"
    assert await look_up_names(sdp, V4, never, trio.sleep_forever) is V4


@pytest.mark.parametrize(("version", "expected"), [(4, "192.0.2.1"), (6, "2001:db8::1")])
async def test_the_first_address_of_our_own_version_counts(version: int, expected: str) -> None:
    network = Network(version=6 if version == 6 else 4)
    lookup = finding({"a.example": ["2001:db8::1", "192.0.2.1", "192.0.2.2"]})
    found = await look_up_names(b"c=IN IP4 a.example\r\n", network, lookup, trio.sleep_forever)
    assert (found.version, found.names) == (version, {"a.example": expected})


async def test_names_are_looked_up_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    lookup = finding({"a.example": ["192.0.2.1"], "b.example": ["192.0.2.2"]}, after_s=3)
    found = await look_up_names(NAMED, V4, lookup, trio.sleep_forever)
    assert found.names == {"a.example": "192.0.2.1", "b.example": "192.0.2.2"}
    assert trio.current_time() == pytest.approx(3)


async def test_a_name_without_an_address_leaves_the_others(autojump_clock: trio.testing.MockClock) -> None:
    lookup = finding({"b.example": ["192.0.2.2"]})
    found = await look_up_names(NAMED, V4, lookup, trio.sleep_forever)
    assert found.names == {"a.example": "", "b.example": "192.0.2.2"}


async def test_a_name_that_is_gone_is_not_used_any_more() -> None:
    known = Network(version=4, names={"a.example": "192.0.2.1", "c.example": "192.0.2.3"})
    found = await look_up_names(b"c=IN IP4 a.example", known, finding({}), trio.sleep_forever)
    assert found.names == {"a.example": "", "c.example": "192.0.2.3"}


async def test_slow_name_servers_are_waited_for_in_vain_only_so_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    found = await look_up_names(NAMED, V4, finding({}, after_s=inf), trio.sleep_forever)
    assert trio.current_time() == pytest.approx(PATIENCE_S)
    assert found.names == {"a.example": "", "b.example": ""}


async def test_nobody_waits_for_names_once_the_call_is_over(autojump_clock: trio.testing.MockClock) -> None:
    async def gone() -> None:
        await trio.sleep(1)

    await look_up_names(NAMED, V4, finding({}, after_s=inf), gone)
    assert trio.current_time() == pytest.approx(1)
