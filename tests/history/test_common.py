from __future__ import annotations

import random
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import select

from tests.history.making import BASE_US, write
from vb.history import database, find, tend
from vb.history.common import PERIOD_BITS, read_words
from vb.history.database import reading
from vb.history.edge import list_calls
from vb.history.schema import CALLS, COMMON_WORDS, WORD_COUNTS, words_table
from vb.history.store import Store

PERIOD_US = 1 << 40
WORDS = ("amber", "birch", "cedar", "delta", "ember")


@pytest.fixture(autouse=True)
def _few_are_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "GATHER_MAX", 3)


@pytest.fixture(autouse=True)
def _locks_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # SQLite lets those who wait in no order: on a busy machine one of many may miss its turn for seconds.
    monkeypatch.setattr(database, "BUSY_MS", 20_000)


def tend_all(store: Store, common_min: int = 3) -> None:
    """Count the common words of a store to the end; words of three calls are common."""
    while not tend.tend_words(store._engine, common_min=common_min):
        pass


def truth(store: Store) -> Counter[tuple[str, int]]:
    """How many calls of each period have each common word, counted one by one."""
    counted: Counter[tuple[str, int]] = Counter()
    with reading(store._engine) as connection:
        common = set(connection.scalars(select(COMMON_WORDS.c.word)))
        table = words_table(connection.dialect.name)
        for key, words in connection.execute(select(table.c.rowid, table.c.words)):
            counted.update((word, key >> PERIOD_BITS) for word in common.intersection(read_words(words)))
    return counted


def counters(store: Store) -> Counter[tuple[str, int]]:
    """The same as the counters have it."""
    with reading(store._engine) as connection:
        assert not connection.scalars(select(COMMON_WORDS.c.word).where(COMMON_WORDS.c.pending != 0)).all()
        rows = connection.execute(select(WORD_COUNTS)).all()
    return Counter({(row.word, row.period): row.calls for row in rows if row.calls})


def said(number: int, *words: str, version: int = 2, **fields: Any) -> Any:
    return write(number, texts=(" ".join(words),), version=version, **fields)


def test_counters_of_common_words_move_with_their_calls(store: Store) -> None:
    dice = random.Random(5)
    store.write([said(number, *dice.sample(WORDS, 2)) for number in range(40)])
    tend_all(store)
    assert counters(store) == truth(store)
    assert {word for word, _ in counters(store)} >= set(WORDS)
    store.write([said(number, "amber", version=4) for number in range(10)])  # they say something else now
    store.write([write(number, texts=None, version=6) for number in range(5)])  # as before
    store.write([said(3, "birch", version=4)])  # this one is late
    store.write([said(number, *dice.sample(WORDS, 3)) for number in range(50, 70)])
    for number in (0, 12, 55):
        store.delete(write(number).call_id)
    assert counters(store) == truth(store)
    store.prune(BASE_US + 30_000_000)
    assert counters(store) == truth(store)
    assert list_calls(store, [("search", "amber")]).total == sum(
        calls for (word, _), calls in truth(store).items() if word == "amber"
    )


def test_a_word_becomes_common_while_others_write(store: Store, database_url: str) -> None:
    store.write([said(number, "amber", "birch") for number in range(30)])

    def write_on(target: Store, start: int) -> None:
        dice = random.Random(start)
        for number in range(start, start + 60):
            target.write([said(number, *dice.sample(WORDS, 2))])
            if number % 3 == 0:
                target.write([said(number, *dice.sample(WORDS, 3), version=4)])
            if number % 5 == 0:
                target.delete(write(number).call_id)

    def tend_on(target: Store) -> None:
        for _ in range(10):
            tend_all(target)

    with closing(Store(database_url, run_id=uuid.UUID(int=2))) as other, ThreadPoolExecutor(4) as threads:
        other.open()
        jobs = [
            threads.submit(write_on, store, 100),
            threads.submit(write_on, other, 1_000),
            threads.submit(tend_on, store),
            threads.submit(tend_on, other),
        ]
        for job in jobs:
            job.result()
    tend_all(store)
    assert counters(store) == truth(store)


def test_what_is_left_half_counted_is_counted_by_the_next(store: Store) -> None:
    store.write([said(number, "amber") for number in range(10)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tend, "_settle", lambda *_: None)
        tend.tend_words(store._engine, common_min=3)
    store.write([said(number, "amber") for number in range(10, 15)])
    assert list_calls(store, [("search", "amber")]).total == 15  # not from counters that lack ten
    tend_all(store)
    assert counters(store) == truth(store)


def test_words_that_became_rare_make_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tend, "MAX_COMMON", 1)
    monkeypatch.setattr(tend, "FORGET_BELOW", 2)
    store.write([said(number, "amber", from_=None) for number in range(10)])
    tend_all(store)
    for number in range(9):
        store.delete(write(number).call_id)
    store.write([said(number, "birch") for number in range(20, 30)])
    tend_all(store)
    tend_all(store)
    assert {word for word, _ in counters(store)} == {"birch"}
    assert counters(store) == truth(store)


@pytest.mark.parametrize("sort", ["created", "-created", "-duration"])
@pytest.mark.parametrize(
    "search", ["amber", "birch", "amber birch", "all", "all amber", "cedar amber", "zebra"]
)
def test_pages_of_common_words_are_those_of_a_plain_search(store: Store, sort: str, search: str) -> None:
    dice = random.Random(9)
    spread = [0, 0, 1, 5, 5, 6, 9]
    store.write(
        [
            said(
                number,
                "all",
                *dice.sample(WORDS, 2),
                created_us=BASE_US + dice.choice(spread) * PERIOD_US + number,
                duration_us=dice.randrange(90_000_000),
            )
            for number in range(90)
        ]
    )

    def walk() -> list[tuple[uuid.UUID, int]]:
        found: list[tuple[uuid.UUID, int]] = []
        pairs = [("search", search), ("sort", sort), ("pageSize", "7")]
        page = list_calls(store, pairs)
        while True:
            found += [(call.call_id, page.total or 0) for call in page.results]
            if page.next is None:
                return found
            page = list_calls(store, [*pairs, ("cursor", page.next.rsplit("cursor=", 1)[1])])
            assert page.previous is not None
            back = list_calls(store, [*pairs, ("cursor", page.previous.rsplit("cursor=", 1)[1])])
            assert [call.call_id for call in back.results] == [item for item, _ in found[-7:]]

    plain = walk()
    tend_all(store)
    assert counters(store) == truth(store)
    assert walk() == plain
    with reading(store._engine) as connection:
        assert len({key >> PERIOD_BITS for key in connection.scalars(select(CALLS.c.call_key))}) > 4


def test_few_calls_have_no_common_words(store: Store) -> None:
    store.write([said(number, "amber") for number in range(10)])
    assert store.tend()
    assert counters(store) == Counter()
