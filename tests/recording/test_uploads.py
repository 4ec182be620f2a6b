"""Uploads with a bucket in memory, on a clock that jumps."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.recording import uploads as module
from vb.recording.uploads import Upload, Uploads
from vb.storage.base import StorageError
from vb.storage.s3 import S3Target

T = TypeVar("T")
CALLS, OTHERS = S3Target("calls"), S3Target("others")


class Shelf:
    """A bucket in memory, whose puts take a while."""

    def __init__(self, *, takes_s: float = 0.0, failure: Exception | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.takes_s = takes_s
        self.failure = failure
        self.at_once = self.most_at_once = 0

    def url(self, key: str) -> str:
        return f"s3://shelf/{key}"

    async def put(self, key: str, path: Path) -> None:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.at_once -= 1
        if self.failure is not None:
            raise self.failure
        self._keep(key, path)

    def _keep(self, key: str, path: Path) -> None:
        self.objects[key] = path.read_bytes()

    async def delete(self, key: str) -> None:
        raise AssertionError("uploads delete nothing")

    async def exists(self, key: str) -> bool:
        return key in self.objects

    async def size(self, key: str) -> int:
        raise AssertionError("uploads read nothing")

    def read(self, key: str, begin: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise AssertionError("uploads read nothing")

    async def check(self) -> None:
        return


async def inline(function: Callable[[], T]) -> T:
    await trio.lowlevel.checkpoint()
    return function()


@asynccontextmanager
async def running(*shelves: Shelf, on_fault: Callable[[], None] | None = None) -> AsyncIterator[Uploads]:
    """Uploads to the buckets `calls` and `others`."""
    by_name = dict(zip(("calls", "others"), shelves, strict=False))
    uploads = Uploads(lambda target: by_name[target.bucket], inline, on_fault=on_fault)
    async with trio.open_nursery() as nursery:
        await nursery.start(uploads.run)
        yield uploads
        nursery.cancel_scope.cancel()


def files(directory: Path, count: int, prefix: str = "a") -> list[str]:
    paths = [directory / f"{prefix}{number}.wav" for number in range(count)]
    for path in paths:
        path.write_bytes(b"audio")
    return [str(path) for path in paths]


async def settled(uploads: list[Upload]) -> list[tuple[str, str | None]]:
    for upload in uploads:
        await upload.settled.wait()
    return [upload.report() for upload in uploads]


async def test_after_an_upload_the_file_is_there_and_no_longer_here(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with running(shelf := Shelf()) as uploads:
        begun = uploads.start(S3Target("calls", prefix="k/"), files(tmp_path, 1))
        assert await settled(begun) == [("s3://shelf/k/a0.wav", None)]
    assert shelf.objects == {"k/a0.wav": b"audio"}
    assert os.listdir(tmp_path) == []
    assert uploads.outcomes["stored"] == 1


async def test_a_failed_upload_keeps_the_file_and_says_why(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with running(Shelf(failure=StorageError("access denied", "status 403"))) as uploads:
        (path,) = files(tmp_path, 1)
        assert await settled(uploads.start(CALLS, [path])) == [(path, "upload failed: access denied")]
    assert os.listdir(tmp_path) == ["a0.wav"]
    assert uploads.outcomes["failed"] == 1


async def test_what_is_under_way_is_here_and_says_where_it_will_be(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with running(Shelf(takes_s=100)) as uploads:
        (path,) = files(tmp_path, 1)
        (upload,) = uploads.start(CALLS, [path])
        await trio.sleep(4)
        text = "not uploaded yet: the upload goes on, and then moves the file to s3://shelf/a0.wav"
        assert upload.report() == (path, text)
        assert await settled([upload]) == [("s3://shelf/a0.wav", None)]
    assert os.listdir(tmp_path) == []


async def test_a_fault_ends_one_upload_and_nothing_else(autojump_clock: MockClock, tmp_path: Path) -> None:
    faults: list[str] = []
    shelves = (Shelf(failure=ZeroDivisionError("oops")), Shelf())
    async with running(*shelves, on_fault=lambda: faults.append("upload")) as uploads:
        begun = [
            *uploads.start(CALLS, files(tmp_path, 1)),
            *uploads.start(OTHERS, files(tmp_path, 1, "b")),
        ]
        first, second = await settled(begun)
    assert faults == ["upload"]
    assert first[1] == "upload failed: internal error"
    assert second == ("s3://shelf/b0.wav", None)


async def test_a_file_that_is_gone_fails(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with running(Shelf()) as uploads:
        ((_, problem),) = await settled(uploads.start(CALLS, [str(tmp_path / "gone.wav")]))
    assert problem == "upload failed: the file could not be read"


async def test_a_bucket_that_hangs_leaves_places_to_the_others(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    stuck, healthy = Shelf(takes_s=math.inf), Shelf(takes_s=1)
    async with running(stuck, healthy) as uploads:
        uploads.start(CALLS, files(tmp_path, 100))
        await wait_all_tasks_blocked()
        assert (uploads.running, uploads.waiting) == (4, 96)
        began = trio.current_time()
        places = await settled(uploads.start(OTHERS, files(tmp_path, 8, "b")))
        assert trio.current_time() - began == 2
        assert [problem for _, problem in places] == [None] * 8
    assert (stuck.most_at_once, healthy.most_at_once) == (4, 4)


async def test_all_buckets_together_have_a_limit(autojump_clock: MockClock, tmp_path: Path) -> None:
    shelf = Shelf(takes_s=1)
    uploads = Uploads(lambda target: shelf, inline)
    async with trio.open_nursery() as nursery:
        await nursery.start(uploads.run)
        begun = []
        for number in range(12):
            begun += uploads.start(S3Target(f"bucket-{number}"), files(tmp_path, 4, f"{number}-"))
        assert all(problem is None for _, problem in await settled(begun))
        nursery.cancel_scope.cancel()
    assert shelf.most_at_once == 32


async def test_the_time_in_line_does_not_count(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BASE_TIME_S", 10.0)
    async with running(Shelf(takes_s=9)) as uploads:
        places = await settled(uploads.start(CALLS, files(tmp_path, 40)))
        assert [problem for _, problem in places] == [None] * 40
    assert trio.current_time() == 90


async def test_an_upload_may_take_longer_the_larger_it_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    small, large = tmp_path / "small.wav", tmp_path / "large.wav"
    small.write_bytes(b"")
    with large.open("wb") as file:
        file.truncate(64_000_000)  # a thousand seconds at the least rate
    async with running(Shelf(takes_s=1000)) as uploads:
        begun = uploads.start(CALLS, [str(small), str(large)])
        assert await settled(begun[:1]) == [(str(small), "upload failed: the storage is too slow")]
        assert trio.current_time() == 120
        assert await settled(begun[1:]) == [("s3://shelf/large.wav", None)]


async def test_too_many_uploads_to_one_bucket_are_refused_and_counted(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with running(Shelf(takes_s=math.inf), Shelf()) as uploads:
        begun = uploads.start(CALLS, files(tmp_path, 502))
        refused = [upload.report() for upload in begun if upload.outcome]
        assert refused == [
            (str(tmp_path / f"a{number}.wav"), "upload failed: too many uploads are waiting")
            for number in (500, 501)
        ]
        assert uploads.outcomes["refused"] == 2
        assert await settled(uploads.start(OTHERS, files(tmp_path, 1, "b"))) == [("s3://shelf/b0.wav", None)]


async def test_a_drain_waits_for_what_gets_through(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with running(Shelf(takes_s=3)) as uploads:
        begun = uploads.start(CALLS, files(tmp_path, 5))
        await uploads.drain(trio.current_time() + 10)
        assert [upload.report()[1] for upload in begun] == [None] * 5
        assert trio.current_time() == 6


async def test_a_drain_cancels_what_does_not_and_keeps_the_files(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    shelf = Shelf(takes_s=60)
    async with running(shelf) as uploads:
        paths = files(tmp_path, 5)
        begun = uploads.start(CALLS, paths)
        await uploads.drain(trio.current_time() + 10)
        places = await settled(begun)
        assert trio.current_time() == 8
        await trio.sleep(100)
    assert places == [(path, "upload failed: the server is stopping") for path in paths]
    assert shelf.objects == {}
    assert len(os.listdir(tmp_path)) == 5
    assert (uploads.outcomes["cancelled"], uploads.running, uploads.waiting) == (5, 0, 0)


async def test_nothing_begins_after_the_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with running(Shelf()) as uploads:
        await uploads.drain(trio.current_time())
        (path,) = files(tmp_path, 1)
        assert await settled(uploads.start(CALLS, [path])) == [
            (path, "upload failed: the server is stopping")
        ]
    (upload,) = uploads.start(CALLS, [path])
    assert upload.outcome == "cancelled"
