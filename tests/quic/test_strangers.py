"""What strangers can do to the endpoint: nothing is kept of them, and little is answered."""

from __future__ import annotations

import random

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from hypothesis import given
from hypothesis import strategies as st

from tests.quic.world import SERVER, Client, World
from vb.quic.endpoint import Limits
from vb.quic.invariants import read_heading


def first_datagram() -> bytes:
    """Return what a client begins with."""
    client = QuicConnection(configuration=QuicConfiguration(is_client=True, alpn_protocols=["h3"]))
    client.connect(SERVER, 0.0)
    return client.datagrams_to_send(0.0)[0][0]


def test_a_first_datagram_gets_a_retry_that_is_shorter_and_leaves_nothing() -> None:
    world = World()
    answers = world.inject(first_datagram())
    assert len(answers) == 1
    assert len(answers[0]) < 200
    assert world.endpoint.kept == 0


def test_a_flood_of_first_datagrams_keeps_nothing_and_is_answered_so_often_and_no_more() -> None:
    world = World(Limits(answers_per_second=50))
    initial = first_datagram()
    answers = sum(len(world.inject(initial, (f"203.0.113.{n % 250}", n))) for n in range(2000))
    assert answers == 50
    assert world.endpoint.dropped["rate"] == 1950
    assert world.endpoint.kept == 0


def test_a_flood_does_not_keep_others_from_talking() -> None:
    world = World(Limits(answers_per_second=50))
    client, peer = world.joined()
    initial = first_datagram()
    stream = client.open(bidirectional=False)
    for number in range(100):
        for port in range(20):
            world.inject(initial, ("203.0.113.1", port))
        client.send(stream, b"%03d" % number)
        world.run(0.02)
    assert peer.received(stream) == b"".join(b"%03d" % number for number in range(100))


def test_an_unknown_version_is_told_which_there_are_unless_it_is_short_or_itself_such_an_answer() -> None:
    world = World()
    initial = first_datagram()
    unknown = initial[:1] + bytes.fromhex("0a0a0a0a") + initial[5:]
    answers = world.inject(unknown)
    assert len(answers) == 1
    heading = read_heading(answers[0])
    sent = read_heading(unknown)
    assert heading is not None
    assert sent is not None
    assert (heading.version, heading.destination, heading.source) == (0, sent.source, sent.destination)
    assert answers[0].endswith(bytes.fromhex("00000001 6b3343cf"))
    assert world.inject(unknown[:1100]) == []
    assert world.inject(initial[:1] + bytes(4) + initial[5:]) == []


def test_a_long_connection_id_of_another_version_is_returned_whole() -> None:
    world = World()
    unknown = bytes.fromhex("c0 fafafafa ff") + bytes(range(255)) + b"\x02ab"
    (answer,) = world.inject(unknown + bytes(1200))
    heading = read_heading(answer)
    assert heading is not None
    assert (heading.destination, heading.source) == (b"ab", bytes(range(255)))


@given(st.binary(max_size=80))
def test_no_bytes_break_the_heading(data: bytes) -> None:
    read_heading(data)


def test_garbage_and_damaged_first_datagrams_leave_nothing_behind() -> None:
    world = World(Limits(answers_per_second=0))
    drawn = random.Random(5)
    initial = first_datagram()
    for _ in range(3000):
        data = bytearray(initial if drawn.random() < 0.7 else drawn.randbytes(drawn.randrange(1, 1400)))
        for _ in range(drawn.randrange(1, 6)):
            data[drawn.randrange(min(len(data), 60))] = drawn.randrange(256)
        if drawn.random() < 0.3:
            del data[drawn.randrange(len(data)) :]
        world.inject(bytes(data))
        world.now += 0.001
    world.run(60.0)
    assert world.endpoint.kept == 0
    assert world.faults == []


class Stuck(Client):
    """A client that keeps its second datagram, the one with the token, and goes on with nothing."""

    def receive(self, data: bytes) -> None:
        self.quic.receive_datagram(data, SERVER, self.world.now)
        self.kept = [item for item, _ in self.quic.datagrams_to_send(self.world.now)]

    def flush(self) -> None:
        if not hasattr(self, "kept"):
            self.kept = []
            super().flush()


def greeting(world: World, host: str = "198.51.100.1") -> tuple[bytes, tuple[str, int]]:
    """Return a first datagram with a token, and from where it may come."""
    address = (host, 5000 + len(world.clients))
    client = Stuck(world, address)
    for data, destination in world.endpoint.outgoing(world.now):
        world.send(data, destination, to_server=False)
    world.run(0.1)
    del world.clients[address]
    return client.kept[0], address


def test_a_token_counts_for_its_address_only_and_for_thirty_seconds() -> None:
    world = World()
    data, address = greeting(world)
    assert world.inject(data, (address[0], address[1] + 1)) == []
    assert world.inject(data, ("203.0.113.9", address[1])) == []
    assert world.endpoint.connections == 0
    world.run(31.0)
    assert world.inject(data, address) == []
    assert world.endpoint.dropped["token"] == 3
    assert world.endpoint.connections == 0


def test_a_token_opens_one_connection_however_often_it_comes() -> None:
    world = World()
    data, address = greeting(world)
    for _ in range(5):
        world.inject(data, address)
    assert world.endpoint.connections == 1
    world.run(12.0)
    assert world.endpoint.connections == 0
    assert world.endpoint.failures["timeout"] == 1
    world.inject(data, address)
    assert world.endpoint.connections == 0
    assert world.endpoint.dropped["token"] == 1


def test_half_open_handshakes_are_bounded_and_end_by_themselves() -> None:
    world = World(Limits(handshakes=6, handshakes_per_host=4))
    refused = 0
    for number in range(12):
        data, address = greeting(world, f"198.51.100.{1 + number // 6}")
        refused += world.endpoint.dropped["full"] == 0 and not world.inject(data, address)
        world.inject(data, address)
    assert world.endpoint.handshakes == 6
    assert world.endpoint.dropped["full"] >= 6
    world.run(15.0)
    assert world.endpoint.handshakes == 0
    assert world.endpoint.failures["timeout"] == 6
    client, peer = world.joined("198.51.100.77")
    assert client.ended is None
    assert not peer.told


def test_who_finds_no_room_is_refused_at_once() -> None:
    world = World(Limits(per_host=1))
    world.joined("198.51.100.1")
    client = world.client("198.51.100.1")
    world.run(2.0)
    assert client.end_code() == 0x2  # CONNECTION_REFUSED
    assert world.joined("198.51.100.2")[0].ended is None


def test_room_comes_back_when_a_connection_ends() -> None:
    world = World(Limits(connections=1))
    client, _ = world.joined()
    client.quic.close()
    world.run(5.0)
    assert world.joined()[0].ended is None


def test_another_protocol_than_h3_fails_by_tls() -> None:
    world = World()
    client = world.client(alpn=("hq-interop",))
    world.run(3.0)
    assert client.end_code() == 0x178  # no_application_protocol
    assert world.endpoint.failures["tls"] == 1
    assert world.endpoint.connections == 0


def test_a_peer_whose_connection_is_gone_learns_it_by_a_reset() -> None:
    world = World()
    client, _ = world.joined()
    server_id = client.quic._peer_cid.cid
    token = client.quic._peer_cid.stateless_reset_token
    world.endpoint.close()
    world.endpoint.outgoing(world.now)  # nobody hears it
    world.run(10.0)
    assert world.endpoint.connections == 0
    (answer,) = world.inject(b"\x40" + server_id + bytes(50))
    assert answer.endswith(token)
    assert len(answer) < 59
    assert world.inject(b"\x40" + server_id + bytes(10)) == []


@pytest.mark.parametrize("cut", [0, 8])
def test_a_reset_never_answers_a_reset_for_ever(cut: int) -> None:
    world = World()
    data = b"\x40" + bytes(60 - cut)
    rounds = 0
    while data:
        (data,) = world.inject(data) or [b""]
        rounds += 1
    assert rounds < 40


def test_a_stopping_endpoint_takes_nobody_new() -> None:
    world = World()
    _, peer = world.joined()
    world.endpoint.close()
    world.flush()
    assert peer.told[-1][0] == "closed"
    assert world.inject(first_datagram()) == []
    assert world.endpoint.dropped["stopping"] == 1


def test_a_fault_over_a_stranger_costs_his_datagram_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    client, peer = world.joined()

    def fails(*_: object) -> bytes:
        raise AssertionError("a fault")

    monkeypatch.setattr(world.endpoint._answers, "retry", fails)
    assert world.inject(first_datagram()) == []
    assert world.faults == ["connection"]
    stream = client.open(bidirectional=False, first=b"well")
    world.run(0.5)
    assert peer.received(stream) == b"well"
