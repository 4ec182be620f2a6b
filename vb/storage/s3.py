"""S3 and what speaks its protocol, through the optional package obstore."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from vb.storage.base import BucketAbsent, StorageError, StorageMissing

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential, S3Store

T = TypeVar("T")
CONTENT_TYPE: Final = "audio/wav"
_PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_ONCE: Final = 4
_CONNECT_TIMEOUT_S: Final = 5.0
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_STATUS = re.compile(r"status code: (\d{3})[^:\n]*")


@dataclass(frozen=True, slots=True)
class S3Target:
    """A place for recordings.

    Attributes:
        bucket: its name.
        region: region that requests are signed for.
        endpoint: URL of the server, "" for Amazon's.
        prefix: what every key begins with; no slash is added.
        access_key: "" looks for credentials where Amazon's own tools do.
        secret_key: belongs to it.
        session_token: of temporary credentials.

    Raises:
        ValueError: the bucket, region or prefix cannot be one; the text names it.
    """

    bucket: str
    region: str = "us-east-1"
    endpoint: str = ""
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError("s3_bucket: not a bucket name")
        if not _REGION.fullmatch(self.region):
            raise ValueError("s3_region: not a region")
        segments = self.key("x").split("/")
        if not self.prefix.isprintable() or any(part in ("", ".", "..") for part in segments):
            raise ValueError("s3_prefix: not the beginning of a key")
        if len(self.prefix.encode()) > 512:
            raise ValueError("s3_prefix: longer than 512 bytes")
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("s3_access_key and s3_secret_key belong together")

    def key(self, name: str) -> str:
        """Return the key of a file."""
        return (self.prefix + name).removeprefix("/")


class S3Bucket:
    """A target in use.

    Args:
        target: where it is.
        timeout_s: how long one request may take.
        retries: how often a request that failed on the way is repeated.

    Raises:
        StorageMissing: obstore is not installed.
    """

    def __init__(self, target: S3Target, *, timeout_s: float, retries: int = 0) -> None:
        self.target = target
        self._timeout = timedelta(seconds=timeout_s)
        self._retries = retries
        require_obstore()

    @cached_property
    def _store(self) -> S3Store:
        from obstore.store import S3Store  # loaded by the first request that needs it

        target = self.target
        virtual = not target.endpoint
        config: S3Config = {
            "region": target.region,
            "endpoint": target.endpoint or _amazon(target),
            "virtual_hosted_style_request": virtual,
        }
        return S3Store(
            target.bucket,
            config=config,
            client_options={
                "allow_http": target.endpoint.startswith("http:"),
                "timeout": self._timeout,
                "connect_timeout": min(self._timeout, timedelta(seconds=_CONNECT_TIMEOUT_S)),
            },
            retry_config={"max_retries": self._retries, "retry_timeout": self._timeout},
            credential_provider=self._credentials if target.access_key else None,
        )

    def _credentials(self) -> S3Credential:
        """Hand out exactly the given credentials, whatever else the machine knows."""
        target = self.target
        return {
            "access_key_id": target.access_key,
            "secret_access_key": target.secret_key,
            "token": target.session_token or None,
            "expires_at": None,
        }

    def url(self, key: str) -> str:
        """Return the address of an object."""
        return f"s3://{self.target.bucket}/{key}"

    def put(self, key: str, path: Path) -> None:
        """Store a file under a key, in parts when it is large.

        Raises:
            StorageError: it was not stored.
        """
        self._ask(lambda: self._put(key, path))

    def _put(self, key: str, path: Path) -> None:
        self._store.put(
            key,
            path,
            attributes={"Content-Type": CONTENT_TYPE},
            chunk_size=_PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
        )

    def exists(self, key: str) -> bool:
        """Say whether an object has this key.

        Raises:
            StorageError: the storage does not tell.
        """
        try:
            self._ask(lambda: self._store.head(key))
        except _NotFound:
            return False
        return True

    def check(self) -> None:
        """Ask whether the bucket is there, by listing what cannot be in it.

        Raises:
            BucketAbsent: it is not.
            StorageError: the storage does not tell.
        """
        try:
            self._ask(lambda: next(iter(self._store.list(prefix=".vb-preflight")), None))
        except _NotFound:
            raise BucketAbsent(f"bucket {self.target.bucket} does not exist") from None

    def _ask(self, request: Callable[[], T]) -> T:
        from obstore.exceptions import BaseError

        try:
            return request()
        except (BaseError, OSError, ValueError) as failure:
            raise _explain(failure) from None


class _NotFound(StorageError):
    """The answer was 404."""


def require_obstore() -> None:
    """Check that S3 can be used at all.

    Raises:
        StorageMissing: obstore is not installed.
    """
    try:
        import obstore.store  # noqa: F401 -- only whether it is there
    except ImportError:
        raise StorageMissing("S3 storage needs the extra vb[storage]") from None


def _amazon(target: S3Target) -> str:
    """Return Amazon's address of a bucket; said outright, so that no other variable redirects it."""
    suffix = "amazonaws.com.cn" if target.region.startswith("cn-") else "amazonaws.com"
    return f"https://{target.bucket}.s3.{target.region}.{suffix}"


def _explain(failure: Exception) -> StorageError:
    """Put a failure in a few words; the library's own text quotes requests and answers at length."""
    text = str(failure)
    status = _STATUS.search(text)
    if isinstance(failure, FileNotFoundError) or (status and status[1] == "404"):
        return _NotFound("the bucket does not exist")
    if status and status[1] in ("401", "403"):
        return StorageError("access denied")
    if status:
        return StorageError(f"the storage answered {status[1]}")
    if "error sending request" in text or "timed out" in text or "timeout" in text:
        return StorageError("the storage does not answer")
    return StorageError(text.splitlines()[0][:200] if text else type(failure).__name__)
