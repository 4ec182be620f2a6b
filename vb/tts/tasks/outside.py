"""What codecs of providers need besides the text: the time, files, credentials, answers of other services."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from vb.blocking import Blocking
from vb.providers.failure import ProviderFailed
from vb.storage.base import StorageError
from vb.storage.sigv4 import Credentials
from vb.storage.tasks.credentials import MachineCredentials
from vb.tts.http import HttpAnswer, HttpRequest
from vb.web.errors import WebError
from vb.web.failures import provider_failure
from vb.web.tasks.client import WebClient

MAX_SHORT_BYTES: Final = 65_536
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""A list of voices is long."""
NO_REDIRECTS: Final[frozenset[int]] = frozenset()
"""Keys are not carried elsewhere."""
_WITHIN_S: Final = 10.0
_MAX_FILE_BYTES: Final = 65_536


class SystemOutside:
    """The real time, the real disk and the guarded way out.

    Args:
        provider: whose codec asks, for failures.
        web: the way out.
        disk: runs what blocks.
    """

    def __init__(self, provider: str, web: WebClient, disk: Blocking) -> None:
        self._provider = provider
        self._web = web
        self._disk = disk
        self._machine = MachineCredentials()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    async def ask(self, request: HttpRequest) -> HttpAnswer:
        """Send a request and return its answer.

        Raises:
            ProviderFailed: there is none.
        """
        with trio.move_on_after(_WITHIN_S):
            try:
                response = await self._web.open(
                    request.method,
                    request.url,
                    headers=request.headers,
                    content=request.content,
                    trusted=True,
                    redirects=NO_REDIRECTS,
                )
                try:
                    return HttpAnswer(response.status, {}, await response.read(MAX_ANSWER_BYTES))
                finally:
                    await response.aclose()
            except WebError as error:
                raise provider_failure(self._provider, error) from None
        raise ProviderFailed("retryable", f"{self._provider}: no answer within {_WITHIN_S:g} s")

    async def read_file(self, path: str) -> bytes:
        """Return what a file holds.

        Raises:
            ProviderFailed: it cannot be read.
        """

        def read() -> bytes:
            with Path(path).open("rb") as file:
                return file.read(_MAX_FILE_BYTES)

        try:
            return await self._disk(read)
        except OSError:
            raise ProviderFailed(
                "permanent_auth", f"{self._provider}: the file of credentials cannot be read"
            ) from None

    async def credentials(self) -> Credentials:
        """Return the machine's credentials for Amazon.

        Raises:
            ProviderFailed: there are none.
        """
        try:
            return await self._machine()
        except StorageError as error:
            raise ProviderFailed("permanent_auth", f"{self._provider}: {error}") from None
