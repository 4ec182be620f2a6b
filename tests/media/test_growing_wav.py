import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vb.media.growing_wav import GrowingWav
from vb.media.wav import MAX_DATA_BYTES

RATE_HZ = 8000


def new(directory: Path) -> GrowingWav:
    return GrowingWav(directory, token="0a1b2c3d", rate_hz=RATE_HZ)


def noise(frames: int, channels: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3000, 3000, (frames, channels), np.int16)


def load(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_HZ
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.reshape(-1, file.getnchannels())


def test_one_width_from_start_to_end_is_written_once(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.widen(3)
    pcm = noise(8000, 3)
    file.append(pcm)
    assert len(os.listdir(tmp_path)) == 1
    assert file.finish(tmp_path / "a.wav") == tmp_path / "a.wav"
    assert np.array_equal(load(tmp_path / "a.wav"), pcm)
    assert os.listdir(tmp_path) == ["a.wav"]


def test_a_channel_that_comes_later_is_silent_before(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.widen(1)
    before, after = noise(8000, 1), noise(4000, 2, seed=2)
    file.append(before)
    file.widen(2)
    file.append(after)
    file.finish(tmp_path / "a.wav")
    pcm = load(tmp_path / "a.wav")
    assert np.array_equal(pcm[:8000, 0], before[:, 0])
    assert not pcm[:8000, 1].any()
    assert np.array_equal(pcm[8000:], after)
    assert os.listdir(tmp_path) == ["a.wav"]


def test_copying_in_steps_leaves_nothing_for_the_end(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.widen(1)
    before = noise(300_000, 1)
    file.append(before)
    file.widen(2)
    steps = 0
    while file.catch_up(200_000):
        steps += 1
        file.append(noise(160, 2, seed=steps))
    assert steps > 2
    assert len(os.listdir(tmp_path)) == 1
    file.finish(tmp_path / "a.wav")
    pcm = load(tmp_path / "a.wav")
    assert np.array_equal(pcm[:300_000, 0], before[:, 0])
    assert np.array_equal(pcm[300_000:300_160], noise(160, 2, seed=1))


def test_before_the_first_channel_there_is_silence_and_no_file(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.skip(1000)
    assert not os.listdir(tmp_path)
    file.widen(1)
    file.append(noise(160, 1))
    file.finish(tmp_path / "a.wav")
    pcm = load(tmp_path / "a.wav")
    assert not pcm[:1000].any()
    assert np.array_equal(pcm[1000:], noise(160, 1))


def test_hours_of_silence_are_not_copied(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.widen(1)
    file.skip(RATE_HZ * 3600 * 5)
    file.widen(2)
    file.append(noise(160, 2))
    assert len(os.listdir(tmp_path)) == 1
    file.finish(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").stat().st_size > 500_000_000
    assert (tmp_path / "a.wav").stat().st_blocks * 512 < 100_000


def test_without_a_channel_there_is_no_file(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.skip(1000)
    assert file.finish(tmp_path / "a.wav") is None
    assert os.listdir(tmp_path) == []


def test_discarding_removes_every_temporary_file(tmp_path: Path) -> None:
    file = new(tmp_path)
    for channels in (1, 2, 3):
        file.widen(channels)
        file.append(noise(160, channels))
    assert len(os.listdir(tmp_path)) == 3
    file.discard()
    assert os.listdir(tmp_path) == []


def test_a_width_that_the_format_cannot_hold_changes_nothing(tmp_path: Path) -> None:
    file = new(tmp_path)
    file.widen(1)
    file.skip(MAX_DATA_BYTES // 3)
    with pytest.raises(OSError, match="size limit"):
        file.widen(2)
    assert file.channels == 1
    assert len(os.listdir(tmp_path)) == 1
    file.append(noise(160, 1))
    file.discard()


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 400)),
        st.tuples(st.just("skip"), st.integers(1, 400)),
        st.tuples(st.just("widen"), st.integers(1, 3)),
        st.tuples(st.just("copy"), st.integers(1, 3000)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_whatever_the_order_every_sample_is_where_it_belongs(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    directory = tmp_path_factory.mktemp("any")
    file = new(directory)
    expected = np.zeros((0, 60), np.int16)
    for number, (what, amount) in enumerate(steps):
        if what == "widen" and file.channels + amount <= 60:
            file.widen(file.channels + amount)
        elif what == "copy":
            file.catch_up(amount)
        elif what in ("skip", "append"):
            part = np.zeros((amount, 60), np.int16)
            if what == "append" and file.channels:
                part[:, : file.channels] = noise(amount, file.channels, seed=number)
                file.append(part[:, : file.channels])
            else:
                file.skip(amount)
            expected = np.concatenate([expected, part])
    channels = file.channels
    finished = file.finish(directory / "a.wav")
    if channels and len(expected):
        assert np.array_equal(load(directory / "a.wav"), expected[:, :channels])
    else:
        assert finished is None
    assert [name for name in os.listdir(directory) if name.startswith(".")] == []
