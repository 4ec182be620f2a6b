"""What every object storage offers, and how it fails."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Protocol

SLOWEST_BYTES_PER_S: Final = 64_000
"""A transfer that is slower in all is given up, however steadily it goes on."""


class StorageError(Exception):
    """A storage did not do what was asked.

    The text is fit for clients: it holds no secret, and no more about a network than they need.

    Attributes:
        detail: what an operator wants to know besides, for the log.
    """

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


class BucketAbsent(StorageError):
    """The storage answers, and says that there is no such bucket."""


class NotPermitted(StorageError):
    """The storage answers, and does not let these credentials ask that."""


class HostRefused(StorageError):
    """The storage is at a place that this request may not lead to."""


class Unreachable(StorageError):
    """No usable answer: one text for a closed port, silence, a broken connection and gibberish."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("the storage does not answer", detail)


class StorageMissing(StorageError):
    """An optional package is needed and not installed."""


class Bucket(Protocol):
    """A bucket of one request or of the server."""

    def url(self, key: str) -> str:
        """Return the address of an object."""
        ...

    async def put(self, key: str, path: Path) -> None:
        """Store a file under a key.

        Cancellation: the storage is left without the object, unless it has all of it and only its answer
        is missing.

        Raises:
            StorageError: it was not stored.
        """
        ...

    async def exists(self, key: str) -> bool:
        """Say whether an object has this key.

        Raises:
            StorageError: the storage does not tell.
        """
        ...

    async def size(self, key: str) -> int:
        """Return how many bytes an object has.

        Raises:
            BucketAbsent: it is not there.
            StorageError: the storage does not tell.
        """
        ...

    def read(self, key: str, begin: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give a part of an object inside the block, from one byte to before another.

        Raises:
            StorageError: it cannot be read, or not to its end; also while the part is walked.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; one that is not there counts as deleted.

        Raises:
            StorageError: it may still be there.
        """
        ...

    async def check(self) -> None:
        """Ask whether the bucket is there.

        Raises:
            BucketAbsent: it is not.
            StorageError: the storage does not tell.
        """
        ...
