from __future__ import annotations

from dataclasses import replace
from typing import Final

from bench.cases import CASES, QUICK, BesideCase
from bench.figures import Spread
from bench.outcome import BesideFigures, Outcome
from bench.report import case_text
from bench.rows import rows_of

WHATSAPP: Final = next(case for case in CASES if isinstance(case, BesideCase) and case.kind == "WhatsApp")


def outcome(cpu_us: float, webrtc_us: float) -> Outcome:
    return Outcome(BesideFigures(cpu_us, webrtc_us, 0.0, 0.5, Spread.of([0.1, 0.2]), 1.0), ())


def test_legs_of_both_other_kinds_are_measured_in_both_runs() -> None:
    for cases in (CASES, QUICK):
        kinds = {case.kind for case in cases if isinstance(case, BesideCase)}
        assert kinds == {"MoQ", "WhatsApp"}


def test_a_leg_of_another_kind_is_judged_by_its_ratio_to_a_browsers() -> None:
    (row,) = [row for row in rows_of(WHATSAPP, [outcome(105.0, 100.0)]) if "over a browser" in row.name]
    assert (row.name, row.value, row.bar) == ("a WhatsApp leg over a browser's", 1.05, 1.1)
    assert "OVER" in case_text(WHATSAPP, [outcome(111.0, 100.0)])
    assert "OVER" not in case_text(WHATSAPP, [outcome(109.0, 100.0)])


def test_without_a_bar_a_ratio_is_only_shown() -> None:
    assert "OVER" not in case_text(replace(WHATSAPP, bar=None), [outcome(300.0, 100.0)])
