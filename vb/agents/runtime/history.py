"""A conversation as its model is told it: only what was heard, each call of a tool followed by its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vb.agents.runtime.brain import Line, ToolCall

MAX_LINES: Final = 200
"""What the model is told of a conversation: the instructions and the newest lines."""


class History:
    """The lines of a conversation.

    Args:
        instructions: what the model is told to be.

    Attributes:
        lines: oldest first.
    """

    def __init__(self, instructions: str = "") -> None:
        self.lines: list[Line] = []
        self._fixed = 1 if instructions else 0
        if instructions:
            self.lines.append(Line("system", instructions))

    @property
    def unanswered(self) -> bool:
        """Whether the agent has said nothing since the user or a tool has."""
        last = self.lines[-1] if self.lines else Line("assistant", "")
        return last.role in ("user", "tool") or bool(last.calls)

    def add(self, line: Line) -> None:
        """Add a line; the oldest ones go when there are too many."""
        self.lines[:] = self.followed_by(line)

    def followed_by(self, line: Line) -> list[Line]:
        """Return what the lines would be with one more."""
        lines, first = [*self.lines, line], self._fixed
        if len(lines) > MAX_LINES:
            del lines[first : first + len(lines) - MAX_LINES]
            while len(lines) > first and lines[first].role == "tool":
                del lines[first]  # chat APIs refuse a result whose call they do not see
        return lines

    def called(self, text: str, calls: Sequence[ToolCall]) -> None:
        """Add the calls of tools that came with some words."""
        self.add(Line("assistant", text, calls=tuple(calls)))

    def result(self, call: ToolCall, text: str) -> None:
        """Put the result of a call behind it, whatever was said meanwhile."""
        for index in reversed(range(len(self.lines))):
            if any(call is known for known in self.lines[index].calls):
                index += 1
                while index < len(self.lines) and self.lines[index].role == "tool":
                    index += 1
                self.lines.insert(index, Line("tool", text, call_id=call.id))
                return

    def known(self, call: ToolCall) -> str | None:
        """Return the result of the same call, if it was carried out before."""
        same = any(
            (known.id, known.name, known.arguments) == (call.id, call.name, call.arguments)
            for line in self.lines
            for known in line.calls
            if known is not call
        )
        results = [line.text for line in self.lines if line.role == "tool" and line.call_id == call.id]
        return results[-1] if same and results else None
