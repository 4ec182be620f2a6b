"""The play position: where it starts, how it yields to late packets and how it falls back."""

from __future__ import annotations

import numpy as np
import pytest

from vb.rtp.playout import DROP, INSERT, TICK_S, Playout, PlayoutSettings

ONE = np.array([0])
STEP = np.array([1], np.int16)


class Stream:
    """One leg's packets against the ticks."""

    def __init__(self, target_ms: int | None = None, *, length: int = 160) -> None:
        self.playout = Playout(2, PlayoutSettings(target_ms))
        self.length = length
        self.tick_at = 100.0
        self.heard = 0

    def place(self, number: int, wait_s: float) -> bool:
        placement = self.playout.place(
            ONE,
            np.array([number * self.length]),
            np.array([self.length]),
            STEP,
            np.array([self.tick_at - wait_s]),
            self.tick_at,
        )
        return bool(placement.keep[0])

    def play(self) -> bool:
        """Play a tick; return whether all of it was there."""
        playout = self.playout
        whole = bool(playout.started[0] and playout.next[0] + 160 <= playout.end[0])
        if whole:
            playout.heard_end[0] = playout.next[0] + 160
        playout.advance(ONE)
        self.tick_at += TICK_S
        return whole


@pytest.mark.parametrize(("wait_s", "first"), [(0.010, 0), (0.0051, 0), (0.004, -160), (-0.001, -160)])
def test_a_packet_close_to_the_tick_waits_for_the_next(wait_s: float, first: int) -> None:
    stream = Stream()
    stream.place(0, wait_s)
    assert stream.playout.next[0] == first


def test_what_came_while_a_tick_was_late_counts_from_when_it_came() -> None:
    stream = Stream()
    for number in range(13):
        stream.place(number, 0.010)  # 260 ms wait
    for number in range(13, 17):
        stream.place(number, -TICK_S * (number - 13) - 0.010)  # this tick is 80 ms late
    assert stream.playout.discarded[0] == 0
    assert stream.playout.end[0] - stream.playout.next[0] == 17 * 160
    stream.place(17, 0.010)  # in time, and too much
    assert stream.playout.discarded[0] > 0


@pytest.mark.parametrize(("wait_s", "first"), [(0.016, 0), (0.008, -80), (0.002, -160)])
def test_ten_ms_packets_start_when_two_of_them_will_be_there(wait_s: float, first: int) -> None:
    stream = Stream(length=80)
    stream.place(0, wait_s)
    assert stream.playout.next[0] == first


def test_long_packets_start_at_their_beginning() -> None:
    stream = Stream(length=480)
    stream.place(0, 0.010)
    assert stream.playout.next[0] == 0


def test_a_late_packet_is_played_when_nothing_newer_was_heard() -> None:
    stream = Stream()
    stream.place(0, 0.010)
    assert stream.play()
    assert not stream.play()
    assert stream.place(1, 0.005)
    assert stream.playout.next[0] == 160
    assert stream.playout.underruns[0] == 1
    assert stream.play()


def test_a_packet_behind_what_was_heard_is_late_and_raises_the_delay() -> None:
    stream = Stream()
    stream.place(0, 0.010)
    stream.play()
    stream.place(2, 0.030)
    stream.play()
    stream.playout.heard_end[0] = 480
    stream.play()
    assert not stream.place(1, 0.010)
    assert stream.playout.late[0] == 1
    assert stream.playout.want[0] == INSERT


def test_more_than_the_most_waiting_skips_ahead() -> None:
    stream = Stream()
    for number in range(30):
        stream.place(number, 0.010)
        waiting = int(stream.playout.end[0] - stream.playout.next[0])
        assert waiting <= 2400
    assert stream.playout.discarded[0] > 0


def test_a_gap_is_reported_as_a_hole() -> None:
    stream = Stream()
    stream.place(0, 0.010)
    placement = stream.playout.place(
        ONE, np.array([480]), np.array([160]), STEP + np.int16(1), np.array([stream.tick_at]), stream.tick_at
    )
    assert placement.holes == [(0, 160, 480)]
    assert stream.playout.holes_until[0] == 480


def control(stream: Stream, wait_s: float, *, ticks: int, jitter_s: float = 0.0) -> int:
    for number in range(ticks):
        stream.place(number, wait_s)
        stream.play()
    stream.playout.control(ONE, np.array([jitter_s]), stream.tick_at)
    return int(stream.playout.want[0])


def test_a_steady_stream_is_left_alone() -> None:
    assert control(Stream(), 0.010, ticks=600) == 0


def test_little_slack_asks_for_a_frame_more() -> None:
    stream = Stream()
    stream.place(0, 0.010)
    assert control(stream, 0.0005, ticks=100) == INSERT


def test_much_slack_asks_for_a_frame_less_after_five_seconds() -> None:
    early, settled = Stream(), Stream()
    for stream in (early, settled):
        stream.place(0, 0.010)
        stream.playout.next[0] -= 320
    assert control(early, 0.010, ticks=100) == 0
    assert control(settled, 0.010, ticks=300) == DROP


def test_jitter_is_kept_in_hand() -> None:
    stream = Stream()
    stream.place(0, 0.010)
    assert control(stream, 0.010, ticks=300, jitter_s=0.012) == INSERT


@pytest.mark.parametrize("target_ms", [40, 100])
def test_a_fixed_delay_stays(target_ms: int) -> None:
    stream = Stream(target_ms)
    assert control(stream, 0.010, ticks=600) == 0
    assert stream.playout.delay_ms(0) == target_ms


def test_pass_through_is_not_controlled() -> None:
    stream = Stream(0)
    assert control(stream, 0.0001, ticks=600) == 0
    assert stream.playout.next[0] == 600 * 160


def test_the_ring_holds_the_longest_wait() -> None:
    assert PlayoutSettings(None, 300).ring_ms == 512
    assert PlayoutSettings(None, 1000).ring_ms == 1200


def test_it_is_known_how_long_the_newest_played_sample_has_waited() -> None:
    stream = Stream()
    assert stream.playout.waited_s(0, 100.0) == 0
    for number in range(4):
        stream.place(number, 0.012)
        now = stream.tick_at
        stream.play()
        assert stream.playout.waited_s(0, now) == pytest.approx(0.012)
    now = stream.tick_at
    stream.play()  # nothing has come: what was made up would have come then
    assert stream.playout.waited_s(0, now) == pytest.approx(0.012)
    stream.place(5, 0.016)
    stream.place(6, 0.001)
    stream.play()
    assert stream.playout.waited_s(0, stream.tick_at - TICK_S) == pytest.approx(0.021)


def test_of_a_long_packet_each_frame_has_waited_since_it_was_said() -> None:
    stream = Stream(length=480)
    waited = []
    for number in range(6):
        if number % 3 == 0:
            stream.place(number // 3, 0.010)
        now = stream.tick_at
        stream.play()
        waited.append(stream.playout.waited_s(0, now))
    assert waited[3:] == pytest.approx([0.05] * 3)
