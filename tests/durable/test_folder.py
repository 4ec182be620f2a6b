from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import structlog

from vb.durable.folder import folder_lock, open_own, take_over
from vb.durable.store import Record, Store


def left(path: Path, *numbers: int) -> None:
    """What a process that is gone has left in a file."""
    path.parent.mkdir(exist_ok=True)
    with closing(Store(path)) as store:
        store.apply([Record(number, "t", f"k{number}", "", b"data") for number in numbers], [])


def numbers_in(store: Store) -> list[int]:
    return [record.number for record in store.records()]


def test_processes_that_share_a_folder_have_a_file_each(tmp_path: Path) -> None:
    one, _ = open_own(tmp_path / "made", "queue")
    other, _ = open_own(tmp_path / "made", "queue")
    with closing(one), closing(other):
        assert (one.path.name, other.path.name) == ("queue.db", "queue-2.db")


def test_what_several_processes_left_ends_up_in_one_file_in_order(tmp_path: Path) -> None:
    left(tmp_path / "queue.db", 5, 8)
    left(tmp_path / "queue-2.db", 1, 9)
    left(tmp_path / "queue-7.db", 6)
    store, damaged = open_own(tmp_path, "queue")
    with closing(store):
        assert numbers_in(store) == [1, 5, 6, 8, 9]
        assert damaged == 0
    assert [path.name for path in tmp_path.iterdir()] == ["queue.db"]


def test_what_a_living_process_took_over_is_given_to_nobody_else(tmp_path: Path) -> None:
    left(tmp_path / "queue.db", 1, 2)
    owner, _ = open_own(tmp_path, "queue")
    other, _ = open_own(tmp_path, "queue")
    with closing(owner), closing(other):
        assert numbers_in(owner) == [1, 2]
        assert numbers_in(other) == []


def test_a_start_beside_many_processes_waits_for_none_of_them(tmp_path: Path) -> None:
    with ExitStack() as living:
        for _ in range(6):
            living.enter_context(closing(open_own(tmp_path, "queue")[0]))
        before = time.monotonic()
        living.enter_context(closing(open_own(tmp_path, "queue")[0]))
        assert time.monotonic() - before < 3  # it would be a second for each


def test_processes_that_start_at_once_share_left_overs_without_doubling_or_losing_any(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for turn in range(5):
            folder = tmp_path / str(turn)
            left(folder / "queue.db", 0)
            for number in range(1, 10):
                left(folder / f"queue-{number + 1}.db", number)
            stores = [store for store, _ in pool.map(lambda at=folder: open_own(at, "queue"), [folder] * 4)]
            assert sorted(number for store in stores for number in numbers_in(store)) == list(range(10))
            for store in stores:
                store.close()


def test_a_damaged_file_is_set_aside_and_what_can_be_read_goes_on(tmp_path: Path) -> None:
    left(tmp_path / "queue-2.db", 3)
    (tmp_path / "queue.db").write_bytes(b"nonsense" * 1000)
    with structlog.testing.capture_logs() as logs:
        store, damaged = open_own(tmp_path, "queue")
    with closing(store):
        assert damaged == 1
        assert numbers_in(store) == [3]
        assert [(line["event"], line["file"]) for line in logs] == [
            ("damaged file of a queue was set aside", "queue.damaged")
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queue.damaged", "queue.db"]


def test_what_is_no_file_is_passed_over_logged_and_counted(tmp_path: Path) -> None:
    (tmp_path / "queue.db").mkdir()
    with structlog.testing.capture_logs() as logs:
        store, damaged = open_own(tmp_path, "queue")
    with closing(store):
        assert store.path.name == "queue-2.db"
        assert damaged == 1
    assert [line["file"] for line in logs] == ["queue.db"]
    assert (tmp_path / "queue.db").is_dir()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(FileExistsError):
        open_own(tmp_path / "f", "queue")
    with pytest.raises(NotADirectoryError):
        open_own(tmp_path / "f" / "g", "queue")


def test_what_others_have_left_is_not_waited_for_while_a_process_takes_it_over(tmp_path: Path) -> None:
    own, _ = open_own(tmp_path, "queue")
    left(tmp_path / "queue-2.db", 4)
    with closing(own):
        with folder_lock(tmp_path):
            assert not take_over(tmp_path, "queue", own)
        assert numbers_in(own) == []
        assert take_over(tmp_path, "queue", own)
        assert numbers_in(own) == [4]
