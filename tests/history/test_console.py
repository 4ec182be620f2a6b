from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.history.making import change, write
from vb.cli import build_parser
from vb.config import Config, HistoryConfig, RecordingConfig
from vb.history.console import run
from vb.history.store import Store


@pytest.fixture
def config(store: Store, database_url: str, tmp_path: Path) -> Config:
    parties = [("+4930111", "+4930999"), ("=cmd()", "b\x1b[2Jb"), ("+4930333", None)]
    events = b'{"type":"leg.ringing","timestamp":"2026-01-01T00:00:00Z"}'
    sip = b'{"type":"sip.message","timestamp":"2026-01-01T00:00:01Z","direction":"in",'
    sip += b'"text":"INVITE a\\r\\nVia: x"}'
    store.write(
        [
            write(
                number,
                duration_us=duration_us,
                metadata={"X-Team": "red" if number else "blue"},
                parts=((1, events + b"\n" + sip),),
                **{"from": parties[number][0], "to": parties[number][1]},
            )
            for number, duration_us in enumerate((30_000_000, 90_500_000, None))
        ]
    )
    history = HistoryConfig.model_validate({"database_url": database_url, "data_dir": str(tmp_path)})
    return Config(history=history, recording=RecordingConfig(dir=str(tmp_path)))


def ask(config: Config, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    return run(build_parser().parse_args(["calls", *arguments]), config, out), out.getvalue()


def test_calls_are_listed_as_a_table_that_is_safe_to_look_at(config: Config) -> None:
    status, text = ask(config, "list")
    assert status == 0
    lines = text.splitlines()
    assert lines[0].split() == ["created", "length", "direction", "from", "to", "end", "id"]
    assert [line.split()[5] for line in lines[1:]] == ["-", "b?[2Jb", "+4930999"]
    assert "\x1b" not in text
    assert lines[1].split()[6] == "up"


def test_filters_are_those_of_the_api(config: Config) -> None:
    _, text = ask(config, "list", "--metadata", "X-Team=red", "--duration-min", "90s", "--format", "jsonl")
    (call,) = [json.loads(line) for line in text.splitlines()]
    assert call["billedDuration"] == "90.500s"
    assert ask(config, "list", "--limit", "1", "--sort", "created")[1].count("\n") == 2
    assert ask(config, "list", "--sort", "-duration", "--limit", "1")[1].count("90.5") == 1
    assert ask(config, "list", "--search", "4930111", "--format", "jsonl")[1].count("\n") == 1


def test_an_export_has_every_call(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.history.console.MAX_PAGE", 2)
    rows = list(csv.DictReader(io.StringIO(ask(config, "export", "--format", "csv")[1])))
    assert [row["from"] for row in rows] == ["+4930333", "'=cmd()", "+4930111"]
    assert ask(config, "export")[1].count("\n") == 3


def test_one_call_is_shown_with_what_happened(config: Config) -> None:
    status, text = ask(config, "show", str(change(0).call_id))
    assert status == 0
    assert "hangup (remote_bye)" in text
    assert "leg.ringing" in text
    assert "<- INVITE a" in text


def test_old_calls_are_pruned(config: Config) -> None:
    assert ask(config, "prune")[0] == 1
    # Calls of the tests are made in a time to come or gone, as the clock of the machine has it.
    status, text = ask(config, "prune", "--older-than", "1")
    assert status == 0
    assert text.endswith("calls deleted\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--duration-min", "long"), "vb: durationMin: must be a duration"),
        (("show", "nobody"), "vb: call not found"),
        (("list", "--metadata", "=x"), "vb: metadata: needs a key"),
        (("list", "--metadata", "X-Team"), "vb: metadata: must be given as"),
        (("export", "--sort", "-length"), "vb: sort: must be one of"),
        (("list", "--sort", "--limit"), "vb: sort: must be one of"),
    ],
)
def test_what_is_wrong_is_one_line(
    config: Config, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(config, *arguments)[0] == 1
    problem = capsys.readouterr().err
    assert problem.startswith(told)
    assert problem.count("\n") == 1


def test_a_database_of_a_newer_version_is_one_line_and_stays_as_it_is(
    config: Config, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(to: str) -> None:
        with store._engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": to})

    with store._engine.connect() as connection:
        known = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    step("9999")
    assert ask(config, "list") == (1, "")
    problem = capsys.readouterr().err
    assert "made by a newer version of vb" in problem
    assert problem.count("\n") == 1
    step(known)
    assert ask(config, "list")[0] == 0


def test_without_a_history_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(Config(), "list")[0] == 1
    assert "there is no call history" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--limit", "0"),
        ("list", "--limit", "-3"),
        ("prune", "--older-than", "0"),
        ("prune", "--older-than", "9" * 30),
        ("list", "--limit", "\u0663"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["calls", *arguments])
    assert "must be a number from 1 to" in capsys.readouterr().err


def test_nothing_is_older_than_all_time(config: Config) -> None:
    assert ask(config, "prune", "--older-than", "1000000") == (0, "0 calls deleted\n")


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_a_terminal_need_not_know_every_letter(
    store: Store, config: Config, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([write(9, **{"from": "J\u00f6rg \u65e5\u672c"})])
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert run(build_parser().parse_args(["calls", "list", "--format", form]), config) == 0
    assert raw.getvalue().count(b"\n") >= 4


@pytest.mark.parametrize("form", ["table", "csv"])
def test_what_a_caller_calls_himself_turns_nothing_round(store: Store, config: Config, form: str) -> None:
    store.write([write(9, **{"from": "\u202e\u2066evil\u200f\x1b[2J\u2028x"})])
    status, told = ask(config, "list", "--format", form)
    assert (status, "??evil??[2J?x" in told) == (0, True)


def test_who_has_read_enough_is_told_nothing(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as out:
        assert run(build_parser().parse_args(["calls", "export"]), config, out) == 1
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_no_fault_of_the_history(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as out:
        assert run(build_parser().parse_args(["calls", "export"]), config, out) == 1
    assert capsys.readouterr().err == "vb: the output cannot be written: No space left on device\n"
