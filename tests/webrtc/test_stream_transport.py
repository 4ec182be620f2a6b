"""DTLS and answered ICE of a SIP call on a virtual network: strangers, NAT, and changes within the call."""

from __future__ import annotations

import pytest

from tests.webrtc.network import Network, seeded
from tests.webrtc.test_session import CONTEXTS, A, B
from vb.sdp.dtls import DtlsKeys, DtlsRole
from vb.sdp.ice import Credentials
from vb.webrtc.candidate import local_candidate
from vb.webrtc.dtls import HANDSHAKE_LIMIT_S, Dtls, SrtpKeys
from vb.webrtc.ice import IceAgent
from vb.webrtc.ice_events import Selected, Transmit
from vb.webrtc.stream_transport import MAX_HELD, Broken, Found, Keyed, StreamEvent, StreamTransport
from vb.webrtc.stun import Address

C: Address = ("203.0.113.9", 7000)
OUTER: Address = ("203.0.113.1", 61000)
STRANGERS: list[Address] = [("203.0.113.66", 9000 + number) for number in range(9)]


class Side:
    """One stream, and all that it has told."""

    def __init__(self, number: int, address: Address) -> None:
        self.core = StreamTransport(CONTEXTS[number], seeded(number), address)
        self.told: list[StreamEvent] = []
        self.sent = 0

    def follow(self, role: DtlsRole, remote: Address | None, now: float = 0.0, **more: object) -> None:
        theirs = CONTEXTS[1 if self.core._context is CONTEXTS[0] else 0].identity.fingerprint
        wanted = more.get("wanted", DtlsKeys((theirs,), role, str(more.get("name", ""))))
        assert isinstance(wanted, DtlsKeys)
        self.core.follow(wanted, ice=bool(more.get("ice")), remote=remote, now=now)

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        self.core.receive(data, source, base, now)
        self.told += self.core.events()

    def outgoing(self) -> list[Transmit]:
        out = self.core.outgoing()
        self.sent += len(out)
        return out

    def deadline(self) -> float | None:
        return self.core.deadline()

    def expire(self, now: float) -> None:
        self.core.expire(now)
        self.told += self.core.events()

    @property
    def keys(self) -> list[SrtpKeys]:
        return [event.keys for event in self.told if isinstance(event, Keyed)]

    @property
    def found(self) -> list[Address]:
        return [event.remote for event in self.told if isinstance(event, Found)]

    @property
    def broken(self) -> list[str]:
        return [event.reason for event in self.told if isinstance(event, Broken)]


def world() -> tuple[Side, Side, Network]:
    ours, theirs, network = Side(0, A), Side(1, B), Network()
    network.attach(ours, A)
    network.attach(theirs, B)
    return ours, theirs, network


def assert_shared(ours: Side, theirs: Side) -> None:
    mine, other = ours.keys[-1], theirs.keys[-1]
    assert (mine.profile, mine.send, mine.receive) == (other.profile, other.receive, other.send)


def connect(ours: Side, theirs: Side, network: Network, role: DtlsRole = "server") -> None:
    ours.follow(role, B)
    theirs.follow("client" if role == "server" else "server", A)
    network.run(5.0, stop=lambda: bool(ours.keys and theirs.keys))


@pytest.mark.parametrize("role", ["client", "server"])
def test_both_sides_have_the_same_keys_and_know_where_the_other_is(role: DtlsRole) -> None:
    ours, theirs, network = world()
    connect(ours, theirs, network, role)
    assert_shared(ours, theirs)
    assert (ours.found, theirs.found) == ([B], [A])
    assert ours.core.deadline() is None


def test_a_peer_behind_a_nat_is_found_where_it_really_is() -> None:
    ours, theirs, network = world()
    network.translates[B] = OUTER
    network.attach(theirs, OUTER)
    connect(ours, theirs, network)
    assert_shared(ours, theirs)
    assert ours.found == [OUTER]


def test_what_comes_before_the_answer_waits_for_it() -> None:
    ours, theirs, network = world()
    theirs.follow("client", A)
    network.run(0.5)
    assert ours.sent == 0
    ours.follow("server", B, 0.5)
    network.run(0.9, stop=lambda: bool(ours.keys and theirs.keys))
    assert_shared(ours, theirs)


def test_no_more_than_a_few_datagrams_wait() -> None:
    ours, _, _ = world()
    for _ in range(MAX_HELD + 3):
        ours.receive(b"\x16\xfe\xfd" + bytes(40), B, A, 0.0)
    assert ours.core.dropped == 3


def test_strangers_end_their_own_handshakes_only() -> None:
    ours, theirs, network = world()
    ours.follow("server", B)
    for stranger in STRANGERS:
        hello = Dtls(CONTEXTS[1], "client", [CONTEXTS[0].identity.fingerprint])
        hello.start(0.0)
        for data in hello.outgoing():
            ours.receive(data, stranger, A, 0.0)
        ours.receive(b"\x16\xfe\xfd" + bytes(60), stranger, A, 0.0)
    theirs.follow("client", A)
    network.run(5.0, stop=lambda: bool(ours.keys and theirs.keys))
    assert_shared(ours, theirs)
    assert ours.found == [B]
    assert ours.core.dropped
    before = ours.sent
    ours.receive(b"\x16\xfe\xfd" + bytes(60), STRANGERS[0], A, 5.0)
    assert ours.sent == before


def test_a_wrong_certificate_at_the_announced_address_ends_it() -> None:
    ours, theirs, network = world()
    ours.follow("server", B, wanted=DtlsKeys((CONTEXTS[0].identity.fingerprint,), "server"))
    theirs.follow("client", A)
    network.run(3.0)
    assert ours.broken == ["dtls_failed"]
    assert ours.keys == []
    assert ours.core.deadline() is None


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_peer_that_stays_silent_ends_it(role: DtlsRole) -> None:
    ours, _, network = world()
    ours.follow(role, C)
    network.run(HANDSHAKE_LIMIT_S - 0.1)
    assert ours.told == []
    network.run(HANDSHAKE_LIMIT_S + 0.1)
    assert ours.broken == ["dtls_failed"]


def test_a_description_that_repeats_the_association_changes_nothing() -> None:
    ours, theirs, network = world()
    connect(ours, theirs, network)
    ours.follow("server", None, 6.0)
    ours.follow("server", B, 7.0)
    assert ours.core.deadline() is None
    assert len(ours.keys) == 1


@pytest.mark.parametrize("how", ["name", "role", "address"])
def test_another_association_gets_other_keys_and_the_old_ones_last_until_then(how: str) -> None:
    ours, theirs, network = world()
    connect(ours, theirs, network)
    now = network.now
    if how == "address":
        network.attach(theirs, C)
        theirs.core._base = C
    role: DtlsRole = "client" if how == "role" else "server"
    ours.follow(role, C if how == "address" else B, now, name="new" if how == "name" else "")
    theirs.follow("server" if role == "client" else "client", A, now, name="new")
    network.run(now + 5.0, stop=lambda: len(ours.keys) == len(theirs.keys) == 2)
    assert_shared(ours, theirs)
    assert ours.keys[0] != ours.keys[1]
    assert ours.found[-1] == (C if how == "address" else B)
    assert ours.broken == []


class Full:
    """A peer with full ICE, and perhaps DTLS over the way that it finds."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.agent = IceAgent(controlling=True, random_bytes=seeded(address[1]))
        self.agent.add_local(local_candidate("host", address), address)
        self.dtls: Dtls | None = None
        self.selected: list[Selected] = []
        self.quiet = False

    def meet(self, ours: Side, now: float = 0.0) -> Credentials:
        """Exchange credentials with a lite side."""
        credentials = ours.core.answer_ice(self.agent.local, local_candidate("host", A), now)
        self.agent.set_remote(credentials, now, lite=True)
        self.agent.add_remote(local_candidate("host", A))
        return credentials

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        if data[0] < 4:
            self.agent.receive(data, source, base, now)
        elif self.dtls is not None:
            self.dtls.receive(data, now)
        self._note(now)

    def outgoing(self) -> list[Transmit]:
        out = self.agent.outgoing()
        if self.dtls is not None and (route := self.agent.route) is not None:
            out += [Transmit(data, *route) for data in self.dtls.outgoing()]
        return [] if self.quiet else out

    def deadline(self) -> float | None:
        due = [self.agent.deadline(), None if self.dtls is None else self.dtls.deadline()]
        return min((at for at in due if at is not None), default=None)

    def expire(self, now: float) -> None:
        self.agent.expire(now)
        if self.dtls is not None:
            self.dtls.expire(now)
        self._note(now)

    def _note(self, now: float) -> None:
        self.selected += [event for event in self.agent.events() if isinstance(event, Selected)]
        if self.selected and self.dtls is not None:
            self.dtls.start(now)


def ice_world(address: Address = B) -> tuple[Side, Full, Network]:
    ours, full, network = Side(0, A), Full(address), Network()
    network.attach(ours, A)
    network.attach(full, address)
    return ours, full, network


def test_ice_finds_the_peer_by_its_checks_and_we_send_none() -> None:
    ours, full, network = ice_world()
    network.translates[B] = OUTER
    network.attach(full, OUTER)
    full.meet(ours)
    ours.core.follow(None, ice=True, remote=C, now=0.0)
    network.run(5.0, stop=lambda: bool(ours.found and full.selected))
    assert ours.found == [OUTER]
    from_us = [packet.data for _, packet in network.sent if packet.source == A]
    assert from_us
    assert all(data[:2] == b"\x01\x01" for data in from_us)


def test_dtls_goes_where_ice_has_found_the_peer_and_nowhere_else() -> None:
    ours, full, network = ice_world()
    full.meet(ours)
    ours.follow("server", C, ice=True)
    full.dtls = Dtls(CONTEXTS[1], "client", [CONTEXTS[0].identity.fingerprint])
    ours.receive(b"\x16\xfe\xfd" + bytes(60), STRANGERS[0], A, 0.0)
    assert ours.core.dropped == 1
    network.run(5.0, stop=lambda: bool(ours.keys and full.dtls and full.dtls.keys))
    assert full.dtls.keys is not None
    assert ours.keys[0].send == full.dtls.keys.receive
    assert ours.found == [B]
    assert {packet.destination for _, packet in network.sent if packet.source == A} == {B}


def test_a_restart_of_the_peer_gets_new_credentials_and_moves_media() -> None:
    ours, full, network = ice_world()
    first = full.meet(ours)
    ours.core.follow(None, ice=True, remote=B, now=0.0)
    network.run(3.0, stop=lambda: bool(ours.found))
    moved = Full(C)
    network.attach(moved, C)
    full.quiet = True
    assert moved.meet(ours, network.now) != first
    network.run(network.now + 5.0, stop=lambda: len(ours.found) == 2)
    assert ours.found == [B, C]


def test_ice_without_a_check_ends_after_its_time() -> None:
    ours, full, network = ice_world()
    full.quiet = True
    full.meet(ours)
    ours.core.follow(None, ice=True, remote=B, now=0.0)
    network.run(31.0)
    assert ours.broken == ["no_connection"]


def test_a_peer_that_keeps_consent_is_missed_when_it_stops() -> None:
    ours, full, network = ice_world()
    full.meet(ours)
    ours.core.follow(None, ice=True, remote=B, now=0.0)
    network.run(20.0)
    assert ours.broken == []
    full.quiet = True
    network.run(60.0)
    assert ours.broken == ["consent_lost"]


def test_ice_that_is_given_up_in_a_later_description_is_answered_no_more() -> None:
    ours, full, network = ice_world()
    full.meet(ours)
    ours.core.follow(None, ice=True, remote=B, now=0.0)
    network.run(3.0, stop=lambda: bool(ours.found))
    ours.core.follow(None, ice=False, remote=B, now=network.now)
    before = ours.sent
    network.run(network.now + 10.0)
    assert ours.sent == before
    assert ours.core.deadline() is None
