from __future__ import annotations

import json
import math
from pathlib import Path

from bench.cases import CallCase, MediaCase, SignallingCase
from bench.figures import Spread
from bench.generator import LoadLateness
from bench.outcome import CallFigures, Outcome, SignallingFigures
from bench.report import case_text, write_json
from bench.row import Row
from bench.rows import rows_of

LOAD = LoadLateness(p50_ms=0.1, p95_ms=0.2, p99_ms=0.3, max_ms=0.4, cpu_share=0.1)
CASE = CallCase()


def outcome(p99_ms: float, *faults: str) -> Outcome:
    setup = Spread(p50_ms=5.0, p95_ms=8.0, p99_ms=p99_ms, max_ms=p99_ms + 1)
    figures = CallFigures(
        setup,
        offered=10,
        answered=10,
        resent=0,
        events_dropped=0,
        events_lost=3,
        clients=3,
        cpu_ms=2.0,
        load=LOAD,
    )
    return Outcome(figures, faults)


def test_cost_per_call_is_shown_as_the_best_of_all_runs() -> None:
    def run(cpu_us: float) -> Outcome:
        setup = Spread(p50_ms=5.0, p95_ms=8.0, p99_ms=9.0, max_ms=9.0)
        return Outcome(SignallingFigures(cpu_us, setup, 10, 9, 0, 0, 0.0, LOAD), ())

    rows = rows_of(SignallingCase(), [run(5000.0), run(4000.0)], [run(8000.0)])
    assert row(rows, "server CPU per call, µs").ratio == 0.5
    assert "OVER" in row(rows, "calls not answered and ended").text()


def row(rows: list[Row], name: str) -> Row:
    return next(row for row in rows if row.name == name)


def test_the_best_of_all_runs_is_shown() -> None:
    rows = rows_of(CASE, [outcome(120.0), outcome(80.0)])
    assert row(rows, "INVITE to 200 p99, ms").value == 80.0


def test_a_figure_over_its_bar_says_so() -> None:
    assert "OVER" in row(rows_of(CASE, [outcome(120.0)]), "INVITE to 200 p99, ms").text()
    assert "OVER" not in row(rows_of(CASE, [outcome(80.0)]), "INVITE to 200 p99, ms").text()


def test_a_figure_is_divided_by_the_best_of_the_baseline() -> None:
    rows = rows_of(CASE, [outcome(80.0)], [outcome(200.0), outcome(160.0)])
    assert row(rows, "INVITE to 200 p99, ms").ratio == 0.5


def test_without_a_baseline_there_is_no_ratio() -> None:
    assert all(row.ratio is None for row in rows_of(CASE, [outcome(80.0)]))


def test_what_was_not_measured_is_null_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "bench.json", [(CASE, [outcome(math.nan)], [])])
    (case,) = json.loads((tmp_path / "bench.json").read_text())
    assert case["runs"][0]["figures"]["setup"]["p99_ms"] is None
    assert case["case"]["name"] == "calls"


def test_a_fault_of_any_run_is_printed() -> None:
    text = case_text(CASE, [outcome(80.0), outcome(80.0, "9 of 10 calls are up")])
    assert "  WRONG 9 of 10 calls are up" in text.splitlines()


def test_how_the_measurement_went_has_no_ratio() -> None:
    rows = rows_of(CASE, [outcome(80.0)], [outcome(160.0)])
    assert row(rows, "generator lateness p99, ms").ratio is None


def test_every_lost_event_is_over_the_bar() -> None:
    lost = row(rows_of(CASE, [outcome(80.0)]), "VSI events lost, all clients")
    assert (lost.value, lost.bar) == (3.0, 0.0)


def test_figures_of_another_case_have_nothing_to_read() -> None:
    rows = rows_of(MediaCase("pairs-50", 50), [outcome(80.0)])
    assert all(row.value is None for row in rows)
