"""`python -m bench.history`: a million calls in SQLite and in PostgreSQL, and what each question takes."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from bench.history.calls import AGENTS, END_US, VOICES, Known, make_calls
from bench.history.ending import ending
from bench.history.load import RUN, load
from tests.support.postgres import running_postgres, why_not
from vb.history.database import open_engine, parse_url, reading
from vb.history.edge import list_calls
from vb.history.query import parse_query
from vb.history.store import Store
from vb.history.times import from_us

KNOWN: Final = Known()
PAGE_MS, FILTER_MS, SEARCH_MS, TOTAL_MS = 20.0, 50.0, 200.0, 100.0
MAX_BYTES: Final = 4_096
MAX_STORED_S: Final = 5.0
DAY_US: Final = 86_400_000_000

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and how long 95 of 100 may take."""

    name: str
    pairs: Pairs
    bar_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question took: on the wall clock, and of this process's CPU, in which SQLite runs too."""

    database: str
    name: str
    p50_ms: float
    p95_ms: float
    cpu_p95_ms: float
    bar_ms: float
    total: int | None


def questions() -> list[Question]:
    """Every kind of filter, narrow and wide, with its bar; each answer has its page and its total."""
    day = from_us(END_US - 30 * DAY_US).strftime("%Y-%m-%d")
    filters: dict[str, Pairs] = {
        "agentIds, many": [("agentIds", AGENTS[0])],
        "agentIds, few": [("agentIds", AGENTS[-1])],
        "agentIds, ten": [("agentIds", agent) for agent in AGENTS[:10]],
        "durationMin, most": [("durationMin", "1s")],
        "durationMin, few": [("durationMin", "1500s")],
        "durationMax, half": [("durationMax", "40.5s")],
        "fromDate": [("fromDate", day)],
        "toDate": [("toDate", day)],
        "one hour": [("fromDate", f"{day}T10:00:00Z"), ("toDate", f"{day}T10:59:59Z")],
        "timeOfDay, wide": [("timeOfDayStart", "08:00:30"), ("timeOfDayEnd", "20:00:00")],
        "timeOfDay, narrow": [("timeOfDayStart", "03:00:00"), ("timeOfDayEnd", "03:00:10")],
        "timeOfDay, over midnight": [("timeOfDayStart", "22:00:00"), ("timeOfDayEnd", "05:00:00")],
        "metadata, all": [("metadata.X-Env", "prod")],
        "metadata, one": [("metadata.X-Order", KNOWN.order)],
        "metadata, none": [("metadata.X-Order", "nothing")],
        "voiceId": [("voiceId", VOICES[0])],
    }
    searches: dict[str, Pairs] = {
        "search, word of all": [("search", KNOWN.word)],
        "search, rare word": [("search", KNOWN.rare)],
        "search, two words": [("search", f"{KNOWN.word} {KNOWN.rare}")],
        "search, two common": [("search", " ".join(KNOWN.common[:2]))],
        "search, three common": [("search", " ".join(KNOWN.common))],
        "search, common and rare": [("search", f"{KNOWN.common[0]} {KNOWN.number}")],
        "search, sixteen words": [("search", KNOWN.many)],
        "search, number": [("search", KNOWN.number)],
        "search, order": [("search", KNOWN.order)],
        "search, nothing": [("search", "zzzzzz")],
    }
    several: dict[str, Pairs] = {
        "agent and dates": [("agentIds", AGENTS[0]), ("fromDate", day)],
        "team and duration": [("metadata.X-Team", "team-0"), ("durationMin", "60s")],
        "search and agent": [("search", KNOWN.word), ("agentIds", AGENTS[0])],
        "search, agent and duration": [
            ("search", " ".join(KNOWN.common[:2])),
            ("agentIds", AGENTS[0]),
            ("durationMin", "60s"),
        ],
        "search, voice and hours": [
            ("search", KNOWN.common[0]),
            ("voiceId", VOICES[0]),
            ("timeOfDayStart", "22:00"),
            ("timeOfDayEnd", "06:00"),
        ],
        "many words, eight hours": [
            ("search", KNOWN.many),
            ("fromDate", f"{day}T10:00:00Z"),
            ("toDate", f"{day}T18:20:00Z"),
        ],
        "search and dates": [("search", " ".join(KNOWN.common[:2])), ("fromDate", day)],
        "search, longest first": [("search", KNOWN.common[0]), ("sort", "-duration")],
        "sixty agents and team": [
            *(("agentIds", agent) for agent in (*AGENTS, *VOICES)),
            ("metadata.X-Team", "team-0"),
        ],
        "duration and hours": [
            ("durationMin", "60s"),
            ("timeOfDayStart", "22:00"),
            ("timeOfDayEnd", "06:00"),
        ],
        "sorted by duration": [("sort", "-duration")],
        "sorted by ended, agent": [("sort", "-ended"), ("agentIds", AGENTS[0])],
        "sorted by duration, team": [("sort", "duration"), ("metadata.X-Team", "team-0")],
    }
    asked = [Question("page of 50", [], PAGE_MS)]
    asked += [Question(name, pairs, FILTER_MS) for name, pairs in filters.items()]
    asked += [Question(name, pairs, SEARCH_MS) for name, pairs in searches.items()]
    return asked + [Question(name, pairs, SEARCH_MS) for name, pairs in several.items()]


def _p(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(database: str, name: str, bar_ms: float, times: int, ask: Callable[[], int | None]) -> Answer:
    """Ask a question several times."""
    total = ask()
    gc.collect()
    gc.freeze()  # as `vb serve` does; else the collector walks all that is loaded in one answer of twenty
    taken: list[float] = []
    used: list[float] = []
    for _ in range(times):
        start, cpu = time.perf_counter(), time.process_time()
        ask()
        taken.append((time.perf_counter() - start) * 1000)
        used.append((time.process_time() - cpu) * 1000)
    return Answer(database, name, _p(taken, 0.5), _p(taken, 0.95), _p(used, 0.95), bar_ms, total)


def ask_all(url: str, times: int) -> Iterator[Answer]:
    """Ask everything of a database."""
    store = Store(url, run_id=RUN)
    store.open()
    for question in questions():

        def ask(pairs: Pairs = question.pairs) -> int | None:
            return list_calls(store, [*pairs, ("pageSize", "50")]).total

        yield measure(store.kind, question.name, question.bar_ms, times, ask)
    page = list_calls(store, [])
    for _ in range(3):
        assert page.next is not None
        cursor = page.next.rsplit("cursor=", 1)[1]
        page = list_calls(store, [("cursor", cursor)])
    pairs = [("cursor", cursor)]
    yield measure(store.kind, "fourth page", PAGE_MS, times, lambda: list_calls(store, pairs).total)
    yield measure(
        store.kind, "total", TOTAL_MS, times, lambda: store.page(parse_query([("pageSize", "1")])).total
    )
    store.close()


def size_bytes(url: str) -> int:
    """Return what a database takes up on the disk."""
    parsed = parse_url(url)
    if parsed.database and parsed.get_backend_name() == "sqlite":
        return os.path.getsize(parsed.database)
    engine = open_engine(parsed)
    with reading(engine) as connection:
        size = connection.scalar(select(func.pg_database_size(func.current_database())))
    engine.dispose()
    return int(size or 0)


@contextmanager
def databases(chosen: list[str], folder: Path) -> Iterator[list[str]]:
    """Give the URLs of the databases; PostgreSQL is left out, and said to be, where it is not installed."""
    urls = [f"sqlite:///{folder}/calls.db"] if "sqlite" in chosen else []
    if "postgresql" not in chosen:
        yield urls
        return
    reason = why_not()
    if reason is not None:
        print(f"postgresql left out: {reason}")
        yield urls
        return
    with running_postgres(settings=("-c shared_buffers=256MB", "-c max_wal_size=4GB")) as url:
        yield [*urls, url]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit status is 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000, metavar="N", help="how many are stored")
    parser.add_argument("--times", type=int, default=40, metavar="N", help="how often each question is asked")
    parser.add_argument("--only", choices=("sqlite", "postgresql"), action="append")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    args = parser.parse_args(argv)
    missed = 0
    answers: list[Answer] = []
    with tempfile.TemporaryDirectory(prefix="vb-history-") as name:
        folder = Path(name)
        with databases(args.only or ["sqlite", "postgresql"], folder) as urls:
            for url in urls:
                start = time.perf_counter()
                store = Store(url, run_id=RUN)
                store.open()
                store.close()
                load(url, make_calls(args.calls))
                store = Store(url, run_id=RUN)
                store.open()
                while not store.tend():
                    pass
                store.close()
                kind = store.kind
                each = size_bytes(url) / args.calls
                missed += each > MAX_BYTES
                took_s = time.perf_counter() - start
                print(f"{kind}: {args.calls} calls in {took_s:.0f} s, {each:.0f} bytes each", flush=True)
                for answer in ask_all(url, args.times):
                    late = bool(answer.bar_ms) and answer.p95_ms > answer.bar_ms
                    missed += late
                    answers.append(answer)
                    print(
                        f"  {answer.name:26} p50 {answer.p50_ms:7.1f} ms  p95 {answer.p95_ms:7.1f} ms"
                        f"  CPU p95 {answer.cpu_p95_ms:6.1f} ms"
                        f"  bar {answer.bar_ms or '-':>6}  total {answer.total}{'  MISSED' if late else ''}",
                        flush=True,
                    )
                took = ending(url, folder)
                missed += took.last_s > MAX_STORED_S
                print(
                    f"  {took.calls} calls ended at 300 a second: the last is stored after"
                    f" {took.last_s:.2f} s; {took.cpu_share:.0%} of a core;"
                    f" ticks late p99 {took.late_p99_ms:.1f} ms,"
                    f" {took.alone_p99_ms:.1f} ms without a history",
                    flush=True,
                )
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(answer) for answer in answers], indent=1), encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
