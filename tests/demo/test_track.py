from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vb.codecs.base import CODECS, make_decoder
from vb.codecs.pcm import Pcm
from vb.demo.track import (
    FRAME_SAMPLES,
    RATE_HZ,
    SILENCE_DBFS,
    HeardTrack,
    SpokenTrack,
    level_dbfs,
    load_recording,
    load_speech,
)
from vb.media.errors import DecodeError
from vb.media.wav import build_header


def frame(value: int) -> Pcm:
    return np.full(FRAME_SAMPLES, value, np.int16)


def places(track: HeardTrack, value: int) -> list[int]:
    """Return where the frames of a value begin, in frames after the lead."""
    found = np.flatnonzero(track.samples == value)
    return [int(start) // FRAME_SAMPLES - 5 for start in found[::FRAME_SAMPLES]]


def decode(payload: bytes) -> Pcm:
    return make_decoder(CODECS["PCMU"]).decode(payload)


def test_packets_lie_where_their_timestamps_put_them() -> None:
    track = HeardTrack()
    for value, timestamp in ((1, 1000), (2, 1160), (3, 1320)):
        track.place(timestamp, frame(value))
    assert [places(track, value) for value in (1, 2, 3)] == [[0], [1], [2]]


def test_lost_packet_leaves_silence() -> None:
    track = HeardTrack()
    track.place(1000, frame(1))
    track.place(1320, frame(3))
    start = 6 * FRAME_SAMPLES
    assert not track.samples[start : start + FRAME_SAMPLES].any()
    assert places(track, 3) == [2]


def test_reordered_packet_finds_its_place() -> None:
    track = HeardTrack()
    for value, timestamp in ((1, 1000), (3, 1320), (2, 1160)):
        track.place(timestamp, frame(value))
    assert places(track, 2) == [1]
    assert places(track, 3) == [2]


def test_packet_that_the_first_one_overtook_finds_its_place() -> None:
    track = HeardTrack()
    track.place(1160, frame(2))
    track.place(1000, frame(1))
    assert places(track, 1) == [-1]


def test_timestamps_may_wrap() -> None:
    track = HeardTrack()
    track.place(2**32 - FRAME_SAMPLES, frame(1))
    track.place(0, frame(2))
    assert places(track, 2) == [1]


@pytest.mark.parametrize("timestamp", [1000 - RATE_HZ, 1000 + 3600 * RATE_HZ])
def test_packet_outside_of_the_track_is_counted_and_left_out(timestamp: int) -> None:
    track = HeardTrack()
    track.place(1000, frame(1))
    size = track.samples.size
    track.place(timestamp, frame(2))
    assert track.misplaced == 1
    assert track.samples.size == size


def test_level_of_what_is_heard_covers_the_last_tenth_of_a_second() -> None:
    track = HeardTrack()
    assert track.level_dbfs() == SILENCE_DBFS
    for number in range(5):
        track.place(number * FRAME_SAMPLES, frame(16384))
    assert track.level_dbfs() == pytest.approx(-6.02, abs=0.01)
    for number in range(5, 10):
        track.place(number * FRAME_SAMPLES, frame(0))
    assert track.level_dbfs() == SILENCE_DBFS


def test_phone_is_silent_until_it_is_told_to_talk() -> None:
    spoken = SpokenTrack(frame(1000))
    assert not decode(spoken.next_frame()).any()
    assert not spoken.finished
    assert spoken.level_dbfs() == SILENCE_DBFS


def test_speech_is_said_once_and_then_silence() -> None:
    speech = load_speech("caller_a.wav")
    spoken = SpokenTrack(speech)
    spoken.talk()
    frames = []
    while not spoken.finished:
        frames.append(decode(spoken.next_frame()))
    said = np.concatenate(frames).astype(np.float64)
    error = said[: speech.size] - speech
    assert float(error @ error) < 0.001 * float(said @ said)
    assert not decode(spoken.next_frame()).any()


def test_incomplete_last_frame_is_filled_with_silence() -> None:
    spoken = SpokenTrack(np.full(FRAME_SAMPLES + 1, 8000, np.int16))
    spoken.talk()
    spoken.next_frame()
    last = decode(spoken.next_frame())
    assert last.size == FRAME_SAMPLES
    assert last[0] > 7000
    assert not last[1:].any()
    assert spoken.finished


def test_level_of_what_is_said_follows_the_speech() -> None:
    spoken = SpokenTrack(np.concatenate([frame(16384)] * 10))
    spoken.talk()
    for _ in range(6):
        spoken.next_frame()
    assert spoken.level_dbfs() == pytest.approx(-6.02, abs=0.01)


def test_full_scale_is_zero_db() -> None:
    assert level_dbfs(frame(-32768)) == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize("name", ["caller_a.wav", "caller_b.wav"])
def test_speech_lasts_five_to_six_seconds_and_is_loud(name: str) -> None:
    speech = load_speech(name)
    assert 5 * RATE_HZ <= speech.size <= 6 * RATE_HZ
    assert level_dbfs(speech) > -30


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_recording_of_any_mixing_rate_is_read_at_8_khz(tmp_path: Path, rate_hz: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 400 * np.arange(rate_hz) / rate_hz)).astype("<i2")
    path = tmp_path / "recording.wav"
    path.write_bytes(build_header(channels=1, rate_hz=rate_hz, data_bytes=tone.nbytes) + tone.tobytes())
    pcm, found_hz = load_recording(path)
    assert found_hz == rate_hz
    assert pcm.size == RATE_HZ
    assert abs(np.fft.rfft(pcm)).argmax() == 400


def test_recording_that_is_no_wav_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    path.write_bytes(b"no audio")
    with pytest.raises(DecodeError):
        load_recording(path)
