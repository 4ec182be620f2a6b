from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.speech.signals import silence, tone, voice
from vb.codecs.pcm import Pcm
from vb.speech.beep import BeepDetector, tonal_share
from vb.speech.frames import Frame, Framer


def frames(pcm: Pcm) -> Frame:
    return Framer().push(pcm)


def beeps(*parts: Pcm) -> list[int]:
    detector = BeepDetector()
    return [detector.elapsed_ms for frame in frames(np.concatenate(parts)) if detector.push(frame)]


def goertzel(frame: Frame, hz: int) -> float:
    """The recurrence itself."""
    k = round(frame.size * hz / 16000)
    coefficient = 2 * math.cos(2 * math.pi * k / frame.size)
    one = two = 0.0
    for sample in frame.tolist():
        one, two = sample + coefficient * one - two, one
    return one * one + two * two - coefficient * one * two


@given(st.lists(st.integers(-32768, 32767), min_size=320, max_size=320))
def test_the_share_is_that_of_goertzels_recurrence(samples: list[int]) -> None:
    frame = np.array(samples, np.float64)
    energy = float(frame @ frame)
    expected = max(goertzel(frame, hz) for hz in range(800, 1201, 50)) / 320 / energy if energy else 0.0
    assert tonal_share(frame) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("hz", range(800, 1201, 50))
def test_a_pure_tone_has_half_of_the_energy(hz: int) -> None:
    assert tonal_share(frames(tone(hz, 20))[0]) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize("hz", [825, 975, 1175])
def test_a_tone_between_two_bins_is_tonal(hz: int) -> None:
    assert min(map(tonal_share, frames(tone(hz, 200)))) >= 0.2


@pytest.mark.parametrize("hz", [400, 440, 700, 1300, 2000])
def test_a_tone_elsewhere_is_not_tonal(hz: int) -> None:
    assert max(map(tonal_share, frames(tone(hz, 200)))) < 0.2


def test_silence_is_never_tonal() -> None:
    assert tonal_share(np.zeros(320)) == 0.0


def test_noise_is_not_tonal() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 320 * 200).astype(np.int16)
    assert max(map(tonal_share, frames(noise))) < 0.2


def test_a_quiet_tone_counts_like_a_loud_one() -> None:
    assert tonal_share(frames(tone(1000, 20, amplitude=100))[0]) == pytest.approx(0.5, abs=0.01)


def test_four_tonal_frames_are_a_beep() -> None:
    assert beeps(silence(100), tone(1000, 80)) == [180]


def test_three_tonal_frames_are_none() -> None:
    assert beeps(tone(1000, 60), silence(400)) == []


def test_a_gap_starts_the_count_anew() -> None:
    assert beeps(tone(1000, 60), silence(20), tone(1000, 60), voice(20), tone(1000, 80)) == [240]


def test_a_long_beep_is_one() -> None:
    assert beeps(tone(1000, 1000)) == [80]
