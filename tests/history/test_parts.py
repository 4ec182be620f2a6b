"""The small parts: packing, words, reasons, times, labels, the queue, migrations."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.util import CommandError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect

from bench.history.load import load
from tests.history.conftest import new_database
from tests.history.making import change, write
from vb.errors import ConfigError
from vb.history import words as words_module
from vb.history.database import DatabaseUnknown, open_engine, parse_url, upgrade
from vb.history.edge import list_calls
from vb.history.labels import labels_of, metadata_label, pack_labels, unpack_labels
from vb.history.migrations.versions.v0001_calls import FTS5
from vb.history.packing import pack, unpack
from vb.history.reasons import MEANINGS, billing_status, end_reason, termination_reason
from vb.history.schema import METADATA
from vb.history.spool import QueueFull, Spool
from vb.history.store import Store
from vb.history.times import duration_text, event_time_us, from_us, to_us
from vb.history.words import split_words, words_of
from vb.history.writer import decode, encode, prepare
from vb.legs.cdr import REJECTIONS, refusal_reason


@given(st.binary(max_size=3000))
def test_what_is_packed_can_be_unpacked(data: bytes) -> None:
    assert unpack(pack(data)) == data


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x02abc", b"\x01", b"\x01\xff\xff\xff", pack(b"hello" * 99)[:-3]]
)
def test_damaged_packs_are_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="packed"):
        unpack(data)


def test_a_whole_call_is_small() -> None:
    packed = pack(b'{"type":"leg.ringing","timestamp":"2026-11-29T08:44:29.1Z","instance_id":"a"}' * 6)
    assert len(packed) < 120


@given(st.text(max_size=300))
def test_words_are_found_again_whatever_their_case(text: str) -> None:
    known = set(words_of([text], []).split())
    for variant in (text, text.casefold()):
        assert set(split_words(variant)) <= known


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\U0001d407\U0001d404\U0001d40b\U0001d40b\U0001d40e", ["hello"]),
        ("\u2122 \u2121", ["tm", "tel"]),
        ("\u24b6\u1d2c", ["aa"]),
        ("\u03d2\u03f9", ["\u03c5\u03c3"]),
        ("Stra\u00dfe \ufb01x", ["strasse", "fix"]),
    ],
)
def test_letters_of_every_shape_have_no_case(text: str, words: list[str]) -> None:
    assert list(split_words(text)) == words
    assert [word for found in words for word in split_words(found)] == words


def test_numbers_are_found_by_their_beginning_and_end_and_names_by_their_beginning() -> None:
    known = set(words_of(["sip:+49301234567@Example.org", "Jörg"], ["Große Straße"]).split())
    assert {"4930", "4567", "01234567", "49301234567", "exa", "example", "jor", "jorg", "grosse"} <= known
    assert not {"ample", "gro", "567"} & known


def test_a_call_has_only_so_many_words() -> None:
    text = " ".join(f"w{number}" for number in range(20_000))
    assert len(words_of([], [text, text + "x"]).split()) == words_module.MAX_WORDS


def test_every_reason_of_ours_is_in_the_table() -> None:
    own = {
        *REJECTIONS,
        *(refusal_reason(status) for status in (302, 401, 403, 404, 408, 480, 486, 487, 488, 503, 603)),
    }
    assert own <= set(MEANINGS)


@pytest.mark.parametrize(
    ("reason", "answered", "ending", "termination", "billing"),
    [
        ("remote_bye", True, "hangup", "NORMAL", "BILLED"),
        ("api_hangup", True, "agent_hangup", "NORMAL", "BILLED"),
        ("api_hangup", False, "unjoined", "CANCELED", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("caller_cancel", False, "unjoined", "CANCELED", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("ring_timeout", False, "unjoined", "TIMEOUT", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("max_duration", True, "timeout", "NORMAL", "BILLED"),
        ("rtp_timeout", True, "connection_error", "TIMEOUT", "BILLED"),
        ("busy", False, "unjoined", "BUSY", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("not_found", False, "unjoined", "INVALID_NUMBER", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("sip_484", False, "unjoined", "INVALID_NUMBER", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("sip_500", False, "unjoined", "DESTINATION_UNAVAILABLE", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("sip_600", False, "unjoined", "BUSY", "FREE_ZERO_EFFECTIVE_DURATION"),
        ("mixer_panic", True, "system_error", "UNKNOWN", "FREE_SYSTEM_ERROR"),
        ("process_lost", False, "system_error", "UNKNOWN", "FREE_SYSTEM_ERROR"),
        ("a_word_of_tomorrow", True, "hangup", "UNKNOWN", "BILLED"),
    ],
)
def test_reasons_have_a_meaning_in_the_calls_api(
    reason: str, answered: bool, ending: str, termination: str, billing: str
) -> None:
    assert end_reason(reason, answered=answered) == ending
    assert termination_reason(reason, answered=answered) == f"SIP_TERMINATION_{termination}"
    assert billing_status(reason, answered=answered) == f"BILLING_STATUS_{billing}"


def test_a_call_that_goes_on_has_no_end() -> None:
    assert end_reason(None, answered=True) is None
    assert termination_reason(None, answered=True) is None
    assert billing_status(None, answered=True) == "BILLING_STATUS_PENDING"


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.1Z", 100_000),
        ("1970-01-01T00:00:01.123456789Z", 1_123_456),
    ],
)
def test_the_times_of_events_are_read(text: str, time_us: int) -> None:
    assert event_time_us(text) == time_us
    assert to_us(from_us(time_us)) == time_us


@pytest.mark.parametrize(
    ("time_us", "text"), [(0, "0s"), (90_000_000, "90s"), (1_250_000, "1.250s"), (1_250_001, "1.250001s")]
)
def test_durations_have_the_decimals_that_they_need(time_us: int, text: str) -> None:
    assert duration_text(time_us) == text


@given(st.lists(st.integers(0, 2**63 - 1), max_size=20))
def test_labels_are_packed_and_unpacked(labels: list[int]) -> None:
    assert unpack_labels(pack_labels(labels)) == labels


def test_a_key_and_its_value_are_told_apart() -> None:
    assert metadata_label("a", "bc") != metadata_label("ab", "c")
    assert len(labels_of({"metadata": {"a": "b"}, "agent_id": "x", "agents": [{"agent_id": "y"}]})) == 4


def test_a_record_survives_the_queue() -> None:
    made = prepare(change(1, parts=((1, b'{"a":1}'), (2, b"{}")), texts=("héllo",), metadata={"a": "b"}))
    assert decode(encode(made)) == made


@given(st.binary(max_size=200))
def test_damaged_records_are_told(data: bytes) -> None:
    with pytest.raises((ValueError, UnicodeDecodeError)):
        decode(data)


# -- the queue ---------------------------------------------------------------------------------------------


def test_the_queue_keeps_its_order_over_a_restart(tmp_path: Path) -> None:
    mine, other = uuid.UUID(int=1), uuid.UUID(int=2)
    queue = Spool(tmp_path, mine)
    queue.put([b"a", b"b"])
    queue.put([b"c"])
    queue.ack([queue.take(10)[0].number])
    queue.close()
    again = Spool(tmp_path, other)
    assert [(item.run_id, item.data) for item in again.take(10)] == [(mine, b"b"), (mine, b"c")]
    assert (len(again), again.size, again.left) == (2, 2, [mine])
    again.ack([item.number for item in again.take(10)])
    again.settle(mine)
    again.settle(other)
    again.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_refuses_all_of_what_is_put(tmp_path: Path) -> None:
    queue = Spool(tmp_path, uuid.UUID(int=1), max_bytes=3)
    queue.put([b"aa"])
    with pytest.raises(QueueFull):
        queue.put([b"b", b"c"])
    assert [item.data for item in queue.take(10)] == [b"aa"]
    queue.close()


def test_a_queue_in_use_is_left_alone_and_one_left_behind_is_taken_over(tmp_path: Path) -> None:
    mine, other, third = (uuid.UUID(int=number) for number in (1, 2, 3))
    used = Spool(tmp_path, other)
    used.put([b"a"])
    queue = Spool(tmp_path, mine)
    assert (queue.left, len(queue)) == ([], 0)
    used.close()
    queue.close()
    found = Spool(tmp_path, third)
    assert set(found.left) == {mine, other}
    assert [(item.run_id, item.data) for item in found.take(9)] == [(other, b"a")]
    found.close()


def test_a_run_that_was_killed_with_nothing_to_write_is_found(tmp_path: Path) -> None:
    mine, other = uuid.UUID(int=1), uuid.UUID(int=2)
    Spool(tmp_path, other).close()
    queue = Spool(tmp_path, mine)
    assert (queue.left, len(queue)) == ([other], 0)
    queue.close()


# -- the database ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["postgresql://vb:s3cret@db:port/calls", "nothing", "mysql://vb:s3cret@db/x"])
def test_a_url_that_is_none_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^VB_DATABASE_URL: ") as caught:
        parse_url(url)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_steps_that_nobody_knows_are_those_of_a_newer_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CommandError("two heads")

    engine = open_engine(parse_url(f"sqlite:///{tmp_path}/calls.db"))
    monkeypatch.setattr(command, "upgrade", refuse)
    with pytest.raises(DatabaseUnknown, match=r"^the database cannot be brought up to date: two heads$"):
        upgrade(engine)
    engine.dispose()


def test_the_steps_lead_to_the_tables_that_are_used(database_url: str) -> None:
    engine = open_engine(parse_url(database_url))
    upgrade(engine)
    upgrade(engine)
    found = inspect(engine)
    for table in METADATA.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}
        assert {
            index["name"] for index in found.get_indexes(table.name) if not index.get("duplicates_constraint")
        } == {index.name for index in table.indexes}
    assert found.has_table("call_words")
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense", "://"])
def test_a_database_that_cannot_be_used_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="VB_DATABASE_URL"):
        Store(url, run_id=uuid.UUID(int=1))


def test_two_calls_of_one_key_both_find_a_place(store: Store) -> None:
    one, other = write(1), write(2)
    store.write([one, replace(other, key=one.key), write(3)])
    assert {store.get(call.call_id).call_id for call in (one, other)} == {one.call_id, other.call_id}


def test_a_record_that_comes_late_or_twice_changes_nothing(store: Store) -> None:
    store.write([write(1, version=4, parts=((1, b'{"n":2}'),))])
    store.write([write(1, version=2, duration_us=None, parts=((1, b'{"n":1}'),))])
    store.write([write(1, version=4, duration_us=None)])
    story = store.story(write(1).call_id)
    assert "ended_us" in story.call.document
    assert story.parts == (b'{"n":2}',)


@pytest.mark.parametrize("step", ["0001", "0002", "0003"])
def test_a_database_of_an_older_step_is_brought_up_to_date_with_its_calls(
    database_url: str, step: str
) -> None:
    engine = open_engine(parse_url(database_url))
    upgrade(engine, to=step)
    engine.dispose()
    recordings = [{"file": "/r/a.wav", "finished": True}]
    load(database_url, [write(n, metadata={"X-Team": "red"}, recordings=recordings) for n in range(5)])
    store = Store(database_url, run_id=uuid.UUID(int=1))
    store.open()
    store.delete(write(0).call_id)
    store.write([write(0, version=4), write(1, version=4, metadata={"X-Team": "blue"}), write(9)])
    while not store.tend():
        pass
    assert list_calls(store, []).total == 5
    assert list_calls(store, [("metadata.X-Team", "red")]).total == 3
    assert list_calls(store, [("durationMin", "1s"), ("metadata.X-Team", "red")]).total == 3
    store.close()


def test_sqlite_finds_every_word_that_a_text_is_cut_into() -> None:
    letters = [chr(code) for code in range(0x80, 0x20000) if chr(code).isalnum()]
    words = {word for letter in letters for word in split_words(f"a{letter}b")}
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(FTS5)
        database.execute("INSERT INTO call_words (words) VALUES (?)", (" ".join(sorted(words)),))
        database.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(call_words, row)")
        assert {term for (term,) in database.execute("SELECT term FROM terms")} == words


@pytest.mark.parametrize("place", ["address", "environment"])
def test_a_schema_of_postgresql_may_be_given(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    url = new_database(postgres_server)
    other = open_engine(parse_url(url))
    with other.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ours")
    if place == "environment":
        monkeypatch.setenv("PGOPTIONS", "-c search_path=ours")
    else:
        url += "&options=-csearch_path%3Dours"
    store = Store(url, run_id=uuid.UUID(int=1))
    store.open()
    store.close()
    try:
        assert not inspect(other).get_table_names("public")
        assert "calls" in inspect(other).get_table_names("ours")
    finally:
        other.dispose()
