"""What fails, is killed or is away at the worst moment: no call is lost, told wrongly, or comes back."""

from __future__ import annotations

import errno
import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.history.conftest import LosableDatabase
from tests.history.keepers import OTHER, RUN, Clock, away, end_reasons, ids, keeper, kill, reader
from tests.history.making import change, write
from tests.support.history import history_of
from vb.events.base import Published
from vb.events.bus import EventBus
from vb.events.history import CallRecorded
from vb.events.leg import Cdr, LegDisconnected, LegRinging
from vb.history import collector
from vb.history import keeper as module
from vb.history.database import reading
from vb.history.edge import list_calls
from vb.history.runs import GONE_AFTER_US, SEEN_EVERY_S
from vb.history.spool import QueueFull, Spool
from vb.history.store import Store
from vb.history.tasks import keeping, open_history, service
from vb.history.writer import Recorded
from vb.ids import SystemIds


async def test_a_call_that_ended_long_before_the_database_came_back_is_told_once_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "LINGER_US", 0)
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    in_the_way = tmp_path / "calls.db"
    in_the_way.mkdir()
    bus, told, kept = EventBus("edge-1", SystemIds()), list[CallRecorded](), trio.Event()

    def take(published: Published) -> None:
        if isinstance(published.event, CallRecorded):
            told.append(published.event)
            kept.set()

    bus.subscribe(take)
    leg_id = str(uuid.uuid4())
    async with open_history(history_of(f"sqlite:///{in_the_way}", tmp_path / "queue"), bus) as history:
        bus.publish(LegRinging(leg_id=leg_id, leg_type="sip_inbound", app_id="shop"))
        bus.publish(
            LegDisconnected(leg_id=leg_id, cdr=Cdr(reason="busy", duration_total=1, duration_answered=0))
        )
        with trio.fail_after(20):
            while not history.keeper.status.queued or history.collector._ended:  # noqa: ASYNC110 - nothing tells
                await trio.sleep(0.01)
            assert told == []
            in_the_way.rmdir()
            await kept.wait()
    assert [(event.call_id, event.leg_id, event.app_id) for event in told] == [(leg_id, leg_id, "shop")]


def test_an_end_is_told_once_however_much_comes_after_it(database_url: str, tmp_path: Path) -> None:
    one, _ = keeper(database_url, tmp_path / "queue")
    assert one.round([change(1, duration_us=None, app_id="shop")]).recorded == []
    over = change(1, version=4, app_id="shop")
    assert one.round([over]).recorded == [Recorded(over.call_id, str(over.call_id), "shop")]
    assert one.round([change(1, version=6)]).recorded == []
    assert one.round([over]).recorded == []
    one.close(calls_left=False)


def test_ends_that_lie_in_the_queue_of_a_killed_server_are_told_by_the_next(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, store = keeper(database_url, tmp_path / "queue")
    monkeypatch.setattr(store, "write", away)
    lost.round([change(1, app_id="shop")])
    lost.round([change(1, version=4, app_id="shop")])
    kill(lost)
    one, _ = keeper(database_url, tmp_path / "queue", OTHER)
    kept = one.round([])
    assert [(call.call_id, call.app_id) for call in kept.recorded] == [(change(1).call_id, "shop")]
    assert kept.closed == []
    one.close(calls_left=False)


def test_calls_are_closed_of_a_server_that_was_killed_before_it_said_that_it_is_there(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, _ = keeper(database_url, tmp_path / "queue")
    monkeypatch.setattr(lost, "_look_after", away)
    lost.round([change(1, duration_us=None)])
    kill(lost)
    one, _ = keeper(database_url, tmp_path / "queue", OTHER)
    assert ids(one.round([]).closed) == [change(1).call_id]
    one.close(calls_left=False)
    assert end_reasons(database_url) == ["system_error"]


def test_calls_are_closed_that_lie_only_in_the_queue_of_a_server_that_others_took_for_gone(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    lost, store = keeper(database_url, tmp_path / "near", RUN, clock)
    lost.round([])
    monkeypatch.setattr(store, "write", away)
    lost.round([change(1, duration_us=None)])
    kill(lost)
    far, _ = keeper(database_url, tmp_path / "far", uuid.UUID(int=3), clock)
    clock.now_s += GONE_AFTER_US / 1e6 + 1
    assert far.round([]).closed == []  # there is nothing of it, and from now on nobody knows of it
    one, _ = keeper(database_url, tmp_path / "near", OTHER, clock)
    assert ids(one.round([]).closed) == [change(1).call_id]
    for each in (one, far):
        each.close(calls_left=False)
    assert end_reasons(database_url) == ["system_error"]


def test_the_first_to_come_back_to_a_database_does_not_take_the_others_for_gone(
    losable: LosableDatabase, tmp_path: Path
) -> None:
    clock = Clock()
    one, _ = keeper(losable.url, tmp_path / "one", RUN, clock)
    other, _ = keeper(losable.url, tmp_path / "other", OTHER, clock)
    one.round([change(1, duration_us=None)])
    other.round([change(2, duration_us=None)])
    losable.lose()
    for _ in range(14):
        clock.now_s += SEEN_EVERY_S
        one.round([])
        other.round([])
    losable.give_back()
    assert one.round([]).closed == []
    clock.now_s += 2
    assert not other.round([]).unknown
    for _ in range(20):  # nor later, as long as both are there
        clock.now_s += SEEN_EVERY_S
        assert one.round([]).closed == other.round([]).closed == []
    kill(other)
    while clock.now_s < 1_800_000_000 + 1_000:
        clock.now_s += SEEN_EVERY_S
        if closed := one.round([]).closed:
            break
    assert ids(closed) == [change(2).call_id]
    one.close(calls_left=True)


def test_a_server_writes_what_waits_a_while_at_a_time_and_says_meanwhile_that_it_is_there(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    clock = Clock()
    one, store = keeper(database_url, tmp_path / "queue", RUN, clock)
    really = store.write
    monkeypatch.setattr(store, "write", away)
    one.round([change(number) for number in range(20)])

    def slowly(*args: object, **named: object) -> object:
        clock.now_s += 0.6 * module.DRAIN_S
        return really(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "write", slowly)
    told: list[uuid.UUID] = []
    rounds = 0
    while one.queued:
        told += ids(one.round([]).recorded)
        rounds += 1
        assert clock.wall_ns() // 1_000 - one._seen_us < 5 * 1_000_000
    assert rounds == 5
    assert told == [change(number).call_id for number in range(20)]
    one.close(calls_left=False)


def test_what_a_killed_server_left_is_closed_only_when_all_of_it_is_written(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, store = keeper(database_url, tmp_path / "queue")
    monkeypatch.setattr(store, "write", away)
    for number in range(4):
        lost.round([change(number, duration_us=None)])
    for number in range(4):
        lost.round([change(number, version=4)])
    kill(lost)
    monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(module, "DRAIN_S", -1.0)
    one, _ = keeper(database_url, tmp_path / "queue", OTHER)
    closed = [call for _ in range(9) for call in one.round([]).closed]
    assert (closed, one.queued) == ([], 0)
    one.close(calls_left=False)
    assert end_reasons(database_url) == ["hangup"] * 4


def test_who_reads_and_who_tends_do_not_hold_up_who_writes(store: Store) -> None:
    with ExitStack() as stack:
        for _ in range(service.READERS + 1):
            stack.enter_context(reading(store._engine))
        store.write([write(1)])
    assert list_calls(store, []).total == 1


def test_a_deleted_call_does_not_come_back_with_what_is_told_of_it_late(
    database_url: str, tmp_path: Path
) -> None:
    one, store = keeper(database_url, tmp_path / "queue")
    one.round([change(1), change(2)])
    store.delete(change(1).call_id)
    kept = one.round([change(1, version=4), change(2, version=4)])
    assert (kept.recorded, one.damaged) == ([], 0)
    assert [call.call_id for call in list_calls(store, []).results] == [change(2).call_id]
    assert list_calls(store, [("durationMin", "1s")]).total == 1
    store.forget_removed(1 << 62)
    one.round([change(1, version=6)])
    assert list_calls(store, []).total == 2
    one.close(calls_left=False)


def test_a_call_that_cannot_be_packed_does_not_hold_up_the_others(database_url: str, tmp_path: Path) -> None:
    one, store = keeper(database_url, tmp_path / "queue")
    kept = one.round([change(1), change(2, strange=object()), change(3, agent_id="\ud800")])
    assert ids(kept.recorded) == [change(1).call_id]
    assert (one.damaged, one.problems, kept.refused) == (2, {}, [])
    assert list_calls(store, []).total == 1
    one.close(calls_left=False)


def test_calls_of_one_microsecond_are_given_back_each_to_itself() -> None:
    told = collector.Collector("edge-1")
    legs = [str(uuid.UUID(int=number, version=4)) for number in (1, 2)]
    for leg_id in legs:
        told.observe(
            Published(LegRinging(leg_id=leg_id, leg_type="webrtc"), "1", "2026-11-29T08:00:00Z", "edge-1")
        )
    for call in told._calls.values():
        call.key = 7
    first, second = told.take()
    told.give_back([second])
    assert [change.call_id for change in told.take()] == [second.call_id]
    told.give_back([replace(first, parts=((1, b"{}"),))])
    assert [change.call_id for change in told.take()] == [first.call_id]


async def test_a_fault_of_tending_is_counted_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TEND_EVERY_S", 0.01)
    tried = trio.Event()

    async with open_history(
        history_of(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue"), EventBus("edge-1", SystemIds())
    ) as history:

        def tend(_: object) -> bool:
            if history.keeper.status.faults:
                trio.from_thread.run_sync(tried.set)
            raise ValueError("a column of the wrong length")

        monkeypatch.setattr(history.store, "tend", tend)
        with trio.fail_after(20):
            await tried.wait()
        assert history.keeper.status.faults >= 1


def test_a_call_that_its_policy_deletes_is_told_once_and_does_not_come_back(
    database_url: str, tmp_path: Path
) -> None:
    one, store = keeper(database_url, tmp_path / "queue")
    told = one.round([change(1, auto_delete=True)]).recorded
    assert len(told) == 1
    store.prune(None)
    late = one.round([change(1, auto_delete=True, version=4)])
    assert (late.recorded, list_calls(store, []).total) == ([], 0)
    one.close(calls_left=False)


def test_an_end_whose_commit_was_lost_midway_is_told_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, store = keeper(database_url, tmp_path / "queue")
    really, fails = store.write, [True, True, False]

    def lost(*args: object, **named: object) -> object:
        done = really(*args, **named)  # type: ignore[arg-type]
        if fails.pop(0):
            away()
        return done

    monkeypatch.setattr(store, "write", lost)
    assert one.round([change(1, app_id="shop"), change(2, duration_us=None)]).recorded == []
    assert one.round([]).recorded == []
    told = one.round([]).recorded
    assert [(call.call_id, call.app_id) for call in told] == [(change(1).call_id, "shop")]
    fails.append(False)
    assert one.round([change(1, version=6)]).recorded == []
    one.close(calls_left=False)


def test_what_an_earlier_keeper_of_the_server_wrote_and_did_not_tell_is_told_by_the_next(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, store = keeper(database_url, tmp_path / "queue")
    lost.round([change(1)])
    really = store.write

    def killed(*args: object, **named: object) -> object:
        really(*args, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        lost.round([change(2)])
    kill(lost)
    next_store = Store(database_url, run_id=RUN, instance_id="run 1")
    one = module.Keeper(next_store, tmp_path / "queue", seen_us=1, again=True)
    assert ids(one.round([]).recorded) == [change(2).call_id]
    assert one.round([]).closed == []
    one.close(calls_left=False)
    assert list((tmp_path / "queue").iterdir()) == []


def test_a_call_that_is_written_again_long_after_a_restart_of_the_keeper_is_told_once(
    database_url: str, tmp_path: Path
) -> None:
    store = Store(database_url, run_id=RUN, instance_id="run 1")
    now_ns = 1_000 * change(2).ended_us - 1
    one = module.Keeper(store, tmp_path / "queue", again=True, wall_clock_ns=lambda: now_ns)
    assert ids(one.round([change(1), change(2)]).recorded) == [change(1).call_id, change(2).call_id]
    assert ids(one.round([change(1, version=4), change(2, version=4)]).recorded) == []
    one.close(calls_left=False)


def test_what_is_left_in_the_queue_is_told_by_the_next_server_that_writes_it(
    database_url: str, tmp_path: Path
) -> None:
    lost, _ = keeper(database_url, tmp_path / "queue")
    lost.round([])
    lost.round([change(1)], write=False)
    kill(lost)
    one, _ = keeper(database_url, tmp_path / "queue", run=OTHER)
    assert ids(one.round([]).recorded) == [change(1).call_id]
    one.close(calls_left=False)


def test_several_changes_of_one_call_are_given_back_whole() -> None:
    told = collector.Collector("edge-1")
    leg_id = str(uuid.UUID(int=1, version=4))

    def ring(number: int) -> None:
        event = LegRinging(leg_id=leg_id, leg_type="webrtc", from_=f"{number}")
        told.observe(Published(event, str(number), "2026-11-29T08:00:00Z", "edge-1"))

    for number in range(70):
        ring(number)
    changes = told.take()
    for number in range(70, 150):
        ring(number)
    changes += told.take()
    assert len(changes) == 2
    told.give_back(changes)
    (again,) = told.take()
    newest = {number: data for change in changes for number, data in change.parts}
    assert dict(again.parts) == newest
    assert sum(len(data.split(b"\n")) for data in newest.values()) == 150


def test_two_files_of_one_run_that_end_up_in_one_lose_nothing(tmp_path: Path) -> None:
    one, two = Spool(tmp_path, RUN), Spool(tmp_path, RUN)
    one.put([b"first"])
    two.put([b"second"])
    one._store._db.close()  # as a killed process does
    two.take_over()
    assert sorted(item.data for item in two.take(10)) == [b"first", b"second"]
    two.close()


def test_calls_are_told_of_before_the_queue_lets_go_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[uuid.UUID] = []
    url = f"sqlite:///{tmp_path}/calls.db"
    lost, _ = keeper(url, tmp_path / "queue", OTHER)
    lost.round([change(3, duration_us=None)])
    kill(lost)
    one, _ = keeper(url, tmp_path / "queue")
    one._tell = lambda kept: told.extend(ids([*kept.recorded, *kept.closed]))
    really = Spool.ack

    def dying(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Spool, "ack", dying)
    with pytest.raises(KeyboardInterrupt):
        one.round([change(1), change(2, duration_us=None)])
    assert told == [change(1).call_id]
    monkeypatch.setattr(Spool, "ack", really)
    monkeypatch.setattr(Spool, "settle", dying)
    with pytest.raises(KeyboardInterrupt):
        one.round([])
    assert told == [change(1).call_id, change(3).call_id]
    kill(one)


@pytest.mark.parametrize("problem", [QueueFull(), OSError(errno.ENOSPC, "full")], ids=["queue", "disk"])
def test_a_version_that_a_full_queue_refuses_is_written_behind_the_one_that_lies_there(
    problem: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/calls.db"
    one, _ = keeper(url, tmp_path / "queue")
    one.round([])
    call = change(1)
    one.round([replace(call, texts=("zanzibar",))], write=False)

    def full(_: object) -> None:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(one._intake.queue, "put", full)
        kept = one.round([replace(call, version=call.version + 2, texts=None)])
    assert (kept.refused, one.queued) == ([], 0)
    one.close(calls_left=False)
    store = reader(url)
    try:
        assert len(list_calls(store, [("search", "zanzibar")]).results) == 1
    finally:
        store.close()
