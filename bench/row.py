"""One figure of a case, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bench.outcome import Figures

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one case: the best of all runs.

    Attributes:
        name: what it is, with its unit.
        value: the figure, None when the server does not say.
        bar: the most it may be, None without a bar.
        baseline: the same figure of the baseline.
    """

    name: str
    value: float | None
    bar: float | None = None
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        """The figure over the baseline's."""
        if self.value is None or not self.baseline:
            return None
        return self.value / self.baseline

    def text(self) -> str:
        value = "not told" if self.value is None else f"{self.value:.2f}"
        bar = "" if self.bar is None else f"bar {self.bar:g}"
        verdict = ""
        if self.bar is not None and self.value is not None:
            verdict = "ok" if self.value <= self.bar else "OVER"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} × baseline {self.baseline:.2f}"
        return f"  {self.name:<44}{value:>10}   {bar:<9}{verdict:<6}{ratio}".rstrip()


Reader = tuple[str, Callable[[Figures], float | None], float | None]
"""Name, where its value stands, and its bar."""

Own = tuple[str, Callable[[F], float | None], float | None]
"""The same for the figures of one kind of case."""
