"""A peer that gets another address in mid call, without a restart of ICE and without nominating it."""

import pytest

from tests.webrtc.network import Network, Packet
from tests.webrtc.test_ice import A, B, Side, meet, requests, world
from vb.webrtc import stun
from vb.webrtc.checklist import MAX_PAIRS
from vb.webrtc.consent import CHECK_EVERY_S, EXPIRES_S
from vb.webrtc.ice_events import IceFailed, Selected
from vb.webrtc.nomination import GONE_S
from vb.webrtc.stun import Address, Attr, Kind, Method

MOVED: Address = ("192.0.2.200", 4999)
STRANGER: Address = ("203.0.113.66", 666)
LONGEST_INTERVAL_S = 1.2 * CHECK_EVERY_S


def talking(*, b_lite: bool = False) -> tuple[Side, Side, Network]:
    """Two agents that have talked for a minute; `a` controls."""
    a, b = Side(1, A, controlling=True), Side(2, B, lite=b_lite)
    network = world(a, b)
    meet(a, b)
    network.run(60.0)
    return a, b, network


def move(network: Network, inner: Address) -> None:
    """Puts an agent behind another outer address; what is sent to the old one is lost."""
    network.translates[inner] = MOVED
    network.loses = lambda packet: packet.destination == inner


def nominates(check: bytes) -> bool:
    return stun.parse(check).get(Attr.USE_CANDIDATE) is not None


def check_of(a: Side, b: Side, number: int = 0, *, nominating: bool = False) -> bytes:
    """A check of `a`."""
    attributes = [
        (Attr.USERNAME, f"{b.agent.local.ufrag}:{a.agent.local.ufrag}".encode()),
        (Attr.PRIORITY, (1).to_bytes(4)),
        (Attr.ICE_CONTROLLING, bytes(8)),
    ]
    if nominating:
        attributes.append((Attr.USE_CANDIDATE, b""))
    key = b.agent.local.password.encode()
    return stun.build(Kind.REQUEST, Method.BINDING, number.to_bytes(12), attributes, key=key)


@pytest.mark.parametrize("b_lite", [False, True])
def test_a_controlling_peer_is_followed_within_seconds(b_lite: bool) -> None:
    a, b, network = talking(b_lite=b_lite)
    move(network, A)
    network.run(60.0 + GONE_S + LONGEST_INTERVAL_S)
    assert b.told == [Selected(B, A), Selected(B, MOVED)]
    network.run(300.0)
    assert (len(a.told), len(b.told)) == (1, 2)


def test_a_controlled_peer_is_nominated_anew() -> None:
    a, b, network = talking()
    move(network, B)
    network.run(60.0 + GONE_S + LONGEST_INTERVAL_S)
    assert a.told == [Selected(A, B), Selected(A, MOVED)]
    network.run(300.0)
    assert (len(a.told), len(b.told)) == (2, 1)


def test_a_peer_is_not_followed_to_where_it_is_heard_too() -> None:
    a, b, network = talking()
    check = check_of(a, b)
    network.attach(a, A, MOVED)
    a.add(MOVED)
    for at in range(61, 120):
        b.receive(check, MOVED, B, float(at))
        network.run(float(at))
    assert b.told == [Selected(B, A)]


def test_a_lite_agent_keeps_its_choice_where_the_peer_never_kept_consent() -> None:
    fresh, lite = Side(3, A, controlling=True), Side(4, B, lite=True)
    network = world(fresh, lite)
    meet(fresh, lite)
    network.run(2.0)
    check = check_of(fresh, lite)
    lite.receive(check, MOVED, B, 30.0)
    assert lite.told == [Selected(B, A)]


@pytest.mark.parametrize("nominating", [False, True])
def test_a_check_that_a_stranger_sends_again_leads_a_lite_agent_nowhere(nominating: bool) -> None:
    _a, b, network = talking(b_lite=True)
    sent = [item.data for _, item in requests(network, A)]
    captured = [data for data in sent if nominates(data) == nominating][-1]
    lost: list[Packet] = []

    def loses_one_check(packet: Packet) -> bool:
        if packet.source == A and not lost:
            lost.append(packet)
            return True
        return False

    network.loses = loses_one_check
    dropped = b.agent.dropped
    for second in range(61, 121):
        network.run(float(second))
        b.receive(captured, STRANGER, B, network.now)
    assert b.told == [Selected(B, A)]
    assert b.agent.dropped == dropped + 60
    assert not b.agent.heard(STRANGER, B)


@pytest.mark.parametrize("nominating", [False, True])
def test_checks_without_answers_to_ours_keep_no_consent(nominating: bool) -> None:
    a, b, network = talking()
    move(network, A)
    network.run(120.0)
    network.loses = lambda packet: True
    addresses = (A, MOVED)
    checks = [check_of(a, b, number, nominating=nominating) for number in (1, 2)]
    for turn in range(6):
        network.run(network.now + GONE_S + 0.5)
        b.receive(checks[turn % 2], addresses[turn % 2], B, network.now)
    assert network.now > 120.0 + EXPIRES_S + LONGEST_INTERVAL_S
    assert b.told[:2] == [Selected(B, A), Selected(B, MOVED)]
    assert b.told[-1] == IceFailed("consent_lost")
    assert [event for event in b.told[2:] if isinstance(event, Selected)] == []


def test_a_peer_that_comes_back_to_an_address_is_followed_once_it_answers_there() -> None:
    a, b, network = talking()
    move(network, A)
    network.run(120.0)
    del network.translates[A]
    network.loses = lambda packet: packet.destination in (A, MOVED)
    check = check_of(a, b)
    network.run(120.0 + GONE_S + LONGEST_INTERVAL_S)
    b.receive(check, A, B, network.now)
    assert b.agent.route == (B, MOVED)
    network.loses = lambda packet: packet.destination == MOVED
    network.run(network.now + GONE_S)
    assert b.told[-1] == Selected(B, A)
    network.run(300.0)
    assert b.agent.route == (B, A)


@pytest.mark.parametrize(("a_controls", "b_lite"), [(True, False), (False, False), (True, True)])
def test_a_peer_is_followed_however_often_it_moves(a_controls: bool, b_lite: bool) -> None:
    a, b = Side(1, A, controlling=a_controls), Side(2, B, controlling=not a_controls, lite=b_lite)
    network = world(a, b)
    meet(a, b)
    network.run(60.0)
    for number in range(MAX_PAIRS + 8):
        outer = ("192.0.2.200", 5000 + number)
        network.translates[A] = outer
        network.loses = lambda packet, outer=outer: packet.destination not in (B, outer)  # type: ignore[misc]
        network.run(network.now + 20.0)
        assert b.agent.route == (B, outer)
