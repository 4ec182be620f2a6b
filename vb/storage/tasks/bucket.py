"""A bucket in use: requests are signed, and repeated when they got lost; large files go in parts."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from vb.blocking import Blocking
from vb.storage import s3
from vb.storage.base import BucketAbsent, NotPermitted, StorageError, Unreachable
from vb.storage.s3 import Answer, Request, S3Target
from vb.storage.sigv4 import Credentials, sign
from vb.storage.tasks.connection import Body, HttpConnection, connect
from vb.web.tasks.client import WebClient

T = TypeVar("T")
ATTEMPTS: Final = 3
_PAUSE_S: Final = 1.0
_COMPLETE_PATIENCE_S: Final = 180.0
"""Making one object of its parts takes Amazon up to some minutes."""
_ABORT_TIMEOUT_S: Final = 2.0
_CLOSE_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Access:
    """What buckets share.

    Attributes:
        web: the way out, which judges where guarded targets lead.
        credentials: returns those of the machine.
        blocking: runs the file operations.
    """

    web: WebClient
    credentials: Callable[[], Awaitable[Credentials]]
    blocking: Blocking


class S3Bucket:
    """A target in use.

    Args:
        target: where it is.
        access: the way there.
    """

    def __init__(self, target: S3Target, access: Access) -> None:
        self.target = target
        self._access = access

    def url(self, key: str) -> str:
        """Return the address of an object."""
        return f"s3://{self.target.bucket}/{key}"

    async def check(self) -> None:
        """Ask whether the bucket is there.

        Raises:
            BucketAbsent: it is not.
            StorageError: the storage does not tell.
        """
        async with self._session() as session:
            await session.ask(s3.head_bucket(session.base), attempts=1)

    async def exists(self, key: str) -> bool:
        """Say whether an object has this key.

        Raises:
            StorageError: the storage does not tell.
        """
        async with self._session() as session:
            return await session.has(key)

    async def size(self, key: str) -> int:
        """Return how many bytes an object has.

        Raises:
            BucketAbsent: it is not there.
            StorageError: the storage does not tell.
        """
        async with self._session() as session:
            found = await session.ask(s3.head_object(session.base, key))
        length = found.headers.get("content-length", "")
        if not length.isdecimal():
            raise StorageError("the storage does not tell the size")
        return int(length)

    @asynccontextmanager
    async def read(self, key: str, begin: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give a part of an object inside the block, from one byte to before another.

        Raises:
            StorageError: it cannot be read, or not to its end; also while the part is walked.
        """
        async with self._session() as session:
            yield await session.read(s3.get_object(session.base, key, begin, end), end - begin)

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there counts as deleted.

        Raises:
            StorageError: it may still be there.
        """
        async with self._session() as session:
            await session.ask(s3.delete_object(session.base, key))

    async def put(self, key: str, path: Path) -> None:
        """Store a file under a key, in parts when it is large, and look whether the object has its size.

        Credentials that may write but not look are enough; then the answer alone has to do.

        Cancellation: the storage is left without the object, unless it has all of it and only an answer
        is missing. Parts are dropped, for which two seconds are taken.

        Raises:
            StorageError: it was not stored.
        """
        file = _File(path, self._access.blocking)
        async with self._session() as session:
            size = await file.size()
            if size <= s3.PART_BYTES:
                request = s3.put_object(session.base, key, size=size, sha256=await file.sha256(0, size))
                tag = s3.tag_of(await session.ask(request, file.part(0, size)))
                await self._look(session, key, size, tag)
            else:
                await self._put_parts(session, key, file, size)

    async def _put_parts(self, session: _Session, key: str, file: _File, size: int) -> None:
        upload_id = s3.upload_id_of(await session.ask(s3.begin_parts(session.base, key)))
        try:
            tags = []
            for number, start in enumerate(range(0, size, s3.PART_BYTES), 1):
                length = min(s3.PART_BYTES, size - start)
                sha256 = await file.sha256(start, length)
                request = s3.put_part(session.base, key, upload_id, number, size=length, sha256=sha256)
                tags.append(s3.tag_of(await session.ask(request, file.part(start, length))))
            answered = await self._complete(session, key, upload_id, tags)
            await self._look(session, key, size, s3.tag_of_parts(tags), answered=answered)
        except BaseException:
            with trio.move_on_after(_ABORT_TIMEOUT_S, shield=True):
                await self._abort(session, key, upload_id)
            raise

    async def _complete(self, session: _Session, key: str, upload_id: str, tags: list[str]) -> bool:
        """Return whether the storage said yes; if not, its answer got lost and the parts are gone."""
        request = s3.complete_parts(session.base, key, upload_id, tags)
        lost = session.lost_answers
        try:
            await session.ask(request, patience_s=_COMPLETE_PATIENCE_S)
        except BucketAbsent:
            if session.lost_answers == lost:
                raise StorageError("the storage did not take the file", "it lost the parts") from None
            return False  # after an answer that got lost there may be nothing to complete a second time
        return True

    async def _look(self, session: _Session, key: str, size: int, tag: str, *, answered: bool = True) -> None:
        """Look whether the storage has what was sent, because the only copy is removed after this."""
        try:
            found = await session.ask(s3.head_object(session.base, key))
        except BucketAbsent:
            raise StorageError("the storage did not take the file", "the object is not there") from None
        except NotPermitted:
            if not answered:
                raise
            return  # credentials that may only write; the ETag has to do
        if answered:
            s3.check_size(found, size, tag)
        else:
            s3.check_unanswered(found, size, tag)

    async def _abort(self, session: _Session, key: str, upload_id: str) -> None:
        try:
            await session.ask(s3.abort_parts(session.base, key, upload_id), attempts=1)
        except StorageError:
            pass  # the parts stay until the bucket's own rules remove them; the object does not exist

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        session = _Session(self.target, self._access)
        try:
            yield session
        finally:
            with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
                await session.drop_connection()


class _Session:
    """Requests one after the other, over one connection while it lasts.

    Attributes:
        lost_answers: how often a request may have been carried out although no answer to it came.
    """

    def __init__(self, target: S3Target, access: Access) -> None:
        self._target = target
        self._access = access
        self._server = target.server()
        self._connection: HttpConnection | None = None
        self.base = self._server.path
        self.lost_answers = 0

    async def drop_connection(self) -> None:
        """Close the connection if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    async def has(self, key: str) -> bool:
        """Say whether an object is there."""
        try:
            await self.ask(s3.head_object(self.base, key), attempts=1)
        except BucketAbsent:
            return False
        return True

    async def ask(
        self,
        request: Request,
        body: Body | None = None,
        *,
        attempts: int = ATTEMPTS,
        patience_s: float = 0.0,
    ) -> Answer:
        """Return the answer to a request, if it is a yes.

        Raises:
            BucketAbsent: the bucket, or whatever the request is about, is not there.
            StorageError: it failed.
        """
        for attempt in range(1, attempts + 1):
            try:
                answer = await self._ask_once(request, body or _in_memory(request.body), patience_s)
                if answer.status not in s3.RETRIED or attempt == attempts:
                    return s3.check_answer(answer, self._target.bucket)
                self.lost_answers += answer.status in s3.AMBIGUOUS
            except Unreachable:
                self.lost_answers += 1
                if attempt == attempts:
                    raise
            await trio.sleep(_PAUSE_S * attempt)
        raise AssertionError("there is at least one attempt")

    async def read(self, request: Request, size: int) -> AsyncIterator[bytes]:
        """Return the body of the answer to a request, so many bytes, as it comes.

        Raises:
            StorageError: the storage says no, or has another part.
        """
        target, headers = await self._prepare(request)
        assert self._connection is not None
        answer = await self._connection.begin(request.method, target, headers)
        length = answer.headers.get("content-length", str(size))
        if answer.status not in (200, 206):
            raise StorageError("the recording cannot be read", f"status {answer.status}")
        if length != str(size):
            raise StorageError("the recording cannot be read", f"{length} bytes instead of {size}")
        return self._connection.body(size)

    async def _ask_once(self, request: Request, body: Body, patience_s: float) -> Answer:
        target, headers = await self._prepare(request)
        assert self._connection is not None
        return await self._connection.ask(request.method, target, headers, body, patience_s=patience_s)

    async def _prepare(self, request: Request) -> tuple[str, dict[str, str]]:
        """Connect if needed; returns the target and the headers of a signed request."""
        credentials = self._target.credentials or await self._access.credentials()
        if self._connection is None or not self._connection.usable:
            await self.drop_connection()
            self._connection = await connect(self._server, self._access.web, trusted=not self._target.guarded)
        headers = sign(
            request.method,
            request.path,
            request.query,
            {**request.headers, "host": self._server.authority},
            sha256=request.sha256,
            credentials=credentials,
            region=self._target.region,
            now=datetime.now(UTC),
        )
        return f"{request.path}?{request.query}" if request.query else request.path, dict(headers)


class _File:
    """A finished file, read piece by piece."""

    def __init__(self, path: Path, blocking: Blocking) -> None:
        self._path = path
        self._blocking = blocking

    async def size(self) -> int:
        return await self._run(lambda: self._path.stat().st_size)

    async def sha256(self, start: int, size: int) -> str:
        return await self._run(partial(self._hash, start, size))

    def part(self, start: int, size: int) -> Body:
        async def read(offset: int, length: int) -> bytes:
            return await self._run(partial(self._read, start + offset, length))

        return Body(size, read)

    async def _run(self, function: Callable[[], T]) -> T:
        try:
            return await self._blocking(function)
        except OSError as failure:
            raise StorageError("the file could not be read", str(failure)) from None

    def _read(self, start: int, length: int) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(length)

    def _hash(self, start: int, size: int) -> str:
        digest = hashlib.sha256()
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            while size > 0 and (data := file.read(min(size, 1024 * 1024))):
                digest.update(data)
                size -= len(data)
        return digest.hexdigest()


def _in_memory(data: bytes) -> Body:
    async def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return Body(len(data), read)
