"""One body on its way from a server into a spool, within limits, while it is played already."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import trio

from vb.blocking import Blocking
from vb.media.errors import FetchError, FetchLimit
from vb.playback.spool import Spool
from vb.web.errors import WebError
from vb.web.tasks.client import WebResponse

_WRITE_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one download may cost.

    ``stall_bytes`` must arrive in every ``stall_timeout_s``, or the server is too slow. The whole may take
    ``total_timeout_s`` longer than the audio that was got out of it lasts.
    """

    max_bytes: int = 100_000_000
    headers_timeout_s: float = 30.0
    total_timeout_s: float = 600.0
    stall_bytes: int = 8_192
    stall_timeout_s: float = 15.0
    memory_bytes: int = 1_048_576


def _do_nothing() -> None:
    """Stand in for a callback nobody has set."""


class Download:
    """The body of a response: one task receives it, another reads what is there.

    Args:
        response: its body was not touched.
        limits: caps of the download.
        deadline: clock time by which it must be complete, unless `allow` moves it.
        blocking: runs writes to the temporary file once the body no longer fits in memory.
    """

    def __init__(
        self,
        response: WebResponse,
        limits: FetchLimits,
        *,
        deadline: float,
        blocking: Blocking,
    ) -> None:
        self.target = response.target
        self.failure: FetchError | None = None
        self.over = False
        self.on_arrival: Callable[[], None] = _do_nothing
        self._response = response
        self._limits = limits
        self._blocking = blocking
        self._spool = Spool(limits.memory_bytes)
        self._awaited_bytes = 0
        self._unwanted = False
        self._begun = deadline - limits.total_timeout_s
        self._scope = trio.CancelScope(deadline=deadline)

    async def __aenter__(self) -> "Download":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection and the temporary file; nobody may receive or read any more."""
        self._spool.close()
        await self._response.aclose()

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self._spool.size

    def has(self, size: int) -> bool:
        """Say whether ``size`` bytes are there or never will be; if not, `on_arrival` is called then."""
        self._awaited_bytes = size
        return self.over or self.size >= size

    def read(self, position: int, size: int) -> bytes:
        """Return what is there of ``size`` bytes from ``position`` on; blocks.

        Raises:
            FetchError: the temporary file cannot be read.
        """
        try:
            return self._spool.read(position, size)
        except OSError as error:
            raise FetchError(f"fetch failed: temporary file: {error.strerror}") from None

    def allow(self, duration_s: float) -> None:
        """Give it more time, because audio of that length was got out of it."""
        self._scope.deadline += duration_s

    def leave(self) -> None:
        """Say that nothing of the rest is wanted; it is over then, and no failure."""
        self._unwanted = True
        self._scope.cancel()

    async def receive(self) -> None:
        """Take the body to its end; a failure is kept in ``failure``, not raised.

        Cancellation: what has arrived can be read.
        """
        failure: FetchError | None = None
        try:
            with self._scope:
                failure = await self._copy()
        except WebError as error:
            failure = FetchError(f"fetch failed: {error}")
        if self._scope.cancelled_caught and not self._unwanted:
            elapsed_s = self._scope.deadline - self._begun
            failure = FetchLimit(f"fetch failed: not complete after {elapsed_s:.0f} s")
        self.failure = failure
        self.over = True
        self.on_arrival()

    async def _copy(self) -> FetchError | None:
        """Copy the body within the caps on size and slowness; returns what went wrong."""
        limits = self._limits
        progress = 0
        failure: FetchError | None = None
        with trio.move_on_after(limits.stall_timeout_s) as scope:
            async for chunk in self._response.chunks():
                progress += len(chunk)
                if progress >= limits.stall_bytes:
                    progress = 0
                    scope.deadline = trio.current_time() + limits.stall_timeout_s
                if self.size + len(chunk) > limits.max_bytes:
                    failure = too_large(limits)
                else:
                    self._append(chunk)
                    failure = await self._flush() if self._spool.flush_due else None
                if failure is not None:
                    # Leaving the loop would leave the generators below it suspended; this unwinds them.
                    scope.cancel()
        if failure is None and scope.cancelled_caught:
            return FetchError("fetch failed: the server sends too slowly")
        return failure

    def _append(self, chunk: bytes) -> None:
        missing = self.size < self._awaited_bytes
        self._spool.append(chunk)
        if missing and self.size >= self._awaited_bytes:
            self.on_arrival()

    async def _flush(self) -> FetchError | None:
        """Write to a file on disk; returns what went wrong."""
        with trio.move_on_after(_WRITE_TIMEOUT_S, shield=True):
            try:
                await self._blocking(self._spool.flush)
            except OSError as error:
                return FetchError(f"fetch failed: temporary file: {error.strerror}")
            return None
        return FetchError("fetch failed: temporary file: the disk is too slow")


def too_large(limits: FetchLimits) -> FetchLimit:
    """Return the failure of a body beyond the cap."""
    return FetchLimit(f"fetch failed: larger than {limits.max_bytes} bytes")
