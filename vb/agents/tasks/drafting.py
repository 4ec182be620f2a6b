"""An answer that is begun before it is certain that it is wanted: while the user may still go on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import trio

from vb.agents.runtime.brain import Answer, Brain, Finished, Line, Tool, Writing
from vb.providers.failure import ProviderFailed

MAX_PARTS: Final = 4096
"""A model that has given so much before anybody wanted it waits."""


class Draft:
    """What a model says to lines that may not be the last ones. Nothing is done of it, nor is it heard.

    Args:
        brain: what answers.
        lines: that it answers.
        tools: that it may call.

    Attributes:
        asked_at: when it was asked for.
        first_part_at: when something of it came.
    """

    def __init__(self, brain: Brain, lines: Sequence[Line], tools: Sequence[Tool]) -> None:
        self.asked_at = trio.current_time()
        self.first_part_at: float | None = None
        self._lines = list(lines)
        self._brain = brain
        self._tools = tools
        self._scope = trio.CancelScope()
        self._parts: list[Answer] = []
        self._failure: ProviderFailed | None = None
        self._over = False
        self._moved = trio.Event()

    def answers(self, lines: Sequence[Line]) -> bool:
        """Return whether it is an answer to just these lines."""
        return list(lines) == self._lines

    async def run(self) -> None:
        """Let the model talk, until it has finished or the draft is dropped."""
        try:
            with self._scope:
                async with aclosing(self._brain.answer(self._lines, self._tools)) as answers:
                    async for part in answers:
                        if isinstance(part, Writing) and part in self._parts[-1:]:
                            continue
                        if self.first_part_at is None and not isinstance(part, Writing | Finished):
                            self.first_part_at = trio.current_time()
                        self._parts.append(part)
                        self._tell()
                        while len(self._parts) >= MAX_PARTS:
                            await self._moved.wait()
        except ProviderFailed as failed:
            self._failure = failed
        finally:
            self._over = True
            self._tell()

    def drop(self) -> None:
        """Let the model be silent: the answer is not wanted, or has been taken."""
        self._scope.cancel()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def answer(self) -> AsyncGenerator[Answer, None]:
        """Return the answer, as it comes; leaving it drops the rest.

        Raises:
            ProviderFailed: the model has failed.
        """
        try:
            while True:
                while self._parts:
                    part = self._parts.pop(0)
                    self._tell()
                    yield part
                if self._over:
                    break
                await self._moved.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self.drop()
