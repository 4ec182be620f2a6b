"""What became of all answers of a server's own agents, for the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

Figure: TypeAlias = tuple[str, str, float, Mapping[str, str]]


class Tally:
    """Counts answers, and sums up where their time went."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._false = 0
        self._times: Counter[str] = Counter()
        self._sums_ms: Counter[str] = Counter()
        self._shares: Counter[str] = Counter()
        self._shares_ms: Counter[str] = Counter()
        self._ducks = 0
        self._ducks_ms = 0

    def add(
        self,
        outcome: str,
        false_interruptions: int,
        times_ms: Mapping[str, int | None],
        shares_ms: Mapping[str, int | None],
        ducked_ms: int | None,
    ) -> None:
        """Take note of an answer.

        Args:
            outcome: completed, interrupted or failed.
            false_interruptions: how often it paused for nothing.
            times_ms: how long after the user's last sound each step came, as far as it came to that.
            shares_ms: whose that time was, if anything was heard.
            ducked_ms: how long the user had spoken when it first paused; None when it never did.
        """
        self._outcomes[outcome] += 1
        self._false += false_interruptions
        for counts, sums, found in (
            (self._times, self._sums_ms, times_ms),
            (self._shares, self._shares_ms, shares_ms),
        ):
            for name, time_ms in found.items():
                if time_ms is not None:
                    counts[name] += 1
                    sums[name] += time_ms
        if ducked_ms is not None:
            self._ducks += 1
            self._ducks_ms += ducked_ms

    def readings(self) -> Iterator[Figure]:
        """Give the figures."""
        for outcome, count in self._outcomes.items():
            yield "agent_turns", "Answers of the server's own agents", count, {"outcome": outcome}
        yield "agent_false_interruptions", "Pauses of the server's own agents for nothing", self._false, {}
        for step, count in self._times.items():
            text = "Answers of the server's own agents that came to a step"
            yield "agent_turn_steps", text, count, {"step": step}
            text = "Time from the user's last sound to a step, over all answers"
            yield "agent_turn_seconds", text, self._sums_ms[step] / 1000, {"step": step}
        for share, time_ms in self._shares_ms.items():
            text = "Time from the user's last sound to the first of the answer, by whose it was"
            yield "agent_turn_share_seconds", text, time_ms / 1000, {"of": share}
        yield "agent_ducks", "Answers that have paused because the user spoke", self._ducks, {}
        text = "Time from the user's first sound to the first pause, over all of these"
        yield "agent_duck_seconds", text, self._ducks_ms / 1000, {}
