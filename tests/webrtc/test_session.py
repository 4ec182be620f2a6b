"""Two whole sessions on a virtual network, from description to keys, and what may go wrong."""

from __future__ import annotations

import datetime
import gc
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webrtc.network import Network, Packet, seeded
from tests.webrtc.test_ice import losing
from vb.codecs.base import CODECS
from vb.sdp.fingerprint import Fingerprint
from vb.webrtc.candidate import Candidate, local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.ice_events import Transmit
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import (
    MAX_HELD,
    Closed,
    Connected,
    Disconnected,
    Failed,
    NewAddress,
    Reconnected,
    Session,
    SessionEvent,
)
from vb.webrtc.stun import Address

TODAY = datetime.datetime(2026, 5, 4, tzinfo=datetime.UTC)
CONTEXTS = [DtlsContext(make_identity(TODAY, n)) for n in (1, 2)]
A: Address = ("192.0.2.1", 4000)
B: Address = ("198.51.100.1", 5000)
B2: Address = ("198.51.100.2", 5002)


class Side:
    """A session with its descriptions, and everything that it has told."""

    def __init__(
        self, number: int, address: Address | None, *, controlling: bool, lite: bool = False
    ) -> None:
        self.session = Session(
            controlling=controlling, context=CONTEXTS[number], random_bytes=seeded(number), lite=lite
        )
        self.talk = WebRtcNegotiation(codecs=[CODECS["opus"]], session_id=number, ssrc=number, cname="x")
        self.told: list[SessionEvent] = []
        self.candidates: list[Candidate] = []
        if address is not None:
            self.add(address)

    def add(self, address: Address) -> Candidate:
        candidate = local_candidate("host", address)
        self.candidates.append(candidate)
        self.session.add_local(candidate, address)
        return candidate

    def offer(self, *, trickle: bool) -> bytes:
        candidates = [] if trickle else self.candidates
        return self.talk.offer(self.session.local_transport(candidates, complete=not trickle))

    def answer(self, data: bytes, now: float, *, active: bool, trickle: bool) -> bytes:
        offer = self.talk.read_offer(data)
        self.session.set_peer(offer.transport, "client" if active else "server", now)
        candidates = [] if trickle else self.candidates
        transport = self.session.local_transport(candidates, complete=not trickle)
        return self.talk.answer(offer, transport, active=active)

    def receive_answer(self, data: bytes, now: float) -> None:
        agreed = self.talk.read_answer(data)
        self.session.set_peer(agreed.transport, agreed.role, now)

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        self.session.receive(data, source, base, now)
        self.told += self.session.events()

    def outgoing(self) -> list[Transmit]:
        return self.session.outgoing()

    def deadline(self) -> float | None:
        return self.session.deadline()

    def expire(self, now: float) -> None:
        self.session.expire(now)
        self.told += self.session.events()


def world(*, lite: bool = False) -> tuple[Side, Side, Network]:
    offerer, answerer = Side(0, A, controlling=True), Side(1, B, controlling=False, lite=lite)
    network = Network()
    network.attach(offerer, A)
    network.attach(answerer, B)
    return offerer, answerer, network


def exchange(
    offerer: Side, answerer: Side, now: float, *, active: bool = True, trickle: bool = False
) -> None:
    offer = offerer.offer(trickle=trickle)
    offerer.receive_answer(answerer.answer(offer, now, active=active, trickle=trickle), now)


def connected(*, active: bool = True) -> tuple[Side, Side, Network]:
    offerer, answerer, network = world()
    exchange(offerer, answerer, 0.0, active=active)
    network.run(3.0, stop=both_told(offerer, answerer))
    return offerer, answerer, network


def of_stun(drop: Callable[[Packet], bool]) -> Callable[[Packet], bool]:
    return lambda packet: packet.data[0] < 4 and drop(packet)


def both_told(one: Side, other: Side) -> Callable[[], bool]:
    return lambda: bool(one.told and other.told)


def keys_fit(offerer: Side, answerer: Side) -> None:
    one, other = offerer.told[0], answerer.told[0]
    assert isinstance(one, Connected)
    assert isinstance(other, Connected)
    assert (one.keys.send, one.keys.receive) == (other.keys.receive, other.keys.send)
    assert (one.source, one.remote) == (other.remote, other.source) == (A, B)


@pytest.mark.parametrize("active", [True, False])
def test_two_sessions_connect_and_have_fitting_keys(active: bool) -> None:
    offerer, answerer, network = connected(active=active)
    keys_fit(offerer, answerer)
    assert network.now < 0.3
    assert offerer.session.dropped == answerer.session.dropped == 0


@pytest.mark.parametrize("active", [True, False])
def test_candidates_may_come_one_by_one(active: bool) -> None:
    offerer, answerer, network = world()
    exchange(offerer, answerer, 0.0, active=active, trickle=True)
    network.run(1.0)
    assert offerer.told == answerer.told == []
    assert answerer.session.add_remote(offerer.candidates[0])
    network.run(4.0, stop=both_told(offerer, answerer))
    keys_fit(offerer, answerer)


def test_a_lite_answerer_connects() -> None:
    offerer, answerer, network = world(lite=True)
    exchange(offerer, answerer, 0.0)
    network.run(3.0, stop=both_told(offerer, answerer))
    keys_fit(offerer, answerer)


def test_the_first_message_of_dtls_that_comes_early_is_not_lost() -> None:
    offerer, answerer, network = world()
    answer = answerer.answer(offerer.offer(trickle=False), 0.0, active=True, trickle=False)
    network.run(0.2)
    assert offerer.session.ice.route is None
    offerer.receive_answer(answer, network.now)
    network.run(0.6, stop=both_told(offerer, answerer))
    keys_fit(offerer, answerer)


def test_a_wrong_certificate_ends_both_without_media() -> None:
    offerer, answerer, network = world()
    offer = offerer.offer(trickle=False)
    forged = Fingerprint("sha-256", bytes(32)).to_text()
    true = CONTEXTS[0].identity.fingerprint.to_text()
    answer = answerer.answer(offer.replace(true.encode(), forged.encode()), 0.0, active=True, trickle=False)
    offerer.receive_answer(answer, 0.0)
    network.run(3.0)
    assert answerer.told == [Failed("dtls_failed", "the certificate is not that of the description")]
    assert [type(event) for event in offerer.told] == [Failed]
    assert answerer.deadline() is None


def test_dtls_of_a_stranger_and_media_are_dropped() -> None:
    _offerer, answerer, network = connected()
    for data in (b"\x16\xfe\xfd" + bytes(60), b"\x80\x6f" + bytes(30), b"", b"\x16" * 5000):
        answerer.receive(data, ("203.0.113.66", 666), B, network.now)
    assert answerer.session.dropped == 4
    assert len(answerer.told) == 1


def test_before_a_way_is_found_only_a_few_datagrams_are_held() -> None:
    offerer, answerer, network = world()
    answerer.answer(offerer.offer(trickle=False), 0.0, active=True, trickle=False)
    network.run(0.2)
    for _ in range(100):
        offerer.receive(b"\x16" * 50, B, A, network.now)
    assert len(offerer.session._held) == MAX_HELD
    assert offerer.session.dropped == 0


def test_goodbye_reaches_the_peer() -> None:
    offerer, answerer, network = connected()
    offerer.session.close()
    network.run(network.now + 1.0)
    assert answerer.told[1:] == [Closed()]
    assert offerer.deadline() is answerer.deadline() is None


def test_a_silence_is_told_ridden_out_and_at_last_the_end() -> None:
    offerer, answerer, network = connected()
    network.loses = lambda packet: True
    network.run(20.0)
    network.loses = lambda packet: False
    network.run(40.0)
    assert answerer.told[1:] == [Disconnected(), Reconnected()]
    network.loses = lambda packet: True
    network.run(80.0)
    assert answerer.told[3:] == [Disconnected(), Failed("consent_lost")]
    assert offerer.told[-1] == Failed("consent_lost")


def test_without_a_way_it_fails_in_time() -> None:
    offerer, answerer, network = world()
    network.loses = lambda packet: True
    exchange(offerer, answerer, 0.0)
    network.run(31.0)
    assert offerer.told == answerer.told == [Failed("no_connection")]


def test_an_ice_restart_moves_media_and_keeps_the_keys() -> None:
    offerer, answerer, network = connected()
    network.loses = lambda packet: B in (packet.source, packet.destination)
    network.run(network.now + 20.0)
    network.attach(answerer, B2)
    answerer.add(B2)
    answerer.session.ice.restart()
    exchange(answerer, offerer, network.now)
    network.run(network.now + 3.0)
    assert answerer.told[1:] == [Disconnected(), Reconnected(), NewAddress(B2, A)]
    assert offerer.told[1:] == [Disconnected(), Reconnected(), NewAddress(A, B2)]


def test_some_loss_of_checks_delays_but_does_not_prevent() -> None:
    for seed in range(5):
        offerer, answerer, network = world()
        drop = losing(0.3, seed)
        network.loses = of_stun(drop)
        exchange(offerer, answerer, 0.0)
        network.run(20.0, stop=both_told(offerer, answerer))
        keys_fit(offerer, answerer)


def test_a_session_that_is_over_keeps_no_connection() -> None:
    offerer, answerer, network = connected()
    assert answerer.session._dtls is not None
    dtls = weakref.ref(answerer.session._dtls)
    gc.disable()
    try:
        offerer.session.close()
        network.run(network.now + 1.0)
        assert dtls() is None
    finally:
        gc.enable()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"", b"\0\1", b"\1\1", b"\x16\xfe\xfd", b"\x17\xfe\xfd", b"\x80"]),
            st.binary(max_size=90),
        ),
        max_size=8,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_peers_own_address_sends_is_dropped_or_ends_in_an_event(
    words: list[tuple[bytes, bytes]], before: bool
) -> None:
    offerer, answerer, network = world() if before else connected()
    if before:
        exchange(offerer, answerer, 0.0)
        network.run(0.03)
    for head, body in words:
        answerer.receive(head + body, A, B, network.now)
    answerer.expire(network.now)
    network.run(network.now + 0.5, stop=both_told(offerer, answerer))
    assert any(isinstance(event, Connected | Failed) for event in answerer.told)
