from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.api.harness import SmallEngine
from vb.api import webhooks
from vb.api.webhook_sender import Outcome, WebhookSender
from vb.api.webhooks import WebhookDispatcher
from vb.events.hooks import Hook, HookTable
from vb.events.leg import LegMuted
from vb.log import STRANGERS_LINES_PER_S, StrangersLog

Answer = Callable[[Hook, int], Outcome]


class Receiver(WebhookSender):
    """Stands for the network: notes what would be posted and when, and answers as it is told."""

    def __init__(self, answer: Answer, takes_s: float = 0.0) -> None:
        self.posts: list[tuple[str, str, float]] = []
        self._answer = answer
        self._takes_s = takes_s

    async def post(self, hook: Hook, event_id: str, body: bytes) -> Outcome:
        assert event_id.encode() in body
        self.posts.append((hook.url, event_id, trio.current_time()))
        if self._takes_s:
            await trio.sleep(self._takes_s)
        else:
            await trio.lowlevel.checkpoint()
        return self._answer(hook, len(self.posts))


def outcomes(engine: SmallEngine) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in engine.metrics.render().decode().splitlines():
        if line.startswith("voiceblender_webhook_deliveries_total"):
            counts[line.partition('"')[2].partition('"')[0]] = int(float(line.rpartition(" ")[2]))
    return {name: count for name, count in counts.items() if count}


def counter(engine: SmallEngine, name: str) -> float:
    value = engine.metrics.registry.get_sample_value(f"voiceblender_{name}")
    assert value is not None
    return value


def publish(engine: SmallEngine, count: int, leg_id: str = "a") -> list[str]:
    return [engine.bus.publish(LegMuted(leg_id=leg_id)).event_id for _ in range(count)]


@pytest.fixture
def hooked(engine: SmallEngine) -> SmallEngine:
    engine.hooks = HookTable(Hook("http://global/"))
    return engine


async def test_events_reach_a_target_in_their_order(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success", takes_s=0.5)
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    ids = publish(hooked, 20)
    await trio.sleep(30)
    assert [event_id for _, event_id, _ in receiver.posts] == ids
    assert outcomes(hooked) == {"success": 20}
    assert counter(hooked, "webhook_enqueued_total") == 20


async def test_a_failing_event_is_tried_at_0_2_and_6_seconds_and_then_given_up(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "retry")
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    (event_id,) = publish(hooked, 1)
    with structlog.testing.capture_logs() as logs:
        await trio.sleep(30)
    assert [(post[1], post[2]) for post in receiver.posts] == [(event_id, 0), (event_id, 2), (event_id, 6)]
    assert outcomes(hooked) == {"exhausted": 1}
    assert [line["event_id"] for line in logs] == [event_id]


async def test_a_later_attempt_may_succeed(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, n: "success" if n == 2 else "retry")
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    publish(hooked, 1)
    await trio.sleep(30)
    assert outcomes(hooked) == {"success": 1}


async def test_a_request_that_can_never_succeed_is_not_repeated(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "request_error")
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    publish(hooked, 1)
    await trio.sleep(30)
    assert len(receiver.posts) == 1
    assert outcomes(hooked) == {"request_error": 1}


class Faulty(Receiver):
    """Fails as nobody foresaw, a number of times."""

    def __init__(self, faults: int) -> None:
        super().__init__(lambda _hook, _n: "success")
        self.faults = faults
        self.tried: list[float] = []

    async def post(self, hook: Hook, event_id: str, body: bytes) -> Outcome:
        self.tried.append(trio.current_time())
        if len(self.tried) <= self.faults:
            raise ExceptionGroup("nobody foresaw it", [RuntimeError("boom")])
        return await super().post(hook, event_id, body)


def contained(engine: SmallEngine, site: str) -> float | None:
    labels = {"component": "webhooks", "site": site}
    return engine.metrics.registry.get_sample_value("voiceblender_recovered_panics_total", labels)


async def test_a_fault_in_a_delivery_is_a_failed_attempt(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Faulty(1)
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    publish(hooked, 1)
    with structlog.testing.capture_logs() as logs:
        await trio.sleep(30)
    assert receiver.tried == [0, 2]
    assert outcomes(hooked) == {"success": 1}
    assert contained(hooked, "delivery") == 1
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["webhook failed"]


async def test_a_fault_in_every_attempt_exhausts_its_event_and_spares_the_next(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Faulty(3)
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    _, second = publish(hooked, 2)
    await trio.sleep(30)
    assert receiver.tried == [0, 2, 6, 6]
    assert [event_id for _, event_id, _ in receiver.posts] == [second]
    assert outcomes(hooked) == {"exhausted": 1, "success": 1}
    assert contained(hooked, "delivery") == 3


async def test_an_event_that_fails_to_become_a_body_is_given_up(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver(lambda _hook, _n: "success")
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    with monkeypatch.context() as patched:
        patched.setattr("vb.events.base.Published._written", lambda _self: 1 / 0)
        publish(hooked, 1)
        await trio.sleep(1)
    publish(hooked, 1)
    await trio.sleep(1)
    assert len(receiver.posts) == 1
    assert outcomes(hooked) == {"marshal_error": 1, "success": 1}
    assert contained(hooked, "event") == 1


async def test_a_dead_target_delays_no_other(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    def answer(hook: Hook, _n: int) -> Outcome:
        return "retry" if hook.url == "http://dead/" else "success"

    receiver = Receiver(answer)
    hooked.hooks.set_leg("dead", Hook("http://dead/"))
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    publish(hooked, 50, "dead")
    publish(hooked, 3, "other")
    await trio.sleep(1)
    assert [time for url, _, time in receiver.posts if url == "http://global/"] == [0, 0, 0]


async def test_the_target_is_the_one_at_the_time_of_publication(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success")
    hooked.hooks.set_leg("a", Hook("http://leg/"))
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    publish(hooked, 1)
    hooked.hooks.drop_leg("a")
    await trio.sleep(1)
    assert [url for url, _, _ in receiver.posts] == ["http://leg/"]


async def test_two_secrets_are_two_targets(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success", takes_s=5)
    hooked.hooks.set_leg("a", Hook("http://same/", "one"))
    hooked.hooks.set_leg("b", Hook("http://same/", "two"))
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    publish(hooked, 1, "a")
    publish(hooked, 1, "b")
    await trio.sleep(1)
    assert [time for _, _, time in receiver.posts] == [0, 0]


async def test_without_a_hook_nothing_is_queued(
    engine: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success")
    nursery.start_soon(WebhookDispatcher(engine, receiver).run)
    publish(engine, 1)
    await trio.sleep(1)
    assert receiver.posts == []
    assert counter(engine, "webhook_enqueued_total") == 0


async def test_the_full_queue_of_a_target_that_takes_nothing_drops_the_newest_counts_and_logs_it(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success")
    dispatcher = WebhookDispatcher(hooked, receiver)
    ids = publish(hooked, 1)
    await trio.sleep(1)
    with structlog.testing.capture_logs() as logs:
        ids += publish(hooked, 1002)
    nursery.start_soon(dispatcher.run)
    await trio.sleep(1)
    assert [event_id for _, event_id, _ in receiver.posts] == ids[:1000]
    assert [line["event_id"] for line in logs] == ids[1000:]
    assert counter(hooked, "webhook_dropped_total") == 3


async def test_of_a_burst_nothing_is_lost_to_a_target_that_takes_events(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success", takes_s=0.002)
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    ids = publish(hooked, 6000)
    await trio.sleep(5)
    ids += publish(hooked, 6000)
    await trio.sleep(30)
    assert [event_id for _, event_id, _ in receiver.posts] == ids
    assert counter(hooked, "webhook_dropped_total") == 0


async def test_no_more_bytes_wait_for_a_target_than_its_limit(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver(lambda _hook, _n: "success")
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    size = len(hooked.bus.publish(LegMuted(leg_id="a")).body)
    monkeypatch.setattr(webhooks, "MAX_TARGET_BYTES", 10 * size)
    await trio.sleep(1)
    publish(hooked, 13)
    assert counter(hooked, "webhook_dropped_total") == 3
    await trio.sleep(1)
    assert len(receiver.posts) == 11


async def test_queued_events_are_capped_overall(
    hooked: SmallEngine,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "MAX_QUEUED_EVENTS", 5)
    receiver = Receiver(lambda _hook, _n: "success")
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    for leg in ("a", "b", "c"):
        hooked.hooks.set_leg(leg, Hook(f"http://{leg}/"))
        publish(hooked, 3, leg)
    await trio.sleep(1)
    assert sorted(url for url, _, _ in receiver.posts) == ["http://a/"] * 3 + ["http://b/"] * 2
    assert counter(hooked, "webhook_dropped_total") == 4


async def test_more_targets_than_workers_are_all_served_and_none_waits_for_another_ones_queue(
    hooked: SmallEngine,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "MAX_WORKERS", 2)
    receiver = Receiver(lambda _hook, _n: "success", takes_s=1)
    nursery.start_soon(WebhookDispatcher(hooked, receiver).run)
    await wait_all_tasks_blocked()
    for leg in ("a", "b", "c", "d"):
        hooked.hooks.set_leg(leg, Hook(f"http://{leg}/"))
        publish(hooked, 3, leg)
    await trio.sleep(7)
    names = "".join(url[len("http://")] for url, _, _ in receiver.posts)
    assert sorted(names[0:4]) == sorted(names[4:8]) == sorted(names[8:12]) == ["a", "b", "c", "d"]
    assert [time for _, _, time in receiver.posts] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


async def test_an_idle_target_ends_and_starts_again(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success")
    dispatcher = WebhookDispatcher(hooked, receiver)
    nursery.start_soon(dispatcher.run)
    publish(hooked, 1)
    await trio.sleep(1)
    assert dispatcher._targets == {}
    publish(hooked, 1)
    await trio.sleep(1)
    assert len(receiver.posts) == 2


async def test_draining_waits_for_what_is_queued(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "success", takes_s=1)
    dispatcher = WebhookDispatcher(hooked, receiver)
    nursery.start_soon(dispatcher.run)
    publish(hooked, 4)
    await dispatcher.drain(trio.current_time() + 10)
    assert trio.current_time() == 4
    assert outcomes(hooked) == {"success": 4}


async def test_draining_without_anything_returns_at_once(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    dispatcher = WebhookDispatcher(hooked, Receiver(lambda _hook, _n: "success"))
    nursery.start_soon(dispatcher.run)
    await dispatcher.drain(trio.current_time() + 10)
    assert trio.current_time() == 0


async def test_what_cannot_be_delivered_in_time_is_counted_and_logged(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    receiver = Receiver(lambda _hook, _n: "retry")
    dispatcher = WebhookDispatcher(hooked, receiver)
    nursery.start_soon(dispatcher.run)
    ids = publish(hooked, 3)
    with structlog.testing.capture_logs() as logs:
        await dispatcher.drain(trio.current_time() + 5)
    assert trio.current_time() == 5
    assert outcomes(hooked) == {"undelivered": 3}
    assert [line["event_id"] for line in logs if line["event"] == "webhook_undelivered"] == ids
    await trio.sleep(30)
    assert len(receiver.posts) == 2
    assert outcomes(hooked) == {"undelivered": 3}


async def test_a_cancelled_dispatcher_reports_what_is_left_and_leaves_the_bus(
    hooked: SmallEngine, autojump_clock: MockClock
) -> None:
    dispatcher = WebhookDispatcher(hooked, Receiver(lambda _hook, _n: "success", takes_s=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.run)
        publish(hooked, 3)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert outcomes(hooked) == {"undelivered": 3}
    assert hooked.bus._subscribers == []


async def test_a_delivery_that_succeeds_at_the_deadline_is_counted_once(
    hooked: SmallEngine, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    dispatcher = WebhookDispatcher(hooked, Receiver(lambda _hook, _n: "success", takes_s=5))
    nursery.start_soon(dispatcher.run)
    publish(hooked, 2)
    await dispatcher.drain(trio.current_time() + 5)
    await trio.sleep(30)
    assert sum(outcomes(hooked).values()) == 2
    assert counter(hooked, "webhook_queued") == 0


@pytest.mark.parametrize("kind", ["webhook_exhausted", "webhook_undelivered", "webhook_dropped"])
async def test_what_the_hook_of_a_caller_does_not_take_is_logged_ten_times_a_second(
    kind: str,
    hooked: SmallEngine,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "strangers", StrangersLog("test", clock=lambda: 0.0))
    if kind == "webhook_dropped":
        monkeypatch.setattr(webhooks, "MAX_QUEUED_EVENTS", 0)
    hooked.hooks = HookTable(Hook("http://operator/", trusted=True))
    hooked.hooks.set_leg("a", Hook("http://caller/"))
    dispatcher = WebhookDispatcher(hooked, Receiver(lambda _hook, _n: "retry"))
    nursery.start_soon(dispatcher.run)
    with structlog.testing.capture_logs() as logs:
        callers = publish(hooked, 30, "a")
        ours = publish(hooked, 30, "b") if kind != "webhook_dropped" else []
        await dispatcher.drain(trio.current_time() + (5 if kind == "webhook_undelivered" else 600))
    told = [line["event_id"] for line in logs if line["event"] == kind]
    assert [event_id for event_id in told if event_id in callers] == callers[:STRANGERS_LINES_PER_S]
    assert [event_id for event_id in told if event_id in ours] == ours
