import numpy as np
import pytest

from vb.codecs.pcm import Pcm
from vb.recording.recorder import MAX_AHEAD_SLOTS, Recorder

TICK_S = 0.02


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def frame(value: int, rate_hz: int = 8000) -> Pcm:
    return np.full(rate_hz // 50, value, np.int16)


class Rig:
    """A stereo recorder whose ticks are pushed by hand."""

    def __init__(self, channels: int = 2, max_queued_slots: int = 250) -> None:
        self.clock = Clock()
        self.ready = 0
        self.recorder = Recorder(channels=channels, clock=self.clock, max_queued_slots=max_queued_slots)
        self.recorder.on_ready = self._on_ready

    def _on_ready(self) -> None:
        self.ready += 1

    def tick(self, *values: int | None, late_s: float = 0.0, advance: bool = True) -> None:
        """Push one value per channel (None: the channel is stalled), then go on to the next tick."""
        start = self.clock.now
        self.clock.now = start + late_s
        for sink, value in zip(self.recorder.sinks, values, strict=True):
            if value is not None:
                sink.push(frame(value), 8000)
        self.clock.now = start + (TICK_S if advance else 0)

    def wait(self, ticks: int) -> None:
        self.clock.now += ticks * TICK_S

    def recorded(self) -> list[tuple[int, ...]]:
        """Stop, then list the value of each channel per slot; 0 is silence."""
        self.recorder.stop()
        slots: list[tuple[int, ...]] = []
        for slot in self.recorder.queue:
            if isinstance(slot, int):
                slots += [(0,) * self.recorder.channels] * slot
            else:
                slots.append(tuple(int(chunk[0][0]) if chunk else 0 for chunk in slot))
        assert self.recorder.duration_ms == 20 * len(slots)
        return slots


def test_both_channels_share_their_slots() -> None:
    rig = Rig()
    for value in range(1, 6):
        rig.tick(value, -value)
    assert rig.recorded() == [(value, -value) for value in range(1, 6)]


def test_recording_begins_at_the_first_frame_whichever_side_it_is_on() -> None:
    rig = Rig()
    rig.wait(500)
    rig.tick(None, 7)
    rig.tick(1, 8)
    assert rig.recorded() == [(0, 7), (1, 8)]


@pytest.mark.parametrize("stalled", [1, 2, 5, 40, 400])
@pytest.mark.parametrize("side", [0, 1])
def test_a_stalled_side_is_silent_and_stays_aligned(stalled: int, side: int) -> None:
    rig = Rig(max_queued_slots=1000)
    expected = []
    for tick in range(1, stalled + 20):
        values: list[int | None] = [tick, tick]
        if 5 <= tick < 5 + stalled:
            values[side] = None
        rig.tick(*values)
        expected.append(tuple(value or 0 for value in values))
    assert rig.recorded() == expected


def test_many_short_stalls_never_add_up_to_drift() -> None:
    rig = Rig(max_queued_slots=1000)
    for tick in range(1, 500):
        rig.tick(None if tick % 3 == 0 else tick, None if tick % 7 == 0 and tick % 3 else tick)
    slots = rig.recorded()
    assert all(left == right for left, right in slots if left and right)
    assert len(slots) == 499


def test_a_gap_on_both_sides_lasts_as_long_in_the_file() -> None:
    rig = Rig()
    rig.tick(1, 1)
    rig.wait(100)
    rig.tick(2, 2)
    assert rig.recorded() == [(1, 1), *[(0, 0)] * 100, (2, 2)]


def test_silence_at_the_end_counts_until_the_stop() -> None:
    rig = Rig()
    rig.tick(1, 1)
    rig.wait(50)
    assert rig.recorded() == [(1, 1), *[(0, 0)] * 50]


def test_late_ticks_do_not_shift_anything() -> None:
    rig = Rig()
    for value, late_s in enumerate([0.0, 0.004, 0.012, 0.0, 0.018, 0.001], start=1):
        rig.tick(value, value, late_s=late_s)
    assert rig.recorded() == [(value, value) for value in range(1, 7)]


def test_ticks_made_up_back_to_back_stay_separate() -> None:
    rig = Rig()
    rig.tick(1, 1)
    rig.wait(3)
    for value in range(2, 6):
        rig.tick(value, value, advance=False)
    assert rig.recorded() == [(value, value) for value in range(1, 6)]


def test_frames_far_ahead_of_the_clock_are_dropped_and_counted() -> None:
    rig = Rig(channels=1)
    for value in range(1, 101):
        rig.tick(value, advance=False)
    assert rig.recorded() == [(value,) for value in range(1, MAX_AHEAD_SLOTS + 2)]
    assert rig.recorder.dropped_frames == 100 - MAX_AHEAD_SLOTS - 1


def test_a_mono_recording_has_one_sink() -> None:
    rig = Rig(channels=1)
    assert len(rig.recorder.sinks) == 1
    rig.tick(1)
    rig.tick(2)
    assert rig.recorded() == [(1,), (2,)]


def test_pause_records_silence_of_the_same_length() -> None:
    rig = Rig()
    rig.tick(1, 1)
    assert rig.recorder.pause()
    assert not rig.recorder.pause()
    assert rig.recorder.paused
    rig.tick(2, 2)
    rig.tick(3, 3)
    assert rig.recorder.resume()
    assert not rig.recorder.resume()
    rig.tick(4, 4)
    assert rig.recorded() == [(1, 1), (0, 0), (0, 0), (4, 4)]


def test_the_file_rate_is_that_of_the_first_frame_unless_given() -> None:
    clock = Clock()
    first = Recorder(channels=1, clock=clock)
    first.sinks[0].push(frame(1, 16000), 16000)
    first.sinks[0].push(frame(1, 8000), 8000)
    assert first.rate_hz == 16000
    given = Recorder(channels=1, clock=clock, rate_hz=48000)
    given.sinks[0].push(frame(1, 16000), 16000)
    assert given.rate_hz == 48000


def test_pushed_frames_are_copied() -> None:
    rig = Rig(channels=1)
    reused = frame(5)
    rig.recorder.sinks[0].push(reused, 8000)
    reused[:] = 0
    assert rig.recorded() == [(5,)]


def test_the_writer_is_called_after_half_a_second_and_at_the_stop() -> None:
    rig = Rig(channels=1)
    for value in range(25):
        rig.tick(value)
    assert rig.ready == 0
    rig.tick(25)
    assert rig.ready == 1
    rig.recorder.stop()
    after_stop = rig.ready
    assert after_stop > 1
    rig.recorder.stop()
    assert rig.ready == after_stop


def test_a_full_queue_ends_the_recording_with_an_error() -> None:
    rig = Rig(channels=1, max_queued_slots=10)
    for value in range(1, 30):
        rig.tick(value)
    assert rig.recorder.ended
    assert "cannot keep up" in (rig.recorder.error or "")
    assert len(rig.recorded()) == 10


def test_nothing_is_taken_after_the_stop() -> None:
    rig = Rig()
    rig.tick(1, 1)
    rig.recorder.stop()
    rig.tick(2, 2)
    assert rig.recorded() == [(1, 1)]


def test_the_first_failure_is_kept() -> None:
    rig = Rig()
    rig.recorder.fail("first")
    rig.recorder.fail("second")
    assert rig.recorder.error == "first"


def test_a_recording_without_frames_is_empty() -> None:
    rig = Rig()
    rig.wait(1000)
    assert rig.recorded() == []


def test_a_channel_that_comes_later_is_silent_before() -> None:
    rig = Rig(channels=1)
    rig.tick(1)
    rig.tick(2)
    late = rig.recorder.add_channel()
    for value in (3, 4):
        rig.tick(value, value + 10)
    assert late is rig.recorder.sinks[1]
    rig.recorder.stop()
    assert [len(slot) for slot in rig.recorder.queue if not isinstance(slot, int)] == [1, 2, 2, 2]
    last = rig.recorder.queue[-1]
    assert not isinstance(last, int)
    assert [int(chunk[0][0]) for chunk in last if chunk] == [4, 14]


def test_a_channel_added_within_a_tick_fits_into_its_slot() -> None:
    rig = Rig(channels=1)
    rig.recorder.sinks[0].push(frame(1), 8000)
    rig.recorder.add_channel().push(frame(2), 8000)
    rig.recorder.stop()
    (slot,) = rig.recorder.queue
    assert not isinstance(slot, int)
    assert [int(chunk[0][0]) for chunk in slot if chunk] == [1, 2]


def test_a_pause_silences_every_channel_and_those_to_come() -> None:
    rig = Rig()
    rig.tick(1, 1)
    rig.recorder.pause()
    rig.recorder.add_channel()
    rig.tick(2, 2, 2)
    rig.recorder.resume()
    rig.tick(3, 3, 3)
    rig.recorder.stop()
    slots = [slot for slot in rig.recorder.queue if not isinstance(slot, int)]
    values = [[int(chunk[0][0]) if chunk else 0 for chunk in slot] for slot in slots]
    assert values == [[1, 1, 0], [0, 0, 0], [3, 3, 3]]


def test_the_position_is_where_the_next_frame_goes() -> None:
    rig = Rig(channels=1)
    assert rig.recorder.position_ms == 0
    rig.wait(100)
    assert rig.recorder.position_ms == 0
    rig.tick(1)
    assert rig.recorder.position_ms == 20
    rig.wait(50)
    assert rig.recorder.position_ms == 51 * 20


def test_a_tick_that_takes_most_of_its_time_is_one_slot() -> None:
    rig = Rig()
    for value in range(1, 6):
        rig.recorder.sinks[0].push(frame(value), 8000)
        rig.clock.now += 0.014
        rig.recorder.sinks[1].push(frame(value), 8000)
        rig.clock.now += 0.006
    assert rig.recorded() == [(value, value) for value in range(1, 6)]
