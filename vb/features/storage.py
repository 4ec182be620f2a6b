"""Which bucket a recording goes to, whether it is there, and the way into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
import trio

from vb.config import S3Config
from vb.errors import BadRequest, ConfigError, Conflict, NotAvailable
from vb.media.tasks.blocking import ThreadRunner
from vb.storage.base import Bucket, BucketAbsent, StorageError, StorageMissing
from vb.storage.endpoint import check_endpoint
from vb.storage.s3 import S3Bucket, S3Target, require_obstore
from vb.storage.upload import Upload

log = structlog.get_logger(__name__)

UPLOAD_THREADS: Final = 4
CHECK_THREADS: Final = 4
PART_TIMEOUT_S: Final = 20.0
UPLOAD_RETRIES: Final = 2


@dataclass(frozen=True, slots=True)
class S3Choice:
    """What a request says about S3; "" where it says nothing."""

    bucket: str = ""
    region: str = ""
    endpoint: str = ""
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)


class RecordingStorage:
    """The storages of a server.

    Args:
        settings: the server's own bucket, and what requests may ask for.
        make_bucket: opens a target.

    Raises:
        ConfigError: the settings cannot be used.
    """

    def __init__(self, settings: S3Config, make_bucket: Callable[..., Bucket] = S3Bucket) -> None:
        self._settings = settings
        self._make_bucket = make_bucket
        self._uploads = ThreadRunner(UPLOAD_THREADS, abandon_on_cancel=True)
        self._checks = ThreadRunner(CHECK_THREADS, abandon_on_cancel=True)
        self._server: S3Target | None = None
        if settings.bucket:
            try:
                require_obstore()
                self._server = self._server_target()
            except (ValueError, StorageMissing) as exc:
                raise ConfigError(f"S3_BUCKET: {exc}") from None

    def _server_target(self) -> S3Target:
        settings = self._settings
        return S3Target(
            settings.bucket,
            region=settings.region,
            endpoint=self._endpoint(settings.endpoint),
            prefix=settings.prefix,
            access_key=settings.access_key.get_secret_value(),
            secret_key=settings.secret_key.get_secret_value(),
            session_token=settings.session_token.get_secret_value(),
        )

    def _endpoint(self, url: str) -> str:
        if not url:
            return ""
        try:
            return check_endpoint(url, allow_insecure=self._settings.allow_insecure_endpoint)
        except ValueError as exc:
            raise ValueError(f"s3_endpoint: {exc}") from None

    def s3_target(self, choice: S3Choice) -> S3Target:
        """Return where a request wants its recording to go.

        A request that names a bucket describes it fully; one that does not may only vary the server's.

        Raises:
            BadRequest: neither the request nor the server names a bucket, or a field cannot be used.
            NotAvailable: the package for S3 is not installed.
        """
        if not choice.bucket and self._server is None:
            raise BadRequest(
                "S3 storage not configured: set S3_BUCKET env var or provide s3_bucket in request"
            )
        try:
            require_obstore()
            return self._chosen(choice)
        except ValueError as exc:
            raise BadRequest(str(exc)) from None
        except StorageMissing as exc:
            raise NotAvailable(f"not available: storage s3 ({exc})") from None

    def _chosen(self, choice: S3Choice) -> S3Target:
        settings = self._settings
        base = self._server
        if choice.bucket or base is None:
            base = S3Target(
                choice.bucket,
                access_key=settings.access_key.get_secret_value(),
                secret_key=settings.secret_key.get_secret_value(),
                session_token=settings.session_token.get_secret_value(),
            )
        given = {
            "region": choice.region,
            "endpoint": self._endpoint(choice.endpoint),
            "prefix": choice.prefix,
        }
        target = dataclasses.replace(base, **{name: value for name, value in given.items() if value})
        if choice.access_key or choice.secret_key:
            target = dataclasses.replace(
                target, access_key=choice.access_key, secret_key=choice.secret_key, session_token=""
            )
        return target

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
            await self._ask(self._server, lambda bucket: bucket.check(), timeout_s)
        except BucketAbsent as exc:
            raise ConfigError(f"S3_BUCKET: {exc}") from None

    async def check(self, target: S3Target, name: str | None) -> None:
        """Check the bucket of a request before its recording starts.

        Args:
            target: where it will go.
            name: the file's name when the client chose it.

        Raises:
            BadRequest: the bucket does not exist. Every other doubt is only logged.
            Conflict: an object of that name exists.
        """
        timeout_s = self._settings.request_preflight_timeout_s
        if timeout_s == 0:
            return

        def look(bucket: Bucket) -> bool:
            bucket.check()
            return name is not None and bucket.exists(target.key(name))

        try:
            taken = await self._ask(target, look, timeout_s)
        except BucketAbsent as exc:
            raise BadRequest(f"S3 storage: {exc}") from None
        if taken:
            raise Conflict("a recording of that name exists")

    async def _ask(
        self, target: S3Target, question: Callable[[Bucket], bool | None], timeout_s: float
    ) -> bool:
        """Put a question to a bucket; no answer is a no.

        Raises:
            BucketAbsent: the bucket does not exist.
        """
        problem = "the storage does not answer"
        bucket = self._make_bucket(target, timeout_s=timeout_s)
        with trio.move_on_after(timeout_s):
            try:
                return bool(await self._checks(lambda: question(bucket)))
            except BucketAbsent:
                raise
            except StorageError as exc:
                problem = str(exc)
        log.warning("storage could not be checked", bucket=target.bucket, problem=problem)
        return False

    # -- after ---------------------------------------------------------------------------------------------

    def uploads(self, target: S3Target, paths: Sequence[str]) -> list[Upload]:
        """Prepare the uploads of finished files."""
        bucket = self._make_bucket(target, timeout_s=PART_TIMEOUT_S, retries=UPLOAD_RETRIES)
        return [Upload(bucket, target.key(Path(path).name), Path(path)) for path in paths]

    async def run(self, uploads: Sequence[Upload]) -> None:
        """Upload files side by side; each settles for the local file when it fails or this is cancelled."""
        async with trio.open_nursery() as nursery:
            for upload in uploads:
                nursery.start_soon(self._run_one, upload)

    async def _run_one(self, upload: Upload) -> None:
        try:
            await self._uploads(upload.run)
        finally:
            upload.give_up()
            if upload.error is not None:
                log.error("recording not uploaded", file=str(upload.path), problem=upload.error)
