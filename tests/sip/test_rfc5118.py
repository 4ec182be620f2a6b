"""The torture test messages of RFC 5118, with IPv6 addresses everywhere, and what an agent does with each.

Every message goes through a whole agent. The vectors stand in `rfc5118.py` beside this file.
"""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from tests.sip.rfc5118 import INVALID, VALID
from tests.sip.test_rfc4475 import wire
from tests.support.sip_pair import ANSWER, RawPeer, statuses
from vb.codecs.base import CODECS
from vb.sdp import check_offer, parse_sdp
from vb.sip.headers import parse_via
from vb.sip.hop import Hop
from vb.sip.message import Request
from vb.sip.parser import parse_message
from vb.sip.settings import AgentSettings
from vb.sip.uri import parse_uri

PEER = Hop("udp", "2001:db8::9:1", 5060)
SETTINGS = AgentSettings(host6="2001:db8::10")
CASES = [pytest.param(name, *case, id=name) for name, case in {**VALID, **INVALID}.items()]


def read(name: str) -> Request:
    message = parse_message(wire(VALID[name][1]))
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(("name", "status", "text"), CASES)
def test_torture_message(name: str, status: int, text: str) -> None:
    peer = RawPeer(SETTINGS, PEER)
    assert statuses(peer.send(wire(text))) == [status]
    assert peer.hops[-1].host == PEER.host
    assert statuses(peer.send(peer.request("OPTIONS"))) == [200]


@pytest.mark.parametrize("name", list(VALID))
def test_valid_messages_are_read_and_written_again(name: str) -> None:
    message = read(name)
    assert parse_message(message.to_bytes()).to_bytes() == message.to_bytes()


@pytest.mark.parametrize("name", [name for name, (status, _) in VALID.items() if status == 100])
def test_an_invite_becomes_a_call_that_can_be_taken(name: str) -> None:
    peer = RawPeer(SETTINGS, PEER)
    peer.send(wire(VALID[name][1]))
    peer.side.call.accept(ANSWER, peer.now)
    (response,) = peer.collect()
    assert statuses([response]) == [200]
    assert response.headers.get("Contact") == "<sip:[2001:db8::10]:5060>"
    assert peer.hops[-1] == Hop("udp", PEER.host, read(name).via.port or 5060)


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("ipv6-good", "2001:db8::10", None),
        ("port-ambiguous", "2001:db8::10:5070", None),
        ("port-unambiguous", "2001:db8::10", 5070),
        ("ipv6-in-sdp", "2001:db8::10", None),
        ("ipv6-correct-abnf-2-colons", "2001:db8::c000:201", None),
    ],
)
def test_a_port_stands_behind_the_bracket(name: str, host: str, port: int | None) -> None:
    uri = parse_uri(read(name).uri)
    assert (uri.host, uri.port) == (host, port)


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("via-received-param-with-delim", "[2001:db8::9:255]"),
        ("via-received-param-no-delim", "2001:db8::9:255"),
    ],
)
def test_received_is_read_with_brackets_and_without(name: str, received: str) -> None:
    assert read(name).via.params["received"] == received


def test_vias_of_both_families_stand_in_one_message() -> None:
    vias = [parse_via(value) for value in read("mult-ip-in-header").headers.get_list("Via")]
    assert [(via.transport, via.host, via.port) for via in vias] == [
        ("UDP", "2001:db8::9:1", 6050),
        ("UDP", "192.0.2.1", None),
        ("TCP", "2001:db8::9:255", None),
    ]
    assert vias[2].params["received"] == "192.0.2.200"


def test_mapped_addresses_are_read_everywhere() -> None:
    message = read("ipv4-mapped-ipv6")
    vias = [parse_via(value) for value in message.headers.get_list("Via")]
    assert [(via.host, via.port) for via in vias] == [
        (str(IPv6Address("::ffff:c000:20a")), 19823),  # Python 3.13 writes such addresses otherwise
        (str(IPv6Address("::ffff:c000:202")), None),
    ]
    contact = message.contact
    assert contact is not None
    assert parse_uri(contact.uri).host == str(IPv6Address("::ffff:c000:202"))


def test_sdp_has_addresses_without_brackets_and_of_both_families() -> None:
    session = parse_sdp(read("ipv6-in-sdp").body)
    assert session.connection is not None
    assert session.connection.address == "2001:db8::20"
    lines = [media.connection for media in parse_sdp(read("mult-ip-in-sdp").body).media]
    assert [(line.address_type, line.address) for line in lines if line is not None] == [
        ("IP4", "192.0.2.1"),
        ("IP6", "2001:db8::1"),
    ]
    mapped = parse_sdp(read("ipv4-mapped-ipv6").body).connection
    assert mapped is not None
    assert mapped.address == "::ffff:192.0.2.2"
    (codec,) = check_offer(read("mult-ip-in-sdp").body, [CODECS["PCMU"]])
    assert codec.name == "PCMU"
