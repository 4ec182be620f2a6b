"""A layer of the server: tasks that outlive everything further in, even when all of it is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio


class Layer:
    """Tasks that end only when the block of their layer is left.

    A cancellation from outside reaches the layers further in first; what they still have to say on their
    way out (a BYE, the end of a recording) finds this layer running.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: set[trio.CancelScope] = set()
        self._closed = False

    def start_soon(self, func: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Run a task in this layer."""
        self._nursery.start_soon(self._run, func, name=name)

    async def start(self, func: Callable[..., Awaitable[None]], *, name: str) -> Any:
        """Run a task in this layer and wait until it is ready; returns what it reports.

        Cancellation: waits until the task is ready or has failed, which must not take long: a shielded task
        whose start is given up would never be cancelled.
        """
        with trio.CancelScope(shield=True):
            return await self._nursery.start(self._run_started, func, name=name)

    async def _run(self, func: Callable[[], Awaitable[None]]) -> None:
        with self._scope():
            await func()

    async def _run_started(
        self, func: Callable[..., Awaitable[None]], *, task_status: trio.TaskStatus[Any]
    ) -> None:
        with self._scope():
            await func(task_status=task_status)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        with trio.CancelScope(shield=True) as scope:
            self._scopes.add(scope)
            if self._closed:
                scope.cancel()
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def close(self) -> None:
        """Cancel the layer's tasks."""
        self._closed = True
        for scope in tuple(self._scopes):
            scope.cancel()


@asynccontextmanager
async def open_layer() -> AsyncIterator[Layer]:
    """Open a layer; leaving the block cancels its tasks and waits for them."""
    async with trio.open_nursery() as nursery:
        layer = Layer(nursery)
        try:
            yield layer
        finally:
            layer.close()
