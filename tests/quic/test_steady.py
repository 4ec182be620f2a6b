"""The short way of a connection beside the long one, which is aioquic's."""

from __future__ import annotations

import random
from collections.abc import Callable

import aioquic
import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection, QuicNetworkPath

import vb.quic.endpoint
from tests.quic.world import Client, Peer, World, bad_network
from vb.quic.bounds import WINDOW_BYTES, BoundedQuic
from vb.quic.grid import GRID_S
from vb.quic.steady import ACK_DELAY_S, COMPARED, SteadyQuic

FRAME_S = 0.02
TALK_S = 2.0
PROMISED_ACK_S = 0.025


class LongQuic(SteadyQuic):
    """A connection that never takes the short way."""

    @property
    def is_steady(self) -> bool:
        return False

    @is_steady.setter
    def is_steady(self, value: bool) -> None:
        pass


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts what goes the long way, in either direction."""
    count = 0

    def counted(method: str) -> None:
        original = getattr(QuicConnection, method)

        def count_call(self: QuicConnection, *args: object) -> object:
            nonlocal count
            count += isinstance(self, BoundedQuic)
            return original(self, *args)

        monkeypatch.setattr(QuicConnection, method, count_call)

    counted("receive_datagram")
    counted("datagrams_to_send")
    return lambda: count


def of_server(world: World) -> SteadyQuic:
    """Return the server's end of the only connection."""
    (connection,) = world.endpoint._ids
    return connection._quic


def talk(world: World, client: Client, peer: Peer, seconds: float = TALK_S, *, hears: bool = True) -> int:
    """Let both send a frame of 80 bytes each 20 ms; returns the stream of the client."""
    said = client.open(bidirectional=False)
    heard = peer.session.open_stream(bidirectional=False)
    for number in range(round(seconds / FRAME_S)):
        client.send(said, number.to_bytes(80))
        world.run(0.007)
        if hears:
            peer.session.send(heard, number.to_bytes(80))
        world.run(FRAME_S - 0.007)
    return said


def converse(seed: int) -> tuple[bytes, ...]:
    """Return what came of a random conversation over a bad network, by stream and direction."""
    drawn = random.Random(seed)
    world = World(damage=bad_network(seed))
    client, peer = world.joined()
    theirs = [client.open(bidirectional=kind == 0) for kind in range(2)]
    ours = [peer.session.open_stream(bidirectional=kind == 0) for kind in range(2)]
    sent: dict[int, bytes] = dict.fromkeys(theirs + ours, b"")
    for _ in range(300):
        stream, data = drawn.choice(theirs + ours), drawn.randbytes(drawn.choice((1, 80, 80, 80, 3000)))
        sent[stream] += data
        if stream in theirs:
            client.send(stream, data)
        else:
            peer.session.send(stream, data)
        world.run(drawn.choice((0.0, 0.005, 0.02)))
    client.send(theirs[1], b"", fin=True)
    peer.session.send(ours[1], b"", fin=True)
    world.run(5.0)
    assert not world.faults
    got = [peer.received(stream) for stream in theirs] + [client.received(stream) for stream in ours]
    assert got == [sent[stream] for stream in theirs + ours]
    server = of_server(world)
    assert server._loss.bytes_in_flight == 0
    assert not {theirs[1], ours[1]} & set(server.stream_ids())
    assert server._local_max_data.used == client.quic._remote_max_data_used
    assert server._remote_max_data_used == client.quic._local_max_data.used
    return tuple(got)


@pytest.mark.parametrize("seed", range(12))
def test_all_arrives_over_a_bad_network_by_either_way(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shortly = converse(seed)
    monkeypatch.setattr(vb.quic.endpoint, "SteadyQuic", LongQuic)
    assert converse(seed) == shortly


def test_audio_goes_the_short_way(long_way: Callable[[], int]) -> None:
    world = World()
    client, peer = world.joined()
    talk(world, client, peer, 0.2)
    before = long_way()
    stream = talk(world, client, peer)
    assert len(peer.received(stream)) == 80 * TALK_S / FRAME_S
    assert long_way() - before < 16  # it begins two streams


def test_audio_in_datagrams_goes_the_short_way(long_way: Callable[[], int]) -> None:
    world = World()
    client, peer = world.joined()
    talk(world, client, peer, 0.2)
    before = long_way()
    assert client.http is not None
    for number in range(100):
        client.http.send_datagram(client.session_id or 0, number.to_bytes(80))
        client.flush()
        world.run(FRAME_S)
    told = [what for what in peer.told if what[0] == "datagram"]
    assert told == [("datagram", number.to_bytes(80)) for number in range(100)]
    assert long_way() - before < 8


def test_acknowledgements_leave_with_the_audio() -> None:
    world = World()
    client, peer = world.joined()
    talk(world, client, peer, 0.2)
    before = len(world.sent)
    talk(world, client, peer)
    assert len(world.sent) - before < 1.1 * TALK_S / FRAME_S


def test_whoever_only_talks_hears_of_it_in_the_promised_time() -> None:
    world = World()
    client, _ = world.joined()
    stream = client.open(bidirectional=False)
    world.run(0.5)
    before = len(world.sent)
    delays = []
    for _ in range(50):
        client.send(stream, bytes(80))
        began = world.now
        world.run(0.011)  # it has come
        space = of_server(world)._spaces[tls.Epoch.ONE_RTT]
        while space.ack_at is not None:
            world.run(0.001)
        delays.append(world.now - began - 0.01)
        world.run(0.1)
    assert max(delays) <= PROMISED_ACK_S + 0.001
    assert min(delays) >= ACK_DELAY_S - 0.001
    assert 50 <= len(world.sent) - before <= 52  # and it is asked whether it is there


def test_an_acknowledgement_keeps_the_promise_where_it_waits_for_the_grid_twice() -> None:
    assert GRID_S + ACK_DELAY_S + GRID_S < PROMISED_ACK_S


def test_each_second_packet_is_acknowledged_at_once() -> None:
    world = World()
    client, _ = world.joined()
    stream = client.open(bidirectional=False)
    world.run(0.5)
    before = len(world.sent)
    for _ in range(10):
        client.send(stream, bytes(80))
        client.send(stream, bytes(80))
        world.run(0.015)
    assert len(world.sent) - before == 10


def test_what_is_out_of_order_is_acknowledged_at_once() -> None:
    world = World()
    client, _ = world.joined()
    stream = client.open(bidirectional=False)
    world.run(0.5)
    world.damage = lambda data: []
    client.send(stream, bytes(80))
    world.damage = lambda data: [0.001]
    before = len(world.sent)
    client.send(stream, bytes(80))
    world.run(0.0025)
    assert len(world.sent) - before == 1


def test_credit_keeps_coming_on_the_short_way() -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=False)
    for _ in range(3 * WINDOW_BYTES // 1000):
        client.send(stream, bytes(1000))
        world.run(0.002)
    world.run(1.0)
    assert len(peer.received(stream)) == 3 * WINDOW_BYTES // 1000 * 1000


def test_keys_that_change_are_followed() -> None:
    world = World()
    client, peer = world.joined()
    talk(world, client, peer, 0.5)
    client.quic.request_key_update()
    stream = talk(world, client, peer, 0.5)
    assert len(peer.received(stream)) == 80 * 25


def test_a_client_that_moves_is_followed(long_way: Callable[[], int]) -> None:
    world = World()
    client, peer = world.joined()
    talk(world, client, peer, 0.5)
    for port in (7, 8, 7):
        world.clients[("198.51.100.77", port)] = client
        client.address = ("198.51.100.77", port)
        stream = talk(world, client, peer, 1.0)
        assert len(peer.received(stream)) == 80 * 50
        assert world.sent[-1][1] == client.address
        before = long_way()
        talk(world, client, peer)
        assert long_way() - before < 16


def test_a_path_that_is_to_be_asked_for_keeps_the_connection_on_the_long_way() -> None:
    world = World()
    world.joined()
    world.run(0.5)
    server = of_server(world)
    assert server._is_settled()
    path = QuicNetworkPath(("198.51.100.77", 7))
    server._network_paths.append(path)
    assert not server._is_settled()
    path.local_challenge_sent = True
    assert server._is_settled()
    path.remote_challenges.append(bytes(8))
    assert not server._is_settled()


def test_twice_the_same_datagram_is_heard_once(long_way: Callable[[], int]) -> None:
    world = World(damage=lambda data: [0.01, 0.012])
    client, peer = world.joined()
    talk(world, client, peer, 0.2)
    before = long_way()
    stream = talk(world, client, peer, 0.5)
    assert len(peer.received(stream)) == 80 * 25
    assert long_way() - before < 16


def test_a_version_that_nobody_has_compared_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert aioquic.__version__ in COMPARED
    monkeypatch.setattr(aioquic, "__version__", "1.7.99")
    world = World()
    client, peer = world.joined()
    stream = talk(world, client, peer, 0.5)
    assert len(peer.received(stream)) == 80 * 25
    assert not of_server(world).is_steady


def test_streams_that_both_ends_gave_up_are_put_away() -> None:
    world = World()
    client, peer = world.joined()
    world.run(0.5)
    stream = client.open(bidirectional=True, first=b"a")
    world.run(0.1)
    server = of_server(world)
    assert stream in server.stream_ids()
    client.quic.send_stream_data(stream, b"", end_stream=True)
    client.flush()
    world.run(0.1)
    peer.session.reset(stream, 1)
    world.run(0.2)
    assert stream not in server.stream_ids()


def test_datagrams_that_somebody_else_made_up_disturb_nobody() -> None:
    world = World()
    client, peer = world.joined()
    talk(world, client, peer, 0.2)
    server = of_server(world)
    for number in range(50):
        made_up = b"\x40" + server.host_cid + number.to_bytes(60)
        world.endpoint.receive(made_up, client.address, world.now)
    world.flush()
    assert server.is_steady
    stream = talk(world, client, peer, 0.2)
    assert len(peer.received(stream)) == 80 * 10


def test_much_padding_is_skipped_at_once() -> None:
    world = World()
    client, _ = world.joined()
    world.run(0.5)
    server = of_server(world)
    assert server.is_steady
    contents = server._read(b"\x01" + bytes(1100) + b"\x31\x01a" + bytes(30))
    assert (contents.datagram, contents.is_eliciting) == (b"a", True)
    assert client.ended is None


def test_damage_to_a_datagram_is_loss() -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=False)
    world.run(0.5)
    drawn = random.Random(2)
    original = world.send

    def send(data: bytes, address: tuple[object, ...], *, to_server: bool) -> None:
        if to_server and drawn.random() < 0.3:
            at = drawn.randrange(len(data))
            data = data[:at] + bytes((data[at] ^ 1 << drawn.randrange(8),)) + data[at + 1 :]
        original(data, address, to_server=to_server)

    world.send = send  # type: ignore[method-assign]
    for number in range(100):
        client.send(stream, number.to_bytes(80))
        world.run(FRAME_S)
    world.run(3.0)
    assert peer.received(stream) == b"".join(number.to_bytes(80) for number in range(100))
    assert not world.faults
