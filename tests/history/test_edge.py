from __future__ import annotations

import contextlib
import random
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import event

from tests.history.making import BASE_US, change, write
from vb.errors import Conflict, InvalidField, NotFound, Unavailable
from vb.history.change import PROCESS_LOST
from vb.history.edge import (
    RecordingFile,
    delete_call,
    find_recording,
    get_call,
    list_calls,
    list_details,
    list_entries,
    list_messages,
)
from vb.history.model import Call
from vb.history.store import Store
from vb.media.recording_names import recording_name, recovered_name

ID = str(change(1).call_id)
STARTED = datetime(2026, 11, 30, 12, 0)
AGENTS = [str(uuid.UUID(int=number, version=4)) for number in (1, 2)]


def test_a_page_has_links_that_keep_its_filters(store: Store) -> None:
    store.write([write(number, metadata={"a b": "ü&"}) for number in range(5)])
    page = list_calls(store, [("metadata.a b", "ü&"), ("pageSize", "2")], "https://vb.example")
    assert page.previous is None
    assert page.next is not None
    assert page.next.startswith("https://vb.example/api/calls?")
    pairs = parse_qsl(urlsplit(page.next).query)
    assert pairs[:2] == [("metadata.a b", "ü&"), ("pageSize", "2")]
    second = list_calls(store, pairs)
    assert len(second.results) == 2
    assert second.previous is not None
    assert list_calls(store, parse_qsl(urlsplit(second.previous).query)).results == page.results


def test_what_is_answered_has_each_field_of_a_call_and_no_null_that_may_not_be(store: Store) -> None:
    store.write([write(1, leg_type="sip_outbound", uri="sip:bob@example.org", **{"from": "anna"})])
    (call,) = list_calls(store, []).model_dump(mode="json")["results"]
    absent = {"externalVoice", "voiceOverrides", "dataConnectionConfig", "callbacks"}
    known = {info.alias for info in Call.model_fields.values()}
    assert set(call) == known - absent
    assert call["created"] == "2026-09-21T14:13:21.000000Z"
    assert call["medium"] == {"sip": {"outgoing": {"to": "sip:bob@example.org", "from": "anna"}}}
    assert call["sipDetails"] == {"billedDuration": "60s", "terminationReason": "SIP_TERMINATION_NORMAL"}
    assert call["agent"] == {"agentId": str(uuid.UUID(int=0)), "name": ""}
    assert (call["firstSpeaker"], call["firstSpeakerSettings"]) == ("FIRST_SPEAKER_USER", {"user": {}})


def test_a_call_that_goes_on_has_no_end(store: Store) -> None:
    store.write([write(1, duration_us=None)])
    call = get_call(store, ID)
    assert (call.ended, call.end_reason, call.billed_duration) == (None, None, None)
    assert call.billing_status == "BILLING_STATUS_PENDING"


@pytest.mark.parametrize("text", ["", "x", str(uuid.UUID(int=5)), ID + "0", "'; DROP TABLE calls"])
def test_a_call_that_does_not_exist_is_not_found(store: Store, text: str) -> None:
    for ask in (get_call, list_entries, list_messages, find_recording):
        with pytest.raises(NotFound, match="call not found"):
            ask(store, text)
    with pytest.raises(NotFound):
        delete_call(store, text, None)


def test_what_happened_comes_in_pages(store: Store) -> None:
    lines = [
        b'{"type":"dtmf.received","timestamp":"2026-01-01T00:00:00Z","digit":"%d"}' % (number % 10)
        for number in range(150)
    ]
    store.write([write(1, parts=((1, b"\n".join(lines[:100])), (2, b"\n".join(lines[100:]))))])
    page = list_entries(store, ID, [("pageSize", "60")])
    assert (page.total, len(page.results), page.previous) == (150, 60, None)
    assert page.next is not None
    last = list_entries(store, ID, [("pageSize", "60"), ("cursor", "120")])
    assert [entry.number for entry in last.results] == list(range(121, 151))
    assert last.next is None
    for pairs in (
        [("cursor", "-1")],
        [("cursor", "x")],
        [("pageSize", "0")],
        [("cursor", "1"), ("cursor", "2")],
    ):
        with pytest.raises(InvalidField):
            list_entries(store, ID, pairs)


def test_what_was_said_is_told_with_its_time(store: Store) -> None:
    said = b'{"type":"stt.text","timestamp":"2026-09-21T14:13:25Z","text":"hi","is_final":true}'
    store.write([write(1, parts=((1, said),))])
    (message,) = list_messages(store, ID).results
    assert (message.role, message.text) == ("MESSAGE_ROLE_USER", "hi")
    assert message.timespan is not None
    assert message.timespan.start == "3s"


def test_when_something_was_said_counts_from_the_answer_and_not_from_its_transcription(store: Store) -> None:
    said = (
        b'{"type":"stt.text","timestamp":"2026-09-21T14:13:25Z","text":"hi","is_final":true,'
        b'"audio_start_ms":100,"audio_end_ms":850}'
    )
    store.write([write(1, parts=((1, said),))])
    (message,) = list_messages(store, ID).results
    assert message.timespan is not None
    assert (message.timespan.start, message.timespan.end) == ("2.250s", "3s")


def test_a_recording_can_be_read_until_its_call_is_deleted(store: Store, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "r" / "a.wav", tmp_path / "secret.txt"
    file.parent.mkdir()
    file.write_bytes(b"RIFF")
    elsewhere.write_text("mine")
    recordings = [{"file": str(elsewhere), "room_id": "x"}, {"file": str(file), "finished": True}]
    store.write([write(1, recordings=recordings)])
    assert find_recording(store, ID) == RecordingFile(file)
    assert delete_call(store, ID, str(file.parent)) == (str(elsewhere),)
    assert not file.exists()
    assert elsewhere.exists()
    with pytest.raises(NotFound):
        get_call(store, ID)
    assert list_calls(store, []).total == 0
    assert list_calls(store, [("durationMin", "1s")]).total == 0


def test_a_recording_that_is_being_made_or_is_gone_is_told(store: Store, tmp_path: Path) -> None:
    running = [{"file": str(tmp_path / "later.wav")}]
    store.write([write(1, duration_us=None, recordings=running), write(2), write(3, recordings=running)])
    with pytest.raises(Conflict):
        find_recording(store, ID)
    for number in (2, 3):
        with pytest.raises(NotFound, match="no recording"):
            find_recording(store, str(change(number).call_id))


def test_a_recording_of_a_room_may_go_on_when_the_call_is_over_unless_its_process_is_gone(
    store: Store, tmp_path: Path
) -> None:
    running = [{"file": str(tmp_path / "later.wav"), "room_id": "hall"}]
    store.write([write(1, recordings=running), write(2, recordings=running, reason=PROCESS_LOST)])
    with pytest.raises(Conflict, match="of the room"):
        find_recording(store, ID)
    with pytest.raises(NotFound, match="no recording"):
        find_recording(store, str(change(2).call_id))


def test_a_recording_of_a_room_does_not_go_on_without_the_process_that_made_it(
    store: Store, tmp_path: Path
) -> None:
    store.write([write(1, recordings=[{"file": str(tmp_path / "weekly.wav"), "room_id": "hall"}])])
    with pytest.raises(Conflict, match="of the room"):
        find_recording(store, ID)
    store.leave()
    with pytest.raises(NotFound, match="no recording"):
        find_recording(store, ID)


def test_what_was_recovered_of_a_recording_is_read_and_deleted_in_its_place(
    store: Store, tmp_path: Path
) -> None:
    planned = tmp_path / recording_name(STARTED, "2e71f6af")
    recovered, channels = (
        tmp_path / recovered_name(STARTED + timedelta(seconds=9), token)
        for token in ("2e71f6af", "2e71f6af-2")
    )
    other = tmp_path / recovered_name(STARTED, "2e71f6a0")
    for file in (recovered, channels, other):
        file.write_bytes(b"RIFF")
    recordings = [{"file": str(planned)}]
    store.write([write(1, recordings=recordings, reason=PROCESS_LOST)])
    assert find_recording(store, ID) == RecordingFile(recovered)
    assert delete_call(store, ID, str(tmp_path)) == ()
    assert list(tmp_path.glob("*.wav")) == [other]


def test_ones_own_recording_comes_before_that_of_a_room_also_when_it_was_recovered(
    store: Store, tmp_path: Path
) -> None:
    own, hall = (tmp_path / recording_name(STARTED, token) for token in ("2e71f6af", "2e71f6a0"))
    hall.write_bytes(b"RIFF")
    (tmp_path / recovered_name(STARTED, "2e71f6af")).mkdir()
    recordings = [{"file": str(hall), "room_id": "hall", "finished": True}, {"file": str(own)}]
    store.write([write(1, recordings=recordings, reason=PROCESS_LOST)])
    assert find_recording(store, ID) == RecordingFile(hall)  # a folder is no file
    recovered = tmp_path / recovered_name(STARTED + timedelta(seconds=9), "2e71f6af")
    recovered.write_bytes(b"RIFF")
    assert find_recording(store, ID) == RecordingFile(recovered)


def test_what_was_recovered_of_another_recording_is_not_that_of_a_name_that_ends_alike(
    store: Store, tmp_path: Path
) -> None:
    recovered = tmp_path / recovered_name(STARTED, "2e71f6af")
    chosen = tmp_path / "recovered_weekly_2e71f6af.wav"
    for file in (recovered, chosen):
        file.write_bytes(b"RIFF")
    alike = [{"file": str(tmp_path / "weekly_2e71f6af.wav")}]
    drawn = [{"file": str(tmp_path / recording_name(STARTED, "2e71f6af"))}]
    store.write(
        [write(1, recordings=alike, reason=PROCESS_LOST), write(2, recordings=drawn, reason=PROCESS_LOST)]
    )
    with pytest.raises(NotFound, match="no recording"):
        find_recording(store, ID)
    delete_call(store, ID, str(tmp_path))
    assert find_recording(store, str(change(2).call_id)) == RecordingFile(recovered)
    delete_call(store, str(change(2).call_id), str(tmp_path))
    assert list(tmp_path.glob("*.wav")) == [chosen]


def test_a_call_that_goes_on_is_not_deleted(store: Store) -> None:
    store.write([write(1, duration_us=None)])
    with pytest.raises(Conflict, match="goes on"):
        delete_call(store, ID, None)
    assert list_calls(store, []).total == 1


def test_counters_follow_every_change(store: Store) -> None:
    team = [("metadata.team", "red")]
    long = [("durationMin", "30s")]
    store.write([write(1, duration_us=None, metadata={"team": "red"})])
    assert [list_calls(store, pairs).total for pairs in ([], team, long)] == [1, 1, 0]
    store.write([write(1, version=4, metadata={"team": "blue"})])
    assert [list_calls(store, pairs).total for pairs in ([], team, long)] == [1, 0, 1]
    assert list_calls(store, [("metadata.team", "blue"), ("fromDate", "2026-09-21")]).total == 1
    store.delete(change(1).call_id)
    assert [list_calls(store, pairs).total for pairs in ([], [("metadata.team", "blue")], long)] == [0, 0, 0]


def test_calls_before_and_after_all_time_do_no_harm(store: Store) -> None:
    store.write([write(1, created_us=BASE_US)])
    for pairs, total in (
        ([("fromDate", "0001-01-01")], 1),
        ([("fromDate", "9999-12-31")], 0),
        ([("toDate", "0001-01-01")], 0),
        ([("toDate", "9999-12-31T23:59:59-23:59")], 1),
        ([("fromDate", "2027-01-01"), ("toDate", "2020-01-01")], 0),
        ([("durationMin", "999999999999s")], 0),
        ([("durationMax", "-999999999999.9s")], 0),
        ([("durationMin", "-5s")], 1),
    ):
        page = list_calls(store, pairs)
        assert (page.total, len(page.results)) == (total, total), pairs


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"sqlite:///{tmp_path}/calls.db", run_id=uuid.UUID(int=1))
    store.open()
    store.write([write(number, texts=("word",)) for number in range(300)])
    monkeypatch.setattr("vb.history.database.STATEMENT_MS", -1)
    monkeypatch.setattr("vb.history.database.PROGRESS_STEPS", 10)
    with pytest.raises(Unavailable):
        list_calls(store, [("search", "word"), ("durationMin", "1s")])
    store.close()


def test_totals_stay_exact_whatever_happens_to_calls(store: Store) -> None:
    dice = random.Random(3)
    versions: dict[int, int] = {}
    questions: list[list[tuple[str, str]]] = [
        [],
        [("durationMin", "1s")],
        [("durationMax", "0s")],
        [("timeOfDayStart", "14:13:30"), ("timeOfDayEnd", "14:14:10.5")],
        [("fromDate", "2026-09-21T14:13:30Z")],
        [("metadata.team", "red")],
        [("agentIds", AGENTS[0]), ("agentIds", AGENTS[1])],
        [("search", "hello")],
    ]
    for _ in range(60):
        number = dice.randrange(40)
        if number in versions and dice.random() < 0.3:
            with contextlib.suppress(Conflict):
                store.delete(change(number).call_id)
                del versions[number]
            continue
        versions[number] = versions.get(number, 0) + dice.choice([0, 1, 2])
        store.write(
            [
                write(
                    number,
                    version=versions[number],
                    duration_us=dice.choice([None, 0, 500_000, 90_000_000]),
                    joined_after_us=dice.choice([None, 1]),
                    metadata={"team": dice.choice(["red", "blue"])},
                    agents=[{"agent_id": agent, "started_us": 1} for agent in AGENTS if dice.random() < 0.4],
                    texts=(dice.choice(["hello", "bye"]),),
                )
            ]
        )
        for pairs in questions:
            page = list_calls(store, [*pairs, ("pageSize", "500")])
            assert page.total == len(page.results), pairs


def test_a_page_of_details_takes_one_question_however_many_calls_it_has(store: Store) -> None:
    store.write([write(number, **{"from": "anna", "to": f"desk {number}"}) for number in range(30)])
    asked: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *found: asked.append(found[2]))
    list_details(store, [("pageSize", "2")])
    few = len(asked)
    page = list_details(store, [("pageSize", "20")], "http://vb")
    assert len(asked) == 2 * few
    assert [call.leg.to for call in page.results] == [f"desk {number}" for number in range(29, 9, -1)]
    assert page.total == 30
    assert page.next is not None
    assert page.next.startswith("http://vb/api/calls/details?pageSize=20&cursor=")
    assert page.results == [get_call(store, str(call.call_id)) for call in page.results]


def test_a_page_of_a_long_call_reads_no_more_of_it_than_it_shows(store: Store) -> None:
    said = b'{"type":"stt.text","timestamp":"2026-01-01T00:00:00Z","text":"hello","is_final":true}'
    store.write([write(1, parts=((1, b"\n".join([b"{", said, b"{"])), (2, b"{\n{")))])
    page = list_entries(store, ID, [("cursor", "1"), ("pageSize", "1")])
    assert ([(entry.number, entry.type) for entry in page.results], page.total) == ([(2, "stt.text")], 5)
    assert [message.text for message in list_messages(store, ID).results] == ["hello"]


def test_what_is_no_unicode_in_an_event_is_shown_all_the_same(store: Store) -> None:
    said = b'{"type":"stt.text","timestamp":"2026-01-01T00:00:00Z","text":"\\ud800","is_final":false}'
    store.write([write(1, parts=((1, said),))])
    assert list_entries(store, ID).results[0].event == {
        "type": "stt.text",
        "timestamp": "2026-01-01T00:00:00Z",
        "text": "\ud800",
        "is_final": False,
    }
