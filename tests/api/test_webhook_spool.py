"""The dispatcher with a spool: what a run leaves undelivered goes out in a later one."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.api.harness import SmallEngine
from tests.api.test_webhooks import Faulty, Receiver, contained, counter, outcomes, publish
from tests.support.blocking import at_once
from tests.support.ids import SequentialIds
from vb.api import webhooks
from vb.api.spool import Spool
from vb.api.webhooks import WebhookDispatcher
from vb.durable.store import Store
from vb.events.bus import EventBus
from vb.events.hooks import Hook, HookTable

GLOBAL = Hook("http://global/", trusted=True)
OWN = Hook("http://own/", "s3cret")


@dataclass
class Run:
    """One run of a server."""

    engine: SmallEngine
    receiver: Receiver
    dispatcher: WebhookDispatcher
    spool: Spool


class Runs:
    """The runs that share one folder, with event ids that are unique over all of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = count(1)

    @asynccontextmanager
    async def undelivered(self, hook: Hook | None = GLOBAL) -> AsyncIterator[Run]:
        """A run that delivers nothing and ends."""
        number = next(self._numbers)
        ids = SequentialIds(number * 1_000_000)
        engine = SmallEngine(bus=EventBus("i", ids, lambda: 0), hooks=HookTable(hook))
        engine.hooks.set_leg("own", OWN)
        spool = await Spool.open(str(self.path), wall_clock_ns=lambda: number, in_thread=at_once)
        receiver = Receiver(lambda _hook, _n: "success")
        try:
            yield Run(engine, receiver, WebhookDispatcher(engine, receiver, spool), spool)
        finally:
            await spool.close()

    @asynccontextmanager
    async def delivering(self, hook: Hook | None = GLOBAL) -> AsyncIterator[Run]:
        """A run that delivers."""
        async with self.undelivered(hook) as run, trio.open_nursery() as nursery:
            nursery.start_soon(run.spool.run)
            nursery.start_soon(run.dispatcher.run)
            yield run
            nursery.cancel_scope.cancel()

    async def delivered(self, hook: Hook | None = GLOBAL) -> list[tuple[str, str]]:
        """What the next run posts, as pairs of URL and event id."""
        async with self.delivering(hook) as run:
            await run.dispatcher.drain(trio.current_time() + 60)
        return [(url, event_id) for url, event_id, _ in run.receiver.posts]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "spool")


async def test_more_left_overs_than_a_queue_holds_all_go_out_in_order(
    runs: Runs, autojump_clock: MockClock
) -> None:
    async with runs.undelivered() as run:
        ids = publish(run.engine, 3500)
        assert counter(run.engine, "webhook_dropped_total") == 0
    assert [event_id for _, event_id in await runs.delivered()] == ids
    assert await runs.delivered() == []


async def test_the_left_overs_of_two_crashes_all_go_out_in_order(
    runs: Runs, autojump_clock: MockClock
) -> None:
    ids = []
    for _ in range(2):
        async with runs.undelivered() as run:
            ids += publish(run.engine, 700)
    assert [event_id for _, event_id in await runs.delivered()] == ids


async def test_new_events_of_a_target_follow_its_left_overs(runs: Runs, autojump_clock: MockClock) -> None:
    async with runs.undelivered() as run:
        old = publish(run.engine, 1200)
    async with runs.delivering() as run:
        new = publish(run.engine, 3)
        await run.dispatcher.drain(trio.current_time() + 60)
    assert [event_id for _, event_id, _ in run.receiver.posts] == old + new


async def test_a_full_queue_loses_nothing_and_keeps_its_order(runs: Runs, autojump_clock: MockClock) -> None:
    async with runs.delivering() as run:
        ids = publish(run.engine, 2500)
        await run.dispatcher.drain(trio.current_time() + 60)
    assert [event_id for _, event_id, _ in run.receiver.posts] == ids
    assert outcomes(run.engine) == {"success": 2500}
    assert counter(run.engine, "webhook_enqueued_total") == 2500
    assert counter(run.engine, "webhook_dropped_total") == 0


async def test_left_overs_with_a_hook_of_their_own_go_to_it(runs: Runs, autojump_clock: MockClock) -> None:
    async with runs.undelivered() as run:
        (own,) = publish(run.engine, 1, "own")
        (other,) = publish(run.engine, 1)
    assert sorted(await runs.delivered()) == [("http://global/", other), ("http://own/", own)]


async def test_a_dead_target_of_left_overs_delays_no_other(
    runs: Runs, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "QUEUE_EVENTS", 10)
    async with runs.undelivered() as run:
        publish(run.engine, 100, "own")
        publish(run.engine, 3)
    async with runs.delivering() as run:
        run.receiver._answer = lambda hook, _n: "retry" if hook.url == OWN.url else "success"
        await trio.sleep(1)
        publish(run.engine, 1)
        await trio.sleep(1)
    assert [time for url, _, time in run.receiver.posts if url == GLOBAL.url] == [0, 0, 0, 1]


async def test_what_is_left_at_the_deadline_goes_out_in_the_next_run(
    runs: Runs, autojump_clock: MockClock
) -> None:
    async with runs.delivering() as run:
        run.receiver._answer = lambda _hook, _n: "retry"
        ids = publish(run.engine, 3)
        with structlog.testing.capture_logs() as logs:
            await run.dispatcher.drain(trio.current_time() + 1)
    assert outcomes(run.engine) == {"undelivered": 3}
    assert [line.get("events") for line in logs if line["log_level"] == "warning"] == [3]
    assert [event_id for _, event_id in await runs.delivered()] == ids


async def test_an_event_that_is_published_after_the_deadline_goes_out_in_the_next_run(
    runs: Runs, autojump_clock: MockClock
) -> None:
    async with runs.delivering() as run:
        run.receiver._answer = lambda _hook, _n: "retry"
        ids = publish(run.engine, 1)
        await run.dispatcher.drain(trio.current_time() + 1)
        ids += publish(run.engine, 2)
    assert outcomes(run.engine) == {"undelivered": 3}
    assert counter(run.engine, "webhook_dropped_total") == 0
    assert [event_id for _, event_id in await runs.delivered()] == ids


async def test_an_event_that_is_published_once_all_was_delivered_is_still_tried(
    runs: Runs, autojump_clock: MockClock
) -> None:
    async with runs.delivering() as run:
        await run.dispatcher.drain(trio.current_time() + 5)
        publish(run.engine, 1)
        await wait_all_tasks_blocked()
    assert outcomes(run.engine) == {"success": 1}


async def test_events_that_were_given_up_are_not_kept(runs: Runs, autojump_clock: MockClock) -> None:
    async with runs.delivering() as run:
        run.receiver._answer = lambda _hook, n: "request_error" if n == 1 else "retry"
        publish(run.engine, 2)
        await run.dispatcher.drain(trio.current_time() + 60)
    assert outcomes(run.engine) == {"request_error": 1, "exhausted": 1}
    assert await runs.delivered() == []


async def test_without_a_global_hook_its_left_overs_wait_for_one_and_that_is_told(
    runs: Runs, autojump_clock: MockClock
) -> None:
    async with runs.undelivered() as run:
        ids = publish(run.engine, 5)
        own = publish(run.engine, 1, "own")
    with structlog.testing.capture_logs() as logs:
        assert await runs.delivered(hook=None) == [("http://own/", own[0])]
    assert [(line["event"], line["events"]) for line in logs] == [
        ("webhooks wait in the spool until WEBHOOK_URL is set", 5)
    ]
    assert await runs.delivered(Hook("http://new/")) == [("http://new/", event_id) for event_id in ids]


async def test_events_that_the_spool_cannot_take_are_delivered_all_the_same(
    runs: Runs, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    async with runs.delivering() as run:
        run.receiver._takes_s = 0.1
        monkeypatch.setattr(Store, "apply", refuse)
        ids = publish(run.engine, 3)
        await run.dispatcher.drain(trio.current_time() + 5)
        assert counter_of(run.engine, "webhook_spool_failures", reason="write") == 3
    assert [event_id for _, event_id, _ in run.receiver.posts] == ids


async def test_an_event_that_can_no_longer_be_read_ends_alone(
    runs: Runs, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with runs.undelivered() as run:
        publish(run.engine, 2)
    async with runs.delivering() as run:
        assert run.spool.queue._store is not None
        run.spool.queue._store.clear()
        await run.dispatcher.drain(trio.current_time() + 5)
        publish(run.engine, 1)
        await run.dispatcher.drain(trio.current_time() + 5)
    assert outcomes(run.engine) == {"marshal_error": 2, "success": 1}


def counter_of(engine: SmallEngine, name: str, **labels: str) -> float | None:
    return engine.metrics.registry.get_sample_value(f"voiceblender_{name}", labels)


async def test_the_metrics_tell_what_the_spool_keeps(runs: Runs, autojump_clock: MockClock) -> None:
    async with runs.undelivered() as run:
        publish(run.engine, 4)
        assert counter_of(run.engine, "webhook_spool_events") == 4
        assert counter_of(run.engine, "webhook_spool_bytes") == run.spool.queue.size > 0
        assert counter_of(run.engine, "webhook_spool_failures", reason="full") == 0


async def test_the_order_holds_between_events_in_memory_and_on_the_disk(
    runs: Runs, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_TARGET_BYTES", 600)
    ids: list[str] = []
    async with runs.delivering() as run:
        run.receiver._takes_s = 0.1
        for number in range(40):
            ids += publish(run.engine, 1 + number % 4)
            if number % 3 == 0:
                await trio.sleep(0.25)
        await run.dispatcher.drain(trio.current_time() + 60)
    assert [event_id for _, event_id, _ in run.receiver.posts] == ids
    assert outcomes(run.engine) == {"success": len(ids)}


async def test_a_fault_in_a_delivery_crosses_the_event_out_once_it_is_exhausted(
    runs: Runs, autojump_clock: MockClock
) -> None:
    async with runs.undelivered() as run:
        faulty = Faulty(3)
        dispatcher = WebhookDispatcher(run.engine, faulty, run.spool)
        run.dispatcher._unsubscribe()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.run)
            publish(run.engine, 2)
            await dispatcher.drain(trio.current_time() + 60)
            assert len(run.spool) == 0
            assert outcomes(run.engine) == {"exhausted": 1, "success": 1}
            nursery.cancel_scope.cancel()
    assert await runs.delivered() == []


async def test_a_fault_in_crossing_an_event_out_stops_nothing(
    runs: Runs, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with runs.delivering() as run:
        monkeypatch.setattr(run.spool, "settle", lambda _entry: 1 / 0)
        publish(run.engine, 2)
        await run.dispatcher.drain(trio.current_time() + 60)
        assert outcomes(run.engine) == {"success": 2}
        assert contained(run.engine, "spool") == 2
