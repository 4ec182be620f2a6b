"""What is left of a deleted call in the files of an SQLite database."""

from __future__ import annotations

import io
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.history.keepers import Clock, keeper
from tests.history.making import change
from vb.cli import build_parser
from vb.config import Config, HistoryConfig
from vb.history import write_store
from vb.history.console import run
from vb.history.database import empty_log, reading
from vb.history.keeper import SWEEP_EVERY_S
from vb.history.removal import Removed
from vb.history.writer import prepare

SECRET = change(2, texts=("zzconfidential zzdiagnosis",), metadata={"X-Card": "zzcardholder"})
STORED = prepare(SECRET).parts[0]
SAID = os.urandom(9_000).hex().encode()
"""Long enough to need pages of its own."""


def _files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("calls.db*")))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/calls.db"


def test_what_was_said_in_a_deleted_call_is_overwritten_within_a_minute(url: str, tmp_path: Path) -> None:
    clock = Clock()
    one, store = keeper(url, tmp_path / "queue", clock=clock)
    one.round([change(number, texts=("hello",)) for number in range(10, 200)])
    long = change(2, texts=("zzconfidential",), parts=((1, SAID),))
    write = prepare(long)
    one.round([long, *(change(number, texts=("hello",)) for number in range(200, 300))])
    assert all(data[-60:] in _files(tmp_path) for data in write.parts.values())
    store.delete(long.call_id)
    clock.now_s += SWEEP_EVERY_S
    one.round([])
    assert not [number for number, data in write.parts.items() if data[-60:] in _files(tmp_path)]
    one.close(calls_left=False)


def test_words_of_deleted_calls_go_when_old_ones_are_pruned(url: str, tmp_path: Path) -> None:
    one, store = keeper(url, tmp_path / "queue")
    one.round([change(number, texts=("hello",)) for number in range(10, 200)])
    one.round([SECRET, *(change(number, texts=("hello",)) for number in range(200, 300))])
    store.delete(SECRET.call_id)
    one.close(calls_left=False)
    history = HistoryConfig.model_validate({"database_url": url, "data_dir": str(tmp_path)})
    arguments = build_parser().parse_args(["calls", "prune", "--older-than", "1000000"])
    out = io.StringIO()
    assert run(arguments, Config(history=history), out) == 0
    assert out.getvalue() == "0 calls deleted\n"
    assert b"hello" in _files(tmp_path)
    assert b"zz" not in _files(tmp_path)
    assert STORED[-60:] not in _files(tmp_path)


def test_who_writes_gets_in_between_while_the_words_are_laid_out_anew(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_store, "MERGE_PAGES", 4)
    one, store = keeper(url, tmp_path / "queue")
    for first in range(0, 1_000, 100):
        texts = [" ".join(f"word{number}x{other}" for other in range(40)) for number in range(100)]
        one.round([change(first + number, texts=(texts[number],)) for number in range(100)])
        if not first:
            one.round([secret := change(5_000, texts=("zzconfidential",))])
    store.delete(secret.call_id)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        with closing(sqlite3.connect(tmp_path / "calls.db", timeout=0)) as other, other:
            other.execute("BEGIN IMMEDIATE")
        pauses.append(seconds)

    store.rewrite_words(pause)
    assert len(pauses) > 3
    with reading(store._engine) as connection:
        segments = "SELECT count(DISTINCT segid) FROM call_words_idx"
        assert connection.exec_driver_sql(segments).scalar() == 1
    before = len(pauses)
    store.rewrite_words(pause)
    assert len(pauses) == before
    assert empty_log(store._engine)
    assert b"zzconf" not in _files(tmp_path)
    one.close(calls_left=False)


def test_a_log_that_somebody_reads_is_emptied_later_and_nobody_waits(url: str, tmp_path: Path) -> None:
    one, store = keeper(url, tmp_path / "queue")
    one.round([change(1)])
    with reading(store._engine) as connection:
        connection.exec_driver_sql("SELECT * FROM calls").all()
        one.round([change(2)])
        assert not empty_log(store._engine)
    assert empty_log(store._engine)
    assert (tmp_path / "calls.db-wal").stat().st_size == 0
    one.close(calls_left=False)


@pytest.mark.parametrize("damage", ["none", "folder"])
def test_a_file_that_is_damaged_meanwhile_ends_no_round(url: str, tmp_path: Path, damage: str) -> None:
    clock = Clock()
    one, store = keeper(url, tmp_path / "queue", clock=clock)
    one.round([change(1)])
    forget_removed = store.forget_removed

    def damages(before_us: int) -> None:
        forget_removed(before_us)
        store.prune = lambda before_us: Removed((), ())  # type: ignore[method-assign]
        store.close()
        for path in tmp_path.glob("calls.db*"):
            path.unlink()
        if damage == "folder":
            (tmp_path / "calls.db").mkdir()
        else:
            (tmp_path / "calls.db").write_bytes(b"none" * 2_000)

    store.forget_removed = damages  # type: ignore[method-assign]
    clock.now_s += SWEEP_EVERY_S
    one.round([change(2)])
    assert ("database" in one.problems) == (damage == "none")
    one.close(calls_left=True)
