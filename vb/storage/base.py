"""What every object storage offers; all of it blocks, so it runs in worker threads."""

from pathlib import Path
from typing import Protocol


class StorageError(Exception):
    """A storage did not do what was asked; the text is fit for events and logs and holds no secret."""


class BucketAbsent(StorageError):
    """The storage answers, and says that there is no such bucket."""


class StorageMissing(StorageError):
    """The optional package for this kind of storage is not installed."""


class Bucket(Protocol):
    """A bucket of one request or of the server."""

    def url(self, key: str) -> str:
        """Return the address of an object."""
        ...

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key.

        Raises:
            StorageError: it was not stored.
        """
        ...

    def exists(self, key: str) -> bool:
        """Say whether an object has this key.

        Raises:
            StorageError: the storage does not tell.
        """
        ...

    def check(self) -> None:
        """Ask whether the bucket is there.

        Raises:
            BucketAbsent: it is not.
            StorageError: the storage does not tell.
        """
        ...
