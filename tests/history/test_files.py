"""What lies in the folder of recordings when their calls are removed."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.history.keepers import RUN, Clock
from tests.history.making import change
from vb.history import files
from vb.history.files import delete_files
from vb.history.keeper import Keeper
from vb.history.store import Store
from vb.media.recording_names import recording_name, recovered_name, temporary_name
from vb.media.wav import build_header
from vb.media.wav_file import WavFile, hold_orphan
from vb.recording.salvage import salvage

STARTED = datetime(2026, 11, 30, 12, 0)
TOKEN = "2e71f6af"
IN_BUCKET = "s3://bucket/other.wav"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder


@pytest.fixture
def planned(folder: Path) -> str:
    """A recording that was cut off, as it was to be called."""
    return str(folder / recording_name(STARTED, TOKEN))


def lay(folder: Path, token: str = TOKEN) -> Path:
    """Let there be something that was recovered."""
    path = folder / recovered_name(STARTED + timedelta(seconds=9), token)
    path.write_bytes(b"RIFF")
    return path


def cut_off(folder: Path, token: str = TOKEN) -> Path:
    """Let there be what a killed process leaves of a recording."""
    path = folder / temporary_name(token)
    path.write_bytes(build_header(channels=2, rate_hz=8_000, data_bytes=0) + bytes(3_200))
    return path


def unreadable(folder: Path) -> None:
    """Put a file in the place of a folder: nobody can list that, whoever runs the tests."""
    folder.rmdir()
    folder.write_bytes(b"")


@pytest.mark.parametrize("harm", [Path.rmdir, unreadable], ids=["missing", "unreadable"])
def test_a_folder_that_is_away_costs_nothing_of_what_lies_in_buckets(
    folder: Path, planned: str, harm: Callable[[Path], None]
) -> None:
    harm(folder)
    assert IN_BUCKET in delete_files([planned, IN_BUCKET], str(folder))


def test_calls_are_removed_and_buckets_asked_though_the_folder_is_away(
    folder: Path, planned: str, tmp_path: Path
) -> None:
    folder.rmdir()
    clock = Clock()
    store = Store(f"sqlite:///{tmp_path}/calls.db", run_id=RUN)
    keeper = Keeper(
        store,
        tmp_path / "queue",
        recordings_folder=str(folder),
        wall_clock_ns=clock.wall_ns,
        monotonic=clock.monotonic,
    )
    recordings = [{"file": planned}, {"file": IN_BUCKET, "finished": True}]
    kept = keeper.round([change(1, auto_delete=True, recordings=recordings)])
    assert (kept.left, keeper.pruned, keeper.problems) == ([IN_BUCKET], 1, {})
    keeper.close(calls_left=False)


def test_nothing_is_looked_for_of_a_recording_that_went_into_a_bucket(
    folder: Path, planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("the folder is read"))
    stored = f"s3://bucket/calls/{os.path.basename(planned)}"
    assert delete_files([planned, stored], str(folder)) == (stored,)


def test_nothing_is_recovered_of_a_recording_whose_call_was_removed_before(
    folder: Path, planned: str
) -> None:
    for token in (TOKEN, f"{TOKEN}-2"):
        cut_off(folder, token)
    other = cut_off(folder, "2e71f6a0")
    assert delete_files([planned], str(folder)) == ()
    assert list(folder.iterdir()) == [other]
    assert len(salvage(folder, before_s=4e9)) == 1


def test_a_recording_that_another_process_writes_is_left_alone(
    folder: Path, planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HOLD_S", 0.0)
    running = WavFile(Path(planned), token=TOKEN, channels=1)
    assert delete_files([planned], str(folder)) == (planned,)
    assert running.finish(8_000) == Path(planned)


def test_what_a_start_completes_in_that_moment_goes_with_its_call(
    folder: Path, planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = hold_orphan(cut_off(folder))
    assert fd is not None

    def complete(_: float) -> None:
        (folder / temporary_name(TOKEN)).rename(folder / recovered_name(STARTED, TOKEN))
        os.close(fd)

    monkeypatch.setattr(time, "sleep", complete)
    assert delete_files([planned], str(folder)) == ()
    assert list(folder.iterdir()) == []


def test_a_file_that_was_removed_or_completed_meanwhile_is_not_held(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = cut_off(folder)
    lock = fcntl.flock

    def late(fd: int, how: int) -> None:
        temporary.rename(folder / recovered_name(STARTED, TOKEN))
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert hold_orphan(temporary) is None


def test_a_recording_that_is_finished_while_its_rest_is_waited_for_goes_too(
    folder: Path, planned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = WavFile(Path(planned), token=TOKEN, channels=1)
    writer.announce(8_000)
    writer.append(np.zeros((8_000, 1), np.int16))
    assert any(folder.iterdir())

    def sleep(_: float) -> None:
        writer.finish(8_000)

    monkeypatch.setattr(time, "sleep", sleep)
    assert delete_files([planned], str(folder)) == ()
    assert list(folder.iterdir()) == []
