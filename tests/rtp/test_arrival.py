"""The vectorised counts against the plain ones, and what is kept of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.arrival import Arrivals, Headers
from vb.rtp.stats import ReceptionStatistics


def headers(
    packets: list[tuple[int, int, int, int, float]], *, audio: bool = True, length: int = 160
) -> Headers:
    """Return packets given as (slot, ssrc, sequence, timestamp, arrival)."""
    columns = list(zip(*packets, strict=True))
    return Headers(
        slots=np.array(columns[0], np.int64),
        sequence=np.array([value & 0xFFFF for value in columns[2]], np.uint16),
        timestamp=np.array([value & 0xFFFFFFFF for value in columns[3]], np.uint32),
        ssrc=np.array(columns[1], np.uint32),
        arrival_s=np.array(columns[4], np.float64),
        audio=np.full(len(packets), audio),
        lengths=np.full(len(packets), length if audio else 0),
    )


def feed(
    arrivals: Arrivals, slot: int, sequence: int, timestamp: int, at: float, length: int = 160
) -> tuple[bool, int]:
    packet = headers([(slot, 7, sequence, timestamp, at)], length=length)
    keep, _, positions, _ = arrivals.receive(packet, steady_clock=True)
    return bool(keep[0]), int(positions[0])


@given(
    start=st.integers(0, 65535),
    stamp=st.integers(0, 2**32 - 1),
    steps=st.lists(st.tuples(st.integers(1, 5), st.floats(0, 0.1)), min_size=1, max_size=60),
)
def test_counts_and_jitter_equal_the_plain_ones(
    start: int, stamp: int, steps: list[tuple[int, float]]
) -> None:
    arrivals, plain = Arrivals(3), ReceptionStatistics(8000)
    sequence, at = start, 10.0
    for step, wait in steps:
        sequence, at = sequence + step, at + wait
        timestamp = (stamp + 160 * (sequence - start)) & 0xFFFFFFFF
        plain.receive(7, sequence & 0xFFFF, timestamp, at)
        feed(arrivals, 1, sequence, timestamp, at)
    want, got = plain.snapshot(), arrivals.snapshot(1)
    assert want is not None
    assert got is not None
    assert (got.received, got.expected, got.ssrc) == (want.received, want.expected, want.ssrc)
    assert got.highest_sequence == want.highest_sequence
    assert got.jitter == pytest.approx(want.jitter, abs=1e-3)


def test_positions_follow_timestamps_across_the_wrap() -> None:
    arrivals = Arrivals(1)
    _, first = feed(arrivals, 0, 65535, 2**32 - 160, 1.0)
    assert feed(arrivals, 0, 0, 0, 1.02) == (True, first + 160)
    assert feed(arrivals, 0, 1, 160, 1.04) == (True, first + 320)


def test_a_late_packet_keeps_its_place() -> None:
    arrivals = Arrivals(1)
    _, first = feed(arrivals, 0, 1, 160, 1.0)
    feed(arrivals, 0, 3, 480, 1.02)
    assert feed(arrivals, 0, 2, 320, 1.03) == (True, first + 160)
    snapshot = arrivals.snapshot(0)
    assert snapshot is not None
    assert snapshot.lost == 0


def test_a_duplicate_is_not_used_twice() -> None:
    arrivals = Arrivals(1)
    for sequence in range(5):
        feed(arrivals, 0, sequence, sequence * 160, 1.0)
    assert not feed(arrivals, 0, 3, 480, 1.0)[0]
    assert not feed(arrivals, 0, 4, 640, 1.0)[0]
    assert arrivals.duplicates[0] == 2


def test_other_clocks_are_scaled_to_the_ring() -> None:
    arrivals = Arrivals(1)
    arrivals.configure(0, 8000, 16000)
    _, first = feed(arrivals, 0, 1, 1000, 1.0, 320)
    assert feed(arrivals, 0, 2, 1160, 1.02, 320) == (True, first + 320)
    assert feed(arrivals, 0, 4, 1480, 1.06, 320) == (True, first + 960)
    arrivals.forget(0)
    arrivals.configure(0, 48000, 8000)
    _, first = feed(arrivals, 0, 1, 1000, 1.0)
    assert feed(arrivals, 0, 2, 1960, 1.02) == (True, first + 160)


def test_legs_do_not_disturb_each_other() -> None:
    arrivals = Arrivals(4)
    for k in range(50):
        arrivals.receive(
            headers([(slot, slot, 100 * slot + k, 160 * k, 1 + k * 0.02) for slot in (3, 0, 2)]),
            steady_clock=True,
        )
    for slot in (0, 2, 3):
        snapshot = arrivals.snapshot(slot)
        assert snapshot is not None
        assert (snapshot.received, snapshot.lost) == (50, 0)
    assert arrivals.snapshot(1) is None


def test_arrivals_under_a_stepped_clock_stay_out_of_the_jitter() -> None:
    arrivals = Arrivals(1)
    for k in range(100):
        steady = k != 50
        at = 1 + k * 0.02 + (0.0 if steady else 5.0)
        arrivals.receive(headers([(0, 7, k, 160 * k, at)]), steady_clock=steady)
    assert arrivals.jitter[0] < 0.01
