"""Which bucket a recording goes to, whether it is there, and the way into it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
import trio

from vb.blocking import ThreadRunner
from vb.config import S3Config
from vb.errors import BadRequest, ConfigError, Conflict, NotAvailable, NotFound, Unavailable
from vb.recording.uploads import Upload, Uploads
from vb.storage.address import OpenedBy, StoredObject, parse_object
from vb.storage.base import Bucket, BucketAbsent, HostRefused, StorageError, StorageMissing
from vb.storage.endpoint import check_endpoint
from vb.storage.s3 import S3Target
from vb.storage.tasks.bucket import Access, S3Bucket
from vb.storage.tasks.credentials import MachineCredentials, require_botocore
from vb.web.errors import UrlRefused
from vb.web.policy import FetchPolicy
from vb.web.tasks.client import WebClient

log = structlog.get_logger(__name__)

FILE_THREADS: Final = 4
DELETE_S: Final = 20.0
FIND_S: Final = 20.0
_SETTINGS_OF_FIELDS: Final = {
    "s3_bucket": "S3_BUCKET",
    "s3_region": "S3_REGION",
    "s3_endpoint": "S3_ENDPOINT",
    "s3_prefix": "S3_PREFIX",
    "s3_access_key": "AWS_ACCESS_KEY_ID",
    "s3_secret_key": "AWS_SECRET_ACCESS_KEY",
}


@dataclass(frozen=True, slots=True)
class S3Choice:
    """What a request says about S3; "" where it says nothing."""

    bucket: str = ""
    region: str = ""
    endpoint: str = ""
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A recording in a bucket that can be read.

    Attributes:
        size: bytes.
    """

    _bucket: Bucket
    _key: str
    size: int

    def part(self, begin: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give a part of it inside the block, from one byte to before another.

        Raises:
            StorageError: it cannot be read, or not to its end.
        """
        return self._bucket.read(self._key, begin, end)


class RecordingStorage:
    """The storages of a server.

    Args:
        settings: the server's own bucket, and what requests may ask for.
        web: the way out, which judges where requests may lead; None where no bucket is reached.
        make_bucket: opens a target; None for real ones.

    Attributes:
        uploads: those under way; `uploads.run` has to run before the first.
        on_upload: told of each file that is about to move, and where to.

    Raises:
        ConfigError: the settings cannot be used.
    """

    def __init__(
        self,
        settings: S3Config,
        web: WebClient | None = None,
        *,
        make_bucket: Callable[[S3Target], Bucket] | None = None,
        on_fault: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._web = web
        self._policy = web.policy if web is not None else FetchPolicy()
        self._make_bucket = make_bucket or self._open_bucket
        self._files = ThreadRunner(FILE_THREADS, abandon_on_cancel=True)
        self._credentials = MachineCredentials()
        self._server: S3Target | None = None
        self.on_upload: Callable[[str, StoredObject], None] | None = None
        self.uploads = Uploads(self._make_bucket, self._files, on_fault=on_fault)
        try:
            self._endpoint(settings.endpoint)
            if settings.bucket:
                self._server = self._target(S3Choice())
                _require_credentials(self._server)
        except ValueError as exc:
            raise ConfigError(_in_settings(str(exc))) from None
        except StorageMissing as exc:
            raise ConfigError(f"S3_BUCKET: {exc}") from None

    # -- where to ------------------------------------------------------------------------------------------

    def _endpoint(self, url: str) -> str:
        if not url:
            return ""
        try:
            return check_endpoint(url, allow_insecure=self._settings.allow_insecure_endpoint)
        except ValueError as exc:
            raise ValueError(f"s3_endpoint: {exc}") from None

    def s3_target(self, choice: S3Choice) -> S3Target:
        """Return where a request wants its recording to go.

        What it does not say is as the server is set. An endpoint of a request is judged as every other URL
        of a request is, and the server's own credentials are not lent to it.

        Raises:
            BadRequest: neither the request nor the server names a bucket, or a field cannot be used.
            NotAvailable: the package that finds the machine's credentials is not installed.
        """
        if not choice.bucket and self._server is None:
            raise BadRequest(
                "S3 storage not configured: set S3_BUCKET env var or provide s3_bucket in request"
            )
        try:
            target = self._target(choice)
            if target.guarded:
                self._policy.check(target.endpoint)
            _require_credentials(target)
            return target
        except UrlRefused as exc:
            raise BadRequest(f"s3_endpoint: {exc}") from None
        except ValueError as exc:
            raise BadRequest(str(exc)) from None
        except StorageMissing as exc:
            raise NotAvailable(f"not available: storage s3 ({exc})") from None

    def _target(self, choice: S3Choice) -> S3Target:
        """Put a target together: each field of the request takes the place of the server's.

        Raises:
            ValueError: a field cannot be used.
        """
        own = self._settings
        endpoint, ours = self._endpoint(choice.endpoint), self._endpoint(own.endpoint)
        foreign = bool(endpoint) and endpoint != ours
        if choice.access_key or choice.secret_key:
            access_key, secret_key, session_token = choice.access_key, choice.secret_key, ""
        elif foreign:
            raise ValueError("s3_endpoint needs s3_access_key and s3_secret_key")
        else:
            secrets = (own.access_key, own.secret_key, own.session_token)
            access_key, secret_key, session_token = (secret.get_secret_value() for secret in secrets)
        return S3Target(
            choice.bucket or own.bucket,
            region=choice.region or own.region,
            endpoint=endpoint or ours,
            guarded=foreign,
            prefix=choice.prefix or own.prefix,
            access_key=access_key,
            secret_key=secret_key,
            session_token=session_token,
        )

    def _open_bucket(self, target: S3Target) -> Bucket:
        assert self._web is not None, "only a server opens buckets"
        return S3Bucket(target, Access(self._web, self._credentials, self._files))

    # -- before --------------------------------------------------------------------------------------------

    async def check_server_bucket(self) -> None:
        """Check the server's own bucket, if it has one.

        Raises:
            ConfigError: the bucket does not exist. Every other doubt is only logged.
        """
        timeout_s = self._settings.preflight_timeout_s
        if self._server is None or timeout_s == 0:
            return
        try:
            await self._ask(self._server, None, timeout_s)
        except BucketAbsent as exc:
            raise ConfigError(f"S3_BUCKET: {exc}") from None

    async def check(self, target: S3Target, name: str | None) -> None:
        """Check the bucket of a request before its recording starts.

        Args:
            target: where it will go.
            name: the file's name when the client chose it.

        Raises:
            BadRequest: the bucket does not exist, or its server is where requests may not lead to. Every
                other doubt is only logged.
            Conflict: an object of that name exists.
        """
        timeout_s = self._settings.request_preflight_timeout_s
        if timeout_s == 0:
            return
        try:
            taken = await self._ask(target, name, timeout_s)
        except HostRefused as exc:
            raise BadRequest(str(exc)) from None
        except BucketAbsent as exc:
            raise BadRequest(f"S3 storage: {exc}") from None
        if taken:
            raise Conflict("a recording of that name exists")

    # -- after ---------------------------------------------------------------------------------------------

    def upload(self, target: S3Target, paths: Sequence[str]) -> list[Upload]:
        """Upload finished files; what becomes of them is told by what is returned."""
        if self.on_upload is not None:
            for path in paths:
                self.on_upload(path, self._kept(target, target.key(Path(path).name)))
        return self.uploads.start(target, paths)

    def _kept(self, target: S3Target, key: str) -> StoredObject:
        """Return what may be kept of where an object goes: not the credentials of a request."""
        own = self._settings
        lent = not target.guarded and (target.access_key, target.secret_key) == (
            own.access_key.get_secret_value(),
            own.secret_key.get_secret_value(),
        )
        ours = self._server is not None and target.place == self._server.place
        opened_by: OpenedBy = "server" if lent or ours else "request"
        return StoredObject(target.bucket, key, opened_by, target.region, target.endpoint)

    def _target_of(self, kept: StoredObject) -> S3Target | None:
        """Return the way to an object with the server's own credentials; None when these do not open it."""
        if kept.opened_by != "server":
            return None
        if not kept.region:  # a plain address: nothing else is known of it
            return self._server if self._server is not None and kept.bucket == self._server.bucket else None
        if kept.endpoint != self._endpoint(self._settings.endpoint):
            return None
        try:
            target = self._target(S3Choice(bucket=kept.bucket, region=kept.region))
            _require_credentials(target)
            return target
        except (ValueError, StorageMissing):
            return None

    async def delete(self, text: str) -> bool:
        """Delete a recording from a bucket that the server's own credentials open.

        Args:
            text: of its `StoredObject`, or a plain address.

        Returns:
            Whether it is gone. One that only the credentials of a request open is not touched.
        """
        kept = parse_object(text)
        target = self._target_of(kept) if kept is not None else None
        if kept is None or target is None:
            return False
        problem = StorageError("the storage does not answer", "not in time")
        with trio.move_on_after(DELETE_S):
            try:
                await self._make_bucket(target).delete(kept.key)
                return True
            except StorageError as exc:
                problem = exc
        log.warning("recording was not deleted", url=kept.url, problem=str(problem), detail=problem.detail)
        return False

    async def find(self, kept: StoredObject) -> StoredFile:
        """Find a recording in a bucket that the server's own credentials open.

        Raises:
            Conflict: they do not open it.
            NotFound: it is not there.
            Unavailable: the storage does not let us read it.
        """
        target = self._target_of(kept)
        if target is None:
            raise Conflict(
                "the recording lies in a bucket that only the credentials of its request open;"
                " these were not kept"
            )
        bucket = self._make_bucket(target)
        problem = StorageError("the storage does not answer", "not in time")
        with trio.move_on_after(FIND_S):
            try:
                return StoredFile(bucket, kept.key, await bucket.size(kept.key))
            except BucketAbsent:
                raise NotFound("the call has no recording") from None
            except StorageError as exc:
                problem = exc
        log.warning("recording cannot be read", url=kept.url, problem=str(problem), detail=problem.detail)
        raise Unavailable(f"the recording cannot be read from its bucket: {problem}")

    async def _ask(self, target: S3Target, name: str | None, timeout_s: float) -> bool:
        """Ask whether the bucket is there and, given a name, whether it is taken; no answer is a no.

        Raises:
            BucketAbsent: the bucket does not exist.
            HostRefused: its server may not be connected to.
        """
        problem = StorageError("the storage does not answer", "not in time")
        bucket = self._make_bucket(target)
        with trio.move_on_after(timeout_s):
            try:
                await bucket.check()
                return name is not None and await bucket.exists(target.key(name))
            except (BucketAbsent, HostRefused):
                raise
            except StorageError as exc:
                problem = exc
        log.warning(
            "storage could not be checked",
            bucket=target.bucket,
            problem=str(problem),
            detail=problem.detail,
        )
        return False


def _in_settings(problem: str) -> str:
    """Call the fields of a request by the names of the settings that stand for them."""
    for theirs, ours in _SETTINGS_OF_FIELDS.items():
        problem = problem.replace(theirs, ours)
    return problem


def _require_credentials(target: S3Target) -> None:
    if target.credentials is None:
        require_botocore()
