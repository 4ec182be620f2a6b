from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.durable.support import TOPIC, keys, open_queue, put
from tests.support.blocking import at_once
from vb.durable import queue as queue_module
from vb.durable.queue import DurableQueue, Item
from vb.durable.store import Record, Store

ROOT = Path(__file__).parents[2]


class Disk:
    """Stands between the queue and its file: can be full, and counts what is written."""

    def __init__(self, apply: Callable[[Store, Iterable[Record], Iterable[int]], None]) -> None:
        self.full = False
        self.batches: list[tuple[list[str], int]] = []
        self._apply = apply

    def apply(self, store: Store, added: Iterable[Record], done: Iterable[int]) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "full")
        added, done = list(added), list(done)
        self.batches.append(([record.key for record in added], len(done)))
        self._apply(store, added, done)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(Store.apply)
    monkeypatch.setattr(Store, "apply", lambda store, added, done: disk.apply(store, added, done))
    return disk


def files_in(path: Path) -> list[str]:
    return [item.name for item in path.iterdir()]


async def data_of(queue: DurableQueue, *items: Item) -> list[bytes | None]:
    return await queue.read(items)


# -- what a process leaves ---------------------------------------------------------------------------------


async def test_what_one_left_undone_is_found_by_the_next_in_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as first:
        done = put(first, "a")
        put(first, "b", b"\x00\xff")
        put(first, "c", topic="cards")
        await wait_all_tasks_blocked()
        first.done(done)
    async with open_queue(tmp_path) as second:
        assert (keys(second), keys(second, "cards")) == (["b"], ["c"])
        (item,) = second.waiting(TOPIC)
        assert item.label == "label of b"
        assert await data_of(second, item) == [b"\x00\xff"]


async def test_new_items_come_after_left_overs_although_the_clock_was_set_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path, now_ns=1_000_000) as first:
        put(first, "old")
    async with open_queue(tmp_path, now_ns=5) as second:
        put(second, "new")
    async with open_queue(tmp_path, now_ns=5) as third:
        assert keys(third) == ["old", "new"]


async def test_what_was_never_written_before_the_end_is_written_then(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path, running=False) as first:
        for number in range(2500):
            put(first, f"{number}")
    async with open_queue(tmp_path) as second:
        assert keys(second) == [f"{number}" for number in range(2500)]


async def test_a_process_that_leaves_nothing_leaves_no_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        item = put(queue, "a")
        await wait_all_tasks_blocked()
        queue.done(item)
    assert files_in(tmp_path) == []


async def test_doing_so_twice_or_after_the_end_is_harmless(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_queue(tmp_path) as queue:
        item, late = put(queue, "a"), put(queue, "b")
        queue.done(item)
        queue.done(item)
        assert len(queue) == 1
    await queue.close()
    queue.done(late)
    assert queue.put(TOPIC, "c", b"") is None
    async with open_queue(tmp_path) as second:
        assert keys(second) == ["b"]


@pytest.mark.integration
def test_a_kill_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    """A process fills a queue and says what is written, until it is killed in the middle of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.durable.killed_queue", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    accepted = [process.stdout.readline().strip() for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    accepted += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.communicate()

    async def found() -> list[str]:
        async with open_queue(tmp_path) as queue:
            items = queue.waiting(TOPIC)
            assert await queue.read(items) == [item.key.encode() * 50 for item in items]
            return [item.key for item in items]

    assert set(accepted) <= set(trio.run(found))


# -- writing -----------------------------------------------------------------------------------------------


async def test_what_comes_at_once_is_written_at_once(
    tmp_path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        for number in range(100):
            put(queue, str(number))
        await wait_all_tasks_blocked()
        assert [len(added) for added, _ in disk.batches] == [100]


async def test_what_is_done_before_it_was_written_never_gets_to_the_disk(
    tmp_path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        queue.done(put(queue, "a"))
        put(queue, "b")
        await wait_all_tasks_blocked()
        assert disk.batches == [(["b"], 0)]


async def test_what_is_done_while_it_is_written_is_taken_out_again(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_queue(tmp_path) as queue:
        item = put(queue, "a")
        apply = Store.apply

        def interrupted(store: Store, added: Iterable[Record], done: Iterable[int]) -> None:
            queue.done(item)
            apply(store, added, done)

        monkeypatch.setattr(Store, "apply", interrupted)
        await wait_all_tasks_blocked()
    assert files_in(tmp_path) == []


async def test_who_waits_for_what_was_put_goes_on_once_it_is_written_or_has_failed(
    tmp_path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        await queue.written()
        put(queue, "a")
        await queue.written()
        assert disk.batches == [(["a"], 0)]
        disk.full = True
        put(queue, "b")
        await queue.written()
        assert queue.failures["write"] == 1
        put(queue, "c")
        await queue.written()
    assert len(disk.batches) == 1


async def test_items_can_be_read_before_and_after_they_are_written(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        items = [put(queue, "a", b"one"), put(queue, "b", b"two")]
        assert await data_of(queue, *items) == [b"one", b"two"]
        await wait_all_tasks_blocked()
        assert [item.data for item in items] == [None, None]
        assert await data_of(queue, items[1], items[0]) == [b"two", b"one"]


# -- a full disk -------------------------------------------------------------------------------------------


async def test_on_a_full_disk_items_stay_readable_are_counted_once_and_written_later(
    tmp_path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_queue(tmp_path) as queue:
            disk.full = True
            items = [put(queue, key, key.encode()) for key in "abc"]
            await trio.sleep(10)
            assert queue.failures == {"write": 3, "full": 0, "damaged": 0}
            assert await data_of(queue, *items) == [b"a", b"b", b"c"]
            disk.full = False
            await trio.sleep(2)
            assert disk.batches == [(["a", "b", "c"], 0)]
    assert [line["event"] for line in logs] == ["durable queue fails", "durable queue works again"]
    async with open_queue(tmp_path) as second:
        assert keys(second) == ["a", "b", "c"]


async def test_on_a_full_disk_no_more_than_a_limit_waits_in_memory(
    tmp_path: Path, disk: Disk, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "MAX_UNWRITTEN_BYTES", 1000)
    disk.full = True
    async with open_queue(tmp_path) as queue:
        kept = [item for number in range(10) if (item := queue.put(TOPIC, str(number), b"x" * 200))]
        assert 0 < len(kept) < 5
        assert queue.failures["write"] == 10 - len(kept)
        queue.done(kept[0])
        assert queue.put(TOPIC, "again", b"x" * 200) is not None


async def test_left_overs_outlive_a_start_on_a_full_disk(
    tmp_path: Path, disk: Disk, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as first:
        for key in "abc":
            put(first, key)
    disk.full = True
    async with open_queue(tmp_path) as second:
        assert keys(second) == ["a", "b", "c"]
        second.done(second.waiting(TOPIC)[0])
    disk.full = False
    async with open_queue(tmp_path) as third:
        assert keys(third) == ["a", "b", "c"]


async def test_without_room_for_even_a_file_the_queue_opens_and_works_later(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> tuple[Store, int]:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(queue_module, "open_own", refuse)
        queue = await DurableQueue.open(str(tmp_path), in_thread=at_once)
        put(queue, "a")
        assert queue.failures["write"] == 1
        assert queue.size == 0
    await queue.close()
    async with open_queue(tmp_path) as second:
        assert keys(second) == ["a"]


async def test_any_other_trouble_with_the_folder_ends_the_opening(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(FileExistsError):
        await DurableQueue.open(str(tmp_path / "f"))


# -- how large it gets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_ITEMS"])
async def test_an_item_beyond_a_cap_is_not_kept_but_counted_until_there_is_room(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(queue_module, limit, 1000 if limit == "MAX_BYTES" else 5)
    async with open_queue(tmp_path) as queue:
        items = [item for number in range(6) if (item := queue.put(TOPIC, str(number), b"x" * 130))]
        assert len(items) == 5
        assert queue.failures == {"write": 0, "full": 1, "damaged": 0}
        queue.done(items[0])
        assert queue.put(TOPIC, "more", b"x" * 130) is not None


async def test_an_item_that_is_too_large_is_not_kept_but_counted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        assert queue.put(TOPIC, "a", b"x" * queue_module.MAX_ITEM_BYTES) is None
        assert queue.failures["full"] == 1


# -- damage ------------------------------------------------------------------------------------------------


async def test_an_item_that_was_destroyed_under_our_hands_is_counted_when_it_is_read(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_queue(tmp_path) as queue:
        lost, kept = put(queue, "a"), put(queue, "b", b"kept")
        await wait_all_tasks_blocked()
        assert queue._store is not None
        queue._store.apply([], [lost.number])
        assert await data_of(queue, lost, kept) == [None, b"kept"]
        assert queue.failures["damaged"] == 1


async def test_a_damaged_file_is_counted_and_does_not_keep_the_queue_from_working(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "queue.db").write_bytes(b"nonsense" * 1000)
    async with open_queue(tmp_path) as queue:
        assert queue.failures["damaged"] == 1
        put(queue, "a")
    async with open_queue(tmp_path) as second:
        assert keys(second) == ["a"]


# -- threads -----------------------------------------------------------------------------------------------


async def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_the_end_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(queue_module, "CLOSE_S", 0.1)
    queue = await DurableQueue.open(str(tmp_path))
    monkeypatch.setattr(Store, "apply", lambda *_args: released.wait(10))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run)
        put(queue, "a")
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            nursery.cancel_scope.cancel()
            await queue.close()
    released.set()
    assert queue._store is not None
    queue._store.close()
