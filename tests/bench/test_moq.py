from __future__ import annotations

from bench.cases import CASES, QUICK, MoqCase
from bench.figures import Spread
from bench.outcome import MoqFigures, Outcome
from bench.report import case_text
from bench.rows import rows_of


def outcome(cpu_us: float, webrtc_us: float) -> Outcome:
    return Outcome(MoqFigures(cpu_us, webrtc_us, 0.5, Spread.of([0.1, 0.2]), 1.0), ())


def test_moq_legs_are_measured_in_both_runs() -> None:
    assert [case.legs for case in (*CASES, *QUICK) if isinstance(case, MoqCase)] == [10, 10]


def test_a_moq_leg_is_judged_by_its_ratio_to_a_browsers() -> None:
    (row,) = [row for row in rows_of(MoqCase(), [outcome(250.0, 100.0)]) if "over a browser" in row.name]
    assert (row.value, row.bar) == (2.5, 2.5)
    assert "OVER" in case_text(MoqCase(), [outcome(251.0, 100.0)])
    assert "OVER" not in case_text(MoqCase(), [outcome(249.0, 100.0)])
