"""Uploads of finished recordings: tasks of the server, which outlive the leg or room that was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
import trio

from vb.blocking import Blocking
from vb.storage.base import SLOWEST_BYTES_PER_S, Bucket, StorageError
from vb.storage.s3 import S3Target

log = structlog.get_logger(__name__)

UPLOADS_AT_ONCE: Final = 32
UPLOADS_AT_ONCE_PER_BUCKET: Final = 4
"""A bucket that hangs keeps only so many places from the others."""
WAITING_PER_BUCKET: Final = 500
WAITING: Final = 2000
BASE_TIME_S: Final = 120.0
_UNLINK_TIMEOUT_S: Final = 2.0
_CANCEL_TIME_S: Final = 2.0
"""What a bucket has to drop the parts of an upload that was cancelled."""
STORED: Final = "stored"
FAILED: Final = "failed"
REFUSED: Final = "refused"
CANCELLED: Final = "cancelled"
OUTCOMES: Final = (STORED, FAILED, REFUSED, CANCELLED)


class Upload:
    """One file on its way into a bucket.

    Args:
        bucket: where to.
        key: under which name.
        path: the local file; removed once the bucket has it.

    Attributes:
        outcome: one of OUTCOMES, "" while it is under way.
        error: why it was not stored.
        settled: nothing changes any more.
    """

    def __init__(self, bucket: Bucket, key: str, path: Path) -> None:
        self.bucket = bucket
        self.key = key
        self.path = path
        self.outcome = ""
        self.error: str | None = None
        self.settled = trio.Event()

    @property
    def url(self) -> str:
        """The object's address once it is stored."""
        return self.bucket.url(self.key)

    def report(self) -> tuple[str, str | None]:
        """Say where the recording is now, and what is to be known besides: a failure, or that it moves on."""
        if self.outcome == STORED:
            return self.url, None
        if self.outcome:
            return str(self.path), f"upload failed: {self.error}"
        return str(self.path), f"not uploaded yet: the upload goes on, and then moves the file to {self.url}"


class _Places:
    """The places of one bucket, while anybody needs them."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(UPLOADS_AT_ONCE_PER_BUCKET)
        self.users = 0


class Uploads:
    """All uploads of a server.

    Args:
        open_bucket: opens a target.
        blocking: runs the file operations.
        on_fault: told when a fault of ours ended an upload.

    Attributes:
        running: how many are under way.
        outcomes: how many ended how.
    """

    def __init__(
        self,
        open_bucket: Callable[[S3Target], Bucket],
        blocking: Blocking,
        *,
        on_fault: Callable[[], None] | None = None,
    ) -> None:
        self.running = 0
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.on_fault = on_fault or _ignore
        self._open_bucket = open_bucket
        self._blocking = blocking
        self._places: dict[tuple[str, str], _Places] = {}
        self._total = trio.CapacityLimiter(UPLOADS_AT_ONCE)
        self._known = 0
        self._nursery: trio.Nursery | None = None
        self._idle = trio.Event()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._known - self.running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the uploads.

        Cancellation: those under way are cancelled; their files stay.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def start(self, target: S3Target, paths: Sequence[str]) -> list[Upload]:
        """Upload finished files; what becomes of them is told by what is returned."""
        bucket = self._open_bucket(target)
        uploads = [Upload(bucket, target.key(Path(path).name), Path(path)) for path in paths]
        for upload in uploads:
            self._start(upload, target.place)
        return uploads

    def _start(self, upload: Upload, place: tuple[str, str]) -> None:
        places = self._places.get(place) or _Places()
        if self._nursery is None or self._nursery.cancel_scope.cancel_called:
            self._settle(upload, CANCELLED, StorageError("the server is stopping"))
        elif places.users >= WAITING_PER_BUCKET or self._known >= WAITING:
            self._settle(upload, REFUSED, StorageError("too many uploads are waiting"))
        else:
            self._places[place] = places
            places.users += 1
            self._known += 1
            self._nursery.start_soon(self._run, upload, place, name=f"upload of {upload.path.name}")

    async def _run(self, upload: Upload, place: tuple[str, str]) -> None:
        outcome, problem = CANCELLED, StorageError("the server is stopping")
        try:
            async with self._places[place].limiter, self._total, self._counted():
                try:
                    await self._put(upload)
                except StorageError as failure:
                    outcome, problem = FAILED, failure
                else:
                    outcome = STORED
        except Exception as fault:  # the upload boundary: a fault ends one upload
            self.on_fault()
            log.exception("upload failed", file=str(upload.path))
            outcome, problem = FAILED, StorageError("internal error", type(fault).__name__)
        finally:
            self._leave(place)
            self._settle(upload, outcome, problem)

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def _put(self, upload: Upload) -> None:
        """Store the file and remove it here.

        Raises:
            StorageError: it is not stored.
        """
        try:
            size = await self._blocking(lambda: upload.path.stat().st_size)
        except OSError as failure:
            raise StorageError("the file could not be read", str(failure)) from None
        with trio.move_on_after(BASE_TIME_S + size / SLOWEST_BYTES_PER_S) as scope:
            await upload.bucket.put(upload.key, upload.path)
        if scope.cancelled_caught:
            raise StorageError("the storage is too slow")
        with trio.move_on_after(_UNLINK_TIMEOUT_S, shield=True):
            try:
                await self._blocking(lambda: upload.path.unlink(missing_ok=True))
            except OSError as failure:
                log.warning("uploaded recording not removed", file=str(upload.path), problem=str(failure))

    def _leave(self, place: tuple[str, str]) -> None:
        places = self._places[place]
        places.users -= 1
        if not places.users:
            del self._places[place]
        self._known -= 1
        if not self._known:
            self._idle.set()
            self._idle = trio.Event()

    def _settle(self, upload: Upload, outcome: str, problem: StorageError) -> None:
        self.outcomes[outcome] += 1
        upload.outcome = outcome
        if outcome == STORED:
            log.info("recording uploaded", url=upload.url)
        else:
            upload.error = str(problem)
            log.error(
                "recording not uploaded", file=str(upload.path), problem=upload.error, detail=problem.detail
            )
        upload.settled.set()

    async def wait_idle(self) -> None:
        """Wait until no upload is under way or waits."""
        while self._known:
            await self._idle.wait()

    async def drain(self, deadline: float) -> None:
        """Wait until all uploads are through, then end; what is not through in time is cancelled.

        Args:
            deadline: when cancelled uploads have to be over, of Trio's clock.
        """
        with trio.move_on_at(deadline - _CANCEL_TIME_S):
            await self.wait_idle()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()


def _ignore() -> None:
    """Tell nobody."""
