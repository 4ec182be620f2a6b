"""What a history costs the ticks: the same calls without one and with one of each kind, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench.cases import HistoriesCase, HistoryKind, SignallingCase
from bench.outcome import HistoriesFigures, Options, Outcome, SignallingFigures
from bench.signalling import run_signalling

KINDS: Final[tuple[HistoryKind, ...]] = ("", "sqlite", "postgresql")
NOISE_SHARE: Final = 0.1
NOISE_MS: Final = 0.5
"""Beyond the worst round without a history: by so much two runs of the same differ at least."""


def run_histories(case: HistoriesCase, checkout: Path, options: Options) -> Outcome:
    """Let each kind take its turn in every round; the middle of its rounds is held against those without."""
    late_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
    stored_s: dict[str, list[float]] = {}
    waited, faults = 0.0, list[str]()
    for _ in range(case.rounds):
        for kind in KINDS:
            signalling = SignallingCase(
                case.name, rate=case.rate, calls=case.calls, warm_up=case.warm_up, history=kind
            )
            outcome = run_signalling(signalling, checkout, options)
            faults += [f"{kind or 'no history'}: {fault}" for fault in outcome.faults]
            figures = outcome.figures
            assert isinstance(figures, SignallingFigures)
            waited = max(waited, figures.core_wait_percent)
            if figures.lateness is not None:
                late_ms[kind].append(figures.lateness.p99_ms)
            if figures.stored_s is not None:
                stored_s.setdefault(kind, []).append(figures.stored_s)
    faults += late_faults(late_ms)
    return Outcome(HistoriesFigures(late_ms, stored_s, waited), tuple(faults))


def most_late_ms(without: Sequence[float]) -> float | None:
    """Return what counts as unchanged, given the rounds without a history; None when none tells."""
    return max(without) * (1 + NOISE_SHARE) + NOISE_MS if without else None


def late_faults(late_ms: dict[str, list[float]]) -> list[str]:
    """Return which kinds of history make ticks later than they are without one."""
    limit_ms = most_late_ms(late_ms[""])
    if limit_ms is None:
        return ["the server does not tell how late its ticks are"]
    return [
        f"ticks are late by {median(found):.2f} ms with {kind}, more than {limit_ms:.2f}"
        for kind, found in late_ms.items()
        if kind and found and median(found) > limit_ms
    ]
