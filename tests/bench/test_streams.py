from __future__ import annotations

import numpy as np

from bench.load.streams import SLOTS, Bursts, Capture, Sender, egress_lateness
from bench.tones import FRAME, MAX_TALKERS, SILENCE


def test_packets_on_the_grid_are_not_late() -> None:
    stamps = (np.arange(5) * FRAME + (1 << 32) - 2 * FRAME).astype(np.uint64).astype(np.uint32)
    arrival_ns = np.arange(5, dtype=np.int64) * 20_000_000 + 77
    spread = egress_lateness([(np.zeros(5, np.int64), stamps, arrival_ns)])
    assert spread.max_ms == 0


def test_lateness_is_counted_from_the_earliest_packet_of_each_stream() -> None:
    legs = np.array([0, 1, 0, 1, 0, 1])
    stamps = np.array([0, 800, 160, 960, 320, 1120], np.uint32)
    arrival_ns = np.array([3, 5, 22, 25, 43, 52], np.int64) * 1_000_000
    spread = egress_lateness([(legs, stamps, arrival_ns)])
    assert (spread.p50_ms, spread.p95_ms, spread.max_ms) == (0.0, 7.0, 7.0)


def test_a_capture_keeps_no_more_than_it_has_room_for() -> None:
    capture = Capture(legs=2, packets=1)
    for value in (7, 8):
        payloads = np.full((2, FRAME), value, np.uint8)
        capture.add(np.array([0, 1]), payloads, np.full(2, value, np.uint32), np.zeros(2, np.int64))
    assert capture.count.tolist() == [1, 1]
    assert capture.stamps[:, 0].tolist() == [7, 7]
    assert (capture.payloads == 7).all()


class Wire:
    """Sockets of a sender that keep what is sent."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def send(self, packet: memoryview) -> None:
        self.packets.append(bytes(packet))


def voiced_runs(wire: Wire) -> list[int]:
    """Return the lengths of runs of packets that are not silent."""
    text = "".join("." if packet[12:] == bytes([SILENCE]) * FRAME else "x" for packet in wire.packets)
    return [len(run) for run in text.split(".") if run]


def test_a_talker_begins_with_a_whole_burst_and_ends_with_one() -> None:
    wire = Wire()
    sender = Sender([wire], 8000.0, Bursts(3, 4))  # type: ignore[list-item]  # all that it needs of a socket
    for batch in range(2 * SLOTS):
        sender.send_batch(batch)
    sender.talk(0, True)
    for batch in range(2 * SLOTS, 17 * SLOTS):
        sender.send_batch(batch)
    sender.no_more_bursts = True
    for batch in range(17 * SLOTS, 40 * SLOTS):
        sender.send_batch(batch)
    assert voiced_runs(wire) == [3, 3]
    assert len(wire.packets) == 38
    assert [leg for leg, _ in sender.onsets_ns] == [0, 0]


def test_talkers_that_are_spread_do_not_all_begin_at_once() -> None:
    wires = [Wire() for _ in range(20)]
    sender = Sender(wires, 8000.0, Bursts(100, 50, spread=True))  # type: ignore[arg-type]  # as above
    sender.talking[:] = True
    for batch in range(150 * SLOTS):
        sender.send_batch(batch)
    begins = [
        next(place for place, p in enumerate(w.packets) if p[12:] != bytes([SILENCE]) * FRAME) for w in wires
    ]
    assert len(set(begins)) == 20


def test_there_may_be_more_silent_callers_than_tones() -> None:
    wires = [Wire() for _ in range(MAX_TALKERS + 1)]
    sender = Sender(wires, 0.0, None)  # type: ignore[arg-type]  # as above
    for batch in range(SLOTS):
        sender.send_batch(batch)
    assert not sender.sent.any()
