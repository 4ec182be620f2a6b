import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.sequence import Arrival
from vb.rtp.stats import InterarrivalJitter, Quality, ReceptionSnapshot, ReceptionStatistics, quality

RATE_HZ = 8000


def reception(
    received: int, expected: int | None = None, jitter: float = 0.0, clock_rate_hz: int = RATE_HZ
) -> ReceptionSnapshot:
    return ReceptionSnapshot(
        ssrc=1,
        received=received,
        expected=received if expected is None else expected,
        highest_sequence=received,
        jitter=jitter,
        clock_rate_hz=clock_rate_hz,
    )


def feed(statistics: ReceptionStatistics, numbers: list[int], ssrc: int = 1) -> None:
    for number in numbers:
        statistics.receive(ssrc, number & 0xFFFF, number * 160 & 0xFFFF_FFFF, number * 0.02)


def lost_and_received(statistics: ReceptionStatistics) -> tuple[int, int]:
    snapshot = statistics.snapshot()
    assert snapshot is not None
    return snapshot.lost, snapshot.received


def test_no_packet_is_no_stream() -> None:
    assert ReceptionStatistics(RATE_HZ).snapshot() is None
    assert quality(None) is None


def test_steady_stream_has_no_loss_and_no_jitter() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, list(range(500)))
    assert quality(statistics.snapshot()) == Quality(4.4, 500, 0, 0.0)


def test_loss_is_counted_across_the_wrap_of_the_sequence() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, [n for n in range(65_000, 66_000) if n % 10])
    assert lost_and_received(statistics) == (99, 900)


def test_loss_is_counted_beyond_a_whole_round_of_numbers() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, list(range(0, 140_000, 2)))
    assert lost_and_received(statistics) == (69_999, 70_000)


def test_another_source_starts_the_statistics_anew() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, [n for n in range(100) if n % 2], ssrc=1)
    for number in range(10):
        statistics.receive(2, 50_000 + number, 3_000_000_000 + number * 160, 2.0 + number * 0.02)
    snapshot = statistics.snapshot()
    assert snapshot is not None
    assert (snapshot.ssrc, snapshot.received, snapshot.lost) == (2, 10, 0)
    assert snapshot.jitter == pytest.approx(0.0, abs=1e-6)


def test_restart_of_the_numbers_is_no_loss() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, list(range(100)))
    feed(statistics, list(range(20_000, 20_100)))
    assert lost_and_received(statistics) == (0, 200)


def test_stray_number_is_not_counted() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, [1, 2, 3])
    assert statistics.receive(1, 40_000, 0, 0.07) is Arrival.SUSPECT
    assert lost_and_received(statistics) == (0, 3)


def test_jump_of_the_timestamps_is_not_jitter() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, [1, 2, 3])
    statistics.receive(1, 4, 3_000_000_000, 0.08)
    statistics.receive(1, 5, 3_000_000_160, 0.10)
    snapshot = statistics.snapshot()
    assert snapshot is not None
    assert snapshot.jitter == pytest.approx(0.0, abs=1e-6)


def test_pause_of_the_sender_is_not_jitter() -> None:
    jitter = InterarrivalJitter(RATE_HZ)
    jitter.update(0, 100.0)
    jitter.update(10 * RATE_HZ, 110.0)
    assert jitter.value == pytest.approx(0.0, abs=1e-6)


def test_jitter_follows_the_estimator_of_the_standard() -> None:
    jitter = InterarrivalJitter(RATE_HZ)
    delays_s = [0.0, 0.010, 0.002, 0.002, 0.030]
    expected = 0.0
    for index, delay_s in enumerate(delays_s):
        jitter.update(160 * index, 5.0 + 0.02 * index + delay_s)
        if index:
            change = abs(delay_s - delays_s[index - 1]) * RATE_HZ
            expected += (change - expected) / 16
    assert jitter.value == pytest.approx(expected)


def test_jitter_settles_at_the_mean_change_of_the_delay() -> None:
    jitter = InterarrivalJitter(RATE_HZ)
    for index in range(2000):
        jitter.update(160 * index, 0.02 * index + (0.005 if index % 2 else 0.0))
    assert jitter.value == pytest.approx(0.005 * RATE_HZ, rel=0.01)


def test_timestamp_wrap_is_not_jitter() -> None:
    jitter = InterarrivalJitter(RATE_HZ)
    jitter.update(0xFFFF_FFFF - 79, 1.0)
    jitter.update(80, 1.02)
    assert jitter.value == pytest.approx(0.0, abs=1e-6)


def test_packet_without_arrival_time_counts_but_leaves_the_jitter_alone() -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    feed(statistics, [1, 2])
    statistics.receive(1, 3, 320, None)
    statistics.receive(1, 4, 640, 0.5)
    snapshot = statistics.snapshot()
    assert snapshot is not None
    assert snapshot.received == 4
    assert snapshot.jitter == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("received", [0, 1])
def test_fewer_than_two_packets_have_no_quality(received: int) -> None:
    assert quality(reception(received)) is None


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [
        # R = 93.2 − 10/40 = 92.95
        (reception(2), Quality(4.4, 2, 0, 0.0)),
        # 1 % loss: R = 92.95 − 2.5 = 90.45
        (reception(99, 100), Quality(4.35, 99, 1, 0.0)),
        # jitter 10 ms: L = 30, R = 92.45
        (reception(100, jitter=80.0), Quality(4.39, 100, 0, 10.0)),
        # jitter 75 ms: L = 160, R = 93.2 − 4 − 10 = 79.2
        (reception(100, jitter=600.0), Quality(3.99, 100, 0, 75.0)),
        # 10 % loss: R = 67.95
        (reception(900, 1000), Quality(3.5, 900, 100, 0.0)),
        # everything but two packets lost: R is held at 0
        (reception(2, 1000), Quality(1.0, 2, 998, 0.0)),
        # the same time at another clock
        (reception(100, jitter=480.0, clock_rate_hz=48_000), Quality(4.39, 100, 0, 10.0)),
        # more duplicates than losses
        (reception(105, 100), Quality(4.4, 105, 0, 0.0)),
        (reception(100, jitter=1.23456), Quality(4.4, 100, 0, 0.15)),
    ],
)
def test_quality_is_computed_by_the_formula(snapshot: ReceptionSnapshot, expected: Quality) -> None:
    assert quality(snapshot) == expected


@given(st.integers(2, 10**6), st.integers(0, 10**6), st.floats(0, 1e9))
def test_score_is_between_one_and_five(received: int, lost: int, jitter: float) -> None:
    result = quality(reception(received, received + lost, jitter))
    assert result is not None
    assert 1.0 <= result.mos_score <= 5.0
    assert result.rtp_packets_lost == lost


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 65535), st.integers(0, 2**32 - 1)), max_size=60))
def test_any_packets_leave_finite_statistics(packets: list[tuple[int, int, int]]) -> None:
    statistics = ReceptionStatistics(RATE_HZ)
    for index, (ssrc, sequence, timestamp) in enumerate(packets):
        statistics.receive(ssrc, sequence, timestamp, index * 0.001)
    snapshot = statistics.snapshot()
    assert (snapshot is None) == (not packets)
    if snapshot is not None:
        assert 0 <= snapshot.jitter <= RATE_HZ
        assert 1 <= snapshot.received <= len(packets)
        assert 0 <= snapshot.highest_sequence <= 0xFFFF_FFFF
