"""Calls that are sifted by segments are those that the tables have, whatever happens meanwhile."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import func, select

from tests.history.making import BASE_US, write
from vb.errors import NotFound
from vb.history import find, seal, sieve, tend
from vb.history.database import reading
from vb.history.edge import list_calls
from vb.history.schema import LATE_CALLS, SEGMENT_SETS
from vb.history.segments import ANNOUNCED, load_segments, pack_set, unpack_set
from vb.history.store import Store
from vb.history.writer import CallWrite

SIZE = 8
WORDS = ("amber", "birch", "cedar", "delta", "ember")
AGENTS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 4)]
VOICE = str(uuid.UUID(int=99, version=4))
Pairs = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def _many_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "SIFT_MIN", 0)
    monkeypatch.setattr(find, "GATHER_MAX", 3)
    monkeypatch.setattr(find, "WALK_MAX", 12)
    monkeypatch.setattr(seal, "LATE_MAX", 3)
    monkeypatch.setattr(seal, "OPEN_SHARE", 4)


@contextmanager
def unsifted() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "sift", lambda *_: None)
        yield


def tend_all(store: Store) -> None:
    while not tend.tend_words(store._engine, common_min=3):
        pass
    while not seal.tend_segments(store._engine, calls=SIZE):
        pass


def some_call(number: int, dice: random.Random, *, version: int = 2) -> CallWrite:
    agents = dice.sample(AGENTS, dice.choice([0, 1, 2]))
    return write(
        number,
        version=version,
        created_us=BASE_US + number * 1_700_000_000,
        duration_us=None if number % 23 == 0 else dice.randrange(120_000_000),
        joined_after_us=None if number % 5 == 0 else dice.randrange(9_000_000),
        texts=(" ".join([*dice.sample(WORDS, dice.randrange(4)), f"n{number}"]),),
        metadata={"X-Team": dice.choice(["red", "blue"]), "X-Order": str(number)},
        agents=[{"agent_id": agent, "started_us": BASE_US} for agent in agents],
        **({"voice_id": VOICE} if number % 3 else {}),
    )


def queries() -> Iterator[Pairs]:
    yield [("search", "amber birch")]
    yield [("metadata.X-Team", "red")]
    yield [("search", "amber birch cedar")]
    yield [("search", "amber cedar"), ("agentIds", AGENTS[0])]
    yield [("search", "amber"), ("durationMin", "20s"), ("durationMax", "80s")]
    yield [("search", "amber n17")]
    yield [("search", "nothing amber")]
    yield [("agentIds", AGENTS[0]), ("agentIds", AGENTS[1])]
    yield [("agentIds", agent) for agent in AGENTS]
    yield [("metadata.X-Team", "red"), ("voiceId", VOICE)]
    yield [("metadata.X-Team", "red"), ("metadata.X-Order", "17")]
    yield [("metadata.X-Team", "red"), ("timeOfDayStart", "22:30"), ("timeOfDayEnd", "05:00")]
    yield [("search", "delta"), ("fromDate", "2026-09-21T17:00:00Z"), ("toDate", "2026-09-22T20:30:00Z")]
    yield [("durationMin", "1s"), ("fromDate", "2026-09-22")]
    yield [("toDate", "2026-09-20"), ("metadata.X-Team", "red")]
    yield [("fromDate", "2026-09-22T17:00:00Z"), ("search", "amber"), ("metadata.X-Team", "red")]


def walk(store: Store, pairs: Pairs) -> tuple[list[uuid.UUID], set[int | None]]:
    """All pages forwards, each also reached backwards."""
    found: list[uuid.UUID] = []
    totals: set[int | None] = set()
    page = list_calls(store, pairs)
    while True:
        found += [call.call_id for call in page.results]
        totals.add(page.total)
        if page.next is None:
            return found, totals
        page = list_calls(store, [*pairs, ("cursor", page.next.rsplit("cursor=", 1)[1])])
        assert page.previous is not None
        back = list_calls(store, [*pairs, ("cursor", page.previous.rsplit("cursor=", 1)[1])])
        assert [call.call_id for call in back.results] == found[-7:]


def check(store: Store, sorts: tuple[str, ...] = ("-created", "duration")) -> None:
    for pairs in queries():
        for sort in sorts:
            asked = [*pairs, ("sort", sort), ("pageSize", "7")]
            sifted = walk(store, asked)
            with unsifted():
                assert sifted == walk(store, asked), asked
            assert sifted[1] == {len(sifted[0])}


def segments_of(store: Store) -> list[int]:
    with reading(store._engine) as connection:
        return [segment.calls for segment in load_segments(connection)]


def late_in(store: Store) -> int:
    with reading(store._engine) as connection:
        return connection.scalar(select(func.count()).select_from(LATE_CALLS)) or 0


def test_sifted_pages_and_totals_are_those_of_the_tables(store: Store) -> None:
    dice = random.Random(3)
    store.write([some_call(number, dice) for number in range(60)])
    tend_all(store)
    assert segments_of(store) == [SIZE] * 7
    check(store, ("created", "-created", "joined", "-ended", "duration", "-duration"))


def test_what_changes_comes_late_or_goes_is_looked_up_where_it_lies(store: Store) -> None:
    dice = random.Random(4)
    store.write([some_call(number, dice) for number in range(0, 80, 2)])
    tend_all(store)
    store.write([some_call(number, dice, version=4) for number in (4, 10, 23, 46)])  # one ends, others change
    store.write([some_call(number, dice) for number in (7, 9, 31)])  # they come with old times
    for number in (12, 40):
        store.delete(some_call(number, dice).call_id)
    store.write([some_call(number, dice) for number in range(80, 90)])
    assert late_in(store) == 9
    check(store)
    while not seal.tend_segments(store._engine, calls=SIZE):
        pass
    assert late_in(store) <= 3
    check(store)


def test_retention_empties_segments_and_what_is_left_of_them_is_joined(store: Store) -> None:
    dice = random.Random(5)
    store.write([some_call(number, dice) for number in range(1, 90)])
    tend_all(store)
    before = len(segments_of(store))
    store.prune(BASE_US + 50 * 1_700_000_000)
    check(store)
    tend_all(store)
    assert len(segments_of(store)) < before
    check(store)
    store.prune(BASE_US + 10**15)
    tend_all(store)
    assert sum(segments_of(store)) <= 4  # those that go on are kept
    store.write([some_call(number, dice) for number in range(200, 240)])
    tend_all(store)
    check(store)


def test_a_segment_that_becomes_too_full_is_cut(store: Store) -> None:
    dice = random.Random(6)
    store.write([some_call(number, dice) for number in range(1, 200, 20)])
    tend_all(store)
    assert segments_of(store) == [SIZE]
    store.write([some_call(number, dice) for number in range(2, 100, 3)])
    tend_all(store)
    assert len(segments_of(store)) > 3
    assert max(segments_of(store)) < 2 * SIZE
    check(store)


def test_words_that_become_common_later_are_added_to_segments(store: Store) -> None:
    dice = random.Random(7)
    store.write([some_call(number, dice) for number in range(1, 40)])
    while not seal.tend_segments(store._engine, calls=SIZE):
        pass
    check(store)
    tend_all(store)
    check(store)
    with reading(store._engine) as connection:
        sizes = select(func.count()).select_from(SEGMENT_SETS).group_by(SEGMENT_SETS.c.first_key)
        assert min(connection.scalars(sizes)) > len(WORDS)


def test_a_segment_that_was_only_announced_is_laid_out_by_the_next(store: Store) -> None:
    dice = random.Random(8)
    store.write([some_call(number, dice) for number in range(1, 40)])
    assert not seal.tend_segments(store._engine, calls=SIZE, stop=lambda: True)
    assert set(segments_of(store)) == {ANNOUNCED}
    check(store)
    tend_all(store)
    assert set(segments_of(store)) == {SIZE}
    check(store)


def test_with_too_many_loose_calls_nothing_is_sifted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(8)
    store.write([some_call(number, dice) for number in range(1, 16)])
    tend_all(store)
    monkeypatch.setattr(sieve, "LOOSE_MAX", 5)
    check(store)


def test_calls_that_go_on_hold_up_new_segments(store: Store) -> None:
    dice = random.Random(8)
    store.write([write(number, duration_us=None) for number in range(20)])
    assert seal.tend_segments(store._engine, calls=SIZE)
    assert segments_of(store) == []
    store.write([some_call(number, dice, version=4) for number in range(1, 20)])
    tend_all(store)
    assert segments_of(store) == [SIZE, SIZE]
    check(store)


def test_segments_are_made_while_others_write(store: Store, database_url: str) -> None:
    other = Store(database_url, run_id=uuid.UUID(int=2))
    other.open()

    def write_on(target: Store, start: int) -> None:
        dice = random.Random(start)
        for number in range(start, start + 30):
            target.write([some_call(number, dice)])
            if number % 3 == 0:
                target.write([some_call(number - 2, dice, version=4)])
            if number % 5 == 0:
                with suppress(NotFound):  # the other one has deleted it
                    target.delete(some_call(number if number % 23 else number - 1, dice).call_id)

    def tend_on(target: Store) -> None:
        for _ in range(3):
            tend_all(target)

    def look_on(target: Store) -> None:
        for _ in range(2):
            for pairs in queries():
                page = list_calls(target, [*pairs, ("pageSize", "500")])
                assert page.total == len(page.results)

    with ThreadPoolExecutor(5) as threads:
        jobs = [
            threads.submit(write_on, store, 100),
            threads.submit(write_on, other, 113),  # through the same stretches
            threads.submit(tend_on, store),
            threads.submit(tend_on, other),
            threads.submit(look_on, other),
        ]
        for job in jobs:
            job.result()
    check(store)
    tend_all(store)
    check(store)
    other.close()


@pytest.mark.parametrize("calls", [1, 7, 8, 200, 70_000])
def test_a_set_is_told_by_bits_or_by_numbers(calls: int) -> None:
    dice = random.Random(calls)
    for count in (0, 1, calls // 30, calls // 2, calls):
        chosen = sorted(dice.sample(range(calls), count))
        bits = unpack_set(pack_set(chosen, calls), calls)
        assert len(bits) == -(-calls // 8)
        assert [place for place in range(calls) if bits[place // 8] >> (7 - place % 8) & 1] == chosen
