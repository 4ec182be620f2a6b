"""Regular expressions from clients, in time linear in the text: the syntax of RE2, searched unanchored.

Python's own engine backtracks, so one hostile expression could hold up every call. Here an expression
becomes a set of states that move through the text together (Thompson's construction). What that cannot do,
look-around and back-references, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from vb.api.pattern_syntax import (
    Alternatives,
    Assertion,
    CharSet,
    Node,
    PatternError,
    Repeat,
    Sequence,
    parse,
)

MAX_STATES: Final = 500
MAX_TEXT_CHARS: Final = 256
MAX_VISITS: Final = 10_000
"""Most states that one text may lead through, some 2 ms: texts come from callers, and others wait."""
_MAX_MEMORY: Final = 4096
_ASCII: Final = [chr(code) for code in range(128)]
_MATCH: Final = 0

__all__ = ["MAX_TEXT_CHARS", "MAX_VISITS", "Pattern", "PatternError"]


@dataclass(frozen=True, slots=True)
class _Fork:
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """A state that waits for a character or for a condition, and then goes on at `target`."""

    needs: CharSet | Assertion
    target: int


_State = _Fork | _Step


class _Leaf(NamedTuple):
    """A step as it is walked: `chars` are the ASCII characters that it takes, `then` the leaves behind it."""

    needs: CharSet | Assertion
    chars: frozenset[str]
    then: frozenset[int]


class Pattern:
    """A compiled expression.

    Args:
        expression: in the syntax of RE2.

    Raises:
        PatternError: the expression is malformed, too large or beyond RE2.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._states: list[_State] = [_Fork(())]  # _MATCH
        start = self._compile(parse(expression), _MATCH)
        ascii_of: dict[CharSet, frozenset[str]] = {}
        self._leaves = {
            index: _Leaf(state.needs, _ascii_chars(state.needs, ascii_of), self._closure(state.target))
            for index, state in enumerate(self._states)
            if isinstance(state, _Step)
        }
        self._start = self._closure(start)
        self._moves: dict[tuple[frozenset[int], str, str], tuple[bool, frozenset[int]]] = {}
        self._verdicts: dict[str, bool] = {}

    def search(self, text: str) -> bool:
        """Say whether the expression matches anywhere in the first MAX_TEXT_CHARS characters.

        A text that leads through more than MAX_VISITS states does not match.
        """
        verdict = self._verdicts.get(text)
        if verdict is None:
            verdict = self._search(text[:MAX_TEXT_CHARS])
            if len(self._verdicts) >= _MAX_MEMORY:
                self._verdicts.clear()
            self._verdicts[text] = verdict
        return verdict

    def _search(self, text: str) -> bool:
        states: frozenset[int] = frozenset()
        before, visits = "", 0
        for char in (*text, ""):  # the empty text stands for an end of the text
            visits += len(states) + len(self._start)
            if visits > MAX_VISITS:
                return False
            matched, states = self._move(states, before, char)
            if matched:
                return True
            before = char
        return False

    def _move(self, states: frozenset[int], before: str, after: str) -> tuple[bool, frozenset[int]]:
        """Take one character."""
        key = (states, before, after)
        move = self._moves.get(key)
        if move is None:
            move = self._compute_move(states, before, after)
            if len(self._moves) >= _MAX_MEMORY:
                self._moves.clear()
            self._moves[key] = move
        return move

    def _compute_move(self, states: frozenset[int], before: str, after: str) -> tuple[bool, frozenset[int]]:
        reached = set(states | self._start)
        pending = list(reached)
        following: set[int] = set()
        for index in pending:  # which grows while conditions hold
            if index == _MATCH:
                return True, frozenset()
            needs, chars, then = self._leaves[index]
            if isinstance(needs, Assertion):
                if needs.holds(before, after):
                    pending.extend(then - reached)
                    reached |= then
            elif after in chars or (after > "\x7f" and after in needs):
                following |= then
        return False, frozenset(following)

    def _closure(self, state: int) -> frozenset[int]:
        """Return the steps that are reached from a state without taking a character, and the match."""
        reached: set[int] = set()
        leaves: set[int] = set()
        pending = [state]
        while pending:
            index = pending.pop()
            if index in reached:
                continue
            reached.add(index)
            found = self._states[index]
            if index == _MATCH or isinstance(found, _Step):
                leaves.add(index)
            else:
                pending.extend(found.targets)
        return frozenset(leaves)

    def _add(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise PatternError("expression too large")
        self._states.append(state)
        return len(self._states) - 1

    def _compile(self, node: Node, target: int) -> int:
        """Add the states of `node`, after which matching goes on at `target`; return its first state."""
        if isinstance(node, CharSet | Assertion):
            return self._add(_Step(node, target))
        if isinstance(node, Alternatives):
            return self._add(_Fork(tuple(self._compile(item, target) for item in node.items)))
        if isinstance(node, Sequence):
            return self._compile_all(node.items, target)
        return self._compile_repeat(node, target)

    def _compile_all(self, nodes: Iterable[Node], target: int) -> int:
        for node in reversed(tuple(nodes)):
            target = self._compile(node, target)
        return target

    def _compile_repeat(self, node: Repeat, target: int) -> int:
        if node.most is None:
            loop = self._add(_Fork(()))
            self._states[loop] = _Fork((self._compile(node.item, loop), target))
            target = loop
        else:
            exit_state = target
            for _ in range(node.most - node.least):
                target = self._add(_Fork((self._compile(node.item, target), exit_state)))
        for _ in range(node.least):
            target = self._compile(node.item, target)
        return target


def _ascii_chars(needs: CharSet | Assertion, known: dict[CharSet, frozenset[str]]) -> frozenset[str]:
    if isinstance(needs, Assertion):
        return frozenset()
    if needs not in known:
        known[needs] = frozenset(char for char in _ASCII if char in needs)
    return known[needs]
