from __future__ import annotations

import numpy as np

from bench.load.streams import Capture, egress_lateness
from bench.tones import FRAME


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
