"""Ten minutes in which four receivers fail, each in its way, and a kill in the middle of them.

Retries, redirects, time-outs, queues and the spool are the real ones; only the network is not. What has to be
posted, and when, is computed from the rules alone, so every post is compared with its time.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.api.harness import SmallEngine
from tests.api.test_webhooks import counter, outcomes
from tests.support.blocking import at_once
from tests.support.ids import SequentialIds
from tests.support.web import FakeWeb
from vb.api import webhooks
from vb.api.spool import Spool
from vb.api.webhook_sender import WebhookSender
from vb.api.webhooks import WebhookDispatcher
from vb.events.bus import EventBus
from vb.events.hooks import Hook, HookTable
from vb.events.leg import LegMuted

PERIOD_S = 2.0
KILLED_AT = 300.5
RESTARTED_AT = 305.25
RECOVERED_AT = 600.5
ALL_TOLD_AT = 640.0
SLOW_S = 3.0
TAKES_S = {"healthy": 0.0, "slow": SLOW_S, "status500": 0.0, "hangs": 10.0, "redirects": 0.0}
"""How long an attempt takes at each receiver while it fails."""
SUCCEEDING = ("healthy", "slow")
GLOBAL = Hook("http://healthy.example/hook", trusted=True)

Post = tuple[str, float]
"""Event id and time."""


def hook_of(name: str) -> Hook:
    return GLOBAL if name == "healthy" else Hook(f"http://{name}.example/hook", f"secret of {name}")


async def resolve(_host: str, _port: int) -> Sequence[str]:
    return ["93.184.215.14"]


class Network:
    """The receivers; outlives every server."""

    def __init__(self) -> None:
        self.posts: dict[str, list[Post]] = {name: [] for name in TAKES_S}
        self.bodies: dict[str, set[bytes]] = {}
        self.redirected = 0

    async def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.headers["host"].removesuffix(".example")
        event_id, now = request.headers["x-event-id"], trio.current_time()
        if request.url.path == "/hook":
            self.posts[name].append((event_id, now))
            self.bodies.setdefault(event_id, set()).add(await request.aread())
        await trio.lowlevel.checkpoint()
        if name == "healthy" or now >= RECOVERED_AT:
            return httpx.Response(200)
        if name == "slow":
            await trio.sleep(SLOW_S)
            return httpx.Response(200)
        if name == "status500":
            return httpx.Response(500)
        if name == "hangs":
            await trio.sleep_forever()
        self.redirected += 1
        return httpx.Response(307, headers={"location": "/elsewhere"})


@dataclass
class Timetable:
    """What has to become of the events of one target in one run, by the rules.

    Attributes:
        posts: every attempt.
        settled: the events that were delivered or exhausted, with the time at which they were.
        exhausted: those of them that were not delivered.
    """

    posts: list[Post] = field(default_factory=list)
    settled: list[Post] = field(default_factory=list)
    exhausted: list[str] = field(default_factory=list)

    def until(self, time: float) -> Timetable:
        settled = [post for post in self.settled if post[1] < time]
        done = {event_id for event_id, _ in settled}
        return Timetable(
            [post for post in self.posts if post[1] < time],
            settled,
            [event_id for event_id in self.exhausted if event_id in done],
        )


def timetable(name: str, published: Sequence[Post]) -> Timetable:
    """One event after the other, each up to three times."""
    table, now = Timetable(), 0.0
    for event_id, ready_at in published:
        now = max(now, ready_at)
        for pause_s in (0.0, 2.0, 4.0):
            now += pause_s
            table.posts.append((event_id, now))
            recovered = now >= RECOVERED_AT
            now += 0.0 if recovered else TAKES_S[name]
            if recovered or name in SUCCEEDING:
                break
        else:
            table.exhausted.append(event_id)
        table.settled.append((event_id, now))
    return table


class Server:
    """One run of a server, which publishes an event for each target every PERIOD_S."""

    def __init__(self, network: Network, spool: Spool, number: int) -> None:
        bus = EventBus("i", SequentialIds(number * 1_000_000), lambda: 0)
        self.engine = SmallEngine(bus=bus, hooks=HookTable(GLOBAL))
        for name in TAKES_S:
            if name != "healthy":
                self.engine.hooks.set_leg(name, hook_of(name))
        self.published: dict[str, list[Post]] = {name: [] for name in TAKES_S}
        self.spool = spool
        sender = WebhookSender(FakeWeb(network.answer, resolve))
        self.dispatcher = WebhookDispatcher(self.engine, sender, self.spool)

    async def publish(self, until: float) -> None:
        while (now := trio.current_time()) < until:
            for name, published in self.published.items():
                event_id = self.engine.bus.publish(LegMuted(leg_id=name)).event_id
                published.append((event_id, now))
            await trio.sleep_until(min(now + PERIOD_S, until))

    def waiting(self, name: str) -> list[str]:
        """The events in the spool that belong to a target."""
        own = None if name == "healthy" else hook_of(name)
        return [entry.event_id for entry in self.spool.entries() if entry.hook == own]


@asynccontextmanager
async def running(network: Network, folder: Path, number: int) -> AsyncIterator[Server]:
    spool = await Spool.open(str(folder), wall_clock_ns=lambda: number, in_thread=at_once)
    server = Server(network, spool, number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spool.run)
        nursery.start_soon(server.dispatcher.run)
        yield server
        nursery.cancel_scope.cancel()
    await spool.close()


@dataclass
class Story:
    """What happened.

    Attributes:
        first: the server that was killed.
        counted: the outcomes that it had counted by then.
        found: by target, the events that the second one found in the spool.
        posts: by target, what came until the kill.
        second: the server after it.
        later: by target, what came after the restart.
    """

    network: Network
    first: Server
    counted: dict[str, int]
    found: dict[str, list[str]]
    posts: dict[str, list[Post]]
    second: Server
    later: dict[str, list[Post]]


async def live_through(folder: Path) -> Story:
    network = Network()
    async with running(network, folder / "before", 1) as first:
        await first.publish(until=KILLED_AT)
        # The disk as a kill leaves it: nothing that the first server does from here on gets there.
        shutil.copytree(folder / "before", folder / "after")
        posts = {name: list(seen) for name, seen in network.posts.items()}
        counted = outcomes(first.engine)
    await trio.sleep_until(RESTARTED_AT)
    async with running(network, folder / "after", 2) as second:
        found = {name: second.waiting(name) for name in TAKES_S}
        await second.publish(until=RECOVERED_AT)
        await second.dispatcher.drain(ALL_TOLD_AT)
        assert len(second.spool) == 0
    later = {name: seen[len(posts[name]) :] for name, seen in network.posts.items()}
    return Story(network, first, counted, found, posts, second, later)


def before_the_kill(story: Story, name: str) -> Timetable:
    return timetable(name, story.first.published[name]).until(KILLED_AT)


def after_the_restart(story: Story, name: str) -> Timetable:
    left = [(event_id, RESTARTED_AT) for event_id in story.found[name]]
    return timetable(name, left + story.second.published[name])


async def test_four_failing_receivers_and_a_kill_lose_nothing_and_mix_up_nothing_in_ten_minutes(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "strangers", webhooks.log)  # each line is wanted
    with structlog.testing.capture_logs() as logs:
        story = await live_through(tmp_path)
    for name in TAKES_S:
        everything_went_out_in_order_and_in_its_time(story, name)
    first = [before_the_kill(story, name) for name in TAKES_S]
    second = [after_the_restart(story, name) for name in TAKES_S]
    assert story.counted == totals(first)
    assert outcomes(story.second.engine) == totals(second)
    given_up = {line["event_id"] for line in logs if line["event"] == "webhook_exhausted"}
    assert given_up == {event_id for table in (*first, *second) for event_id in table.exhausted}
    for server in (story.first, story.second):
        assert counter(server.engine, "webhook_dropped_total") == 0

    told = story.first.published["healthy"] + story.second.published["healthy"]
    assert story.posts["healthy"] + story.later["healthy"] == told
    # What was under way at the kill went out again, and no event changed on its way.
    for name in ("slow", "status500", "hangs", "redirects"):
        assert story.posts[name][-1][0] == story.found[name][0] == story.later[name][0][0], name
    assert all(len(bodies) == 1 for bodies in story.network.bodies.values())
    # Each receiver failed in its own way, and all of them for the whole time.
    waited = {name: len(story.found[name]) for name in TAKES_S}
    assert waited == {"healthy": 0, "slow": 51, "status500": 101, "hangs": 143, "redirects": 101}
    redirected = [*story.posts["redirects"], *story.later["redirects"]]
    assert story.network.redirected == 6 * sum(time < RECOVERED_AT for _, time in redirected)


def everything_went_out_in_order_and_in_its_time(story: Story, name: str) -> None:
    first, second = before_the_kill(story, name), after_the_restart(story, name)
    old, new = ids(story.first.published[name]), ids(story.second.published[name])
    assert (len(old), len(new)) == (151, 148), name
    assert story.posts[name] == first.posts, name
    assert ids(first.settled) + story.found[name] == old, name
    assert story.later[name] == second.posts, name
    assert ids(first.settled) + ids(second.settled) == old + new, name


def ids(posts: Sequence[Post]) -> list[str]:
    return [event_id for event_id, _ in posts]


def totals(tables: Sequence[Timetable]) -> dict[str, int]:
    exhausted = sum(len(table.exhausted) for table in tables)
    return {"success": sum(len(table.settled) for table in tables) - exhausted, "exhausted": exhausted}
