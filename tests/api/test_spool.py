from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from vb.api import spool as spool_module
from vb.api.spool import JOURNAL_BYTES, Spool
from vb.api.spool_journal import MAX_LINE_BYTES, Entry
from vb.events.hooks import Hook

HOOK = Hook("https://a.example/h", "s3cret")
BODY = b'{"n":1}'


def open_spool(path: Path, token: str, wall_clock_ns: int = 0) -> Spool:
    return Spool(str(path), token=token, wall_clock_ns=lambda: wall_clock_ns)


def note(spool: Spool, event_id: str, body: bytes = BODY, hook: Hook | None = HOOK) -> Entry:
    entry = spool.append(event_id, "leg.ringing", body, hook)
    assert entry is not None
    return entry


def ids(spool: Spool) -> list[str]:
    return [entry.event_id for entry in spool.entries()]


def left_by_a_run(path: Path, *event_ids: str, token: str = "a") -> Path:
    """Let a run end with these events undelivered; returns its journal."""
    with closing(open_spool(path, token)) as spool:
        for event_id in event_ids:
            note(spool, event_id)
    return path / f"webhooks-{token}.jsonl"


class Disk:
    """The room that is left for `os.pwrite`: once it is used up a write is short, and the next one fails."""

    def __init__(self, write: Callable[[int, bytes, int], int]) -> None:
        self.room: int | None = None
        self._write = write

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if self.room is None:
            return self._write(fd, data, offset)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(fd, data[: self.room], offset)
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(os.pwrite)
    monkeypatch.setattr(os, "pwrite", disk.pwrite)
    return disk


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(open_spool(tmp_path, "own")) as spool:
        yield spool


# -- what a run leaves -------------------------------------------------------------------------------------


def test_what_a_run_left_behind_is_found_by_the_next_in_order(tmp_path: Path) -> None:
    with closing(open_spool(tmp_path, "a")) as first:
        done = first.append("e1", "leg.ringing", b'{"n":1}', HOOK)
        first.append("e2", "leg.connected", b'{"n":2}', None)
        first.append("e3", "leg.disconnected", '{"n":"ü"}'.encode(), HOOK)
        assert done is not None
        first.settle(done)
    with closing(open_spool(tmp_path, "b")) as second:
        found = [(item.event_id, item.kind, second.read(item), item.hook) for item in second.entries()]
    assert found == [
        ("e2", "leg.connected", b'{"n":2}', None),
        ("e3", "leg.disconnected", '{"n":"ü"}'.encode(), HOOK),
    ]


def test_what_was_taken_over_survives_a_second_crash(tmp_path: Path) -> None:
    left_by_a_run(tmp_path, "e1")
    open_spool(tmp_path, "b").close()
    with closing(open_spool(tmp_path, "c")) as third:
        assert ids(third) == ["e1"]


def test_left_overs_of_several_runs_come_in_the_order_in_which_they_happened(tmp_path: Path) -> None:
    for number, token in enumerate(("z", "a", "m")):
        with closing(open_spool(tmp_path / token, token, wall_clock_ns=number * 1000)) as spool:
            note(spool, f"{token}1")
            note(spool, f"{token}2")
        journal = tmp_path / token / f"webhooks-{token}.jsonl"
        journal.rename(tmp_path / journal.name)
        os.utime(tmp_path / journal.name, ns=(0, 0))
    with closing(open_spool(tmp_path, "own")) as spool:
        assert ids(spool) == ["z1", "z2", "a1", "a2", "m1", "m2"]


def test_new_events_come_after_left_overs_although_the_clock_was_set_back(tmp_path: Path) -> None:
    with closing(open_spool(tmp_path, "a", wall_clock_ns=1_000_000)) as first:
        note(first, "old")
    with closing(open_spool(tmp_path, "b", wall_clock_ns=5)) as second:
        note(second, "new")
    with closing(open_spool(tmp_path, "c", wall_clock_ns=5)) as third:
        assert ids(third) == ["old", "new"]


def test_a_run_that_delivered_everything_leaves_no_journal(tmp_path: Path) -> None:
    with closing(open_spool(tmp_path, "a")) as spool:
        spool.settle(note(spool, "e1"))
    assert list(tmp_path.iterdir()) == []


def test_left_overs_that_were_delivered_leave_no_journal_either(tmp_path: Path) -> None:
    left_by_a_run(tmp_path, "e1", "e2")
    with closing(open_spool(tmp_path, "b")) as spool:
        for entry in spool.entries():
            spool.settle(entry)
    assert list(tmp_path.iterdir()) == []


def test_settling_twice_or_after_the_end_is_harmless(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, "a")
    entry, late = note(spool, "e1"), note(spool, "e2")
    spool.settle(entry)
    spool.settle(entry)
    spool.close()
    spool.close()
    spool.settle(late)
    assert spool.append("e3", "leg.ringing", BODY, HOOK) is None
    with closing(open_spool(tmp_path, "b")) as second:
        assert ids(second) == ["e2"]


def test_only_the_owner_may_read_the_journal(tmp_path: Path, spool: Spool) -> None:
    note(spool, "e1")
    assert stat.S_IMODE((tmp_path / "webhooks-own.jsonl").stat().st_mode) == 0o600


# -- a full disk -------------------------------------------------------------------------------------------


def test_a_torn_write_is_counted_and_takes_no_later_event_with_it(tmp_path: Path, disk: Disk) -> None:
    with closing(open_spool(tmp_path, "a")) as spool:
        note(spool, "e1")
        disk.room = 20
        assert spool.append("e2", "leg.ringing", BODY, HOOK) is None
        assert spool.failures["write"] == 1
        disk.room = None
        note(spool, "e3")
    with closing(open_spool(tmp_path, "b")) as second:
        assert ids(second) == ["e1", "e3"]
        assert second.failures["damaged"] == 0


def test_a_torn_write_that_cannot_be_cut_off_harms_no_other_event(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "broken")

    with closing(open_spool(tmp_path, "a")) as spool:
        note(spool, "e1")
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", refuse)
            disk.room = 90
            assert spool.append("e2", "leg.ringing", BODY * 20, HOOK) is None
            disk.room = None
            note(spool, "e3", b"{}")
    with closing(open_spool(tmp_path, "b")) as second:
        assert ids(second) == ["e1", "e3"]


def test_failures_are_all_counted_and_logged_once_a_row(spool: Spool, disk: Disk) -> None:
    with structlog.testing.capture_logs() as logs:
        disk.room = 0
        for number in range(5):
            assert spool.append(f"e{number}", "leg.ringing", BODY, HOOK) is None
        disk.room = None
        note(spool, "e5")
        disk.room = 0
        assert spool.append("e6", "leg.ringing", BODY, HOOK) is None
    assert [line["event"] for line in logs] == [
        "webhook spool fails",
        "webhook spool works again",
        "webhook spool fails",
    ]
    assert spool.failures == {"write": 6, "full": 0, "damaged": 0}


def test_left_overs_outlive_a_start_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    left_by_a_run(tmp_path, "e1", "e2", "e3")
    disk.room = 0
    with closing(open_spool(tmp_path, "b")) as second:
        assert ids(second) == ["e1", "e2", "e3"]
    disk.room = None
    with closing(open_spool(tmp_path, "c")) as third:
        assert ids(third) == ["e1", "e2", "e3"]


def test_without_room_for_even_a_file_the_spool_opens_and_works_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        spool = open_spool(tmp_path, "a")
        assert spool.append("e1", "leg.ringing", BODY, HOOK) is None
    with closing(spool):
        assert spool.failures["write"] == 2
        note(spool, "e2")
        assert ids(spool) == ["e2"]


# -- how large it gets -------------------------------------------------------------------------------------


def on_disk(path: Path) -> int:
    return sum(item.stat().st_size for item in path.glob("*.jsonl"))


def test_a_long_journal_is_emptied_once_nothing_is_open(tmp_path: Path, spool: Spool) -> None:
    for number in range(1200):
        spool.settle(note(spool, f"e{number}", b"x" * 1000))
    assert on_disk(tmp_path) == spool.size < 1_200_000


def test_events_that_wait_keep_no_delivered_ones_on_the_disk(tmp_path: Path) -> None:
    with closing(open_spool(tmp_path, "a")) as spool:
        for number in range(10_000):
            entry = note(spool, f"e{number}", b"x" * 500)
            if number % 1000:
                spool.settle(entry)
        assert on_disk(tmp_path) == spool.size < 2 * JOURNAL_BYTES
        waiting = [f"e{number}" for number in range(0, 10_000, 1000)]
        assert ids(spool) == waiting
        assert [spool.read(entry) for entry in spool.entries()] == [b"x" * 500] * 10
    with closing(open_spool(tmp_path, "b")) as second:
        assert ids(second) == waiting


def test_no_more_than_about_twice_what_waits_lies_on_the_disk(tmp_path: Path, spool: Spool) -> None:
    entries = [note(spool, f"e{number}", b"x" * 500) for number in range(12_000)]
    for entry in entries[::3]:
        spool.settle(entry)
    for entry in entries[1::3]:
        spool.settle(entry)
    waiting = sum(entry.length for entry in spool.entries())
    assert ids(spool) == [entry.event_id for entry in entries[2::3]]
    assert on_disk(tmp_path) <= 2.2 * waiting + JOURNAL_BYTES


def test_an_event_beyond_the_cap_is_not_kept_but_counted_until_there_is_room(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MAX_BYTES", 1000)
    entries = []
    while (entry := spool.append("e", "leg.ringing", b"x" * 100, HOOK)) is not None:
        entries.append(entry)
    assert spool.size <= 1000 < spool.size + entries[0].length
    assert spool.failures == {"write": 0, "full": 1, "damaged": 0}
    monkeypatch.setattr(spool_module, "MAX_BYTES", 2000)
    note(spool, "f", b"x" * 100)


def test_an_event_that_is_too_large_for_a_line_is_not_kept_but_counted(spool: Spool) -> None:
    assert spool.append("e1", "leg.ringing", b"x" * MAX_LINE_BYTES, HOOK) is None
    assert spool.failures["full"] == 1


def test_what_cannot_be_moved_on_a_full_disk_stays_readable(tmp_path: Path, disk: Disk) -> None:
    with closing(open_spool(tmp_path, "a")) as spool:
        entries = [note(spool, f"e{number}", b"x" * 1000) for number in range(1100)]
        disk.room = 0
        for entry in entries[10:]:
            spool.settle(entry)
        assert [spool.read(entry) for entry in spool.entries()] == [b"x" * 1000] * 10
        disk.room = None
        spool.settle(entries[0])
    with closing(open_spool(tmp_path, "b")) as second:
        assert set(ids(second)) >= {f"e{number}" for number in range(1, 10)}


def test_many_small_left_overs_end_up_in_one_journal(tmp_path: Path) -> None:
    for number in range(30):
        with closing(open_spool(tmp_path / str(number), "x")) as spool:
            note(spool, f"e{number}")
        (tmp_path / str(number) / "webhooks-x.jsonl").rename(tmp_path / f"webhooks-{number}.jsonl")
    with closing(open_spool(tmp_path, "own")) as spool:
        assert len(spool) == 30
        assert [path.name for path in tmp_path.glob("*.jsonl")] == ["webhooks-own.jsonl"]


def test_the_metrics_tell_what_the_spool_keeps_and_what_it_could_not(spool: Spool, disk: Disk) -> None:
    note(spool, "e1")
    disk.room = 0
    spool.append("e2", "leg.ringing", BODY, HOOK)
    readings = {(name, labels.get("reason")): value for name, _, value, labels in spool.readings()}
    assert readings == {
        ("webhook_spool_events", None): 1,
        ("webhook_spool_bytes", None): spool.size,
        ("webhook_spool_failures", "write"): 1,
        ("webhook_spool_failures", "full"): 0,
        ("webhook_spool_failures", "damaged"): 0,
    }


# -- several servers ---------------------------------------------------------------------------------------


def test_the_journal_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    with closing(open_spool(tmp_path, "a")) as alive, closing(open_spool(tmp_path, "b")) as other:
        note(alive, "e1")
        with closing(open_spool(tmp_path, "c")) as third:
            assert ids(other) == ids(third) == []


def test_what_a_living_server_took_over_is_given_to_nobody_else(tmp_path: Path) -> None:
    left_by_a_run(tmp_path, *(f"e{number}" for number in range(20)))
    with closing(open_spool(tmp_path, "b")) as owner, closing(open_spool(tmp_path, "c")) as other:
        assert len(owner) == 20
        assert len(other) == 0


def test_servers_that_start_at_once_share_left_overs_without_doubling_or_losing_any(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for turn in range(10):
            folder = tmp_path / str(turn)
            wanted = []
            for number in range(20):
                body = {"id": f"e{number}", "type": "leg.muted", "body": "{}"}
                (folder / f"webhooks-dead{number}.jsonl").parent.mkdir(exist_ok=True)
                (folder / f"webhooks-dead{number}.jsonl").write_text(json.dumps(body) + "\n")
                wanted.append(f"e{number}")
            spools = list(pool.map(lambda token, at=folder: open_spool(at, token), "abcd"))
            assert sorted(event_id for spool in spools for event_id in ids(spool)) == sorted(wanted)
            for spool in spools:
                spool.close()


def test_a_journal_that_another_start_removed_before_its_lock_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server opens its spool between the creation of our journal and our lock on it."""
    flock = fcntl.flock
    interrupted = False

    def interrupt(fd: int, operation: int) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            open_spool(tmp_path, "other").close()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", interrupt)
    with closing(open_spool(tmp_path, "own")) as spool:
        note(spool, "e1")
    with closing(open_spool(tmp_path, "next")) as following:
        assert ids(following) == ["e1"]


def test_a_journal_that_vanishes_while_the_folder_is_read_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = left_by_a_run(tmp_path, "e1")
    left_by_a_run(tmp_path / "other", "e2", token="b")
    (tmp_path / "other" / "webhooks-b.jsonl").rename(tmp_path / "webhooks-b.jsonl")
    look = Path.stat

    def vanish(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        journal.unlink(missing_ok=True)
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", vanish)
    with closing(open_spool(tmp_path, "own")) as spool:
        assert ids(spool) == ["e2"]


# -- bad entries -------------------------------------------------------------------------------------------

GOOD = json.dumps({"n": 1, "id": "good", "type": "leg.muted", "body": "{}"}).encode() + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 200_000,
        b'{"body":' + b"[" * 5000,
        b"\x00" * 100,
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b'{"id":"x","type":"leg.muted","body":"{}","url":5,"secret":5}',
        b'{"id":"x","type":"leg.muted","body":"{}","url":"http://a/"}',
        b'{"id":["x"],"type":"leg.muted","body":"{}"}',
        b'{"id":"x\\r\\ny","type":"leg.muted","body":"{}"}',
        b'{"id":"","type":"leg.muted","body":"{}"}',
        b'{"id":"x","type":"leg.muted","body":{}}',
        b'{"id":"x","type":"leg.muted","body":"\\ud800"}',
        b'{"id":"x","type":null,"body":"{}"}',
        b'{"n":"1","id":"x","type":"leg.muted","body":"{}"}',
        b'{"n":-1,"id":"x","type":"leg.muted","body":"{}"}',
        b'{"n":true,"id":"x","type":"leg.muted","body":"{}"}',
        b'{"done":[]}',
        b'{"done":{"a":1}}',
    ],
    ids=range(20),
)
def test_a_bad_line_is_skipped_counted_and_logged_and_keeps_no_good_one_back(
    tmp_path: Path, line: bytes
) -> None:
    (tmp_path / "webhooks-x.jsonl").write_bytes(line + b"\n" + GOOD)
    with structlog.testing.capture_logs() as logs, closing(open_spool(tmp_path, "own")) as spool:
        assert ids(spool) == ["good"]
        assert spool.failures["damaged"] == 1
    assert [(item["journal"], item["lines"]) for item in logs] == [("webhooks-x.jsonl", 1)]


def test_a_line_without_end_is_one_damaged_line(tmp_path: Path) -> None:
    (tmp_path / "webhooks-x.jsonl").write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b"\n" + GOOD)
    with closing(open_spool(tmp_path, "own")) as spool:
        assert ids(spool) == ["good"]
        assert spool.failures["damaged"] == 1


def test_a_line_cut_short_by_a_kill_loses_only_itself(tmp_path: Path) -> None:
    journal = left_by_a_run(tmp_path, "e1")
    journal.write_bytes(journal.read_bytes() + b'{"id":"e2","ty')
    with closing(open_spool(tmp_path, "b")) as second:
        assert ids(second) == ["e1"]
        assert second.failures["damaged"] == 1


def test_an_entry_that_is_there_twice_goes_out_once(tmp_path: Path) -> None:
    (tmp_path / "webhooks-x.jsonl").write_bytes(GOOD + GOOD)
    (tmp_path / "webhooks-y.jsonl").write_bytes(GOOD)
    with closing(open_spool(tmp_path, "own")) as spool:
        assert ids(spool) == ["good"]


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_logged_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "webhooks-x.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        os.mkfifo(path)
    left_by_a_run(tmp_path, "e1")
    with structlog.testing.capture_logs() as logs, closing(open_spool(tmp_path, "own")) as spool:
        assert ids(spool) == ["e1"]
        assert spool.failures["damaged"] == 1
    assert [line["journal"] for line in logs] == ["webhooks-x.jsonl"]
    assert os.path.lexists(path)


def test_an_entry_that_was_destroyed_under_our_hands_is_an_error_when_it_is_read(
    tmp_path: Path, spool: Spool
) -> None:
    entry = note(spool, "e1")
    os.truncate(tmp_path / "webhooks-own.jsonl", 0)
    with pytest.raises(ValueError, match="cannot be read"):
        spool.read(entry)
    assert spool.failures["damaged"] == 1


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(FileExistsError):
        open_spool(tmp_path / "f", "a")
