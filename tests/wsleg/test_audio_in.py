"""Audio between messages and ticks: re-cut, bounded, with and without a lead."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vb.mixer.frames import Pcm
from vb.wsleg.audio_in import AudioIn

RATE = 16000


def loud(frames: float, value: int = 5000) -> bytes:
    return np.full(round(frames * 320), value, "<i2").tobytes()


def heard(audio: AudioIn, ticks: int, rate_hz: int = RATE) -> list[Pcm | None]:
    return [audio.take(rate_hz) for _ in range(ticks)]


def played(frames: list[Pcm | None]) -> int:
    return sum(frame is not None for frame in frames)


def test_messages_of_any_size_are_cut_into_frames() -> None:
    audio = AudioIn(RATE)
    samples = np.arange(1000, dtype="<i2")
    for start in range(0, 2000, 14):
        assert audio.put(samples.tobytes()[start : start + 14])
    frames = heard(audio, 4)
    assert played(frames) == 3
    assert frames[3] is None
    assert np.concatenate([frame for frame in frames if frame is not None]).tolist() == list(range(960))


def test_what_does_not_fit_into_a_second_is_dropped_whole() -> None:
    audio = AudioIn(RATE)
    assert audio.put(loud(49))
    assert not audio.put(loud(2))
    assert audio.put(loud(1))
    assert audio.waiting_ms == 1000
    assert played(heard(audio, 60)) == 50


@pytest.mark.parametrize(("rate_hz", "to_hz"), [(8000, 48000), (24000, 16000), (48000, 8000)])
def test_audio_is_brought_to_the_rate_of_the_room(rate_hz: int, to_hz: int) -> None:
    audio = AudioIn(rate_hz)
    steps = np.arange(rate_hz // 2)
    audio.put((8000 * np.sin(2 * math.pi * 1000 * steps / rate_hz)).astype("<i2").tobytes())
    frames = [frame for frame in heard(audio, 25, to_hz) if frame is not None]
    assert {frame.size for frame in frames} == {to_hz // 50}
    pcm = np.concatenate(frames).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(pcm.size)))
    assert abs(int(spectrum.argmax()) * to_hz / pcm.size - 1000) < 5


def test_without_a_lead_audio_is_played_at_once_and_gaps_are_silent() -> None:
    audio = AudioIn(RATE)
    audio.put(loud(1))
    assert played(heard(audio, 3)) == 1
    audio.put(loud(1))
    assert played(heard(audio, 1)) == 1
    assert audio.late_ticks == 2


def test_a_long_pause_is_nothing_that_came_late() -> None:
    audio = AudioIn(RATE)
    heard(audio, 20)
    audio.put(loud(1))
    heard(audio, 30)
    audio.put(loud(1))
    heard(audio, 1)
    assert audio.late_ticks == 0


@pytest.mark.parametrize("lead_ms", [0, -1, -1000])
def test_no_lead_or_less_plays_as_it_comes(lead_ms: int) -> None:
    audio = AudioIn(RATE, lead_ms=lead_ms)
    audio.put(loud(1))
    assert played(heard(audio, 1)) == 1


def test_a_lead_is_held_back_once() -> None:
    audio = AudioIn(RATE, lead_ms=100)
    for _ in range(4):
        audio.put(loud(1))
        assert played(heard(audio, 1)) == 0
    audio.put(loud(1))
    for _ in range(10):
        assert played(heard(audio, 1)) == 1
        audio.put(loud(1))


def test_a_lead_rides_out_a_stall() -> None:
    audio = AudioIn(RATE, lead_ms=100)
    audio.put(loud(5))
    assert played(heard(audio, 4)) == 4
    audio.put(loud(4))
    assert played(heard(audio, 5)) == 5
    assert audio.late_ticks == 0


def test_a_gap_is_covered_by_two_fainter_frames_and_then_silence() -> None:
    audio = AudioIn(RATE, lead_ms=40)
    audio.put(loud(2, 8000))
    levels = [0 if frame is None else int(frame.max()) for frame in heard(audio, 6)]
    assert levels == [8000, 8000, 4000, 2000, 0, 0]


def test_a_producer_that_is_a_little_slow_is_kept_up_with_by_its_quiet_frames() -> None:
    audio = AudioIn(RATE, lead_ms=100)
    audio.put(loud(5, 10))
    gaps = 0
    for tick in range(2000):
        if tick * 0.9725 % 1 < 0.9725:  # 2.75 % slow
            audio.put(loud(1, 10))
        gaps += audio.take(RATE) is None
    assert gaps == 0
    assert 60 <= audio.waiting_ms <= 140


def test_a_producer_that_is_a_little_fast_is_kept_at_bay_by_its_quiet_frames() -> None:
    audio = AudioIn(RATE, lead_ms=100)
    for tick in range(2000):
        assert audio.put(loud(2 if tick % 40 == 0 else 1, 10))
        audio.take(RATE)
    assert audio.waiting_ms <= 160


def test_loud_audio_is_neither_repeated_nor_left_out() -> None:
    audio = AudioIn(RATE, lead_ms=100)
    audio.put(loud(20))
    frames = heard(audio, 30)
    assert played(frames[:20]) == 20
    assert all(frame is not None and int(frame.max()) == 5000 for frame in frames[:20])


def test_a_lead_beyond_a_second_makes_room_for_itself() -> None:
    audio = AudioIn(RATE, lead_ms=3000)
    assert audio.put(loud(149))
    assert played(heard(audio, 1)) == 0
    assert audio.put(loud(1))
    assert played(heard(audio, 1)) == 1
