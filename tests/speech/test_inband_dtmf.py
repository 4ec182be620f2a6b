from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vb.codecs.g711 import PCM_TO_ULAW, ULAW_TO_PCM
from vb.mixer.digit_tones import COLUMNS_HZ, KEYS, ROWS_HZ
from vb.speech.inband_dtmf import InbandDtmfDetector

DIGITS = [(key, ROWS_HZ[row], COLUMNS_HZ[column]) for row in range(4) for column, key in enumerate(KEYS[row])]


def tone(
    low_hz: float, high_hz: float, ms: int, *, low: float = 4000, high: float = 4000, phase: float = 0.0
) -> NDArray[np.int16]:
    time = np.arange(ms * 8) / 8000
    wave = low * np.sin(2 * np.pi * low_hz * time + phase) + high * np.sin(2 * np.pi * high_hz * time)
    pcm = wave.astype(np.int16)
    return ULAW_TO_PCM[PCM_TO_ULAW[pcm.view(np.uint16)]]


def silence(ms: int) -> NDArray[np.int16]:
    return np.zeros(ms * 8, np.int16)


def heard(*parts: NDArray[np.int16]) -> str:
    audio = np.concatenate(parts)
    detector = InbandDtmfDetector()
    frames = audio[: audio.size // 160 * 160].reshape(-1, 160)
    return "".join(digit for digit in map(detector.feed, frames) if digit is not None)


@pytest.mark.parametrize(("key", "low_hz", "high_hz"), DIGITS)
@pytest.mark.parametrize("offset_ms", [0, 7, 13])
def test_every_key_is_heard_once_wherever_it_begins(
    key: str, low_hz: int, high_hz: int, offset_ms: int
) -> None:
    assert heard(silence(40 + offset_ms), tone(low_hz, high_hz, 80, phase=1.0), silence(100)) == key


@pytest.mark.parametrize("scale", [0.985, 1.015])
def test_tones_that_are_one_and_a_half_percent_off_still_count(scale: float) -> None:
    assert heard(silence(20), tone(770 * scale, 1336 * scale, 100), silence(60)) == "5"


def test_a_key_pressed_twice_counts_twice() -> None:
    five = tone(770, 1336, 80)
    assert heard(five, silence(60), five, silence(60)) == "55"


def test_a_held_key_counts_once() -> None:
    assert heard(tone(852, 1477, 2000), silence(60)) == "9"


def test_keys_that_follow_each_other_at_once_both_count() -> None:
    assert heard(tone(697, 1209, 80), tone(941, 1633, 80), silence(60)) == "1D"


def test_one_tone_alone_is_no_key() -> None:
    assert heard(tone(770, 1336, 200, high=0)) == ""


def test_too_much_twist_is_no_key() -> None:
    assert heard(tone(770, 1336, 200, low=4000, high=1000)) == ""


def test_a_blip_of_one_frame_is_no_key() -> None:
    assert heard(silence(20), tone(770, 1336, 20), silence(60)) == ""


def test_noise_and_dial_tone_are_no_keys() -> None:
    noise = np.random.default_rng(1).normal(0, 4000, 8000 * 10).astype(np.int16)
    assert heard(noise) == ""
    assert heard(tone(350, 440, 2000)) == ""


def test_a_key_is_heard_over_faint_noise() -> None:
    noise = np.random.default_rng(2).normal(0, 300, 640).astype(np.int16)
    assert heard(silence(20), tone(941, 1336, 80) + noise, silence(60)) == "0"
