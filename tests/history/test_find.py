from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.history.making import BASE_US, write
from vb.errors import InvalidField
from vb.history import find
from vb.history.edge import list_calls
from vb.history.model import Call
from vb.history.query import Position, parse_query
from vb.history.store import Store
from vb.history.times import to_us

AGENTS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 4)]
VOICE = str(uuid.UUID(int=99, version=4))
HOUR_US = 3_600_000_000


def _fill(store: Store, count: int = 70) -> None:
    dice = random.Random(7)
    writes = []
    for number in range(count):
        agents = dice.sample(AGENTS, dice.choice([0, 1, 1, 2]))
        writes.append(
            write(
                number,
                created_us=BASE_US + number * 7 * HOUR_US // 3 + dice.randrange(5),
                joined_after_us=dice.choice([None, 500_000]),
                duration_us=dice.choice([None, dice.randrange(0, 200_000_000), 90_000_000]),
                agents=[{"agent_id": agent, "started_us": BASE_US} for agent in agents],
                metadata={"X-Team": dice.choice(["red", "blue"]), "X-Order": str(number)},
                texts=(dice.choice(["hello there", "good bye", "straße"]),),
                to=f"+4930{number:06d}",
                **({"voice_id": VOICE} if number % 10 == 0 else {}),
                **({"agent_id": agents[0]} if agents else {}),
            )
        )
    dice.shuffle(writes)
    for start in range(0, count, 17):
        store.write(writes[start : start + 17])


def _created(call: Call) -> int:
    return to_us(call.created)


def _length(call: Call) -> float | None:
    return float(call.billed_duration[:-1]) if call.billed_duration else None


def _agents(call: Call, store: Store) -> set[str]:
    return {item["agent_id"] for item in store.get(call.call_id).document.get("agents", ())}


CASES: list[tuple[list[tuple[str, str]], Callable[[Call, Store], bool]]] = [
    ([], lambda call, _: True),
    ([("durationMin", "90s")], lambda call, _: (_length(call) or -1) >= 90),
    (
        [("durationMin", "30.5s"), ("durationMax", "120s")],
        lambda call, _: 30.5 <= (_length(call) or -1) <= 120,
    ),
    ([("durationMax", "0s")], lambda call, _: _length(call) == 0),
    ([("fromDate", "2026-09-25")], lambda call, _: _created(call) >= 1_790_294_400_000_000),
    (
        [("fromDate", "2026-09-22T10:30:00Z"), ("toDate", "2026-09-28")],
        lambda call, _: 1_790_073_000_000_000 <= _created(call) < 1_790_640_000_000_000,
    ),
    (
        [("timeOfDayStart", "22:00:00"), ("timeOfDayEnd", "05:59:59")],
        lambda call, _: call.created.hour >= 22 or call.created.strftime("%T.%f") <= "05:59:59.000000",
    ),
    ([("timeOfDayStart", "12:00")], lambda call, _: call.created.hour >= 12),
    ([("agentIds", AGENTS[0])], lambda call, store: AGENTS[0] in _agents(call, store)),
    (
        [("agentIds", AGENTS[0]), ("agentIds", AGENTS[1])],
        lambda call, store: bool(_agents(call, store) & set(AGENTS[:2])),
    ),
    ([("voiceId", VOICE)], lambda call, _: call.voice == VOICE),
    ([("metadata.X-Team", "red")], lambda call, _: call.metadata["X-Team"] == "red"),
    (
        [("metadata.X-Team", "red"), ("metadata.X-Order", "17")],
        lambda call, _: call.metadata == {"X-Team": "red", "X-Order": "17"},
    ),
    ([("search", "HELLO")], lambda call, store: "hello" in _words(call, store)),
    ([("search", "strasse")], lambda call, store: "straße" in _words(call, store)),
    ([("search", "4930000017")], lambda call, _: call.metadata["X-Order"] == "17"),
    ([("search", "000017")], lambda call, _: call.metadata["X-Order"] == "17"),
    ([("search", "+49 30")], lambda call, _: False),
    (
        [("search", "good"), ("agentIds", AGENTS[2]), ("durationMin", "1s"), ("timeOfDayEnd", "18:00")],
        lambda call, store: (
            "good" in _words(call, store)
            and AGENTS[2] in _agents(call, store)
            and (_length(call) or 0) >= 1
            and call.created.strftime("%T.%f") <= "18:00:00.000000"
        ),
    ),
    (
        [("metadata.X-Team", "blue"), ("fromDate", "2026-09-24"), ("search", "there")],
        lambda call, store: (
            call.metadata["X-Team"] == "blue"
            and _created(call) >= 1_790_208_000_000_000
            and "there" in _words(call, store)
        ),
    ),
]


_SAID: dict[uuid.UUID, str] = {}


def _words(call: Call, store: Store) -> str:
    dice_texts = _SAID.get(call.call_id)
    assert dice_texts is not None
    return dice_texts


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    original = write

    def remembered(number: int = 1, **fields: Any) -> Any:
        made = original(number, **fields)
        _SAID[made.call_id] = " ".join(fields["texts"])
        return made

    monkeypatch.setitem(globals(), "write", remembered)
    _fill(store)
    return store


def _walk(store: Store, pairs: list[tuple[str, str]], size: int) -> list[Call]:
    """All pages of a query, walked to the end and back to the beginning."""
    forth: list[list[Call]] = []
    cursor: list[tuple[str, str]] = []
    while True:
        page = list_calls(store, [*pairs, ("pageSize", str(size)), *cursor])
        forth.append(page.results)
        if page.next is None:
            break
        cursor = [("cursor", page.next.rsplit("cursor=", 1)[1])]
    back = [forth[-1]]
    while page.previous is not None:
        cursor = [("cursor", page.previous.rsplit("cursor=", 1)[1])]
        page = list_calls(store, [*pairs, ("pageSize", str(size)), *cursor])
        back.append(page.results)
    assert [call.call_id for part in reversed(back) for call in part] == [
        call.call_id for part in forth for call in part
    ]
    return [call for part in forth for call in part]


@pytest.mark.parametrize("way", ["gathered", "walked"])
def test_each_filter_finds_what_it_says_in_order_and_counts_it(
    full: Store, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "GATHER_MAX", 20_000 if way == "gathered" else 0)
    monkeypatch.setattr(find, "PROBE_MAX", 2_000 if way == "gathered" else 0)
    everything = list_calls(full, [("pageSize", "500")]).results
    assert len(everything) == 70
    for pairs, wanted in CASES:
        expected = [call.call_id for call in everything if wanted(call, full)]
        page = list_calls(full, [*pairs, ("pageSize", "500")])
        assert [call.call_id for call in page.results] == expected, pairs
        assert page.total == len(expected), pairs
        assert [call.call_id for call in _walk(full, pairs, 7)] == expected, pairs
        same = [call.call_id for call in _walk(full, [*pairs, ("sort", "created")], 9)]
        assert same == expected[::-1], pairs


@pytest.mark.parametrize("way", ["gathered", "walked"])
@pytest.mark.parametrize("sort", ["joined", "-joined", "ended", "-ended", "duration", "-billedDuration"])
def test_pages_come_in_the_order_of_any_field(
    full: Store, sort: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "GATHER_MAX", 20_000 if way == "gathered" else 0)

    def value(call: Call) -> tuple[float, int]:
        if sort.endswith("uration"):
            length = _length(call)
            return (-1 if length is None else length, _created(call))
        moment = call.joined if sort.endswith("joined") else call.ended
        return (0 if moment is None else to_us(moment), _created(call))

    for pairs in ([], [("metadata.X-Team", "red")], [("durationMin", "1s")], [("search", "hello")]):
        calls = _walk(full, [*pairs, ("sort", sort)], 11)
        expected = sorted(calls, key=value, reverse=sort.startswith("-"))
        assert [call.call_id for call in calls] == [call.call_id for call in expected]
        assert len(calls) == list_calls(full, pairs).total


def test_new_calls_do_not_move_the_pages_that_follow(full: Store) -> None:
    first = list_calls(full, [("pageSize", "10")])
    assert first.next is not None
    full.write([write(10_000, created_us=BASE_US + 400 * HOUR_US, texts=())])
    cursor = first.next.rsplit("cursor=", 1)[1]
    second = list_calls(full, [("pageSize", "10"), ("cursor", cursor)])
    everything = list_calls(full, [("pageSize", "500")]).results
    assert [call.call_id for call in (*first.results, *second.results)] == [
        call.call_id for call in everything[1:21]
    ]
    assert second.total == 71


def test_a_cursor_is_good_for_its_query_only(full: Store) -> None:
    page = list_calls(full, [("pageSize", "5"), ("metadata.X-Team", "red")])
    assert page.next is not None
    cursor = ("cursor", page.next.rsplit("cursor=", 1)[1])
    assert list_calls(full, [("metadata.X-Team", "red"), ("pageSize", "9"), cursor]).results
    for pairs in ([], [("metadata.X-Team", "blue")], [("metadata.X-Team", "red"), ("sort", "created")]):
        with pytest.raises(InvalidField, match="cursor: belongs to another query"):
            list_calls(full, [*pairs, cursor])


@pytest.mark.parametrize("sort", ["created", "-created", "duration", "-ended"])
def test_where_all_that_followed_is_gone_the_page_leads_back(store: Store, sort: str) -> None:
    store.write([write(number, duration_us=number * 1_000_000) for number in range(1, 7)])
    asked = [("sort", sort), ("pageSize", "3")]
    first = list_calls(store, asked)
    last = list_calls(store, [("sort", sort), ("pageSize", "500")]).results[3:]
    assert first.next is not None
    second = list_calls(store, [*asked, ("cursor", first.next.rsplit("cursor=", 1)[1])])
    assert second.previous is not None
    for call in last:
        store.delete(call.call_id)
    nothing = list_calls(store, [*asked, ("cursor", first.next.rsplit("cursor=", 1)[1])])
    assert (nothing.results, nothing.next, nothing.total) == ([], None, 3)
    assert nothing.previous is not None
    back = list_calls(store, [*asked, ("cursor", nothing.previous.rsplit("cursor=", 1)[1])])
    assert [call.call_id for call in back.results] == [call.call_id for call in first.results]
    for call in first.results:
        store.delete(call.call_id)
    store.write([write(number, duration_us=number * 1_000_000) for number in (8, 9)])
    gone = list_calls(store, [*asked, ("cursor", second.previous.rsplit("cursor=", 1)[1])])
    if not gone.results:
        assert gone.next is not None
        on = list_calls(store, [*asked, ("cursor", gone.next.rsplit("cursor=", 1)[1])])
        assert len(on.results) == 2
    store.prune(1 << 54)
    empty = list_calls(store, [*asked, ("cursor", first.next.rsplit("cursor=", 1)[1])])
    assert (empty.results, empty.next, empty.previous) == ([], None, None)


@pytest.mark.parametrize("sort", ["created", "-created", "joined", "-duration"])
@pytest.mark.parametrize("key", [-(2**63), 2**63 - 1])
def test_a_made_up_cursor_of_a_place_beyond_which_is_no_number_lists_a_page(
    store: Store, sort: str, key: int
) -> None:
    _fill(store, 5)
    for backwards in (False, True):
        cursor = parse_query([("sort", sort)]).cursor(Position(key, key, backwards))
        page = list_calls(store, [("sort", sort), ("cursor", cursor)])
        for link in (page.next, page.previous):
            if link is not None:
                beyond = [("sort", sort), ("cursor", link.rsplit("cursor=", 1)[1])]
                assert list_calls(store, beyond).total == 5


@pytest.mark.parametrize("text", ["\u1982\u19b1\u19b2", "abc\u19b0def", "x\u1cf3 hello"])
def test_a_search_with_signs_that_an_index_takes_for_no_letters_is_answered(store: Store, text: str) -> None:
    store.write([write(1, texts=("\u1982\u19b1\u19b2 abc\u19b0def x\u1cf3 hello",)), write(2)])
    assert list_calls(store, [("search", text)]).total == 1
