"""Two agents on a virtual network, and one agent against what a peer may do to it."""

import itertools
import random
from collections.abc import Callable

import pytest

from tests.webrtc.network import Network, Packet, seeded
from vb.webrtc import stun
from vb.webrtc.candidate import Candidate, local_candidate, parse_candidate
from vb.webrtc.generation import CONNECT_LIMIT_S
from vb.webrtc.ice import PACE_S, IceAgent
from vb.webrtc.ice_events import ConsentBack, ConsentMissing, IceEvent, IceFailed, Selected, Transmit
from vb.webrtc.stun import Address, Attr, Kind, Method

A: Address = ("192.0.2.1", 4000)
B: Address = ("198.51.100.1", 5000)
B2: Address = ("198.51.100.77", 5002)
A6: Address = ("2001:db8::1", 4000)
B6: Address = ("2001:db8::2", 5000)
CONNECTED_B, CONNECTED_A = Selected(A, B), Selected(B, A)


class Side:
    """An agent together with everything it has told."""

    def __init__(self, seed: int, *addresses: Address, controlling: bool = False, lite: bool = False) -> None:
        self.agent = IceAgent(controlling=controlling, random_bytes=seeded(seed), lite=lite)
        self.told: list[IceEvent] = []
        self.candidates: list[Candidate] = []
        for address in addresses:
            self.add(address)

    def add(self, address: Address) -> Candidate:
        candidate = local_candidate("host", address, preference=65_535 - len(self.candidates))
        self.agent.add_local(candidate, address)
        self.candidates.append(candidate)
        return candidate

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        self.agent.receive(data, source, base, now)
        self.told += self.agent.events()

    def outgoing(self) -> list[Transmit]:
        return self.agent.outgoing()

    def deadline(self) -> float | None:
        return self.agent.deadline()

    def expire(self, now: float) -> None:
        self.agent.expire(now)
        self.told += self.agent.events()


def losing(part: float, seed: int) -> Callable[[Packet], bool]:
    chance = random.Random(seed)
    return lambda packet: chance.random() < part


def blocking(address: Address | None) -> Callable[[Packet], bool]:
    return lambda packet: address in (packet.source, packet.destination)


def meet(a: Side, b: Side, now: float = 0.0, *, trickle: bool = False) -> None:
    """Exchanges what descriptions carry."""
    a.agent.set_remote(b.agent.local, now)
    b.agent.set_remote(a.agent.local, now)
    if not trickle:
        for one, other in ((a, b), (b, a)):
            for candidate in other.candidates:
                one.agent.add_remote(candidate)


def world(a: Side, b: Side) -> Network:
    network = Network()
    network.attach(a, *(item.address for item in a.candidates))
    network.attach(b, *(item.address for item in b.candidates))
    return network


def pair(*, b_lite: bool = False) -> tuple[Side, Side, Network]:
    a, b = Side(1, A, controlling=True), Side(2, B, lite=b_lite)
    return a, b, world(a, b)


def connected(network: Network, a: Side, b: Side, until: float = 2.0) -> None:
    network.run(network.now + until, stop=lambda: bool(a.told and b.told))


def requests(network: Network, source: Address) -> list[tuple[float, Packet]]:
    return [(at, item) for at, item in network.sent if item.source == source and item.data[:2] == b"\0\1"]


def test_two_full_agents_connect_in_a_few_round_trips() -> None:
    a, b, network = pair()
    meet(a, b)
    connected(network, a, b)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])
    assert a.agent.route == (A, B)
    assert b.agent.route == (B, A)
    assert network.now < 0.15
    assert a.agent.dropped == b.agent.dropped == 0


def test_only_the_controlling_side_nominates() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(3.0)
    nominating = [
        item.source for _, item in network.sent if stun.parse(item.data).get(Attr.USE_CANDIDATE) is not None
    ]
    assert set(nominating) == {A}


@pytest.mark.parametrize("both", [True, False])
def test_a_role_conflict_is_settled(both: bool) -> None:
    a, b = Side(1, A, controlling=both), Side(2, B, controlling=both)
    network = world(a, b)
    meet(a, b)
    connected(network, a, b)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])
    assert a.agent.controlling != b.agent.controlling


def test_a_peer_whose_candidates_are_names_is_learnt_from_its_checks() -> None:
    a, b, network = pair()
    meet(a, b, trickle=True)
    name = parse_candidate("1 1 udp 2113937151 11111111-2222-4333-8444-555555555555.local 5000 typ host")
    assert not a.agent.add_remote(name)
    b.agent.add_remote(a.candidates[0])
    connected(network, a, b)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])


def test_a_peer_behind_address_translation_is_used_by_its_outer_address() -> None:
    a, b, network = pair()
    outer: Address = ("203.0.113.5", 61000)
    network.translates[B] = outer
    meet(a, b)
    connected(network, a, b)
    assert a.told == [Selected(A, outer)]
    assert b.told == [CONNECTED_A]


def test_candidates_may_trickle_in_late_on_both_sides() -> None:
    a, b = Side(1, controlling=True), Side(2)
    network = Network()
    meet(a, b, trickle=True)
    network.run(0.5)
    for side, other, address in ((a, b, A), (b, a, B)):
        network.attach(side, address)
        other.agent.add_remote(side.add(address))
        network.run(network.now + 0.3)
    connected(network, a, b)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])


def test_a_check_that_comes_before_the_peers_description_is_answered_and_used_later() -> None:
    a, b, network = pair()
    b.agent.set_remote(a.agent.local, 0.0)
    b.agent.add_remote(a.candidates[0])
    network.run(0.2)
    assert a.agent.heard(B, A)
    assert not a.told
    a.agent.set_remote(b.agent.local, network.now)
    connected(network, a, b)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])


def test_the_better_family_is_chosen_and_the_worse_one_serves_when_it_is_blocked() -> None:
    for blocked, expected in ((None, Selected(A6, B6)), (A6, Selected(A, B))):
        a, b = Side(1, A6, A, controlling=True), Side(2, B6, B)
        network = world(a, b)
        network.loses = blocking(blocked)
        meet(a, b)
        connected(network, a, b)
        assert a.told == [expected]
        assert network.now < 1.0


def test_lost_checks_are_sent_again_at_growing_intervals_and_then_begun_anew() -> None:
    a, b, network = pair()
    a.agent.set_remote(b.agent.local, 0.0)
    a.agent.add_remote(b.candidates[0])
    network.loses = lambda packet: True
    network.run(10.0)
    times = [round(at, 2) for at, _ in requests(network, A)]
    assert times == [0.0, 0.5, 1.5, 3.5, 8.5, 9.0, 10.0]
    assert len({item.data for _, item in requests(network, A)}) == 2


def test_a_third_of_all_packets_may_get_lost() -> None:
    for seed in range(20):
        a, b, network = pair()
        network.loses = losing(85 / 256, seed)
        meet(a, b)
        connected(network, a, b, until=25.0)
        assert CONNECTED_B in a.told
        assert CONNECTED_A in b.told


def test_a_pair_that_the_peer_refuses_is_not_tried_without_rest() -> None:
    a, b, _network = pair()
    meet(a, b)
    count = 0
    now = 0.0
    while now < 10.0:
        now = max(now, a.agent.deadline() or now)
        a.expire(now)
        for sent in a.agent.outgoing():
            count += 1
            tid = stun.parse(sent.data).transaction_id
            key = b.agent.local.password.encode()
            code = (int(Attr.ERROR_CODE), stun.error_code(400, "Bad Request"))
            a.receive(stun.build(Kind.ERROR, Method.BINDING, tid, [code], key=key), B, A, now)
    assert count <= 11


def test_without_any_connection_it_fails_after_the_limit_and_falls_silent() -> None:
    a, b, network = pair()
    network.loses = lambda packet: True
    meet(a, b)
    network.run(CONNECT_LIMIT_S - 0.1)
    assert not a.told
    network.run(CONNECT_LIMIT_S + 0.1)
    assert a.told == b.told == [IceFailed("no_connection")]
    assert a.agent.deadline() is None
    assert a.agent.route is None
    count = len(network.sent)
    network.run(100.0)
    assert len(network.sent) == count


def test_an_offer_that_nobody_answers_has_no_limit() -> None:
    a = Side(1, A, controlling=True)
    assert a.agent.deadline() is None
    a.expire(1000.0)
    assert not a.told


def test_new_checks_are_paced() -> None:
    a, b = Side(1, A, controlling=True), Side(2, *((f"198.51.100.{n}", 5000) for n in range(1, 9)))
    network = world(a, b)
    network.loses = lambda packet: True
    meet(a, b)
    network.run(0.45)
    times = [at for at, _ in requests(network, A)]
    assert len(times) == 8
    assert all(later - earlier >= PACE_S - 1e-9 for earlier, later in itertools.pairwise(times))


def test_consent_is_asked_for_every_five_seconds_or_so() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    before = len(network.sent)
    network.run(101.0)
    times = [at for at, item in network.sent[before:] if item.source == A and item.data[:2] == b"\0\1"]
    assert 17 <= len(times) <= 25
    assert all(4.0 <= later - earlier <= 6.0 for earlier, later in itertools.pairwise(times))
    assert a.told == [CONNECTED_B]


def test_a_short_loss_is_told_and_ridden_out() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    network.loses = lambda packet: True
    network.run(21.0)
    network.loses = lambda packet: False
    network.run(60.0)
    assert a.told == [CONNECTED_B, ConsentMissing(), ConsentBack()]
    assert b.told == [CONNECTED_A, ConsentMissing(), ConsentBack()]


def test_thirty_seconds_without_consent_end_it() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    network.loses = lambda packet: True
    network.run(32.0)
    assert a.told == [CONNECTED_B, ConsentMissing(), IceFailed("consent_lost")]
    assert a.agent.route is None


def test_a_lite_agent_only_answers_and_the_full_one_controls() -> None:
    a, b = Side(1, A), Side(2, B, lite=True)
    network = world(a, b)
    b.agent.set_remote(a.agent.local, 0.0)
    a.agent.set_remote(b.agent.local, 0.0, lite=True)
    a.agent.add_remote(b.candidates[0])
    connected(network, a, b)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])
    assert a.agent.controlling
    network.run(60.0)
    assert not requests(network, B)
    assert b.told == [CONNECTED_A]
    network.loses = lambda packet: packet.source == A
    network.run(100.0)
    assert b.told == [CONNECTED_A, ConsentMissing(), IceFailed("consent_lost")]


def test_a_peer_that_moves_to_a_worse_address_is_followed_when_the_better_one_is_silent() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    c = Side(3, B2)
    network.attach(c, B2)
    # The controlled side is B here: let it hear A's nomination from another address, as browsers do it.
    moved: Address = ("192.0.2.200", 4999)
    network.translates[A] = moved
    tid = bytes(12)
    nomination = stun.build(
        Kind.REQUEST,
        Method.BINDING,
        tid,
        [
            (Attr.USERNAME, f"{b.agent.local.ufrag}:{a.agent.local.ufrag}".encode()),
            (Attr.PRIORITY, (1).to_bytes(4)),
            (Attr.ICE_CONTROLLING, bytes(8)),
            (Attr.USE_CANDIDATE, b""),
        ],
        key=b.agent.local.password.encode(),
    )
    b.receive(nomination, moved, B, network.now)
    network.run(network.now + 0.5)
    assert b.told == [CONNECTED_A]
    network.run(network.now + 7.0)
    b.receive(nomination, moved, B, network.now)
    assert b.told[-1] == Selected(B, moved)


def test_the_peers_restart_gets_new_credentials_and_media_goes_on_meanwhile() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    old = b.agent.local
    ours = a.agent.restart()
    assert a.agent.restarting
    assert b.agent.set_remote(ours, network.now)
    assert b.agent.local != old
    assert b.agent.route == (B, A)
    a.agent.set_remote(b.agent.local, network.now)
    a.agent.add_remote(b.candidates[0])
    b.agent.add_remote(a.candidates[0])
    network.run(3.0)
    assert [side.agent.restarting for side in (a, b)] == [False, False]
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])
    network.run(100.0)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])


def test_a_restart_from_a_new_address_moves_the_media() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    network.loses = lambda packet: B in (packet.source, packet.destination)
    network.run(20.0)
    b.told.clear()
    network.attach(b, B2)
    moved = b.add(B2)
    assert a.agent.set_remote(b.agent.restart(), network.now)
    b.agent.set_remote(a.agent.local, network.now)
    a.agent.add_remote(moved)
    b.agent.add_remote(a.candidates[0])
    network.run(25.0)
    assert a.told == [CONNECTED_B, ConsentMissing(), ConsentBack(), Selected(A, B2)]
    assert b.told == [ConsentBack(), Selected(B2, A)]


def test_consent_that_runs_out_during_a_restart_waits_for_it() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    network.loses = lambda packet: True
    network.run(28.0)
    a.agent.set_remote(b.agent.restart(), network.now)
    b.agent.set_remote(a.agent.local, network.now)
    network.run(40.0)
    assert a.told == [CONNECTED_B, ConsentMissing()]
    assert a.agent.route is None
    network.run(59.0)
    assert a.told[-1] == IceFailed("consent_lost")


def test_a_candidate_of_an_older_generation_is_not_taken_for_the_new_one() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    stale = parse_candidate(f"1 1 udp 99 198.51.100.9 5 typ host ufrag {'old0'}")
    assert not a.agent.add_remote(stale)
    named = parse_candidate(f"1 1 udp 99 198.51.100.9 5 typ host ufrag {b.agent.local.ufrag}")
    assert a.agent.add_remote(named)


def binding(
    side: Side, password: str, *more: tuple[int, bytes], ufrag: str | None = None, number: int = 0
) -> bytes:
    user = f"{ufrag or side.agent.local.ufrag}:peer".encode()
    attributes = [(Attr.USERNAME, user), (Attr.ICE_CONTROLLING, b"\xff" * 8), *more]
    return stun.build(Kind.REQUEST, Method.BINDING, number.to_bytes(12), attributes, key=password.encode())


PRIORITY = (int(Attr.PRIORITY), (1).to_bytes(4))


def test_requests_that_are_not_signed_for_us_get_no_answer() -> None:
    b = Side(2, B)
    password = b.agent.local.password
    for data in (
        binding(b, "wrong", PRIORITY),
        binding(b, password, PRIORITY, ufrag="other"),
        stun.build(Kind.REQUEST, Method.BINDING, bytes(12)),
        stun.build(Kind.SUCCESS, Method.BINDING, bytes(12)),
        stun.build(Kind.REQUEST, Method.ALLOCATE, bytes(12)),
        b"\0\1garbage",
    ):
        b.receive(data, A, B, 0.0)
    assert b.outgoing() == []
    assert b.agent.dropped == 6
    assert not b.agent.heard(A, B)


def test_signed_requests_that_cannot_be_served_are_refused() -> None:
    b = Side(2, B)
    password = b.agent.local.password
    for data, code in (
        (binding(b, password), 400),
        (binding(b, password, PRIORITY, (0x7777, b"")), 420),
    ):
        b.receive(data, A, B, 0.0)
        (reply,) = b.agent.outgoing()
        assert stun.read_error_code(stun.parse(reply.data).get(Attr.ERROR_CODE)) == code
    assert not b.agent.heard(A, B)


def test_a_flood_of_requests_is_answered_at_a_limited_rate() -> None:
    b = Side(2, B)
    data = binding(b, b.agent.local.password, PRIORITY)
    for n in range(1000):
        b.receive(data, A, B, n * 1e-4)
    assert len(b.outgoing()) <= 111
    assert b.agent.dropped >= 889


def test_a_flood_of_sources_is_bounded_and_does_not_keep_the_true_peer_out() -> None:
    a, b, network = pair()
    for n in range(2000):
        data = binding(b, b.agent.local.password, PRIORITY, number=n)
        b.receive(data, (f"203.0.113.{n % 250}", 1000 + n), B, n * 0.01)
    b.outgoing()
    network.now = 20.0
    meet(a, b, network.now)
    connected(network, a, b, until=20.0)
    assert (a.told, b.told) == ([CONNECTED_B], [CONNECTED_A])


def test_an_answer_from_another_address_or_with_another_key_is_not_believed() -> None:
    a, b, _network = pair()
    meet(a, b)
    a.expire(0.0)
    (check,) = a.agent.outgoing()
    tid = stun.parse(check.data).transaction_id
    forged = stun.build(Kind.SUCCESS, Method.BINDING, tid, key=b"wrong")
    a.receive(forged, B, A, 0.01)
    true = stun.build(Kind.SUCCESS, Method.BINDING, tid, key=b.agent.local.password.encode())
    a.receive(true, B2, A, 0.01)
    assert a.agent.dropped == 2
    assert a.agent.route is None
    a.receive(true, B, A, 0.02)
    assert a.agent.route == (A, B)


def test_a_closed_agent_does_nothing() -> None:
    a, b, network = pair()
    meet(a, b)
    network.run(1.0)
    a.agent.close()
    a.receive(binding(a, a.agent.local.password, PRIORITY), B, A, 2.0)
    a.expire(3.0)
    assert a.outgoing() == []
    assert a.agent.deadline() is None
