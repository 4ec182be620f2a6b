from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from vb.codecs.pcm import Pcm
from vb.demo.check import MIN_LIKENESS, Check, Evidence, are_stored, echo_of, find_voice, judge
from vb.demo.track import FRAME_SAMPLES, RATE_HZ, load_speech

A: Final = load_speech("caller_a.wav")
B: Final = load_speech("caller_b.wav")
TRACK_SAMPLES: Final = 9 * RATE_HZ


def track(*voices: tuple[Pcm, float, float]) -> Pcm:
    """Return a track of voices, each with its start in seconds and its gain."""
    mix = np.zeros(TRACK_SAMPLES)
    for voice, start_s, gain in voices:
        start = int(start_s * RATE_HZ)
        mix[start : start + voice.size] += gain * voice
    return mix.clip(-32768, 32767).astype(np.int16)


def evidence(
    *, heard_a: Pcm | None = None, heard_b: Pcm | None = None, recording: Pcm | None = None
) -> Evidence:
    """Return what a flawless call leaves behind, except for what is given."""
    return Evidence(
        said={"A": A, "B": B},
        heard={
            "A": track((B, 2.5, 1.0)) if heard_a is None else heard_a,
            "B": track((A, 1.0, 1.0)) if heard_b is None else heard_b,
        },
        recording=track((A, 1.0, 1.0), (B, 2.5, 1.0)) if recording is None else recording,
    )


def failed(checks: list[Check]) -> set[str]:
    return {check.fact for check in checks if not check.holds}


def test_flawless_call_passes_every_check() -> None:
    checks = judge(evidence())
    assert len(checks) == 6
    assert not failed(checks)


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.2])
def test_own_echo_below_the_other_voice_is_caught(gain: float) -> None:
    checks = judge(evidence(heard_a=track((B, 2.5, 1.0), (A, 1.0, gain))))
    assert failed(checks) == {"A did not hear itself"}


def test_own_echo_in_opposite_phase_is_caught() -> None:
    checks = judge(evidence(heard_b=track((A, 1.0, 1.0), (B, 2.6, -0.3))))
    assert failed(checks) == {"B did not hear itself"}


def test_silence_is_not_the_other_voice() -> None:
    assert failed(judge(evidence(heard_b=track()))) == {"B heard A"}


def test_nothing_received_is_not_the_other_voice() -> None:
    assert failed(judge(evidence(heard_b=np.zeros(0, np.int16)))) == {"B heard A"}


def test_swapped_audio_fails_both_ways_for_both_phones() -> None:
    checks = judge(evidence(heard_a=track((A, 1.0, 1.0)), heard_b=track((B, 2.5, 1.0))))
    assert failed(checks) == {
        "A heard B",
        "A did not hear itself",
        "B heard A",
        "B did not hear itself",
    }


def test_two_seconds_of_lost_speech_are_caught() -> None:
    cut = track((B, 2.5, 1.0))
    cut[4 * RATE_HZ : 6 * RATE_HZ] = 0
    assert failed(judge(evidence(heard_a=cut))) == {"A heard B"}


def test_noise_as_loud_as_the_voice_is_caught() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, TRACK_SAMPLES)
    noisy = (track((B, 2.5, 1.0)) + noise).clip(-32768, 32767).astype(np.int16)
    assert failed(judge(evidence(heard_a=noisy))) == {"A heard B"}


@pytest.mark.parametrize(("voice", "missing"), [(A, "B"), (B, "A")])
def test_recording_without_a_voice_is_caught(voice: Pcm, missing: str) -> None:
    checks = judge(evidence(recording=track((voice, 1.0, 1.0))))
    assert failed(checks) == {f"the recording holds {missing}"}


def test_empty_recording_is_caught() -> None:
    checks = judge(evidence(recording=np.zeros(0, np.int16)))
    assert failed(checks) == {"the recording holds A", "the recording holds B"}


def test_faint_comfort_noise_does_no_harm() -> None:
    noise = np.random.default_rng(1).normal(0, 20, TRACK_SAMPLES)
    heard = (track((B, 2.5, 1.0)) + noise).astype(np.int16)
    assert not failed(judge(evidence(heard_a=heard)))


def step(voice: Pcm, at: int, samples: int) -> Pcm:
    """Return a voice as a jitter buffer gives it that puts in silence somewhere, or takes out audio."""
    return np.concatenate((voice[:at], np.zeros(max(0, samples), np.int16), voice[at - min(0, samples) :]))


@pytest.mark.parametrize("frames", [-10, -2, -1, 1, 2])
def test_voice_moved_by_a_jitter_buffer_on_the_way_is_still_found(frames: int) -> None:
    likenesses = [
        find_voice(step(A, at, frames * FRAME_SAMPLES), A).likeness
        for at in range(RATE_HZ // 4, A.size - RATE_HZ // 4, RATE_HZ // 4 - 50)
    ]
    assert min(likenesses) > MIN_LIKENESS + 0.1


def test_call_in_which_everybody_was_moved_there_and_back_passes_every_check() -> None:
    a, b = (step(step(voice, 6000, FRAME_SAMPLES), 16000, -FRAME_SAMPLES) for voice in (A, B))
    moved = evidence(
        heard_a=track((b, 2.5, 1.0)),
        heard_b=track((a, 1.0, 1.0)),
        recording=track((a, 1.0, 1.0), (b, 2.5, 1.0)),
    )
    assert not failed(judge(moved))


def lose_every_other_frame(frames: Pcm) -> Pcm:
    frames = frames.copy()
    frames[::2] = 0
    return frames


def swap_neighbours(frames: Pcm) -> Pcm:
    swapped: Pcm = frames[np.arange(len(frames)) ^ 1]
    return swapped


def move_each_by_another_time(frames: Pcm) -> Pcm:
    return np.stack([np.roll(frame, (number * 37) % FRAME_SAMPLES) for number, frame in enumerate(frames)])


def lose_the_second_half(frames: Pcm) -> Pcm:
    frames = frames.copy()
    frames[len(frames) // 2 :] = 0
    return frames


@pytest.mark.parametrize(
    "damage", [lose_every_other_frame, swap_neighbours, move_each_by_another_time, lose_the_second_half]
)
def test_voice_that_is_garbled_or_half_missing_is_caught(damage: Callable[[Pcm], Pcm]) -> None:
    whole = B[: B.size - B.size % (2 * FRAME_SAMPLES)]
    damaged = damage(whole.reshape(-1, FRAME_SAMPLES)).ravel()
    facts = failed(judge(evidence(heard_a=track((damaged, 2.5, 1.0)))))
    assert facts == {"A heard B"}
    recording = track((A, 1.0, 1.0), (damaged, 2.5, 1.0))
    assert "the recording holds B" in failed(judge(evidence(recording=recording)))  # A may lie below it


def test_lag_tells_where_the_voice_begins() -> None:
    assert find_voice(track((A, 1.25, 0.5)), A).lag_samples == 10_000


def test_lag_of_a_voice_whose_start_was_missed_is_negative() -> None:
    assert find_voice(A[800:], A).lag_samples == -800


def test_copy_has_likeness_one_at_any_loudness() -> None:
    assert find_voice(track((A, 1.0, 0.25)), A).likeness == pytest.approx(1.0, abs=0.001)


def test_rest_is_the_track_without_the_voice() -> None:
    rest = find_voice(track((A, 1.0, 1.0)), A).rest
    assert rest.size == TRACK_SAMPLES
    assert np.abs(rest).max() < 1.0


def test_echo_is_measured_in_amplitude() -> None:
    assert echo_of(track((A, 2.0, 0.5)), A) == pytest.approx(0.5, abs=0.01)


def test_the_two_voices_are_unlike_each_other() -> None:
    assert find_voice(track((A, 1.0, 1.0)), B).likeness < 0.4
    assert echo_of(track((A, 1.0, 1.0)), B) < 0.1


@pytest.mark.parametrize(
    ("change", "holds"), [({}, True), ({"joined": None}, False), ({"endReason": None}, False)]
)
def test_calls_count_as_stored_with_their_answer_their_end_and_their_recording(
    change: dict[str, object], holds: bool
) -> None:
    whole = {"endReason": "hangup", "joined": "2026-01-01T00:00:00Z", "recordingEnabled": True}
    assert are_stored([whole, {**whole, **change}], 2).holds is holds
    assert not are_stored([whole], 2).holds
