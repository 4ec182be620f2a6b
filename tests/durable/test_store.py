from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vb.durable.store import Record, Store, StoreBusy, StoreDamaged, salvage, set_aside


def record(number: int, data: bytes = b"data", key: str | None = None) -> Record:
    return Record(number, "t", key or f"k{number}", "label", data)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as store:
        yield store


def fill_disk(store: Store) -> None:
    """Let there be no room for another page."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")


def test_items_come_back_in_the_order_of_their_numbers(store: Store) -> None:
    store.apply([record(5), record(2, b"\x00\xff"), record(9)], [])
    assert list(store.records()) == [record(2, b"\x00\xff"), record(5), record(9)]


def test_what_was_committed_is_there_after_the_file_is_opened_again(path: Path) -> None:
    with closing(Store(path)) as store:
        store.apply([record(1), record(2)], [])
        store.apply([record(3)], [1])
    with closing(Store(path)) as store:
        assert [item.number for item in store.records()] == [2, 3]


def test_a_key_is_kept_once(store: Store) -> None:
    store.apply([record(1, b"first", "same")], [])
    store.apply([record(2, b"second", "same")], [])
    assert [item.data for item in store.records()] == [b"first"]


def test_items_of_other_files_find_a_free_number(store: Store) -> None:
    store.apply([record(7)], [])
    store.adopt([record(7, key="other"), record(8, key="third")])
    assert [(item.number, item.key) for item in store.records()] == [(7, "k7"), (8, "other"), (9, "third")]


def test_data_is_read_by_number_and_what_is_gone_is_left_out(store: Store) -> None:
    store.apply([record(1, b"one"), record(2, b"two")], [])
    assert store.read([2, 3, 1]) == {2: b"two", 1: b"one"}


def test_only_the_owner_may_read_the_files(path: Path, store: Store) -> None:
    store.apply([record(1)], [])
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["queue.db", "queue.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_that_holds_nothing_is_removed_in_the_end(path: Path) -> None:
    with closing(Store(path)) as store:
        store.apply([record(1)], [])
        store.apply([], [1])
    assert list(path.parent.iterdir()) == []


def test_the_room_of_items_that_are_done_is_given_back(path: Path, store: Store) -> None:
    for first in range(0, 10_000, 500):
        store.apply([record(number, b"x" * 1000) for number in range(first, first + 500)], [])
    assert store.size > 10_000_000
    for first in range(0, 10_000, 500):
        store.apply([], range(first, first + 499))
    assert store.size < 5_000_000
    assert len(list(store.records())) == 20


# -- several owners ----------------------------------------------------------------------------------------


def test_a_file_has_one_owner(path: Path, store: Store) -> None:
    with pytest.raises(StoreBusy):
        Store(path)


def test_a_file_that_something_else_has_locked_is_busy(path: Path) -> None:
    with closing(Store(path)) as store:
        store.apply([record(1)], [])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy):
            Store(path)
    with closing(Store(path)) as store:
        assert [item.number for item in store.records()] == [1]


# -- a full disk -------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_a_batch_as_a_whole(store: Store) -> None:
    store.apply([record(1)], [])
    fill_disk(store)
    with pytest.raises(OSError, match="full") as caught:
        store.apply([record(2, b"x"), record(3, b"x" * 1_000_000)], [1])
    assert caught.value.errno == errno.ENOSPC
    assert [item.number for item in store.records()] == [1]


def test_on_a_full_disk_items_can_still_be_crossed_out_and_make_room(store: Store) -> None:
    store.apply([record(1, b"x" * 100_000)], [])
    fill_disk(store)
    with pytest.raises(OSError, match="full"):
        store.apply([record(2, b"x" * 100_000)], [])
    store.apply([], [1])
    store.apply([record(2, b"x" * 50_000)], [])
    assert [item.number for item in store.records()] == [2]


class NoRoomToTidy:
    """A database whose file cannot be made smaller."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def executescript(self, _: str) -> None:
        raise sqlite3.OperationalError("database or disk is full")


def test_what_is_done_is_done_though_its_room_cannot_be_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.durable.store._SLACK_PAGES", -1)
    store.apply([record(1), record(2)], [])
    monkeypatch.setattr(store, "_db", NoRoomToTidy(store._db))
    store.apply([record(3)], [1])
    assert [item.number for item in store.records()] == [2, 3]


# -- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreDamaged):
        Store(path)


def test_a_database_of_others_is_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE item (something TEXT)")
    with closing(Store(path)) as store, pytest.raises(StoreDamaged):
        store.apply([record(1)], [])


def left_with_damage(path: Path) -> None:
    """A file of 400 items in the middle of which some pages are overwritten."""
    with closing(Store(path)) as store:
        store.apply([record(number, b"x" * 1000) for number in range(400)], [])
    with path.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xa5" * 4096 * 3)


def test_what_can_be_read_of_a_damaged_file_is_salvaged(path: Path) -> None:
    left_with_damage(path)
    with pytest.raises(StoreDamaged):
        Store(path)
    found = salvage(set_aside(path))
    assert 200 < len(found) < 400
    assert all(item == record(item.number, b"x" * 1000) for item in found)
    assert not path.exists()


def test_what_is_left_of_a_file_that_was_cut_off_is_salvaged(path: Path) -> None:
    with closing(Store(path)) as store:
        store.apply([record(number, b"x" * 1000) for number in range(400)], [])
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreDamaged):
        Store(path)
    found = salvage(set_aside(path))
    assert 150 < len(found) < 400
    assert all(item == record(item.number, b"x" * 1000) for item in found)


@pytest.mark.parametrize(("column", "word"), [("key", b"key of three"), ("label", b"label of three")])
def test_a_text_that_is_damaged_harms_no_other_item(path: Path, column: str, word: bytes) -> None:
    damaged = (
        replace(record(3), key=word.decode()) if column == "key" else replace(record(3), label=word.decode())
    )
    items = [record(1), damaged, record(5)]
    with closing(Store(path)) as store:
        store.apply(items, [])
    content = path.read_bytes()
    assert word in content
    path.write_bytes(content.replace(word, b"\xe9" + word[1:]))
    try:
        with closing(Store(path)) as store:
            found = list(store.records())
    except StoreDamaged:
        found = salvage(set_aside(path))
    assert [item.number for item in found] == [1, 3, 5]
    assert getattr(found[1], column) == "\ufffd" + word[1:].decode()


def test_a_value_of_another_type_is_not_salvaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE item (number INTEGER PRIMARY KEY, topic, key, label, data)")
        rows = [
            (1, "t", "a", "", b"x"),
            (2, "t", b"b", "", b"x"),
            (3, "t", "c", "", "x"),
            (4, "t", "d", "", b"y"),
        ]
        db.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?)", rows)
        db.commit()
    assert [item.number for item in salvage(path)] == [1, 4]


def test_an_index_that_contradicts_its_table_is_damage(path: Path) -> None:
    with closing(Store(path)) as store:
        store.apply([record(number, key=f"key {number} in both") for number in range(1, 10)], [])
    content = path.read_bytes()
    assert content.count(b"key 5 in both") == 2
    index = content.index(b"key 5 in both", 2 * 4096)
    path.write_bytes(content[:index] + b"key 7 in both" + content[index + 13 :])
    with pytest.raises(StoreDamaged):
        Store(path)
    assert len(salvage(set_aside(path))) == 9


def test_a_damaged_name_in_the_file_is_damage(path: Path) -> None:
    with closing(Store(path)) as store:
        store.apply([record(1)], [])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"CREATE TABLE item", b"CREATE T\xe9BLE item"))
    with pytest.raises(StoreDamaged):
        Store(path)
    assert salvage(set_aside(path)) == []


def test_files_that_are_set_aside_do_not_replace_each_other(path: Path) -> None:
    names = set()
    for _ in range(3):
        path.write_bytes(b"bad")
        names.add(set_aside(path).name)
    assert len(names) == 3
    assert salvage(path.parent / names.pop()) == []


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_refused(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.parent / "nowhere")
    with pytest.raises(OSError, match="not a regular file"):
        Store(path)


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "nowhere" / "queue.db")
