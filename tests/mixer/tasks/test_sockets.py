"""The plane over real sockets on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest
import trio

from tests.mixer.support import agreed, from_ulaw, parse, rtp, strength, to_ulaw, tone
from tests.support.ids import SequentialIds
from vb.mixer.batch import Batch
from vb.mixer.plan import Member, MixPlan
from vb.mixer.plane import Plane
from vb.mixer.tasks import SocketIo, run_plane
from vb.mixer.tasks.sockets import disconnect
from vb.rtp.ports import PortPool
from vb.rtp.tasks import RtpEndpoint, bind_endpoint

pytestmark = pytest.mark.integration
HOST = "127.0.0.1"


class Lab:
    """Sockets of legs and of their peers, closed at the end."""

    def __init__(self) -> None:
        self.io = SocketIo(clock=lambda: 0.0)
        self.batch = Batch(64)
        self.pool = PortPool(0, 0)
        self.endpoints: list[RtpEndpoint] = []
        self.peers: list[socket.socket] = []

    def leg(self, slot: int) -> RtpEndpoint:
        endpoint = bind_endpoint(self.pool, HOST)
        self.endpoints.append(endpoint)
        self.io.attach(slot, endpoint)
        return endpoint

    def peer(self) -> socket.socket:
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.bind((HOST, 0))
        peer.setblocking(False)
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.io.close()
        for endpoint in self.endpoints:
            endpoint.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    subject = Lab()
    yield subject
    subject.close()


def test_rows_hold_packets_with_slot_length_source_and_kernel_time(lab: Lab) -> None:
    endpoint, peer = lab.leg(5), lab.peer()
    peer.sendto(b"hello", (HOST, endpoint.rtp_port))
    assert lab.io.drain(lab.batch) == 1
    assert lab.batch.matrix[0, :5].tobytes() == b"hello"
    assert (lab.batch.slots[0], lab.batch.lengths[0]) == (5, 5)
    assert lab.batch.sources[0] == peer.getsockname()
    assert abs(lab.batch.stamps_ns[0] * 1e-9 - lab.batch.wall_offset_s) < 5


def test_a_leg_has_one_packet_a_round_and_eight_a_tick(lab: Lab) -> None:
    endpoints, peer = [lab.leg(slot) for slot in range(2)], lab.peer()
    for _ in range(10):
        peer.sendto(b"x", (HOST, endpoints[0].rtp_port))
    peer.sendto(b"y", (HOST, endpoints[1].rtp_port))
    assert lab.io.drain(lab.batch) == 9
    assert len(lab.batch.rounds) == 8
    start = 0
    for stop in lab.batch.rounds:
        slots = lab.batch.slots[start:stop].tolist()
        assert len(slots) == len(set(slots))
        start = stop
    assert lab.io.errors["deferred"] == 1
    assert lab.io.drain(lab.batch) == 2


def test_a_full_batch_leaves_the_rest_for_the_next_tick(lab: Lab) -> None:
    endpoint, peer = lab.leg(0), lab.peer()
    lab.batch = Batch(3)
    for _ in range(5):
        peer.sendto(b"x", (HOST, endpoint.rtp_port))
    assert lab.io.drain(lab.batch) == 3
    assert lab.io.drain(lab.batch) == 2


def test_a_datagram_longer_than_a_row_is_dropped_and_counted(lab: Lab) -> None:
    endpoint, peer = lab.leg(0), lab.peer()
    peer.sendto(bytes(2049), (HOST, endpoint.rtp_port))
    peer.sendto(bytes(2048), (HOST, endpoint.rtp_port))
    assert lab.io.drain(lab.batch) == 2
    assert lab.batch.lengths[:2].tolist() == [0, 2048]
    assert lab.io.errors["too_long"] == 1


def test_rtcp_comes_apart_from_rtp(lab: Lab) -> None:
    endpoint, peer = lab.leg(3), lab.peer()
    peer.sendto(b"report", (HOST, endpoint.rtcp_port))
    assert lab.io.drain(lab.batch) == 0
    slot, data, source, stamp_ns = lab.batch.rtcp[0]
    assert (slot, data, source) == (3, b"report", peer.getsockname())
    assert stamp_ns > 0


def test_a_locked_leg_hears_nobody_else_until_it_listens_again(lab: Lab) -> None:
    endpoint, friend, stranger = lab.leg(0), lab.peer(), lab.peer()
    lab.io.aim(0, friend.getsockname())
    lab.io.lock(0, friend.getsockname())
    stranger.sendto(b"s", (HOST, endpoint.rtp_port))
    friend.sendto(b"f", (HOST, endpoint.rtp_port))
    assert lab.io.drain(lab.batch) == 1
    assert lab.batch.matrix[0, 0] == ord("f")
    lab.io.listen(0)
    stranger.sendto(b"s", (HOST, endpoint.rtp_port))
    assert lab.io.drain(lab.batch) == 1
    lab.io.send([0], [memoryview(b"still to the friend")])
    assert friend.recv(100) == b"still to the friend"


def test_disconnecting_keeps_the_port(lab: Lab) -> None:
    endpoint, peer = lab.leg(0), lab.peer()
    endpoint.rtp.connect(peer.getsockname())
    disconnect(endpoint.rtp)
    assert endpoint.rtp.getsockname() == (HOST, endpoint.rtp_port)


def test_a_refused_send_is_a_counter(lab: Lab) -> None:
    endpoint, peer = lab.leg(0), lab.peer()
    lab.io.lock(0, peer.getsockname())
    peer.close()
    for _ in range(4):
        lab.io.send([0], [memoryview(b"x")])
    lab.io.drain(lab.batch)
    assert lab.io.errors["ECONNREFUSED"] >= 1
    assert endpoint.rtp.fileno() >= 0


def test_packets_behind_a_refused_one_are_sent(lab: Lab) -> None:
    peers = [lab.peer() for _ in range(3)]
    for slot, peer in enumerate(peers):
        lab.leg(slot)
        lab.io.lock(slot, peer.getsockname())
    peers[1].close()
    for turn in range(2):
        lab.io.send([0, 1, 2], [memoryview(bytes([turn]))] * 3)
        assert [peers[slot].recv(10) for slot in (0, 2)] == [bytes([turn])] * 2
    assert lab.io.errors == {"ECONNREFUSED": 1}


def test_without_an_address_nothing_is_sent(lab: Lab) -> None:
    lab.leg(0)
    lab.io.send([0], [memoryview(b"x")])
    assert lab.io.errors["no_address"] == 1


def test_a_detached_leg_is_left_alone(lab: Lab) -> None:
    endpoint, peer = lab.leg(0), lab.peer()
    lab.io.detach(0)
    lab.io.detach(0)
    peer.sendto(b"x", (HOST, endpoint.rtp_port))
    assert lab.io.drain(lab.batch) == 0


def test_sockets_closed_before_they_are_detached_disturb_nobody(lab: Lab) -> None:
    lab.leg(0).close()
    newcomer, peer = lab.leg(1), lab.peer()
    lab.io.detach(0)
    peer.sendto(b"x", (HOST, newcomer.rtp_port))
    assert lab.io.drain(lab.batch) == 1
    assert lab.batch.slots[0] == 1


async def test_two_legs_talk_through_the_plane() -> None:
    lab = Lab()
    lab.io = SocketIo()
    plane = Plane(lab.io, SequentialIds(), capacity=8, batch_rows=32)
    peers = [lab.peer() for _ in range(2)]
    ports = []
    heard: list[list[bytes]] = [[], []]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_plane, plane)
            for peer in peers:
                endpoint = bind_endpoint(lab.pool, HOST)
                lab.endpoints.append(endpoint)
                port = plane.open_port(endpoint)
                port.configure(agreed(peer.getsockname()[1], host=HOST))
                port.sending = True
                ports.append(port)
            plane.publish(MixPlan("r", 16000, tuple(Member(port) for port in ports)))
            begun = trio.current_time()
            for k in range(60):
                for i, peer in enumerate(peers):
                    pcm = tone((400, 900)[i], 160, start=160 * k)
                    peer.sendto(rtp(k, 160 * k, to_ulaw(pcm)), (HOST, lab.endpoints[i].rtp_port))
                    while True:
                        try:
                            heard[i].append(peer.recv(2048))
                        except BlockingIOError:
                            break
                await trio.sleep_until(begun + 0.020 * (k + 1))
            statistics = [port.statistics() for port in ports]
            for port in ports:
                port.close()
            nursery.cancel_scope.cancel()
    lab.close()
    for packets, hz in zip(heard, (900, 400), strict=True):
        pcm = from_ulaw(b"".join(parse(packet).payload for packet in packets[-30:]))
        assert strength(pcm, hz) > 6000
    assert all(s.reception is not None and s.reception.lost == 0 for s in statistics)
    assert all(s.late == 0 for s in statistics)
    assert np.all([s.jitter_ms < 20 for s in statistics])
