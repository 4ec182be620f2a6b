"""Whatever is asked, and however calls are laid out: what is found is what looking at each call finds."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.history.making import BASE_US, write
from vb.history import find, seal, sieve, tend
from vb.history.edge import list_calls
from vb.history.schema import DAY_US
from vb.history.store import Store
from vb.history.times import from_us
from vb.history.writer import CallWrite

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fern")
AGENTS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 5)]
VOICES = [str(uuid.UUID(int=number, version=4)) for number in range(90, 93)]
SORTS = ("created", "joined", "ended", "duration")
Pairs = list[tuple[str, str]]


@dataclass
class Known:
    """What a call is, told without the database."""

    write: CallWrite
    number: int
    team: str
    agents: list[str]
    voice: str | None
    words: set[str] = field(default_factory=set)

    @property
    def created_us(self) -> int:
        return self.write.key >> 8

    def value(self, sort: str) -> tuple[int, int]:
        one = self.write
        found = {"created": 0, "joined": one.joined_us, "ended": one.ended_us, "duration": one.duration_us}
        return found[sort], one.key


Wanted = Callable[[Known], bool]


class World:
    """Calls in a database, and the same in memory."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.dice = random.Random(seed)
        self.calls: dict[int, Known] = {}
        self.next_number = 1
        self.versions: dict[int, int] = {}

    def make(self, number: int) -> Known:
        dice = self.dice
        version = self.versions[number] = self.versions.get(number, 0) + 2
        agents = dice.sample(AGENTS, dice.choice([0, 1, 1, 2, 3]))
        team, voice = dice.choice(["red", "red", "red", "blue"]), dice.choice([None, *VOICES])
        words = [*dice.sample(WORDS, dice.randrange(len(WORDS))), "every", f"n{number}"]
        made = write(
            number,
            version=version,
            created_us=BASE_US + number * 1_370_000_000 + (0 if number % 3 else 7),
            joined_after_us=None if number % 6 == 0 else dice.choice([0, 1_000_000]),
            duration_us=dice.choice([None, 0, 1_000_000, 30_000_000, dice.randrange(90_000_000)]),
            texts=(" ".join(words),),
            metadata={"X-Team": team, "X-Order": str(number)},
            agents=[{"agent_id": agent, "started_us": BASE_US} for agent in agents],
            **({"voice_id": voice} if voice else {}),
        )
        return Known(made, number, team, agents, voice, {*words, "red" if team == "red" else "blue"})

    def put(self, numbers: list[int]) -> None:
        made = [self.make(number) for number in numbers]
        self.store.write([one.write for one in made])
        self.calls |= {one.number: one for one in made}

    def act(self) -> None:
        dice = self.dice
        deed = dice.randrange(7)
        ended = [number for number, one in self.calls.items() if one.write.ended_us]
        if deed <= 2:
            count = dice.randrange(1, 15)
            numbers = list(range(self.next_number, self.next_number + count))
            self.next_number += count
            skipped = numbers[:: dice.choice([2, 5, 50])] if count > 3 else []
            self.put([number for number in numbers if number not in skipped])
        elif deed == 3 and self.calls:
            self.put(dice.sample(sorted(self.calls), min(len(self.calls), dice.randrange(1, 6))))
        elif deed == 4 and self.next_number > 3:  # they come late, with old times
            free = [number for number in range(1, self.next_number) if number not in self.versions]
            self.put(dice.sample(free, min(len(free), 3)))
        elif deed == 5 and ended:
            for number in dice.sample(ended, min(len(ended), dice.randrange(1, 4))):
                self.store.delete(self.calls.pop(number).write.call_id)
        elif deed == 6 and dice.random() < 0.3 and ended:
            before = self.calls[dice.choice(ended)].created_us
            while self.store.prune(before).calls:
                pass
            self.calls = {
                number: one
                for number, one in self.calls.items()
                if one.created_us >= before or not one.write.ended_us
            }
        if dice.random() < 0.4:
            tend.tend_words(self.store._engine, common_min=dice.choice([3, 8]))
        if dice.random() < 0.5:
            stop = (lambda: True) if dice.random() < 0.2 else (lambda: False)
            seal.tend_segments(self.store._engine, calls=dice.choice([7, 8, 8, 16]), stop=stop)

    # -- questions -----------------------------------------------------------------------------------------

    def question(self) -> tuple[Pairs, Wanted, str]:
        dice = self.dice
        kinds = dice.sample(["words", "agents", "voice", "team", "order", "duration", "times", "dates"], 3)
        pairs: Pairs = []
        tests: list[Wanted] = []
        for kind in kinds[: dice.choice([0, 1, 1, 2, 2, 3])]:
            more, test = getattr(self, f"_{kind}")()
            pairs += more
            tests.append(test)
        sort = dice.choice(SORTS)
        return pairs, lambda one: all(test(one) for test in tests), sort

    def _words(self) -> tuple[Pairs, Wanted]:
        dice = self.dice
        some = [
            *dice.sample(WORDS, dice.choice([1, 1, 2, 3])),
            *dice.sample(["every", "red", "n9", "none"], 1),
        ]
        words = some[: dice.randrange(1, len(some) + 1)]
        return [("search", " ".join(words))], lambda one: one.words.issuperset(words)

    def _agents(self) -> tuple[Pairs, Wanted]:
        chosen = self.dice.sample(AGENTS, self.dice.randrange(1, 4))
        return [("agentIds", agent) for agent in chosen], lambda one: bool(set(chosen) & set(one.agents))

    def _voice(self) -> tuple[Pairs, Wanted]:
        voice = self.dice.choice(VOICES)
        return [("voiceId", voice)], lambda one: one.voice == voice

    def _team(self) -> tuple[Pairs, Wanted]:
        team = self.dice.choice(["red", "blue", "none"])
        return [("metadata.X-Team", team)], lambda one: one.team == team

    def _order(self) -> tuple[Pairs, Wanted]:
        number = self.dice.randrange(self.next_number + 1)
        return [("metadata.X-Order", str(number))], lambda one: one.number == number

    def _duration(self) -> tuple[Pairs, Wanted]:
        low, high = self.dice.choice([0, 1, 30, 45]), self.dice.choice([0, 1, 29.999999, 60])
        pairs = [("durationMin", f"{low}s"), ("durationMax", f"{high}s")]
        which = self.dice.randrange(3)
        chosen = [pairs[:1], pairs[1:], pairs][which]

        def test(one: Known) -> bool:
            length = one.write.duration_us
            least = low * 10**6 if which != 1 else 0
            return length >= least and (which == 0 or length <= round(high * 10**6))

        return chosen, test

    def _times(self) -> tuple[Pairs, Wanted]:
        first, last = self.dice.randrange(86_400), self.dice.randrange(86_400)
        given = [("timeOfDayStart", _clock(first)), ("timeOfDayEnd", _clock(last))]
        which = self.dice.randrange(3)
        start_us = first * 10**6 if which != 1 else 0
        end_us = last * 10**6 if which != 0 else DAY_US - 1

        def test(one: Known) -> bool:
            at = one.created_us % DAY_US
            if start_us <= end_us:
                return start_us <= at <= end_us
            return at >= start_us or at <= end_us

        return [given[:1], given[1:], given][which], test

    def _dates(self) -> tuple[Pairs, Wanted]:
        moments = sorted(BASE_US + self.dice.randrange(self.next_number + 2) * 1_370_000_000 for _ in "ab")
        texts = [from_us(moment).isoformat() for moment in moments]
        which = self.dice.randrange(3)
        pairs = [("fromDate", texts[0]), ("toDate", texts[1])]

        def test(one: Known) -> bool:
            return (which == 1 or one.created_us >= moments[0]) and (
                which == 0 or one.created_us <= moments[1]
            )

        return [pairs[:1], pairs[1:], pairs][which], test

    # -- answers -------------------------------------------------------------------------------------------

    def check(self) -> None:
        dice = self.dice
        pairs, wanted, sort = self.question()
        descending = dice.random() < 0.5
        expected = sorted(
            (one for one in self.calls.values() if wanted(one)),
            key=lambda one: one.value(sort),
            reverse=descending,
        )
        ids = [one.write.call_id for one in expected]
        asked = [*pairs, ("sort", "-" + sort if descending else sort)]
        dice.shuffle(asked)
        asked.append(("pageSize", str(dice.choice([1, 2, 3, 5, 7, 50, 500]))))
        told = self.walk(asked)
        assert told == (ids, {len(ids)}), (asked, sorted(self.calls))

    def walk(self, asked: Pairs) -> tuple[list[uuid.UUID], set[int | None]]:
        """All pages to the end, and back to the beginning."""
        page = list_calls(self.store, asked)
        pages, totals = [page], {page.total}
        while page.next is not None and len(pages) < 12:
            page = list_calls(self.store, [*asked, ("cursor", page.next.rsplit("cursor=", 1)[1])])
            pages.append(page)
            totals.add(page.total)
        forth = [[call.call_id for call in page.results] for page in pages]
        if page.next is not None:  # enough was seen
            rest = list_calls(self.store, [*asked[:-1], ("pageSize", "500")])
            forth[-1] = [call.call_id for call in rest.results][sum(map(len, forth[:-1])) :]
            return [each for part in forth for each in part], totals
        at = len(pages) - 1
        while page.previous is not None:
            page = list_calls(self.store, [*asked, ("cursor", page.previous.rsplit("cursor=", 1)[1])])
            at -= 1
            assert [call.call_id for call in page.results] == forth[at], asked
            assert page.next is not None
            totals.add(page.total)
        assert at == 0, asked
        return [each for part in forth for each in part], totals


def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


@pytest.mark.parametrize("seed", range(3))
def test_any_question_is_answered_as_by_looking_at_each_call(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(store, seed)
    world.put(list(range(1, 40, 2)))
    world.next_number = 40
    for _ in range(25):
        world.act()
        dice = world.dice
        # Every way of finding calls takes its turn, however few calls there are.
        with monkeypatch.context() as patch:
            patch.setattr(find, "SIFT_MIN", dice.choice([0, 0, 10_000]))
            patch.setattr(find, "GATHER_MAX", dice.choice([0, 3, 20_000]))
            patch.setattr(find, "WALK_MAX", dice.choice([5, 12, 5_000]))
            patch.setattr(find, "PROBE_MAX", dice.choice([0, 2_000]))
            patch.setattr(find, "PROBE_SHARE", dice.choice([1, 10]))
            patch.setattr(seal, "LATE_MAX", dice.choice([0, 3, 1_000]))
            patch.setattr(seal, "OPEN_SHARE", 1)
            patch.setattr(sieve, "LOOSE_MAX", dice.choice([4, 60_000, 60_000]))
            for _ in range(4):
                world.check()
