import errno
import fcntl
import os
import wave
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vb.media.wav import MAX_DATA_BYTES
from vb.media.wav_file import WavFile, why_unwritable

NAME = "20260304_050607_0a1b2c3d.wav"


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def ramp(frames: int, channels: int = 1) -> np.ndarray:
    return np.arange(frames * channels, dtype=np.int16).reshape(frames, channels)


def load(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.reshape(-1, file.getnchannels())


def test_the_size_limit_of_the_format_is_an_error(tmp_path: Path) -> None:
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=1)
    file.data_bytes = MAX_DATA_BYTES - 10
    with pytest.raises(OSError, match="size limit"):
        file.append(np.zeros((160, 1), np.int16))
    file.discard()


def test_skipped_frames_are_silent_and_take_no_space(tmp_path: Path) -> None:
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=2)
    file.skip(1_000_000)
    file.append(ramp(160, 2))
    file.finish(8000)
    pcm = load(tmp_path / NAME)
    assert pcm.shape == (1_000_160, 2)
    assert not pcm[:1_000_000].any()
    assert np.array_equal(pcm[1_000_000:], ramp(160, 2))
    assert (tmp_path / NAME).stat().st_blocks * 512 < 100_000


def test_skipping_beyond_the_format_is_an_error(tmp_path: Path) -> None:
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=1)
    with pytest.raises(OSError, match="size limit"):
        file.skip(MAX_DATA_BYTES)
    file.discard()


def test_what_was_skipped_can_be_filled_in_and_read_back(tmp_path: Path) -> None:
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=2)
    file.skip(100)
    file.overwrite(40, ramp(20, 2))
    assert np.array_equal(file.read(40, 20), ramp(20, 2))
    assert not file.read(60, 100).any()
    assert file.frames == 100
    file.discard()


def test_the_temporary_file_is_locked_until_it_is_gone(tmp_path: Path) -> None:
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=1)
    with open(tmp_path / ".rec-0a1b2c3d.tmp", "rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.discard()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert names(tmp_path) == []


def test_a_disk_without_hard_links_gets_the_file_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=1)
    file.append(ramp(160))
    assert file.finish(8000) == tmp_path / NAME
    assert np.array_equal(load(tmp_path / NAME), ramp(160))
    assert names(tmp_path) == [NAME]


def test_a_disk_without_hard_links_overwrites_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    (tmp_path / NAME).write_text("precious")
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=1)
    file.append(ramp(160))
    beside = file.finish(8000)
    assert beside.name == "20260304_050607_0a1b2c3d_0a1b2c3d.wav"
    assert (tmp_path / NAME).read_text() == "precious"


def test_both_names_taken_is_an_error(tmp_path: Path) -> None:
    for name in (NAME, "20260304_050607_0a1b2c3d_0a1b2c3d.wav"):
        (tmp_path / name).write_text("precious")
    file = WavFile(tmp_path / NAME, token="0a1b2c3d", channels=1)
    file.append(ramp(160))
    with pytest.raises(FileExistsError):
        file.finish(8000)
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize(("flags", "why"), [(os.ST_RDONLY, errno.EROFS), (0, errno.EACCES)])
def test_a_folder_in_which_nothing_can_be_written_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int, why: int
) -> None:
    assert why_unwritable(tmp_path / "new") is None
    mount = SimpleNamespace(f_flag=flags)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere else
    monkeypatch.setattr(os, "statvfs", lambda _: mount)
    assert why_unwritable(tmp_path) == os.strerror(why)
