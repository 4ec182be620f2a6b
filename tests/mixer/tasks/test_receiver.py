"""Packets and what the kernel tells of them, written straight into the columns of a batch."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator

import pytest

from vb.mixer.batch import ROW_BYTES, Batch
from vb.mixer.tasks import SocketIo
from vb.mixer.tasks.receiver import Receiver
from vb.rtp.ports import PortPool
from vb.rtp.tasks import bind_endpoint
from vb.rtp.tasks.endpoint import SO_TIMESTAMPNS

pytestmark = pytest.mark.integration


def bound(family: int, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    family, host = request.param
    with bound(family, host) as ours, bound(family, host) as theirs:
        ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        yield ours, theirs


def test_payload_source_and_time_are_those_of_each_packet(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    batch = Batch(4)
    receiver = Receiver(batch)
    for turn in range(3):
        for row in range(3):
            theirs.sendto(bytes([turn, row]) * (row + 1), ours.getsockname())
        assert receiver.receive([ours.fileno()] * 3, 0) == [2, 4, 6]
        assert receiver.tabulate(3).size == 0
        assert [batch.matrix[row, :2].tolist() for row in range(3)] == [[turn, row] for row in range(3)]
        assert batch.sources[0] == theirs.getsockname()[:2]
        assert len(set(batch.sources[0:3])) == 1
        assert abs(batch.stamps_ns[:3] - time.time_ns()).max() < 5_000_000_000


def test_without_a_stamp_of_the_kernel_there_is_none(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    batch = Batch(2)
    receiver = Receiver(batch)
    for stamped, expected in ((1, True), (0, False)):
        ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, stamped)
        theirs.sendto(b"x", ours.getsockname())
        assert receiver.receive([ours.fileno()], 0) == [1]
        receiver.tabulate(1)
        assert bool(batch.stamps_ns[0]) is expected


def test_what_is_longer_than_a_row_is_named(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    receiver = Receiver(Batch(2))
    for size in (ROW_BYTES, ROW_BYTES + 1):
        theirs.sendto(bytes(size), ours.getsockname())
    assert receiver.receive([ours.fileno()] * 2, 0) == [ROW_BYTES, ROW_BYTES]
    assert receiver.tabulate(2).tolist() == [1]


def test_a_socket_without_a_packet_ends_the_list_and_gives_its_errno(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    receiver = Receiver(Batch(3))
    theirs.sendto(b"only", ours.getsockname())
    assert receiver.receive([ours.fileno()] * 3, 0) == [4]
    assert receiver.errno == errno.EAGAIN
    assert receiver.receive([-1, ours.fileno()], 0) == []
    assert receiver.errno == errno.EBADF


def test_a_refused_packet_leaves_no_gap_between_those_of_others() -> None:
    io, pool, batch = SocketIo(clock=lambda: 0.0), PortPool(0, 0), Batch(16)
    ends = [bind_endpoint(pool, "127.0.0.1") for _ in range(3)]
    with bound(socket.AF_INET, "127.0.0.1") as peer, bound(socket.AF_INET, "127.0.0.1") as gone:
        for slot, end in enumerate(ends):
            io.attach(slot, end)
            io.lock(slot, (gone if slot == 1 else peer).getsockname())
        gone.close()
        io.send([1], [memoryview(b"x")])
        for slot in (0, 2):
            peer.sendto(bytes([slot]), ends[slot].rtp.getsockname())
        assert io.drain(batch) == 2
        assert [(batch.slots[row], batch.matrix[row, 0]) for row in range(2)] == [(0, 0), (2, 2)]
        assert io.errors == {"ECONNREFUSED": 1}
    io.close()
    for end in ends:
        end.close()


def test_a_further_round_is_for_sockets_that_had_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    io, pool, batch = SocketIo(clock=lambda: 0.0), PortPool(0, 0), Batch(16)
    one, two = bind_endpoint(pool, "127.0.0.1"), bind_endpoint(pool, "127.0.0.1")
    with bound(socket.AF_INET, "127.0.0.1") as peer:
        io.attach(0, one)
        io.attach(1, two)
        for _ in range(2):
            peer.sendto(b"first", one.rtp.getsockname())
        receive = Receiver.receive

        def interrupted(receiver: Receiver, handles: list[int], row: int) -> list[int]:
            if row == 0:
                peer.sendto(b"meanwhile", two.rtp.getsockname())
            return receive(receiver, handles, row)

        monkeypatch.setattr(Receiver, "receive", interrupted)
        assert io.drain(batch) == 2
        assert batch.rounds == [1, 2]
        assert batch.slots[:2].tolist() == [0, 0]
        monkeypatch.undo()
        assert io.drain(batch) == 1
        assert batch.slots[0] == 1
        assert io.errors.total() == 0
    io.close()
    one.close()
    two.close()
