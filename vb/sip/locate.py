"""Which servers a request may go to, and in which order.  Spec: RFC 3263 §4, RFC 2782, RFC 3403.

Questions and answers only: a generator yields what has to be looked up, is sent what was found, and returns
the hops in the order in which they are to be tried. Their hosts may still be names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from vb.dns_records import Kind, Naptr, Record, Srv
from vb.sip.hop import Hop, Transport, default_port

_SERVICES: Final[dict[str, Transport]] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_PREFIXES: Final[dict[Transport, str]] = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


class Query(NamedTuple):
    """What has to be looked up."""

    name: str
    kind: Kind


Answers: TypeAlias = Mapping[Query, Sequence[Record]]
Draw: TypeAlias = Callable[[int], int]
"""Returns a random number from 0 to the one given, that one included."""


class _Way(NamedTuple):
    """A transport, and the name under which its servers are listed, or its one server."""

    transport: Transport
    name: str
    listed: bool = True


def locate(
    hop: Hop, supported: Collection[Transport], draw: Draw
) -> Generator[tuple[Query, ...], Answers, list[Hop]]:
    """Find the hops that a hop stands for.

    Args:
        hop: as the URI says; its `search` tells what is left open.
        supported: transports that we have; the first ones are preferred where a domain does not care.
        draw: decides among servers of the same priority.

    Returns:
        The hops in the order to try; none if the domain says that it offers no such service.
    """
    if hop.search == "address":
        return [hop]
    secure = hop.transport == "tls"
    open_to = supported if hop.search == "naptr" and not secure else (hop.transport,)
    ways = [_Way(transport, f"{_PREFIXES[transport]}.{hop.host}") for transport in open_to]
    naptr = Query(hop.host, "NAPTR")
    asked = [Query(way.name, "SRV") for way in ways]
    answers = dict((yield (naptr, *asked) if hop.search == "naptr" else tuple(asked)))
    told = _naptr_ways(answers.get(naptr, ()), open_to)
    if told:
        new = tuple(query for way in told if (query := Query(way.name, "SRV")) not in answers and way.listed)
        if new:
            answers.update((yield new))
    found = _hops(hop, told, answers, draw)
    if not found:
        # The first transport that the domain lists is taken (RFC 3263 §4.1).
        found = next(filter(None, (_hops(hop, [way], answers, draw) for way in ways)), [])
    if found:
        return found
    if any(records for query, records in answers.items() if query.kind == "SRV"):
        return []  # the domain lists its servers, and says that there is none (RFC 2782, Target)
    return [replace(hop, search="address")]


def _naptr_ways(records: Sequence[Record], open_to: Collection[Transport]) -> list[_Way]:
    """Return the ways of the lowest order that has one which we can go: later orders do not count."""
    usable = [
        record
        for record in records
        if isinstance(record, Naptr)
        and record.flags in ("s", "a")
        and _SERVICES.get(record.service) in open_to
        and record.replacement not in ("", ".")
    ]
    usable.sort(key=attrgetter("order", "preference"))
    return [
        _Way(_SERVICES[record.service], record.replacement, record.flags == "s")
        for record in usable
        if record.order == usable[0].order
    ]


def _hops(hop: Hop, ways: Sequence[_Way], answers: Answers, draw: Draw) -> list[Hop]:
    found = []
    for way in ways:
        if way.listed:
            servers = _in_order(answers.get(Query(way.name, "SRV"), ()), draw)
            places = [(server.target, server.port) for server in servers]
        else:
            places = [(way.name, default_port(way.transport))]
        # Over TLS the certificate must name the domain that was asked for (RFC 5922 §7.2).
        name = (hop.server_name or hop.host) if way.transport == "tls" else ""
        may_switch = hop.may_switch and way.transport == "udp"
        found += [Hop(way.transport, host, port, 0, name, may_switch) for host, port in places]
    return found


def _in_order(records: Sequence[Record], draw: Draw) -> list[Srv]:
    """Sort servers by priority, and at random by weight within one.  Spec: RFC 2782, Weight."""
    servers = [record for record in records if isinstance(record, Srv) and record.target not in ("", ".")]
    servers.sort(key=attrgetter("priority", "weight"))
    ordered: list[Srv] = []
    for _, group in groupby(servers, attrgetter("priority")):
        left = list(group)
        while left:
            mark, passed = draw(sum(server.weight for server in left)), 0
            for chosen in left:
                passed += chosen.weight
                if passed >= mark:
                    break
            left.remove(chosen)
            ordered.append(chosen)
    return ordered
