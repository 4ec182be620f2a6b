"""Who speaks next: the utterances of one leg or room, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque

import trio


class Turn:
    """The place of one utterance in a line.

    Attributes:
        next: set when it is its turn to be prepared: the one before is being heard.
        now: set when it is its turn to be heard.
        begun: whether it is being heard.
    """

    def __init__(self, line: Line | None = None) -> None:
        self.next = trio.Event()
        self.now = trio.Event()
        self.begun = False
        self._line = line

    def begin(self) -> None:
        """Say that it is being heard now, so that the one behind it may be prepared."""
        self.begun = True
        if self._line is not None:
            self._line.call()


class Line:
    """A line in which one speaks, one prepares, and the others wait and cost nothing."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque()

    def __len__(self) -> int:
        return len(self._turns)

    def join(self) -> Turn:
        """Take the last place."""
        turn = Turn(self)
        self._turns.append(turn)
        self.call()
        return turn

    def leave(self, turn: Turn) -> None:
        """Give a place up, wherever it is; harmless for who has none."""
        if turn in self._turns:
            self._turns.remove(turn)
            self.call()

    def call(self) -> None:
        """Call whose turn it is."""
        if not self._turns:
            return
        first = self._turns[0]
        first.next.set()
        first.now.set()
        if first.begun and len(self._turns) > 1:
            self._turns[1].next.set()


def at_once() -> Turn:
    """Return the turn of who waits for nobody."""
    turn = Turn()
    turn.next.set()
    turn.now.set()
    return turn
