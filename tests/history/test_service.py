from __future__ import annotations

import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio
from sqlalchemy import event

from tests.history.conftest import LosableDatabase
from tests.history.keepers import OTHER, RUN, Clock, away, end_reasons, ids, keeper, kill
from tests.history.making import change
from tests.support.history import history_of
from vb.config import Config, HistoryConfig
from vb.errors import ConfigError, Unavailable
from vb.events.base import Published
from vb.events.bus import EventBus
from vb.events.history import CallRecorded
from vb.events.leg import Cdr, LegConnected, LegDisconnected, LegJoinedRoom, LegRinging
from vb.history.change import Change
from vb.history.edge import get_call, list_calls, list_entries
from vb.history.keeper import Keeper
from vb.history.runs import GONE_AFTER_US, SEEN_EVERY_S
from vb.history.settings import history_settings
from vb.history.spool import Spool
from vb.history.store import Store
from vb.history.tasks import open_history
from vb.ids import SystemIds


async def test_a_call_is_told_by_its_events(database_url: str, tmp_path: Path) -> None:
    bus = EventBus("edge-1", SystemIds())
    recorded: list[CallRecorded] = []
    written = trio.Event()

    def take(published: Published) -> None:
        if isinstance(published.event, CallRecorded):
            recorded.append(published.event)
            written.set()

    settings = history_of(database_url, tmp_path / "queue")
    leg_id = str(uuid.uuid4())
    bus.subscribe(take)
    async with open_history(settings, bus) as history:
        bus.publish(
            LegRinging(
                leg_id=leg_id,
                leg_type="sip_inbound",
                from_="+4930111",
                to="+4930222",
                sip_headers={"X-Order": "17", "Subject": "no"},
                app_id="shop",
            )
        )
        bus.publish(LegConnected(leg_id=leg_id, leg_type="sip_inbound", app_id="shop"))
        bus.publish(LegJoinedRoom(leg_id=leg_id, room_id="hall"))
        cdr = Cdr(reason="remote_bye", duration_total=3.0, duration_answered=2.0)
        bus.publish(LegDisconnected(leg_id=leg_id, cdr=cdr))
        with trio.fail_after(20):
            await written.wait()
        call = await history.read(lambda store: get_call(store, leg_id))
        assert history.problem is None
        entries = await history.read(lambda store: list_entries(store, leg_id))
    assert [(event.call_id, event.leg_id, event.app_id) for event in recorded] == [(leg_id, leg_id, "shop")]
    assert call.call_id == uuid.UUID(leg_id)
    assert call.end_reason == "hangup"
    assert call.metadata == {"X-Order": "17"}
    assert (call.leg.from_, call.leg.to, call.leg.app_id) == ("+4930111", "+4930222", "shop")
    assert [stay.room_id for stay in call.leg.rooms] == ["hall"]
    assert call.sip_details is not None
    assert call.sip_details.termination_reason == "SIP_TERMINATION_NORMAL"
    types = ["leg.ringing", "leg.connected", "leg.joined_room", "leg.disconnected"]
    assert [entry.type for entry in entries.results] == types
    assert list((tmp_path / "queue").iterdir()) == []


async def test_what_happened_before_the_end_of_the_block_is_written(
    database_url: str, tmp_path: Path
) -> None:
    bus = EventBus("edge-1", SystemIds())
    async with open_history(history_of(database_url, tmp_path / "queue"), bus):
        for _ in range(20):
            leg_id = str(uuid.uuid4())
            bus.publish(LegRinging(leg_id=leg_id, leg_type="sip_inbound"))
            cdr = Cdr(reason="caller_cancel", duration_total=1.0, duration_answered=0.0)
            bus.publish(LegDisconnected(leg_id=leg_id, cdr=cdr))
    assert end_reasons(database_url) == ["unjoined"] * 20


def test_a_database_that_is_away_loses_nothing(tmp_path: Path) -> None:
    # A folder stands where the file should be, as a volume does that is not mounted yet.
    url = f"sqlite:///{tmp_path}/data/calls.db"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "calls.db").mkdir()
    one, store = keeper(url, tmp_path / "queue")
    kept = one.round([change(1), change(2)])
    assert kept.refused == []
    assert one.queued == 2
    assert one.problems.keys() == {"database"}
    with pytest.raises(Unavailable):
        list_calls(store, [])
    (tmp_path / "data" / "calls.db").rmdir()
    assert ids(one.round([change(3)]).recorded) == [change(n).call_id for n in (1, 2, 3)]
    assert (one.queued, one.problems) == (0, {})
    assert list_calls(store, []).total == 3
    one.close(calls_left=False)


def test_a_server_database_that_is_lost_loses_nothing(losable: LosableDatabase, tmp_path: Path) -> None:
    one, store = keeper(losable.url, tmp_path / "queue")
    one.round([change(1)])
    losable.lose()
    assert one.round([change(2)]).refused == []
    assert one.round([change(3)]).refused == []
    assert one.problems.keys() == {"database"}
    with pytest.raises(Unavailable):
        list_calls(store, [])
    losable.give_back()
    assert ids(one.round([]).recorded) == [change(2).call_id, change(3).call_id]
    assert one.problems == {}
    assert list_calls(store, []).total == 3
    one.close(calls_left=False)


def test_a_locked_file_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.history.database.BUSY_MS", 20)
    path = tmp_path / "calls.db"
    one, _ = keeper(f"sqlite:///{path}", tmp_path / "queue")
    one.round([change(1)])
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert one.round([change(2)]).refused == []
    assert "database is locked" in one.problems["database"]
    lock.execute("COMMIT")
    lock.close()
    assert ids(one.round([]).recorded) == [change(2).call_id]
    assert one.problems == {}
    one.close(calls_left=False)


def test_a_queue_that_cannot_be_written_leaves_the_database_working(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "queue").write_text("in the way")
    one, store = keeper(database_url, tmp_path / "queue")
    kept = one.round([change(1)])
    assert kept.refused == []
    assert ids(kept.recorded) == [change(1).call_id]
    assert one.problems.keys() == {"queue"}
    assert list_calls(store, []).total == 1
    one.close(calls_left=False)


def test_what_nothing_can_keep_is_given_back(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("in the way")
    (tmp_path / "calls.db").mkdir()
    one, store = keeper(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    changes = [change(1), change(2)]
    assert one.round(changes).refused == changes
    assert one.problems.keys() == {"queue", "database"}
    (tmp_path / "queue").unlink()
    (tmp_path / "calls.db").rmdir()
    assert one.round(changes).refused == []
    assert list_calls(store, []).total == 2
    one.close(calls_left=False)


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    one, store = keeper(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    one.round([change(1)])
    queue = one._queue
    assert isinstance(queue, Spool)
    pages = 1  # as on a full disk: no file may grow by a page, and SQLite says what it says there

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    event.listen(store._engine, "connect", limit)
    store._engine.dispose()
    limit(queue._store._db, None)
    noise = "".join(f"{number * 7919:x}" for number in range(40_000)).encode()
    late = change(2, parts=((1, b'"%s"' % noise),))
    assert one.round([late]).refused == [late]
    assert one.problems.keys() == {"queue", "database"}
    assert all("full" in problem for problem in one.problems.values())
    pages = 1_000_000
    store._engine.dispose()
    limit(queue._store._db, None)
    assert ids(one.round([late]).recorded) == [late.call_id]
    assert one.problems == {}
    one.close(calls_left=False)


def test_what_a_killed_server_left_is_written_and_its_open_calls_are_closed_once(
    database_url: str, tmp_path: Path
) -> None:
    lost, _ = keeper(database_url, tmp_path / "queue")
    lost.round([change(1), change(2, duration_us=None), change(3, duration_us=None, joined_after_us=None)])
    lost._queue.put([b""])  # type: ignore[union-attr]  # cut off by the kill
    lost._queue.ack([])  # type: ignore[union-attr]
    kill(lost)
    clock = Clock()
    for run in (OTHER, uuid.UUID(int=3)):
        one, _ = keeper(database_url, tmp_path / "queue", run, clock)
        closed = one.round([]).closed
        assert len(closed) == (2 if run == OTHER else 0)
        one.close(calls_left=False)
    assert end_reasons(database_url) == ["hangup", "system_error", "system_error"]
    assert list((tmp_path / "queue").iterdir()) == []


def test_the_end_that_still_lies_in_the_queue_is_the_one_that_counts(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, store = keeper(database_url, tmp_path / "queue")
    lost.round([change(1, duration_us=None, version=2)])

    monkeypatch.setattr(store, "write", away)
    lost.round([change(1, version=4)])
    kill(lost)
    one, _ = keeper(database_url, tmp_path / "queue", OTHER)
    assert ids(one.round([]).closed) == []
    one.close(calls_left=False)
    assert end_reasons(database_url) == ["hangup"]


def test_calls_of_a_silent_server_elsewhere_are_closed_after_a_while(
    database_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    lost, _ = keeper(database_url, tmp_path / "far", RUN, clock)
    lost.round([change(1, duration_us=None)])
    one, _ = keeper(database_url, tmp_path / "near", OTHER, clock)
    assert ids(one.round([]).closed) == []
    while clock.now_s < 1_800_000_000 + GONE_AFTER_US / 1e6:
        clock.now_s += SEEN_EVERY_S
        assert one.round([]).closed == []
    clock.now_s += SEEN_EVERY_S
    assert ids(one.round([]).closed) == [change(1).call_id]
    assert ids(one.round([]).closed) == []
    # It was only cut off: it tells its calls again, and the true end replaces the supposed one.
    assert lost.round([]).unknown
    lost.round([change(1, version=4)])
    assert end_reasons(database_url) == ["hangup"]
    for each in (one, lost):
        each.close(calls_left=False)


def test_several_servers_write_into_one_database_at_once(database_url: str, tmp_path: Path) -> None:
    servers = [keeper(database_url, tmp_path / "queue", uuid.UUID(int=n)) for n in (1, 2, 3)]

    def work(which: int) -> None:
        one, _ = servers[which]
        for step in range(8):
            numbers = [which * 100 + step * 5 + number for number in range(5)]
            one.round([change(n, duration_us=None, metadata={"n": "all"}) for n in numbers])
            one.round([change(n, version=4, metadata={"n": "all"}) for n in numbers])
        while one.queued:
            one.round([])

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    page = list_calls(servers[0][1], [("pageSize", "200"), ("metadata.n", "all"), ("durationMin", "1s")])
    assert page.total == len(page.results) == 120
    for each, _ in servers:
        assert each.damaged == 0
        each.close(calls_left=False)


def test_one_record_that_the_database_refuses_does_not_hold_up_the_others(
    database_url: str, tmp_path: Path
) -> None:
    one, store = keeper(database_url, tmp_path / "queue")
    too_late = change(2, created_us=2**62)
    kept = one.round([change(1), too_late, change(3)])
    assert ids(kept.recorded) == [change(1).call_id, change(3).call_id]
    assert one.damaged == 1
    assert one.queued == 0
    assert list_calls(store, []).total == 2
    one.close(calls_left=False)


def test_old_calls_go_with_their_recordings(database_url: str, tmp_path: Path) -> None:
    clock = Clock()
    folder = tmp_path / "recordings"
    folder.mkdir()
    files = {name: folder / f"{name}.wav" for name in ("old", "shared", "new", "outside")}
    files["outside"] = tmp_path / "outside.wav"
    for path in files.values():
        path.write_bytes(b"RIFF")
    store = Store(database_url, run_id=RUN)
    one = Keeper(
        store,
        tmp_path / "queue",
        retention_days=30,
        recordings_folder=str(folder),
        wall_clock_ns=clock.wall_ns,
        monotonic=clock.monotonic,
    )
    now_us = round(clock.now_s * 1e6)

    def call(number: int, days: float, *names: str, **fields: object) -> Change:
        recordings = [{"file": str(files[name]), "finished": True} for name in names]
        created_us = now_us - round(days * 86_400e6)
        return change(number, created_us=created_us, recordings=recordings, **fields)  # type: ignore[arg-type]

    one.round(
        [
            call(1, 31, "old", "shared", "outside"),
            call(2, 29, "shared"),
            call(3, 31, duration_us=None),
            call(4, 1, "new", auto_delete=True),
        ]
    )
    assert one.pruned == 2
    assert sorted(path.stem for path in folder.iterdir()) == ["shared"]
    assert files["outside"].exists()
    assert list_calls(store, []).total == 2
    one.close(calls_left=True)


def test_it_tells_of_calls_that_are_left_to_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.history.keeper.SWEEP_ROUNDS", 1)
    monkeypatch.setattr("vb.history.write_store.REMOVE_AT_ONCE", 1)
    one, _ = keeper(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    one.round([change(number, auto_delete=True) for number in range(2)])
    left = []
    for _ in range(3):
        left.append((one.pruned, one.status.sweeping))
        one.round([])
    assert left == [(1, True), (2, True), (2, False)]
    one.close(calls_left=False)


async def test_recordings_in_a_bucket_go_with_calls_that_their_policy_deletes(tmp_path: Path) -> None:
    settings = history_of(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    bus, asked = EventBus("edge-1", SystemIds()), trio.Event()
    deleted: list[str] = []

    async def delete(url: str) -> bool:
        deleted.append(url)
        asked.set()
        return True

    one = keeper(settings.url, settings.folder)[0]
    recordings = [{"file": "s3://bucket/a.wav", "finished": True}]
    one.keep([change(1, auto_delete=True, recordings=recordings)])
    one.close(calls_left=False)
    async with open_history(settings, bus) as history:
        history.delete_stored = delete
        with trio.fail_after(20):
            await asked.wait()
    assert deleted == ["s3://bucket/a.wav"]
    assert history.left == 0


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, None),
        ({"database_url": "off", "data_dir": "/var/lib/vb"}, None),
        ({"data_dir": "/var/lib/vb"}, ("sqlite:////var/lib/vb/calls.db", "/var/lib/vb")),
        ({"database_url": "sqlite:////srv/x.db"}, ("sqlite:////srv/x.db", "/srv")),
        ({"database_url": "postgresql://db/vb", "data_dir": "/q"}, ("postgresql://db/vb", "/q")),
    ],
)
def test_settings_say_where_the_history_lies(
    settings: dict[str, str], wanted: tuple[str, str] | None
) -> None:
    found = history_settings(Config(history=HistoryConfig.model_validate(settings)))
    assert (found and (found.url, str(found.folder))) == wanted


def test_a_server_database_needs_a_folder_for_what_waits() -> None:
    config = Config(history=HistoryConfig.model_validate({"database_url": "postgresql://db/vb"}))
    with pytest.raises(ConfigError, match="VB_DATA_DIR"):
        history_settings(config)


def test_the_file_of_calls_is_for_its_owner_only(tmp_path: Path) -> None:
    one, _ = keeper(f"sqlite:///{tmp_path}/data/calls.db", tmp_path / "data")
    one.round([change(1)])
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "data").iterdir()}
    assert set(modes.values()) == {0}, modes
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    one.close(calls_left=False)
