from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vb.errors import InvalidField
from vb.history.labels import agent_label, metadata_label, voice_label
from vb.history.query import Position, Query, parse_query
from vb.history.schema import DAY_US

AGENT = "0a5cbd53-3c7e-4e9b-8c1a-6d52a0f0aa01"
HOUR_US = 3_600_000_000
MIDNIGHT_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


def filters(*pairs: tuple[str, str]) -> dict[str, object]:
    """Return what is limited."""
    found = parse_query(pairs).filters
    return {name: getattr(found, name) for name in found.__slots__ if getattr(found, name) not in (None, ())}


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("90s", 90_000_000, 90_000_000),
        ("0s", 0, 0),
        ("1.5s", 1_500_000, 1_500_000),
        ("-1s", -1_000_000, -1_000_000),
        ("0.000000001s", 1, 0),
        ("999999999999.999999999s", 1_000_000_000_000_000_000, 999_999_999_999_999_999),
    ],
)
def test_durations_are_seconds_with_a_unit(text: str, least: int, most: int) -> None:
    assert filters(("durationMin", text)) == {"duration_min_us": least}
    assert filters(("durationMax", text)) == {"duration_max_us": most}


@pytest.mark.parametrize(
    "text", ["", "90", "90 s", "1m", "00:01:30", "1e3s", "nan s", "٣s", ".5s", "90s\n", "+9s"]
)
@pytest.mark.parametrize("name", ["durationMin", "durationMax"])
def test_anything_else_is_no_duration(name: str, text: str) -> None:
    with pytest.raises(InvalidField, match=f"^{name}: "):
        parse_query([(name, text)])


@pytest.mark.parametrize(
    ("text", "start_us", "end_us"),
    [
        ("2026-01-01", MIDNIGHT_US, MIDNIGHT_US + DAY_US - 1),
        ("2026-01-01T10:00", MIDNIGHT_US + 10 * HOUR_US, MIDNIGHT_US + 10 * HOUR_US),
        ("2026-01-01T10:00:00Z", MIDNIGHT_US + 10 * HOUR_US, MIDNIGHT_US + 10 * HOUR_US),
        (
            "2026-01-01t10:00:00.25z",
            MIDNIGHT_US + 10 * HOUR_US + 250_000,
            MIDNIGHT_US + 10 * HOUR_US + 250_000,
        ),
        ("2026-01-01T02:00:00+02:00", MIDNIGHT_US, MIDNIGHT_US),
        ("2026-01-01T02:00:00 02:00", MIDNIGHT_US, MIDNIGHT_US),
        ("2025-12-31T12:15:00-11:45", MIDNIGHT_US, MIDNIGHT_US),
        ("2026-01-01T13:45:00+1345", MIDNIGHT_US, MIDNIGHT_US),
        ("2025-12-31 23:59:59.999999999", MIDNIGHT_US - 1, MIDNIGHT_US - 1),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000, -62_135_683_140_000_000),
        ("9999-12-31", 253_402_214_400_000_000, 253_402_300_799_999_999),
    ],
)
def test_a_date_alone_is_a_whole_day_and_a_time_is_itself(text: str, start_us: int, end_us: int) -> None:
    assert filters(("fromDate", text)) == {"created_from_us": start_us}
    assert filters(("toDate", text)) == {"created_to_us": end_us}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "2026-1-1",
        "20260101",
        "2026-W01-1",
        "2026-01-01T24:00:00",
        "2026-01-01T10:60:00Z",
        "2026-01-01T10:00:60Z",
        "2026-01-01T10:00:00+25:00",
        "2026-01-01T10:00:00 Europe/Berlin",
        "2026-01-01T10:00:00[UTC]",
        "0000-01-01",
        "12026-01-01",
        "٢٠٢٦-01-01",
    ],
)
def test_a_date_that_is_none_is_named(text: str) -> None:
    for name in ("fromDate", "toDate"):
        with pytest.raises(InvalidField, match=f"^{name}: "):
            parse_query([(name, text)])


@pytest.mark.parametrize(
    ("start", "end", "spans"),
    [
        ("09:00", None, ((9 * HOUR_US, DAY_US - 1),)),
        (None, "17:30:00", ((0, 17 * HOUR_US + HOUR_US // 2),)),
        ("22:00:00", "06:00:00", ((0, 6 * HOUR_US), (22 * HOUR_US, DAY_US - 1))),
        ("00:00:00", "23:59:59.999999", ()),
        ("12:00:00", "12:00:00", ((12 * HOUR_US, 12 * HOUR_US),)),
        ("01:00:00+02:00", "05:00:00+02:00", ((0, 3 * HOUR_US), (23 * HOUR_US, DAY_US - 1))),
        ("09:00:00-05:45", "10:00:00-05:45", ((14 * HOUR_US + 2_700_000_000, 15 * HOUR_US + 2_700_000_000),)),
        ("08:00:00Z", "07:59:59.999999Z", ()),
        ("00:00:00+01:00", None, ()),
    ],
)
def test_times_of_day_reach_across_midnight_and_follow_their_zone(
    start: str | None, end: str | None, spans: tuple[tuple[int, int], ...]
) -> None:
    pairs = [("timeOfDayStart", start), ("timeOfDayEnd", end)]
    found = parse_query([(name, value) for name, value in pairs if value is not None]).filters
    assert found.times_of_day_us == spans


@pytest.mark.parametrize(
    "text", ["", "9", "9:00", "24:00", "12:60", "12:00:61", "noon", "12:00+99:00", "12:00 UTC"]
)
@pytest.mark.parametrize("name", ["timeOfDayStart", "timeOfDayEnd"])
def test_a_time_of_day_that_is_none_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidField, match=f"^{name}: "):
        parse_query([(name, text)])


def test_ids_and_metadata_become_labels() -> None:
    other = str(uuid.UUID(int=9))
    found = parse_query(
        [
            ("agentIds", AGENT.upper()),
            ("agentIds", other),
            ("voiceId", AGENT.replace("-", "")),
            ("metadata.team", "red"),
            ("metadata.a.b=c", ""),
        ]
    ).filters.labels
    assert found == (
        tuple(sorted((agent_label(AGENT), agent_label(other)))),
        (voice_label(AGENT),),
        (metadata_label("a.b=c", ""),),
        (metadata_label("team", "red"),),
    )


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("agentIds", "me", "agentIds"),
        ("agentIds", "", "agentIds"),
        ("voiceId", f"{AGENT}0", "voiceId"),
        ("voiceId", f"{{{AGENT}}}", "voiceId"),
        ("metadata", "a=b", "metadata"),
        ("metadata.", "b", "metadata"),
        ("metadata.a", "b\x00", "metadata"),
        ("metadata.a\n", "b", "metadata"),
        ("metadata.a", "\ud800", "metadata"),
        ("metadata.a", "x" * 2000, "metadata"),
        ("pageSize", "0", "pageSize"),
        ("pageSize", "501", "pageSize"),
        ("pageSize", "99999999999999999999", "pageSize"),
        ("pageSize", "-1", "pageSize"),
        ("pageSize", "1.5", "pageSize"),
        ("pageSize", "1_0", "pageSize"),
        ("pageSize", "٣", "pageSize"),
        ("search", "", "search"),
        ("search", "%_*\"'()-", "search"),
        ("search", "a\x1b[2Jb", "search"),
        ("search", "word " * 200, "search"),
        ("search", " ".join("abcdefghijklmnopqrstuvwxyz"), "search"),
        ("sort", "created; DROP TABLE calls", "sort"),
        ("sort", "--created", "sort"),
        ("sort", "", "sort"),
        ("cursor", "", "cursor"),
        ("cursor", "AAAA", "cursor"),
        ("cursor", "é" * 40, "cursor"),
        ("cursor", "A" * 34, "cursor"),
    ],
)
def test_each_malformed_value_is_named(name: str, value: str, named: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_query([(name, value)])
    assert caught.value.field == named
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "name", ["search", "sort", "cursor", "pageSize", "fromDate", "voiceId", "durationMin"]
)
def test_what_is_one_value_is_given_once(name: str) -> None:
    with pytest.raises(InvalidField, match=f"^{name}: is given twice"):
        parse_query([(name, "1"), (name, "1")])


def test_unknown_parameters_are_ignored_and_too_many_refused() -> None:
    assert parse_query([("utm_source", "\x00"), ("AgentIds", "x")]) == Query()
    with pytest.raises(InvalidField, match=r"^query: "):
        parse_query([("agentIds", AGENT)] * 201)
    with pytest.raises(InvalidField, match=r"^agentIds: "):
        parse_query([("agentIds", ",".join([AGENT] * 20))] * 6)


@pytest.mark.parametrize(
    ("text", "field", "descending"),
    [("created", "created", False), ("-ended", "ended", True), ("billedDuration", "duration", False)],
)
def test_a_minus_turns_the_order_round(text: str, field: str, descending: bool) -> None:
    found = parse_query([("sort", text)])
    assert (found.sort, found.descending) == (field, descending)
    assert parse_query([]).descending


@given(value=st.integers(-(2**63), 2**63 - 1), key=st.integers(0, 2**63 - 1), backwards=st.booleans())
def test_a_cursor_leads_back_to_its_place(value: int, key: int, backwards: bool) -> None:
    query = parse_query([("search", "hello"), ("sort", "-ended")])
    place = Position(value, key, backwards)
    cursor = query.cursor(place)
    assert parse_query([("search", "hello"), ("sort", "-ended"), ("cursor", cursor)]).position == place
    with pytest.raises(InvalidField, match=r"^cursor: "):
        parse_query([("search", "hullo"), ("sort", "-ended"), ("cursor", cursor)])


@given(cursor=st.text("ABCxyz019_-=", max_size=60), flip=st.integers(0, 24))
def test_no_cursor_can_be_made_up(cursor: str, flip: int) -> None:
    real = Query().cursor(Position(5, 5))
    forged = real[:flip] + ("A" if real[flip] != "A" else "B") + real[flip + 1 :]
    for text in (cursor, forged):
        with pytest.raises(InvalidField, match=r"^cursor: "):
            parse_query([("cursor", text)])


NAMES = st.sampled_from(
    [
        "agentIds",
        "cursor",
        "durationMax",
        "durationMin",
        "fromDate",
        "metadata",
        "metadata.key",
        "metadata.",
        "pageSize",
        "search",
        "sort",
        "timeOfDayEnd",
        "timeOfDayStart",
        "toDate",
        "voiceId",
        "anything",
    ]
)
VALUES = st.one_of(
    st.text(max_size=80),
    st.text("0123456789-:T.Z+ s", max_size=32),
    st.sampled_from(
        ["90s", "2026-01-01", AGENT, "created", "12:00:00", "hello", "50", "\x00", "' OR 1=1 --"]
    ),
)


def answer(pairs: list[tuple[str, str]]) -> Query | InvalidField:
    try:
        return parse_query(pairs)
    except InvalidField as exc:
        return exc


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_whatever_comes_is_a_query_or_one_error_that_names_a_parameter(pairs: list[tuple[str, str]]) -> None:
    query = answer(pairs)
    if isinstance(query, InvalidField):
        assert query.field in {name.partition(".")[0] for name, _ in pairs}
        return
    assert 1 <= query.page_size <= 500
    assert len(query.filters.words) <= 16
    assert all(word.isalnum() for word in query.filters.words)
    for low, high in query.filters.times_of_day_us:
        assert 0 <= low <= high < DAY_US


@pytest.mark.parametrize(
    "value", ["1" * 1024, "0." + "9" * 1000 + "s", "-" * 1024, "2026-01-01T" + "0" * 1000]
)
def test_a_long_value_takes_no_time(value: str) -> None:
    assert min(_refused_s(value) for _ in range(3)) < 0.2


def _refused_s(value: str) -> float:
    began = time.process_time()
    for name in (
        "durationMin",
        "fromDate",
        "timeOfDayEnd",
        "pageSize",
        "sort",
        "cursor",
        "voiceId",
        "search",
    ):
        with pytest.raises(InvalidField):
            parse_query([(name, value)])
    return time.process_time() - began
