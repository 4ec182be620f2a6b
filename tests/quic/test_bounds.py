"""What a peer with a session can make the endpoint keep."""

from __future__ import annotations

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import Setting
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicStreamFrame

from tests.quic.world import SITE, Client, Peer, World
from vb.quic.bounds import MAX_CONTROL_BYTES, MAX_GAPS, MAX_HEADER_BYTES, WINDOW_BYTES
from vb.quic.connection import MAX_REQUESTS, Connection, source_of


def connection_of(world: World) -> Connection:
    return next(iter(world.endpoint._ids))


def test_credit_moves_with_what_is_taken_and_does_not_grow() -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=False)
    for _ in range(40):
        client.send(stream, bytes(WINDOW_BYTES // 8))
        world.run(1.0)
    assert len(peer.received(stream)) == 5 * WINDOW_BYTES
    limit = client.quic._remote_max_data
    assert 5 * WINDOW_BYTES < limit <= 6 * WINDOW_BYTES + WINDOW_BYTES // 8


def test_what_comes_behind_gaps_is_bounded_on_all_streams_together() -> None:
    world = World()
    client, peer = world.joined()
    first = client.quic.get_next_available_stream_id(is_unidirectional=True)
    for number in range(2):
        far = encode_uint_var(first + 4 * number) + encode_uint_var(200_000)
        send_raw(client, b"\x0e" + far + b"\x01x")
    world.run(0.012)
    assert connection_of(world)._quic._held() == 2 * 200_001
    send_raw(client, b"\x0e" + encode_uint_var(first + 8) + encode_uint_var(200_000) + b"\x01x")
    world.run(3.0)
    assert peer.told[-1] == ("closed", 0x3, "Over connection data limit")


def ended_code(client: Client, world: World) -> int | None:
    world.run(3.0)
    return client.end_code()


def test_headers_that_are_too_long_end_the_connection_before_they_are_kept() -> None:
    world = World()
    client, peer = world.joined()
    stream = client.quic.get_next_available_stream_id()
    client.send(stream, b"\x01" + encode_uint_var(MAX_HEADER_BYTES + 1) + b"x")
    assert ended_code(client, world) == 0x107
    assert peer.told[-1][0] == "closed"


def test_settings_that_are_too_long_end_the_connection_before_they_are_kept() -> None:
    world = World()
    client = world.client()
    world.run(0.005)
    client.http_told.clear()
    world.run(1.0)
    other = client.quic.get_next_available_stream_id(is_unidirectional=True)
    client.send(other, b"\x00")  # a second control stream
    assert ended_code(client, world) == 0x103
    world = World()
    client = LateSettings(world, ("198.51.100.3", 1))
    world.run(1.0)
    control = client.quic.get_next_available_stream_id(is_unidirectional=True)
    client.send(control, b"\x00\x04" + encode_uint_var(MAX_CONTROL_BYTES + 1))
    assert ended_code(client, world) == 0x107


class LateSettings(Client):
    """Says nothing of HTTP/3 by itself."""

    def _take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.told.append(event)
            if type(event).__name__ == "ConnectionTerminated":
                self.ended = event  # type: ignore[assignment]


def test_there_is_no_dynamic_table_to_blow_up() -> None:
    world = World()
    client, _ = world.joined()
    assert client.http is not None
    settings = client.http.received_settings
    assert settings is not None
    assert settings[Setting.QPACK_MAX_TABLE_CAPACITY] == 0
    assert settings[Setting.QPACK_BLOCKED_STREAMS] == 0
    assert settings[Setting.ENABLE_WEBTRANSPORT] == 1
    assert settings[Setting.H3_DATAGRAM] == 1


def test_too_many_requests_end_the_connection() -> None:
    world = World()
    client = world.client()
    world.run(1.0)
    for _ in range(MAX_REQUESTS + 1):
        client.ask("GET", "/")
        world.run(0.05)
    assert ended_code(client, world) == 0x107


def test_a_connection_without_a_session_does_not_stay() -> None:
    world = World()
    client = world.client()
    world.run(1.0)
    for _ in range(12):
        client.quic.send_ping(1)
        world.run(1.0)
    assert client.end_code() == 0x100


def test_a_peer_that_sends_too_much_is_slowed_down_not_let_in() -> None:
    world = World()
    client, peer = world.joined()
    for _ in range(1500):
        send_raw(client, b"\x01")
    world.run(0.1)
    assert world.endpoint.dropped["rate"] == 500
    world.run(10.0)
    assert not peer.told


def test_a_handshake_with_a_gap_is_ended_before_it_fills_memory() -> None:
    world = World()
    client = GappyHandshake(world, ("198.51.100.3", 1))
    world.run(3.0)
    assert world.endpoint.connections == 0
    assert world.endpoint.failures["protocol"] == 1
    assert client.ended is not None


class GappyHandshake(Client):
    """Says something at a distance of its ClientHello."""

    def flush(self) -> None:
        from aioquic import tls

        if self.quic._retry_count and not hasattr(self, "done"):
            self.done = True
            sender = self.quic._crypto_streams[tls.Epoch.INITIAL].sender
            get = sender.get_frame

            def far(max_size: int, max_offset: int | None = None) -> QuicStreamFrame | None:
                frame = get(max_size, max_offset)
                if frame is not None:
                    frame.offset += 100_000
                return frame

            sender.get_frame = far  # type: ignore[method-assign]
        super().flush()


@pytest.mark.parametrize(
    "frame",
    [
        bytes((QuicFrameType.HANDSHAKE_DONE,)),
        b"\x3f\xff",
        bytes((QuicFrameType.RETIRE_CONNECTION_ID,)) + b"\x3f",
        bytes((QuicFrameType.MAX_STREAM_DATA,)) + b"\x02",
        bytes((QuicFrameType.STREAM_BASE | 6,)) + b"\x03\x00\x01x",
    ],
)
def test_frames_that_break_the_rules_end_the_connection_alone(frame: bytes) -> None:
    world = World()
    client, peer = world.joined()
    other, quiet = world.joined("198.51.100.2")
    send_raw(client, frame)
    assert ended_code(client, world) not in (None, 0)
    assert peer.told[-1][0] == "closed"
    stream = other.open(bidirectional=False, first=b"well")
    world.run(0.5)
    assert quiet.received(stream) == b"well"
    assert world.faults == []


def send_raw(client: Client, payload: bytes) -> None:
    """Send a packet whose frames are any bytes."""
    from aioquic import tls

    quic = client.quic
    crypto = quic._cryptos[tls.Epoch.ONE_RTT]
    number = quic._packet_number
    quic._packet_number += 1
    header = b"\x41" + quic._peer_cid.cid + (number & 0xFFFF).to_bytes(2)
    data = crypto.encrypt_packet(header, payload + bytes(20), number)
    client.world.send(data, client.address, to_server=True)


def test_whatever_frames_a_peer_sends_it_harms_itself_only() -> None:
    import random

    drawn = random.Random(3)
    for _ in range(60):
        world = World()
        client, _ = world.joined()
        for _ in range(20):
            send_raw(client, drawn.randbytes(drawn.randrange(1, 60)))
            world.run(0.01)
        world.run(60.0)
        assert world.faults == []


def test_whatever_a_peer_sends_on_streams_it_harms_itself_only() -> None:
    import random

    drawn = random.Random(4)
    for _ in range(60):
        world = World()
        client, _ = world.joined()
        for _ in range(10):
            stream = client.quic.get_next_available_stream_id(is_unidirectional=drawn.random() < 0.5)
            head = drawn.choice([b"", b"\x40\x54\x00", b"\x40\x41\x00", b"\x00", b"\x01", b"\x02", b"\x03"])
            client.send(stream, head + drawn.randbytes(drawn.randrange(40)), fin=drawn.random() < 0.5)
            world.run(0.05)
        world.run(60.0)
        assert world.faults == []


def test_what_is_still_sent_on_a_stopped_stream_is_dropped() -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=False, first=b"x")
    world.run(0.5)
    peer.session.stop(stream, 1)
    client.send(stream, b"late", fin=True)  # on its way already when the client hears of it
    world.run(0.5)
    assert peer.received(stream) == b"x"


def test_a_fault_in_a_connection_ends_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    client, peer = world.joined()
    other, quiet = world.joined("198.51.100.2")

    def fails(*_: object) -> None:
        raise AssertionError("a fault")

    broken = world.endpoint._routes[client.quic._peer_cid.cid]
    monkeypatch.setattr(broken._quic, "receive_datagram", fails)
    client.open(bidirectional=False, first=b"x")
    stream = other.open(bidirectional=False, first=b"well")
    world.run(0.5)
    assert world.faults == ["connection"]
    assert peer.told == [("closed", 1, "internal error")]
    assert quiet.received(stream) == b"well"
    assert isinstance(quiet, Peer)


def test_a_client_may_move_to_another_address() -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=True, first=b"one ")
    world.run(0.5)
    del world.clients[client.address]
    client.address = ("198.51.100.99", 7777)
    world.clients[client.address] = client
    client.send(stream, b"two")
    world.run(2.0)
    peer.session.send(stream, b"here")
    world.run(2.0)
    assert peer.received(stream) == b"one two"
    assert client.received(stream) == b"here"


@pytest.mark.parametrize("closed", [True, False])
def test_a_peer_cannot_stretch_how_long_it_is_kept(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    world = World()
    client, peer = world.joined()
    connection = connection_of(world)
    monkeypatch.setattr(connection._quic._loss, "get_probe_timeout", lambda **_: 600.0)
    client.send(client.open(bidirectional=False), b"x")
    world.run(0.5)
    del world.clients[client.address]
    if closed:
        peer.session.close()
    world.run(10.0 if closed else 40.0)
    assert world.endpoint.connections == 0
    assert peer.told[-1][0] == "closed"


def test_a_stream_in_hundreds_of_pieces_ends_the_connection_before_it_costs_time() -> None:
    world = World()
    client, peer = world.joined()
    stream = encode_uint_var(client.quic.get_next_available_stream_id(is_unidirectional=True))
    for first in range(0, 2 * (MAX_GAPS + 50), 200):
        frames = (stream + encode_uint_var(0x4000 + at) + b"\x01x" for at in range(first, first + 200, 2))
        send_raw(client, b"".join(b"\x0e" + frame for frame in frames))
    world.run(3.0)
    assert client.end_code() == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED
    assert peer.told[-1][0] == "closed"


def test_a_request_whose_answer_is_not_wanted_any_more_begins_nothing() -> None:
    world = World()
    client = world.client()
    world.run(1.0)
    assert client.http is not None
    stream = client.quic.get_next_available_stream_id()
    pseudo = {":method": "CONNECT", ":scheme": "https", ":authority": "vb.test", ":path": SITE.path}
    headers = [*pseudo.items(), (":protocol", "webtransport")]
    client.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in headers])
    client.quic.stop_stream(stream, 0)
    client.flush()
    world.run(1.0)
    assert world.faults == []
    assert world.peers == []
    client.connect()
    world.run(1.0)
    assert len(world.peers) == 1


@pytest.mark.parametrize("resets", [True, False])
def test_the_end_of_a_stopped_stream_is_told(resets: bool) -> None:
    world = World()
    client, peer = world.joined()
    stream = client.open(bidirectional=False, first=b"x")
    world.run(1.0)
    peer.session.stop(stream, 5)
    if resets:
        world.run(1.0)
    else:
        client.send(stream, b"y", fin=True)
        world.run(1.0)
    assert peer.received(stream) == b"x"
    assert [what[:2] for what in peer.told][-1] == ("reset", stream)


def test_streams_of_sessions_that_are_not_there_leave_nothing_behind() -> None:
    world = World()
    client, _ = world.joined()
    http = connection_of(world)._http
    assert http is not None
    before = http.kept_streams
    frames = b""
    for number in range(20):
        stream = encode_uint_var(100 + 4 * number)
        data = b"\x40\x41\x41\x90x"
        frames += b"\x05" + stream + b"\x00" + b"\x0b" + stream + encode_uint_var(len(data)) + data
    send_raw(client, frames)
    world.run(0.012)  # before the client's own QUIC hears of streams that it never opened
    assert world.faults == []
    assert http.kept_streams == before


def test_another_source_is_another_network_of_ipv6_or_address_of_ipv4() -> None:
    assert source_of(("::ffff:192.0.2.1", 5, 0, 0)) == "192.0.2.1"
    assert source_of(("2001:db8::1", 5, 0, 0)) == source_of(("2001:db8::ffff:2", 6, 0, 0))
    assert source_of(("2001:db8:0:1::1", 5, 0, 0)) != source_of(("2001:db8::1", 5, 0, 0))
