from __future__ import annotations

import stat
from pathlib import Path

from vb.api.spool import Spool
from vb.events.hooks import Hook

HOOK = Hook("https://a.example/h", "s3cret")


def open_spool(path: Path, token: str) -> Spool:
    return Spool(str(path), token=token)


def test_what_a_run_left_behind_is_found_by_the_next_in_order(tmp_path: Path) -> None:
    first = open_spool(tmp_path, "a")
    first.append("e1", "leg.ringing", b'{"n":1}', HOOK)
    first.append("e2", "leg.connected", b'{"n":2}', None)
    first.append("e3", "leg.disconnected", b'{"n":3}', HOOK)
    first.settle("e1")
    first.close()
    found = open_spool(tmp_path, "b").recover()
    assert [(item.event_id, item.kind, item.body, item.hook) for item in found] == [
        ("e2", "leg.connected", b'{"n":2}', None),
        ("e3", "leg.disconnected", b'{"n":3}', HOOK),
    ]


def test_what_was_taken_over_survives_a_second_crash(tmp_path: Path) -> None:
    first = open_spool(tmp_path, "a")
    first.append("e1", "leg.ringing", b"{}", HOOK)
    first.close()
    second = open_spool(tmp_path, "b")
    second.recover()
    second.close()
    assert [item.event_id for item in open_spool(tmp_path, "c").recover()] == ["e1"]


def test_the_journal_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    alive = open_spool(tmp_path, "a")
    alive.append("e1", "leg.ringing", b"{}", HOOK)
    assert open_spool(tmp_path, "b").recover() == []
    alive.close()


def test_a_line_cut_short_by_a_kill_loses_only_itself(tmp_path: Path) -> None:
    first = open_spool(tmp_path, "a")
    first.append("e1", "leg.ringing", b"{}", HOOK)
    first.close()
    journal = next(tmp_path.glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes() + b'{"id":"e2","ty')
    assert [item.event_id for item in open_spool(tmp_path, "b").recover()] == ["e1"]


def test_a_run_that_delivered_everything_leaves_no_journal(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, "a")
    spool.append("e1", "leg.ringing", b"{}", HOOK)
    spool.settle("e1")
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_the_journal(tmp_path: Path) -> None:
    open_spool(tmp_path, "a")
    journal = next(tmp_path.glob("*.jsonl"))
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_a_long_journal_is_emptied_once_nothing_is_open(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, "a")
    for number in range(1200):
        spool.append(f"e{number}", "leg.ringing", b"x" * 1000, HOOK)
        spool.settle(f"e{number}")
    assert next(tmp_path.glob("*.jsonl")).stat().st_size < 1_200_000
