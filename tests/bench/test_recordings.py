from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.recordings import Channel, Checked, Recording, check_recording

RATE_HZ = 16000
LEFT_HZ, RIGHT_HZ = 711, 1313
AMPLITUDE = 8000.0
BURST_S = 2.0
SECOND_NS = 1_000_000_000
ONSETS_S = {LEFT_HZ: (1.0, 4.0), RIGHT_HZ: (2.5, 5.5)}
LENGTH_S = 8.0


def tone(frequency: int, onsets_s: tuple[float, ...], length_s: float = LENGTH_S) -> NDArray[np.int16]:
    clock = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    spoken = np.zeros(len(clock), np.bool_)
    for onset in onsets_s:
        spoken |= (clock >= onset) & (clock < onset + BURST_S)
    return np.where(spoken, AMPLITUDE * np.cos(2 * np.pi * frequency * clock), 0).astype(np.int16)


def sound() -> list[NDArray[np.int16]]:
    return [tone(frequency, onsets) for frequency, onsets in ONSETS_S.items()]


def check(folder: Path, channels: list[NDArray[np.int16]], length_s: float = LENGTH_S) -> Checked:
    path = folder / "call.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())
    begin = 1000 * SECOND_NS
    left, right = (
        Channel(name, frequency, [begin + int(onset * SECOND_NS) for onset in ONSETS_S[frequency]])
        for name, frequency in (("left", LEFT_HZ), ("right", RIGHT_HZ))
    )
    end = begin + int(length_s * SECOND_NS)
    recording = Recording(path, begin, end, end, (left, right))
    talkers = np.array([LEFT_HZ, RIGHT_HZ, 2017])
    return check_recording(recording, talkers, amplitude=AMPLITUDE, burst_s=BURST_S, late_s=0.0)


def test_a_whole_recording_has_no_fault(tmp_path: Path) -> None:
    checked = check(tmp_path, sound())
    assert checked.faults == ()
    assert checked.bursts == 4
    assert max(map(abs, checked.offsets_ms)) < 20


def test_channels_the_other_way_round_are_a_fault(tmp_path: Path) -> None:
    faults = check(tmp_path, sound()[::-1]).faults
    assert "call.wav: left: 0 bursts of 2" in faults
    assert "call.wav: right: 0 bursts of 2" in faults


def test_a_recording_that_is_two_frames_too_short_is_a_fault(tmp_path: Path) -> None:
    faults = check(tmp_path, sound(), LENGTH_S + 0.041).faults
    assert faults == ("call.wav: 8.000 s long, not 8.021 to 8.061",)


def test_one_frame_less_is_none(tmp_path: Path) -> None:
    assert check(tmp_path, sound(), LENGTH_S + 0.019).faults == ()


def test_a_burst_with_a_hole_is_a_fault(tmp_path: Path) -> None:
    channels = sound()
    channels[0][int(4.8 * RATE_HZ) : int(4.9 * RATE_HZ)] = 0
    assert any("left: 3 bursts of 2" in fault for fault in check(tmp_path, channels).faults)


def test_a_burst_that_lost_a_piece_is_a_fault(tmp_path: Path) -> None:
    channels = sound()
    left = channels[0]
    piece = int(0.003 * RATE_HZ)
    left[int(4.8 * RATE_HZ) : -piece] = left[int(4.8 * RATE_HZ) + piece :].copy()
    assert any("the burst at" in fault and "broken" in fault for fault in check(tmp_path, channels).faults)


def test_a_stranger_is_a_fault(tmp_path: Path) -> None:
    channels = sound()
    channels[1] = channels[1] + tone(2017, ONSETS_S[RIGHT_HZ]) // 5
    assert any("[2017] Hz beside 1313" in fault for fault in check(tmp_path, channels).faults)


def test_a_mono_file_is_a_fault(tmp_path: Path) -> None:
    assert check(tmp_path, sound()[:1]).faults == ("call.wav: 1 channels of 2 bytes",)


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    recording = Recording(
        tmp_path / "gone.wav", 0, 1, 1, (Channel("left", 711, []), Channel("right", 1313, []))
    )
    talkers = np.array([711])
    checked = check_recording(recording, talkers, amplitude=AMPLITUDE, burst_s=BURST_S, late_s=0.0)
    assert len(checked.faults) == 1
