"""Carries out what a model wants done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from vb.agents.runtime.arguments import problem_of
from vb.agents.runtime.brain import Do, Tool, ToolCall
from vb.agents.runtime.history import History
from vb.agents.runtime.reply import Reply
from vb.providers.failure import ProviderFailed

TOOL_S: Final = 15.0
"""How long a tool may take."""
MAX_SAME: Final = 5
"""So often one tool is carried out for one answer: a model that loops is broken off."""


class Doing:
    """Carries out the tools of one conversation: each call once, in order, with its result in the history.

    It goes on when the answer is interrupted that a call belongs to, and ends with the conversation: what has
    begun is not done again, and what has not begun is not done.

    Args:
        do: carries out one.
        tools: those that there are.
        history: gets the results.
        on_failure: told what failed.
        on_success: told what works, so that its next failure is told again.
    """

    def __init__(
        self,
        do: Do,
        tools: Sequence[Tool],
        history: History,
        on_failure: Callable[[str, ProviderFailed], None],
        on_success: Callable[[str], None],
    ) -> None:
        self._do = do
        self._tools = {tool.name: tool for tool in tools}
        self._history = history
        self._on_failure = on_failure
        self._on_success = on_success
        self._running: list[trio.Event] = []

    def start(self, nursery: trio.Nursery, reply: Reply, calls: Sequence[ToolCall]) -> trio.Event:
        """Begin to carry out calls of an answer; returns what tells of the end."""
        done = trio.Event()
        self._running.append(done)
        nursery.start_soon(self._carry_out, reply, calls, done)
        return done

    @property
    def busy(self) -> bool:
        """Return whether something is being done."""
        return bool(self._running)

    async def idle(self) -> None:
        """Wait until nothing is being done: a model is asked only when all results are there."""
        for done in tuple(self._running):
            await done.wait()

    async def _carry_out(self, reply: Reply, calls: Sequence[ToolCall], done: trio.Event) -> None:
        try:
            for call in calls:
                self._history.result(call, await self._result(reply, call))
        finally:
            self._running.remove(done)
            done.set()

    async def _result(self, reply: Reply, call: ToolCall) -> str:
        if reply.over:
            return "error: not done, the user has interrupted"
        known = self._history.known(call)
        if known is not None:
            return known
        reply.calls.append(call)
        tool = self._tools.get(call.name)
        if tool is None:
            return self._refuse(f"there is no tool {call.name}")
        problem = call.problem or problem_of(call.arguments, tool.parameters)
        if problem:
            return self._refuse(f"{call.name}: {problem}")
        if sum(each.name == call.name for each in reply.calls) > MAX_SAME:
            return self._refuse(f"{call.name} is called without end")
        with trio.move_on_after(TOOL_S):
            result = await self._do(call)
            self._on_success("tool")
            return result
        return self._refuse(f"{call.name} takes longer than {TOOL_S:g} s")

    def _refuse(self, why: str) -> str:
        self._on_failure("tool", ProviderFailed("permanent_input", why))
        return f"error: {why}"
