from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

import vb.cli
from bench import staged
from bench.cases import WebRtcCase
from bench.figures import Spread
from bench.generator import LoadLateness
from bench.outcome import Outcome, Stages, WebRtcFigures, Window
from bench.report import case_text
from bench.rows import rows_of
from bench.staged import GATES, put_gates
from bench.staged import Stages as Counted
from bench.window import played_ticks

LATE = Spread(0.1, 0.2, 0.3, 0.4)


def test_a_stage_costs_what_is_not_inside_another_one() -> None:
    times = iter([0.0, 1.0, 3.0, 7.0, 12.0, 20.0])
    stages = Counted(lambda: next(times))
    inner = stages.gate("encode", lambda: 5)
    outer = stages.gate("decode", lambda: inner() + 1)
    tick = stages.gate("tick", lambda plane, now, due: outer())
    assert tick(None, 10.5, 10.25) == 6
    # Work of a codec that is done within decoding is decoding.
    assert stages.spent_s == {"tick": 1.0 + 8.0, "decode": 2.0 + 4.0 + 5.0}
    assert stages.told()["late_ms"] == [250.0]
    assert stages.told()["late_ms"] == []


def test_a_stage_that_fails_is_left() -> None:
    times = iter(range(10))
    stages = Counted(lambda: float(next(times)))

    def failing() -> None:
        raise ValueError("as it is")

    for _ in range(2):
        try:
            stages.gate("mix", failing)()
        except ValueError:
            pass
    assert stages.spent_s == {"mix": 2.0}


def test_names_that_a_checkout_does_not_have_are_left_out() -> None:
    assert {place.partition(":")[0].partition(".")[0] for place in GATES} == {"vb"}
    added = {"vb.mixer.plane:Plane.gone": "mix", "vb.nowhere:work": "mix"}
    saved = dict(GATES)
    GATES.clear()
    GATES.update(added)
    try:
        assert put_gates(Counted()) == list(added)
    finally:
        GATES.clear()
        GATES.update(saved)


class Sample:
    """Stands for what has stages."""

    def work(self) -> int:
        return 3


def test_until_it_is_asked_it_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = Sample.work
    monkeypatch.setattr(Sample, "work", as_it_is)  # whatever is put there goes with the test
    monkeypatch.setattr(staged, "GATES", {f"{__name__}:Sample.work": "mix"})
    told = tmp_path / "told.json"
    before = signal.getsignal(signal.SIGUSR1)

    def serve(argv: list[str]) -> int:
        assert (argv, Sample.work) == (["serve"], as_it_is)
        for _ in range(2):
            Sample().work()
            signal.raise_signal(signal.SIGUSR1)
        assert Sample.work is not as_it_is
        return 7

    monkeypatch.setattr(vb.cli, "run", serve)
    monkeypatch.setattr(sys, "argv", ["staged.py", str(told), "serve"])
    try:
        assert staged.main() == 7
    finally:
        signal.signal(signal.SIGUSR1, before)
    counted = json.loads(told.read_text())
    assert counted["answer"] == 2
    assert list(counted["spent_s"]) == ["mix"]


@pytest.mark.parametrize(
    ("after", "played"),
    [({"voiceblender_ticks": 700.0}, 600.0), ({"voiceblender_ticks": 100.0}, 1.0), ({}, 50.0)],
)
def test_ticks_are_those_that_the_server_counts_or_those_that_were_due(
    after: dict[str, float], played: float
) -> None:
    assert played_ticks({"voiceblender_ticks": 100.0}, after, 1.0) == played


def outcome(phones: Stages | None) -> Outcome:
    load = LoadLateness(0.1, 0.2, 0.3, 0.4, 0.1)
    stages = Stages(100.0, {"decode": 20.0, "encode": 30.0, "srtp": 6.0}, LATE, 0.0, 0.5)
    figures = WebRtcFigures(
        Window(100.0, 0.0, load, LATE, 0.0, 1.0), LATE, 300.0, 0, 0, 0.9, 0.01, stages, 95.0, phones
    )
    return Outcome(figures, ())


def test_browsers_stand_beside_phones() -> None:
    phones = Stages(25.0, {"mix": 4.0}, LATE, 0.0, 0.1)
    case = WebRtcCase("webrtc-pairs", 10, phones=True)
    (ratio,) = [row for row in rows_of(case, [outcome(phones)]) if "over a phone" in row.name]
    assert (ratio.value, ratio.bar) == (2.0, 2.5)
    lines = case_text(case, [outcome(phones)]).splitlines()
    assert any(line.split() == ["SRTP", "6.00", "0.00"] for line in lines)
    assert any(line.split()[-2:] == ["44.00", "21.00"] for line in lines if "outside of ticks" in line)


def test_without_phones_there_is_one_column_and_no_ratio() -> None:
    case = WebRtcCase("webrtc-pairs", 10)
    text = case_text(case, [outcome(None)])
    assert "over a phone" not in text
    assert any(line.split() == ["SRTP", "6.00"] for line in text.splitlines())


def test_where_the_load_shares_the_cores_lateness_has_no_bar_and_cores_have() -> None:
    rows = {row.name: row for row in rows_of(WebRtcCase("w", 10, cores=2), [outcome(None)])}
    assert rows["cores for every tick to be played"].bar == 2.0
    assert rows["tick lateness in the window p99, ms"].bar is None
