from __future__ import annotations

import socket

import pytest

from vb.names import NameLookup
from vb.sip.hop import Hop
from vb.sip.tasks.resolve import ResolveError, Resolver, advertised_host

pytestmark = pytest.mark.integration


def test_numeric_hosts_need_no_look_up() -> None:
    for host in ("127.0.0.1", "::1"):
        assert Resolver((4, 6), NameLookup("sip")).cached(Hop("udp", host, 5060)) == Hop("udp", host, 5060)


async def test_an_answer_is_kept() -> None:
    resolver, hop = Resolver((4,), NameLookup("sip")), Hop("tcp", "localhost", 5060, flow=3)
    assert resolver.cached(hop) is None
    assert await resolver.resolve(hop) == Hop("tcp", "127.0.0.1", 5060, flow=3)
    assert resolver.cached(hop) == Hop("tcp", "127.0.0.1", 5060, flow=3)


async def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(ResolveError):
        await Resolver((4,), NameLookup("sip")).resolve(Hop("udp", "x" * 70 + ".invalid", 5060))


def test_a_bound_address_is_advertised_as_it_is() -> None:
    assert advertised_host("127.0.0.9") == "127.0.0.9"
    assert advertised_host("2001:DB8:0::1") == "2001:db8::1"


def test_a_wildcard_advertises_a_usable_address() -> None:
    found = advertised_host("0.0.0.0")
    assert socket.inet_aton(found) != bytes(4)
