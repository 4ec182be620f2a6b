"""What the HTTP edge needs to know of the engine, and how it runs commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio
from pydantic import BaseModel

from vb.commands import registry
from vb.commands.registry import Command
from vb.config import Config
from vb.events.bus import EventBus
from vb.events.hooks import HookTable
from vb.history.tasks import History
from vb.metrics import Metrics
from vb.web.tasks.client import WebClient


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
    def web(self) -> WebClient:
        """Return the way out that all requests to other servers share."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether no new call is taken."""
        ...

    def stored(self) -> History:
        """Return the history of calls.

        Raises:
            NotAvailable: none is kept.
        """
        ...

    @property
    def problems(self) -> list[str]:
        """Return what does not work now, though calls are taken."""
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
        self._engine = engine
        self._scopes: set[trio.CancelScope] = set()
        self._released = False

    async def run(self, command: Command, params: BaseModel) -> Any:
        """Run a command and return its result as plain JSON data.

        Cancellation: waits for the command, unless `release` was called.

        Raises:
            VbError: the command was refused or failed.
        """
        if not command.waits and self.settle is None:
            return registry.dump(await registry.execute(self._engine, command, params))
        with trio.CancelScope(shield=not self._released) as scope:
            self._scopes.add(scope)
            try:
                result = registry.dump(await registry.execute(self._engine, command, params))
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
