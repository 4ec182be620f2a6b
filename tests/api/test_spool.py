"""The webhook spool: what it makes of a durable queue, and of the journals that earlier versions wrote."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.blocking import at_once
from vb.api import spool_journals
from vb.api.spool import TOPIC, Entry, Spool
from vb.api.spool_journals import MAX_LINE_BYTES
from vb.durable.store import Store
from vb.events.hooks import Hook

HOOK = Hook("https://a.example/h", "s3cret")
BODY = b'{"n":1}'


@asynccontextmanager
async def open_spool(path: Path, wall_clock_ns: int = 0) -> AsyncIterator[Spool]:
    spool = await Spool.open(str(path), wall_clock_ns=lambda: wall_clock_ns, in_thread=at_once)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spool.run)
            yield spool
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    finally:
        await spool.close()


def note(spool: Spool, event_id: str, body: bytes = BODY, hook: Hook | None = HOOK) -> Entry:
    entry = spool.append(event_id, "leg.ringing", body, hook)
    assert entry is not None
    return entry


def ids(spool: Spool) -> list[str]:
    return [entry.event_id for entry in spool.entries()]


def line(event_id: str, **values: object) -> str:
    """A line of a journal."""
    return json.dumps({"id": event_id, "type": "leg.muted", "body": "{}", **values}) + "\n"


def files_in(path: Path) -> list[str]:
    return sorted(item.name for item in path.iterdir())


async def test_what_a_run_left_behind_is_found_by_the_next_in_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_spool(tmp_path) as first:
        done = note(first, "e1")
        first.append("e2", "leg.connected", b'{"n":2}', None)
        first.append("e3", "leg.disconnected", '{"n":"ü"}'.encode(), HOOK)
        first.settle(done)
    async with open_spool(tmp_path) as second:
        entries = second.entries()
        bodies = await second.read(entries)
        found = [
            (item.event_id, item.kind, body, item.hook) for item, body in zip(entries, bodies, strict=True)
        ]
    assert found == [
        ("e2", "leg.connected", b'{"n":2}', None),
        ("e3", "leg.disconnected", '{"n":"ü"}'.encode(), HOOK),
    ]


async def test_what_was_taken_over_survives_a_second_crash(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_spool(tmp_path) as first:
        note(first, "e1")
    async with open_spool(tmp_path):
        pass
    async with open_spool(tmp_path) as third:
        assert ids(third) == ["e1"]


async def test_a_run_that_delivered_everything_leaves_no_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_spool(tmp_path) as spool:
        entry = note(spool, "e1")
        await wait_all_tasks_blocked()
        spool.settle(entry)
    assert files_in(tmp_path) == []


async def test_an_entry_that_says_not_what_it_is_is_counted_and_keeps_no_other_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    labels = [
        "",
        "[]",
        "null",
        "{",
        "[" * 5000,
        '{"type":1}',
        '{"type":"a","url":5,"secret":""}',
        '{"url":"a"}',
    ]
    labels += ['{"type":"a","url":"u"}', '{"type":"a","url":"u","secret":5}']
    async with open_spool(tmp_path) as spool:
        for number, label in enumerate(labels):
            spool.queue.put(TOPIC, str(number), BODY, label)
        note(spool, "good")
        assert ids(spool) == ["good"]
        assert spool.queue.failures["damaged"] == len(labels)
        assert len(spool) == 1


async def test_the_metrics_tell_what_the_spool_keeps_and_what_it_could_not(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(28, "full")

    async with open_spool(tmp_path) as spool:
        note(spool, "e1")
        await wait_all_tasks_blocked()
        with monkeypatch.context() as patch:
            patch.setattr(Store, "apply", refuse)
            note(spool, "e2")
            await wait_all_tasks_blocked()
        readings = {(name, labels.get("reason")): value for name, _, value, labels in spool.readings()}
        assert readings == {
            ("webhook_spool_events", None): 2,
            ("webhook_spool_bytes", None): spool.queue.size,
            ("webhook_spool_failures", "write"): 1,
            ("webhook_spool_failures", "full"): 0,
            ("webhook_spool_failures", "damaged"): 0,
        }


# -- journals of earlier versions --------------------------------------------------------------------------


async def test_journals_are_taken_over_in_the_order_of_their_entries_and_removed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    hook = {"url": HOOK.url, "secret": HOOK.secret}
    (tmp_path / "webhooks-z.jsonl").write_text(line("z1", n=1) + line("z2", n=4, **hook) + line("z3", n=6))
    (tmp_path / "webhooks-a.jsonl").write_text(
        line("a1", n=2) + line("a2", n=3) + '{"done":"a2"}\n' + '{"done":"z3"}\n' + line("a3", n=5)
    )
    async with open_spool(tmp_path, 10) as spool:
        assert [(entry.event_id, entry.hook) for entry in spool.entries()] == [
            ("z1", None), ("a1", None), ("z2", HOOK), ("a3", None),
        ]  # fmt: skip
        assert not any(name.endswith(".jsonl") for name in files_in(tmp_path))
        note(spool, "new")
    async with open_spool(tmp_path) as second:
        assert ids(second) == ["z1", "a1", "z2", "a3", "new"]


async def test_entries_of_several_journals_with_the_same_number_are_all_kept(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    for number in range(30):
        (tmp_path / f"webhooks-{number}.jsonl").write_text(line(f"e{number}", n=7))
    async with open_spool(tmp_path) as spool:
        assert sorted(ids(spool)) == sorted(f"e{number}" for number in range(30))


async def test_new_events_come_after_those_of_a_journal_from_the_future(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "webhooks-x.jsonl").write_text(line("old", n=2**63))
    async with open_spool(tmp_path, 1000) as spool:
        note(spool, "new")
        assert ids(spool) == ["old", "new"]


async def test_an_entry_that_is_there_twice_goes_out_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    (tmp_path / "webhooks-x.jsonl").write_text(line("good") * 2)
    (tmp_path / "webhooks-y.jsonl").write_text(line("good"))
    async with open_spool(tmp_path) as spool:
        assert ids(spool) == ["good"]


async def test_the_journal_of_a_living_run_is_left_alone(tmp_path: Path, autojump_clock: MockClock) -> None:
    journal = tmp_path / "webhooks-x.jsonl"
    journal.write_text(line("e1"))
    with journal.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        async with open_spool(tmp_path) as spool:
            assert ids(spool) == []
            assert spool.queue.failures["damaged"] == 0
    assert journal.exists()


async def test_a_journal_that_vanishes_while_the_folder_is_read_is_passed_over(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "webhooks-y.jsonl").write_text(line("e2"))
    there = spool_journals._by_age(tmp_path)
    monkeypatch.setattr(spool_journals, "_by_age", lambda _path: [tmp_path / "webhooks-gone.jsonl", *there])
    async with open_spool(tmp_path) as spool:
        assert ids(spool) == ["e2"]
        assert spool.queue.failures["damaged"] == 0


async def test_on_a_full_disk_journals_stay_for_the_next_start(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(28, "full")

    (tmp_path / "webhooks-x.jsonl").write_text(line("e1"))
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(Store, "apply", refuse)
        async with open_spool(tmp_path) as spool:
            assert ids(spool) == []
    assert [item["event"] for item in logs] == ["webhooks of an earlier version stay where they are"]
    async with open_spool(tmp_path) as second:
        assert ids(second) == ["e1"]


@pytest.mark.parametrize(
    "bad",
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
        b"x" * (3 * MAX_LINE_BYTES),
    ],
    ids=range(21),
)
async def test_a_bad_line_is_skipped_counted_and_logged_and_keeps_no_good_one_back(
    tmp_path: Path, autojump_clock: MockClock, bad: bytes
) -> None:
    (tmp_path / "webhooks-x.jsonl").write_bytes(bad + b"\n" + line("good").encode())
    with structlog.testing.capture_logs() as logs:
        async with open_spool(tmp_path) as spool:
            assert ids(spool) == ["good"]
            assert spool.queue.failures["damaged"] == 1
    assert [(item["journal"], item["lines"]) for item in logs] == [("webhooks-x.jsonl", 1)]


async def test_a_line_cut_short_by_a_kill_loses_only_itself(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "webhooks-x.jsonl").write_text(line("e1") + '{"id":"e2","ty')
    async with open_spool(tmp_path) as spool:
        assert ids(spool) == ["e1"]
        assert spool.queue.failures["damaged"] == 1


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
async def test_what_is_no_file_is_logged_and_left_alone(
    tmp_path: Path, autojump_clock: MockClock, kind: str
) -> None:
    path = tmp_path / "webhooks-x.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        os.mkfifo(path)
    (tmp_path / "webhooks-y.jsonl").write_text(line("e1"))
    with structlog.testing.capture_logs() as logs:
        async with open_spool(tmp_path) as spool:
            assert ids(spool) == ["e1"]
            assert spool.queue.failures["damaged"] == 1
    assert [item["journal"] for item in logs] == ["webhooks-x.jsonl"]
    assert "webhooks-x.jsonl" in files_in(tmp_path)


async def test_a_file_in_the_place_of_the_folder_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(FileExistsError):
        await Spool.open(str(tmp_path / "f"))
