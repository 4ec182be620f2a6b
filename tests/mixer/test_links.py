"""Packets that a protocol hands over instead of a socket."""

from __future__ import annotations

from vb.mixer.batch import MAX_ROUNDS, Batch
from vb.mixer.links import MAX_WAITING, Links, PacketLink


def link() -> PacketLink:
    return PacketLink(lambda packet: None)


def filled(links: Links, rows: int = 64, row: int = 0) -> tuple[Batch, int]:
    batch = Batch(rows)
    batch.wall_offset_s = 1_000_000.0
    return batch, links.fill(batch, row)


def test_packets_are_rows_in_rounds_behind_those_of_sockets() -> None:
    links, first, second = Links(), link(), link()
    links.attach(3, first)
    links.attach(5, second)
    for number in range(2):
        first.receive(bytes([number]) * 20, 10.0 + number)
    second.receive(b"x" * 30, 11.5)
    batch, count = filled(links, row=7)
    assert count == 10
    assert batch.rounds == [9, 10]
    assert batch.slots[7:10].tolist() == [3, 5, 3]
    assert batch.lengths[7:10].tolist() == [20, 30, 20]
    assert batch.matrix[9, :20].tobytes() == b"\1" * 20
    assert batch.stamps_ns[7:10].tolist() == [
        1_000_010_000_000_000,
        1_000_011_500_000_000,
        1_000_011_000_000_000,
    ]


def test_no_more_is_taken_than_there_is_room_for() -> None:
    links, busy = Links(), link()
    links.attach(0, busy)
    for _ in range(MAX_ROUNDS + 5):
        busy.receive(b"x" * 20, 0.0)
    assert filled(links)[1] == MAX_ROUNDS
    assert filled(links, rows=3)[1] == 3
    assert len(busy.waiting) == 2


def test_what_waits_too_long_gives_way_to_what_is_new() -> None:
    busy = link()
    taken = [busy.receive(number.to_bytes(2), 0.0) for number in range(MAX_WAITING + 10)]
    assert taken == [True] * MAX_WAITING + [False] * 10
    assert busy.dropped == 10
    assert busy.waiting[0][1] == (10).to_bytes(2)


def test_a_packet_that_is_too_long_is_not_taken() -> None:
    busy = link()
    assert not busy.receive(b"x" * 2049, 0.0)
    assert (busy.dropped, len(busy.waiting)) == (1, 0)


def test_a_leg_that_has_left_is_not_asked_any_more() -> None:
    links, gone = Links(), link()
    links.attach(1, gone)
    gone.receive(b"x" * 20, 0.0)
    links.detach(1)
    links.detach(1)
    assert 1 not in links
    assert filled(links)[1] == 0
