from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.dns_records import Naptr, Record, Srv
from vb.sip.dialog import uri_hop
from vb.sip.hop import Hop, Transport
from vb.sip.locate import Query, locate
from vb.sip.uri import parse_uri

ALL: tuple[Transport, ...] = ("udp", "tcp", "tls")
Zone = Mapping[tuple[str, str], Sequence[Record]]

# The example of RFC 3263 §4.1, with servers of its own.
ZONE: Zone = {
    ("example.com", "NAPTR"): (
        Naptr(100, 50, "s", "SIP+D2U", "_sip._udp.example.com"),
        Naptr(90, 50, "s", "SIP+D2T", "_sip._tcp.example.com"),
        Naptr(50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com"),
        Naptr(10, 50, "u", "E2U+SIP", ""),
    ),
    ("_sip._tcp.example.com", "SRV"): (
        Srv(2, 1, 5060, "server2.example.com"),
        Srv(1, 1, 5062, "server1.example.com"),
    ),
    ("_sip._udp.example.com", "SRV"): (Srv(1, 1, 5070, "server3.example.com"),),
    ("_sips._tcp.example.com", "SRV"): (Srv(1, 1, 5071, "server4.example.com"),),
}


def first(_most: int) -> int:
    return 0


def found(
    uri: str,
    zone: Zone = ZONE,
    transports: Sequence[Transport] = ALL,
    draw: Callable[[int], int] = first,
    asked: list[Query] | None = None,
) -> list[Hop]:
    steps = locate(uri_hop(parse_uri(uri)), transports, draw)
    answers: dict[Query, Sequence[Record]] | None = None
    while True:
        try:
            queries = next(steps) if answers is None else steps.send(answers)
        except StopIteration as done:
            hops: list[Hop] = done.value
            return hops
        (asked if asked is not None else []).extend(queries)
        answers = {query: zone.get((query.name, query.kind), ()) for query in queries}


def places(uri: str, zone: Zone = ZONE, transports: Sequence[Transport] = ALL) -> list[tuple[str, str, int]]:
    return [(hop.transport, hop.host, hop.port) for hop in found(uri, zone, transports)]


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sip:a@192.0.2.1", ("udp", "192.0.2.1", 5060)),
        ("sip:a@192.0.2.1:5070", ("udp", "192.0.2.1", 5070)),
        ("sip:a@[2001:db8::1];transport=tcp", ("tcp", "2001:db8::1", 5060)),
        ("sips:a@192.0.2.1", ("tls", "192.0.2.1", 5061)),
        ("sip:a@example.com:5080", ("udp", "example.com", 5080)),
        ("sip:a@example.com:5080;transport=tcp", ("tcp", "example.com", 5080)),
        ("sips:a@example.com:5081", ("tls", "example.com", 5081)),
    ],
)
def test_a_numeric_host_or_a_port_leaves_nothing_to_ask(uri: str, place: tuple[str, str, int]) -> None:
    asked: list[Query] = []
    assert found(uri, asked=asked) == [Hop(*place)]  # type: ignore[arg-type]  # read from a table
    assert asked == []


def test_the_domain_says_which_transport_it_likes_best() -> None:
    assert places("sip:a@example.com") == [("tls", "server4.example.com", 5071)]
    tcp = [("tcp", "server1.example.com", 5062), ("tcp", "server2.example.com", 5060)]
    assert places("sip:a@example.com", transports=("udp", "tcp")) == tcp
    assert places("sip:a@example.com", transports=("udp",)) == [("udp", "server3.example.com", 5070)]


def test_over_tls_the_certificate_must_name_the_domain() -> None:
    (hop,) = found("sips:a@example.com")
    assert (hop.host, hop.server_name) == ("server4.example.com", "example.com")


def test_a_sips_uri_goes_over_tls_only() -> None:
    asked: list[Query] = []
    zone = {key: records for key, records in ZONE.items() if key[0] != "_sips._tcp.example.com"}
    assert [hop.transport for hop in found("sips:a@example.com", zone, asked=asked)] == ["tls"]
    assert {query for query in asked if query.kind == "SRV"} == {Query("_sips._tcp.example.com", "SRV")}


@pytest.mark.parametrize(
    ("transport", "place"),
    [
        ("udp", ("udp", "server3.example.com", 5070)),
        ("tcp", ("tcp", "server1.example.com", 5062)),
        ("tls", ("tls", "server4.example.com", 5071)),
    ],
)
def test_a_transport_that_is_named_is_kept(transport: str, place: tuple[str, str, int]) -> None:
    asked: list[Query] = []
    hop = found(f"sip:a@example.com;transport={transport}", asked=asked)[0]
    assert (hop.transport, hop.host, hop.port) == place
    assert [query.kind for query in asked] == ["SRV"]


def test_without_naptr_the_first_transport_with_servers_is_taken() -> None:
    zone = {key: records for key, records in ZONE.items() if key[1] == "SRV"}
    assert places("sip:a@example.com", zone) == [("udp", "server3.example.com", 5070)]
    del zone["_sip._udp.example.com", "SRV"]
    assert places("sip:a@example.com", zone)[0] == ("tcp", "server1.example.com", 5062)


@pytest.mark.parametrize(
    "records",
    [
        (),
        (Naptr(1, 1, "s", "SIP+D2S", "_sip._sctp.example.com"),),
        (Naptr(1, 1, "u", "SIP+D2U", "x.example.com"),),
        (Naptr(1, 1, "s", "SIP+D2U", "."),),
        (Naptr(1, 1, "s", "SIP+D2U", "nothing.example.com"),),
    ],
)
def test_a_domain_without_services_is_itself_the_server(records: tuple[Naptr, ...]) -> None:
    (hop,) = found("sip:a@example.com", {("example.com", "NAPTR"): records})
    assert (hop.transport, hop.host, hop.port, hop.search) == ("udp", "example.com", 5060, "address")
    assert hop.may_switch


def test_a_naptr_may_name_the_server_itself() -> None:
    zone = {("example.com", "NAPTR"): (Naptr(1, 1, "a", "SIP+D2T", "host.example.com"),)}
    assert places("sip:a@example.com", zone) == [("tcp", "host.example.com", 5060)]


def test_ways_of_one_order_follow_their_preference_and_later_orders_do_not_count() -> None:
    zone = {
        **ZONE,
        ("example.com", "NAPTR"): (
            Naptr(5, 20, "s", "SIP+D2U", "_sip._udp.example.com"),
            Naptr(5, 10, "s", "SIP+D2T", "_sip._tcp.example.com"),
            Naptr(6, 1, "s", "SIPS+D2T", "_sips._tcp.example.com"),
        ),
    }
    assert [port for _, _, port in places("sip:a@example.com", zone)] == [5062, 5060, 5070]


def test_replacements_elsewhere_are_asked_for_in_a_second_step() -> None:
    asked: list[Query] = []
    zone: Zone = {
        ("example.com", "NAPTR"): (Naptr(1, 1, "s", "SIP+D2U", "_sip._udp.carrier.example"),),
        ("_sip._udp.carrier.example", "SRV"): (Srv(1, 1, 5066, "edge.carrier.example"),),
    }
    (hop,) = found("sip:a@example.com", zone, asked=asked)
    assert (hop.host, hop.port) == ("edge.carrier.example", 5066)
    assert asked[-1] == Query("_sip._udp.carrier.example", "SRV")


def test_a_domain_may_say_that_it_has_no_such_service() -> None:
    zone = {("_sip._udp.example.com", "SRV"): (Srv(0, 0, 0, "."),)}
    assert found("sip:a@example.com;transport=udp", zone) == []


@pytest.mark.parametrize("transport", ["", ";transport=udp", ";transport=tcp"])
def test_only_requests_that_left_the_transport_open_may_go_over_tcp(transport: str) -> None:
    zone = {
        ("_sip._udp.example.com", "SRV"): (Srv(1, 1, 1, "a.example"),),
        ("_sip._tcp.example.com", "SRV"): (Srv(1, 1, 1, "a.example"),),
    }
    assert found(f"sip:a@example.com{transport}", zone)[0].may_switch is (transport == "")


def test_weight_is_the_share_of_calls() -> None:
    servers = (
        Srv(1, 60, 1, "a"),
        Srv(1, 30, 2, "b"),
        Srv(1, 10, 3, "c"),
        Srv(1, 0, 4, "d"),
        Srv(9, 99, 5, "e"),
    )
    zone = {("_sip._udp.example.com", "SRV"): servers}
    random = Random(7)
    firsts: Counter[str] = Counter()
    for _ in range(4000):
        hops = found("sip:x@example.com;transport=udp", zone, draw=lambda most: random.randint(0, most))
        assert sorted(hop.host for hop in hops[:4]) == ["a", "b", "c", "d"]
        assert hops[4].host == "e", "a lower priority comes last"
        firsts[hops[0].host] += 1
    assert 2250 < firsts["a"] < 2550
    assert 1050 < firsts["b"] < 1350
    assert 300 < firsts["c"] < 500
    assert 10 < firsts["d"] < 90, "without a weight a server has a small chance"


records = st.lists(
    st.builds(Srv, st.integers(0, 3), st.integers(0, 65535), st.integers(0, 65535), st.sampled_from("abc.")),
    max_size=6,
)


@given(records, st.integers(0, 2**32))
def test_every_server_is_tried_once_and_none_before_a_better_one(servers: list[Srv], seed: int) -> None:
    random = Random(seed)
    zone = {("_sip._udp.example.com", "SRV"): servers}
    hops = found("sip:x@example.com;transport=udp", zone, draw=lambda most: random.randint(0, most))
    real = [server for server in servers if server.target != "."]
    if servers:
        assert sorted((hop.host, hop.port) for hop in hops) == sorted((s.target, s.port) for s in real)
        ranks = [min(s.priority for s in real if (s.target, s.port) == (h.host, h.port)) for h in hops]
        assert ranks == sorted(ranks) or len({(s.target, s.port) for s in real}) < len(real)
    else:
        assert [hop.host for hop in hops] == ["example.com"]
