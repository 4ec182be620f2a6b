"""Who was on a recording of a room or talked to its agent has it in his call, whenever he came and went."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.history.making import entries_of
from tests.history.told import LEG, MATE, Told, ended
from vb.events.agent import AgentConnected, AgentDisconnected
from vb.events.leg import LegConnected, LegJoinedRoom, LegLeftRoom, LegRinging
from vb.events.media import RecordingFinished, RecordingStarted
from vb.events.room import RoomDeleted
from vb.history import collector as collector_module
from vb.history import rooms as module
from vb.history.model import AgentSession, Recording
from vb.history.present import show_detail
from vb.history.times import event_time_us

LATER_US = event_time_us("2026-11-29T09:00:00Z")
LATE = str(uuid.UUID(int=9, version=4))


@pytest.fixture
def told() -> Told:
    told = Told()
    for leg_id in (LEG, MATE, LATE):
        told(LegConnected(leg_id=leg_id, leg_type="sip_inbound"))
    return told


def join(told: Told, *leg_ids: str, room: str = "hall") -> None:
    for leg_id in leg_ids:
        told(LegJoinedRoom(leg_id=leg_id, room_id=room))


def leave(told: Told, *leg_ids: str, room: str = "hall") -> None:
    for leg_id in leg_ids:
        told(LegLeftRoom(leg_id=leg_id, room_id=room))


def record(told: Told, file: str = "/r/a.wav") -> None:
    told(RecordingStarted(room_id="hall", file=file))


def finish(told: Told, file: str = "/r/a.wav") -> None:
    told(RecordingFinished(room_id="hall", file=file))


def details(told: Told) -> dict[str, Any]:
    """What is told of each leg since the last time."""
    shown = [show_detail(change.call_id, change.document).leg for change in told.collector.take()]
    return {leg.leg_id: leg for leg in shown}


def recordings(told: Told) -> dict[str, list[tuple[str, bool]]]:
    def short(items: list[Recording]) -> list[tuple[str, bool]]:
        return [(item.file, item.finished) for item in items]

    return {leg_id: short(leg.recordings) for leg_id, leg in details(told).items()}


def leave_a_recording_that_goes_on(told: Told) -> None:
    """Let one of two who are recorded end, and be written."""
    join(told, LEG, MATE)
    record(told)
    leave(told, LEG)
    told(ended(LEG))
    told.collector.take()


def test_who_leaves_before_a_recording_of_the_room_ends_learns_where_it_lies(told: Told) -> None:
    join(told, LEG, MATE)
    record(told)
    leave(told, LEG)
    told(ended(LEG))
    finish(told, "s3://bucket/a.wav")
    assert recordings(told) == {
        LEG: [("s3://bucket/a.wav", True)],
        MATE: [("s3://bucket/a.wav", True)],
        LATE: [],
    }


def test_who_leaves_last_has_the_recording_that_ends_with_that(told: Told) -> None:
    join(told, LEG)
    record(told)
    leave(told, LEG)
    finish(told)
    told(ended(LEG))
    (change,) = [each for each in told.collector.take() if each.document["leg_id"] == LEG]
    kinds = [entry["type"] for entry in entries_of(data for _, data in change.parts)]
    assert kinds[-3:] == ["leg.left_room", "recording.finished", "leg.disconnected"]
    assert change.document["recordings"] == [{"file": "/r/a.wav", "room_id": "hall", "finished": True}]


def test_who_comes_late_is_on_the_recording_though_he_leaves_early(told: Told) -> None:
    join(told, LEG)
    record(told)
    join(told, LATE)
    leave(told, LATE)
    told(ended(LATE))
    assert recordings(told)[LATE] == [("/r/a.wav", False)]
    finish(told)
    join(told, MATE)
    assert recordings(told) == {LEG: [("/r/a.wav", True)], LATE: [("/r/a.wav", True)], MATE: []}


def test_who_goes_and_comes_back_is_on_a_recording_once(told: Told) -> None:
    join(told, LEG, MATE)
    record(told)
    for _ in range(2):
        leave(told, LEG)
        join(told, LEG, room="aside")
        leave(told, LEG, room="aside")
        join(told, LEG)
    finish(told)
    record(told, "/r/b.wav")
    finish(told, "/r/b.wav")
    assert recordings(told)[LEG] == [("/r/a.wav", True), ("/r/b.wav", True)]


def test_a_call_waits_for_the_recording_that_it_is_on_and_no_longer(told: Told) -> None:
    leave_a_recording_that_goes_on(told)
    told.collector.forget(LATER_US)
    finish(told)
    assert recordings(told)[LEG] == [("/r/a.wav", True)]
    told.collector.forget(LATER_US)
    assert told.collector._find(LEG) is None


def test_of_many_who_have_left_a_recorded_room_the_earliest_wait_no_longer(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_GONE", 1)
    join(told, LEG, MATE, LATE)
    record(told)
    leave(told, LEG, MATE)
    for leg_id in (LEG, MATE):
        told(ended(leg_id))
    told.collector.take()
    told.collector.forget(LATER_US)
    finish(told)
    assert recordings(told) == {MATE: [("/r/a.wav", True)], LATE: [("/r/a.wav", True)]}


def test_of_many_who_have_left_recorded_rooms_of_all_the_earliest_waits_no_longer(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_AWAITED", 1)
    join(told, LATE)
    record(told)
    join(told, LEG)
    leave(told, LEG)
    told(ended(LEG))
    assert recordings(told)[LEG] == [("/r/a.wav", False)]
    told.collector.forget(LATER_US)
    join(told, MATE, room="aside")
    told(RecordingStarted(room_id="aside", file="/r/b.wav"))
    leave(told, MATE, room="aside")
    told(ended(MATE))
    told.collector.take()
    told.collector.forget(LATER_US)
    assert told.collector._find(LEG) is None
    told(RecordingFinished(room_id="aside", file="/r/b.wav"))
    finish(told)
    assert recordings(told) == {MATE: [("/r/b.wav", True)], LATE: [("/r/a.wav", True)]}
    told.collector.forget(LATER_US)
    collector = told.collector
    assert (collector._ended, collector._awaited, collector._rooms._gone) == ({}, {}, {})


def test_calls_that_wait_for_a_recording_are_not_gone_through_each_time(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_a_recording_that_goes_on(told)
    asked: list[str] = []
    awaits = told.collector._rooms.awaits

    def ask(leg_id: str) -> bool:
        asked.append(leg_id)
        return awaits(leg_id)

    monkeypatch.setattr(told.collector._rooms, "awaits", ask)
    for _ in range(3):
        told.collector.forget(LATER_US)
    assert asked == [LEG]


def test_who_waits_for_a_recording_is_given_up_first_when_there_is_no_room(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_a_recording_that_goes_on(told)
    told.collector.forget(LATER_US)
    told(ended(LATE))
    monkeypatch.setattr(collector_module, "MAX_HELD", 1)
    told.collector.shed()
    assert (told.collector._find(LEG), told.collector.lost) == (None, 0)
    assert told.collector._find(LATE) is not None


def test_nothing_is_remembered_of_rooms_that_are_gone(told: Told) -> None:
    join(told, LEG, MATE)
    record(told)
    told(AgentConnected(room_id="hall", conversation_id="c1"))
    leave(told, LEG)
    finish(told)
    leave(told, MATE)
    told(RoomDeleted(room_id="hall"))
    rooms = told.collector._rooms
    assert (rooms._rooms, rooms._room_of, rooms._gone) == ({}, {}, {})


def test_a_room_that_is_deleted_before_its_legs_leave_goes_with_the_last_of_them(told: Told) -> None:
    join(told, LEG, MATE)
    told(RoomDeleted(room_id="hall"))
    record(told)
    leave(told, LEG)
    told(ended(MATE))
    rooms = told.collector._rooms
    assert (rooms._rooms, rooms._room_of, rooms._gone) == ({}, {}, {})
    join(told, LATE)
    leave(told, LATE)
    assert list(rooms._rooms) == ["hall"]


def agents(told: Told, leg_id: str) -> list[tuple[str | None, bool, bool, str | None]]:
    """Of each agent of a call: its conversation, whether it took a while, whether it is over, and why."""

    def short(item: AgentSession) -> tuple[str | None, bool, bool, str | None]:
        took = item.ended is not None and item.ended > item.started
        return item.conversation_id, took, item.ended is not None, item.reason

    return [short(item) for item in details(told)[leg_id].agents]


def test_who_comes_late_talks_to_the_agent_of_the_room_from_then_on(told: Told) -> None:
    join(told, LEG)
    told(AgentConnected(room_id="hall", conversation_id="c1", provider="vapi"))
    join(told, LATE)
    told(AgentDisconnected(room_id="hall", conversation_id="c1", reason="stopped"))
    assert agents(told, LATE) == [("c1", True, True, "stopped")]


def test_who_leaves_talks_to_the_agent_of_the_room_no_longer_and_the_last_learns_why(told: Told) -> None:
    join(told, LEG, MATE)
    told(AgentConnected(room_id="hall", conversation_id="c1", provider="vapi"))
    leave(told, LEG)
    assert agents(told, LEG) == [("c1", True, True, None)]
    leave(told, MATE)
    told(AgentDisconnected(room_id="hall", conversation_id="c1", reason="owner_gone"))
    assert agents(told, MATE) == [("c1", True, True, "owner_gone")]


def test_an_agent_of_ones_own_outlives_that_of_a_room(told: Told) -> None:
    join(told, LEG)
    told(AgentConnected(leg_id=LEG, conversation_id="own"))
    told(AgentConnected(room_id="hall", conversation_id="c1"))
    told(AgentDisconnected(room_id="hall", conversation_id="c1", reason="stopped"))
    assert agents(told, LEG) == [("own", False, False, None), ("c1", True, True, "stopped")]


def test_a_call_keeps_its_own_app_id_or_none_in_rooms_of_others(told: Told) -> None:
    told(LegRinging(leg_id=LATE, leg_type="sip_outbound", app_id="mine"))
    join(told, LEG, LATE)
    told(RecordingStarted(room_id="hall", file="/r/a.wav", app_id="theirs"))
    shown = details(told)
    assert (shown[LEG].app_id, shown[LATE].app_id) == (None, "mine")
