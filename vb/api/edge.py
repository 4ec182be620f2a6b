"""What the HTTP edge needs to know of the engine, and how it runs commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx
import trio

from vb.commands import registry
from vb.config import Config
from vb.events.bus import EventBus
from vb.events.hooks import HookTable
from vb.metrics import Metrics
from vb.names import Resolve

if TYPE_CHECKING:
    from vb.engine import Engine


class EdgeEngine(Protocol):
    """The part of the engine that the edge looks at; everything else goes through commands."""

    @property
    def config(self) -> Config:
        """Return the settings."""
        ...

    @property
    def instance_id(self) -> str:
        """Return the name of this server."""
        ...

    @property
    def bus(self) -> EventBus:
        """Return where events are published."""
        ...

    @property
    def hooks(self) -> HookTable:
        """Return the webhooks in force."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Return the server's metrics."""
        ...

    @property
    def http(self) -> httpx.AsyncClient:
        """Return the client that all outgoing requests share."""
        ...

    @property
    def names(self) -> Resolve:
        """Return what looks up the hosts that requests and callers chose."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether no new call is taken."""
        ...

    @property
    def ready(self) -> bool:
        """Whether everything is up."""
        ...


class CommandRunner:
    """Runs commands to their end even when the client that asked goes away meanwhile.

    Attributes:
        settle: awaited before a reply: what it caused is safe then; None when nothing has to be.
    """

    def __init__(self, engine: EdgeEngine) -> None:
        self.settle: Callable[[], Awaitable[None]] | None = None
        self._engine = cast("Engine", engine)
        self._scopes: set[trio.CancelScope] = set()
        self._released = False

    async def run(self, name: str, values: Mapping[str, Any]) -> Any:
        """Run a command and return its result as plain JSON data.

        Cancellation: waits for the command, unless `release` was called.

        Raises:
            VbError: the command was refused or failed.
        """
        with trio.CancelScope(shield=not self._released) as scope:
            self._scopes.add(scope)
            try:
                result = registry.dump(await registry.call(self._engine, name, values))
                if self.settle is not None:
                    await self.settle()
                return result
            finally:
                self._scopes.discard(scope)

    def release(self) -> None:
        """Let running commands be cancelled, because the server ends."""
        self._released = True
        for scope in self._scopes:
            scope.shield = False
