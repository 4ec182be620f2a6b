from __future__ import annotations

from bench.cases import HistoriesCase
from bench.histories import late_faults, most_late_ms
from bench.outcome import HistoriesFigures, Outcome
from bench.rows import rows_of


def test_a_history_may_be_as_late_as_the_worst_round_without_one() -> None:
    without = [1.0, 4.0, 2.0]
    assert most_late_ms(without) == 4.9
    assert late_faults({"": without, "sqlite": [9.0, 4.8, 1.0], "postgresql": [4.9, 4.9, 4.9]}) == []


def test_what_makes_most_rounds_later_is_a_fault() -> None:
    assert late_faults({"": [1.0, 1.0], "sqlite": [5.0, 5.0, 0.1], "postgresql": [1.0]}) == [
        "ticks are late by 5.00 ms with sqlite, more than 1.60"
    ]


def test_without_figures_nothing_is_called_good() -> None:
    assert late_faults({"": [], "sqlite": [], "postgresql": []}) != []


def test_each_kind_has_its_rows() -> None:
    late_ms = {"": [1.0, 2.0], "sqlite": [1.0, 3.0], "postgresql": [2.0]}
    figures = HistoriesFigures(late_ms, {"sqlite": [0.5, 6.0], "postgresql": [0.4]}, 0.1)
    rows = {row.name: row for row in rows_of(HistoriesCase(), [Outcome(figures, ())])}
    assert rows["ticks late p99 with SQLite, ms"].value == 2.0
    assert "OVER" in rows["SQLite has the last call after, s"].text()
    assert "ok" in rows["PostgreSQL has the last call after, s"].text()
