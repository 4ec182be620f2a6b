"""What lies in the folder of recordings when their calls are removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.history.keepers import RUN, Clock
from tests.history.making import change
from vb.history.files import delete_files
from vb.history.keeper import Keeper
from vb.history.store import Store
from vb.media.recording_names import recording_name, recovered_name

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
