"""What answers for an agent: the contract of language models and of rules."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a conversation.

    Attributes:
        role: whose.
        text: what was said and heard.
        call_id: of the call of a tool whose result this is.
        calls: calls of tools that came with an answer.
    """

    role: Role
    text: str
    call_id: str = ""
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants something done.

    Attributes:
        id: each is carried out once; empty when the model gave none.
        name: of the tool.
        arguments: as the model gave them, which may be wrong.
        problem: why they cannot be read; empty when they can.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


Do: TypeAlias = Callable[[ToolCall], Awaitable[str]]
"""Carries out a tool and returns its result for the model; never raises."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that an agent can do.

    Attributes:
        name: letters, digits and underscores.
        description: for the model.
        parameters: JSON schema of its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True, slots=True)
class Words:
    """The next words of an answer.

    Attributes:
        text: they.
        uninterruptible: whether the answer is heard to its end from here on, whatever the user does.
    """

    text: str
    uninterruptible: bool = False


@dataclass(frozen=True, slots=True)
class Writing:
    """The model is at work: it is writing down a call of a tool, which counts when it is complete."""


@dataclass(frozen=True, slots=True)
class Finished:
    """No more words follow; what is left to do behind them need not be waited for."""


Answer: TypeAlias = Words | ToolCall | Writing | Finished


class Brain(Protocol):
    """Answers."""

    def answer(self, lines: Sequence[Line], tools: Sequence[Tool]) -> AsyncGenerator[Answer, None]:
        """Return the answer to the last line, as it comes.

        Cancellation: nothing goes on behind it.

        Raises:
            ProviderFailed: there is none.
        """
        ...
