"""A peer that gets another address in mid call, without a restart of ICE and without nominating it."""

import pytest

from tests.webrtc.network import Network
from tests.webrtc.test_ice import A, B, Side, meet, world
from vb.webrtc import stun
from vb.webrtc.consent import CHECK_EVERY_S
from vb.webrtc.ice_events import Selected
from vb.webrtc.nomination import GONE_S
from vb.webrtc.stun import Address, Attr, Kind, Method

MOVED: Address = ("192.0.2.200", 4999)
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


def check_of(a: Side, b: Side) -> bytes:
    """A check of `a`, which nominates nothing."""
    attributes = [
        (Attr.USERNAME, f"{b.agent.local.ufrag}:{a.agent.local.ufrag}".encode()),
        (Attr.PRIORITY, (1).to_bytes(4)),
        (Attr.ICE_CONTROLLING, bytes(8)),
    ]
    return stun.build(
        Kind.REQUEST, Method.BINDING, bytes(12), attributes, key=b.agent.local.password.encode()
    )


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
