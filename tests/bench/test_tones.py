from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tones import (
    FRAME,
    FRAMES_PER_S,
    MAX_TALKERS,
    SILENCE,
    ULAW_LEVELS,
    Bytes,
    check_tones,
    encode_ulaw,
    in_order,
    tone_frames,
    tone_frequencies,
)

AMPLITUDE = 8000.0
ROOMS = np.array([0, 0, 1, 1])
Heard = list[tuple[Bytes, np.ndarray[tuple[int], np.dtype[np.bool_]]]]


def heard(mix: dict[int, list[int]], amplitude: float = AMPLITUDE, legs: int = 4) -> Heard:
    """What each listener gets when it hears the talkers listed for it."""
    tones = ULAW_LEVELS[tone_frames(legs, amplitude, same_phase=False)].astype(np.float64)
    frames = [encode_ulaw(sum((tones[talker] for talker in mix[leg]), np.zeros((50, 160)))) for leg in mix]
    return [(frame, np.ones(FRAMES_PER_S, np.bool_)) for frame in frames]


def test_known_ulaw_bytes_have_their_levels() -> None:
    assert [int(ULAW_LEVELS[byte]) for byte in (0xFF, 0x7F, 0x80, 0x00)] == [0, 0, 32124, -32124]


def test_every_level_is_encoded_to_a_byte_of_that_level() -> None:
    codes = encode_ulaw(ULAW_LEVELS.astype(np.float64))
    assert np.array_equal(ULAW_LEVELS[codes], ULAW_LEVELS)


@given(st.floats(-40000, 40000))
def test_encoding_takes_the_nearest_level(sample: float) -> None:
    chosen = float(ULAW_LEVELS[encode_ulaw(np.array([sample]))[0]])
    assert abs(chosen - sample) == np.abs(ULAW_LEVELS.astype(np.float64) - sample).min()


@pytest.mark.parametrize("talkers", [1, 2, 20, 50, 100, 200, 500, 617, 1000, MAX_TALKERS])
def test_every_talker_has_an_odd_frequency_of_its_own_in_the_telephone_band(talkers: int) -> None:
    frequencies = tone_frequencies(talkers)
    assert len(set(frequencies.tolist())) == talkers
    assert (frequencies % 2 == 1).all()
    assert frequencies.min() >= 300
    assert frequencies.max() <= 3400


@pytest.mark.parametrize("talkers", [2, 20, 50, 100, 200])
def test_a_shift_by_a_frame_shows_in_every_tone_where_there_is_room(talkers: int) -> None:
    places = tone_frequencies(talkers) % FRAMES_PER_S
    assert places.min() >= 3
    assert places.max() <= FRAMES_PER_S - 3


def test_more_talkers_than_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="talkers"):
        tone_frequencies(MAX_TALKERS + 1)


def test_tones_of_one_phase_begin_at_their_peak() -> None:
    first = ULAW_LEVELS[tone_frames(10, AMPLITUDE, same_phase=True)[:, 0, 0]]
    assert (abs(first - AMPLITUDE) < AMPLITUDE * 0.05).all()


def test_listeners_who_hear_their_mates_are_right() -> None:
    check = check_tones(heard({0: [1], 1: [0], 2: [3], 3: [2]}), ROOMS, AMPLITUDE)
    assert check.wrong == ()
    assert check.weakest_mate > 0.95
    assert check.loudest_other < 0.02


def test_one_who_hears_himself_is_found() -> None:
    check = check_tones(heard({0: [1, 0], 1: [0], 2: [3], 3: [2]}), ROOMS, AMPLITUDE)
    assert check.wrong == ("listener 0: misses [], hears [0]",)


def test_one_who_hears_another_room_is_found() -> None:
    check = check_tones(heard({0: [1], 1: [0], 2: [3, 1], 3: [2]}), ROOMS, AMPLITUDE)
    assert check.wrong == ("listener 2: misses [], hears [1]",)


def test_one_who_hears_nobody_is_found() -> None:
    check = check_tones(heard({0: [1], 1: [0], 2: [3], 3: []}), ROOMS, AMPLITUDE)
    assert check.wrong == ("listener 3: misses [2], hears []",)


def test_a_missing_packet_leaves_no_unbroken_second() -> None:
    listeners = heard({0: [1], 1: [0], 2: [3], 3: [2]})
    listeners[1][1][17] = False
    assert check_tones(listeners, ROOMS, AMPLITUDE).wrong == ("listener 1: no unbroken second of audio",)


def test_two_hundred_tones_in_one_room_are_told_apart() -> None:
    legs, amplitude = 200, 500.0
    rooms = np.zeros(legs, np.int64)
    everybody = {leg: [other for other in range(legs) if other != leg] for leg in range(legs)}
    everybody[7].append(7)
    check = check_tones(heard(everybody, amplitude, legs), rooms, amplitude)
    assert check.wrong == ("listener 7: misses [], hears [7]",)


def test_frames_are_laid_out_by_time_with_silence_in_holes() -> None:
    base = (1 << 32) - FRAME
    stamps = np.array([base, base + 2 * FRAME, base + FRAME, base + 4 * FRAME], np.uint64).astype(np.uint32)
    payloads = np.repeat(np.arange(4, dtype=np.uint8)[:, None], FRAME, axis=1)
    frames, there = in_order(stamps, payloads)
    assert frames[:, 0].tolist() == [0, 2, 1, SILENCE, 3]
    assert there.tolist() == [True, True, True, False, True]


def test_nothing_received_gives_no_frames() -> None:
    frames, there = in_order(np.zeros(0, np.uint32), np.zeros((0, FRAME), np.uint8))
    assert (len(frames), len(there)) == (0, 0)
