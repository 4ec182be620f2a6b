"""An agent that follows rules: for a first try without any key, and for tests."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Final

from vb.agents.runtime.brain import Answer, Line, Tool, ToolCall, Words

_NUMBERS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS: Final = re.compile(r"[a-z']+|\d+")
_ADDRESS: Final = re.compile(r"sips?:[^\s,;]*[^\s,;.]")
_LONGEST_COUNT: Final = 20


class RuleBot:
    """Greets, repeats, tells the time, counts, transfers, hangs up.

    Args:
        now: the local time.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._calls = 0

    async def answer(self, lines: Sequence[Line], tools: Sequence[Tool]) -> AsyncGenerator[Answer, None]:
        """Return the answer to the last line."""
        last = lines[-1]
        if last.role == "tool":
            if last.text.startswith("error"):
                yield Words("Sorry, that did not work.")
            return
        names = {tool.name for tool in tools}
        told = " ".join(line.text for line in lines if line.role == "system")
        for part in self._answer(last.text, names, told):
            yield part

    def _answer(self, text: str, tools: set[str], told: str = "") -> list[Answer]:
        words = _WORDS.findall(text.lower())
        if any(word in words for word in ("goodbye", "bye", "hangup")) or "hang up" in text.lower():
            return [Words("Goodbye. Have a nice day.", uninterruptible=True), *self._call("hangup", tools)]
        if "transfer" in words:
            # Nobody says an address; the one that is said or written counts, else the one it was told of.
            to = _ADDRESS.search(text) or _ADDRESS.search(told)
            if to is None:
                return [Words("Tell me the address to transfer you to.")]
            return [
                Words("I am transferring you now.", uninterruptible=True),
                *self._call("transfer", tools, target=to[0]),
            ]
        if "time" in words:
            now = self._now()
            return [Words(f"It is {_hour(now)} {now:%M}.".replace(" 00.", " o'clock."))]
        if "count" in words:
            return [Words(_count(words))]
        if any(word in words for word in ("hello", "hi", "hey")):
            return [Words("Hello. I can repeat what you say, count, and tell you the time.")]
        return [Words(f"You said: {text.strip().rstrip('.')}.")]

    def _call(self, name: str, tools: set[str], **arguments: str) -> list[Answer]:
        if name not in tools:
            return []
        self._calls += 1
        return [ToolCall(f"rule-{self._calls}", name, arguments)]


def _hour(now: datetime) -> str:
    hour = now.hour % 12 or 12
    return str(hour)


def _count(words: Sequence[str]) -> str:
    """Count as far as was asked for, up to ten otherwise."""
    last = 10
    for word in words:
        if word.isdecimal():
            last = int(word[:4])
        elif word in _NUMBERS:
            last = _NUMBERS.index(word)
    last = max(1, min(last, _LONGEST_COUNT))
    return ", ".join(_NUMBERS[n] if n < len(_NUMBERS) else str(n) for n in range(1, last + 1)) + "."
