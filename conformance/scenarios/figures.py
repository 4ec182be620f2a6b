"""What ``/metrics`` counts: calls and how long they lasted, webhook jobs and what became of each."""

from __future__ import annotations

import trio

from conformance.expect import between, check, require
from conformance.peers.prometheus import Samples
from conformance.phones import answered, dialled, picked_up, refused
from conformance.registry import scenario
from conformance.world import World

METRICS = {
    "voiceblender_active_legs",
    "voiceblender_active_rooms",
    "voiceblender_call_duration_seconds",
    "voiceblender_call_total_duration_seconds",
    "voiceblender_disconnect_reasons_total",
    "voiceblender_legs_total",
    "voiceblender_vsi_events_dropped_total",
    "voiceblender_webhook_deliveries_total",
    "voiceblender_webhook_dropped_total",
    "voiceblender_webhook_enqueued_total",
}
OUTCOMES = ("success", "exhausted", "marshal_error", "request_error")
DURATIONS = ("call_duration_seconds", "call_total_duration_seconds")
BUCKETS_S = (5, 15, 30, 60, 120, 300, 600, 1800, 3600)
MAX_BATCHES = 50
BATCH = 100


@scenario("Metrics keep their names and begin at zero; active_legs and active_rooms follow what there is")
async def rest_metrics(world: World) -> None:
    begun = await world.metrics()
    missing = METRICS - begun.families - {name + "_total" for name in begun.families}
    require(not missing, "/metrics", "all names", f"missing {sorted(missing)}")
    wanted: list[tuple[str, dict[str, str]]] = [
        ("webhook_dropped_total", {}),
        ("vsi_events_dropped_total", {}),
    ]
    wanted += [("webhook_deliveries_total", {"outcome": outcome}) for outcome in OUTCOMES]
    for kind in ("sip_inbound", "sip_outbound"):
        states = ("ringing", "connected", "disconnected")
        wanted += [("legs_total", {"type": kind, "state": state}) for state in states]
        for name in DURATIONS:
            les = (*(f"{bound}.0" for bound in BUCKETS_S), "+Inf")
            wanted += [(f"{name}_bucket", {"type": kind, "le": bound}) for bound in les]
    for name, labels in wanted:
        require(begun.find(name, **labels) is not None, "/metrics", f"{name} {labels}", "no such sample")
    check("legs", begun.find("active_legs"), 0)
    phone = await answered(world)
    await phone.join("sc-m")
    during = await world.metrics()
    check("legs", during.find("active_legs"), 1)
    check("rooms", during.find("active_rooms"), 1)
    await phone.hang_up()
    check("legs", (await world.metrics()).find("active_legs"), 0)


class _Growth:
    """How far samples have risen since the beginning."""

    def __init__(self, before: Samples, after: Samples) -> None:
        self._before, self._after = before, after

    def is_by(self, expected: object, name: str, **labels: str) -> None:
        """Checks the growth of one sample.

        Raises:
            Difference: when it is another.
        """
        grown = self._after.get(name, **labels) - self._before.get(name, **labels)
        check(f"growth of {name} {labels}", round(grown, 3), expected)

    def total_is_by(self, expected: object, name: str) -> None:
        """Checks the growth of a sample over all its labels.

        Raises:
            Difference: when it is another.
        """
        check(f"growth of all {name}", round(self._after.total(name) - self._before.total(name), 3), expected)


@scenario(
    "Calls leave their figures: states, reasons, how long they talked and how long they lasted; the CDR too"
)
async def call_figures(world: World) -> None:
    before = await world.metrics()
    phone, _ = await dialled(world)
    await trio.sleep(1.0)
    await picked_up(phone)
    await trio.sleep(1.0)
    await phone.call.bye()
    phone.rtp.stop_talking()
    event = await world.disconnected(phone.leg_id, "remote_bye", answered=True)
    check("cdr", event["cdr"], {"duration_total": between(1.9, 3.0), "duration_answered": between(0.9, 1.7)})
    busy, _ = await dialled(world)
    await trio.sleep(0.3)
    await refused(busy, 486, "busy")
    called = await answered(world)
    await trio.sleep(0.1)
    await world.rest("DELETE", called.path, status=202)
    await called.is_hung_up("api_hangup")
    grown = _Growth(before, await world.metrics())
    for kind, calls, talked in (("sip_outbound", 2, 1), ("sip_inbound", 1, 1)):
        for state, count in (("ringing", calls), ("connected", talked), ("disconnected", calls)):
            grown.is_by(count, "legs_total", type=kind, state=state)
        grown.is_by(calls, "call_total_duration_seconds_count", type=kind)
        grown.is_by(talked, "call_duration_seconds_count", type=kind)
        grown.is_by(calls, "call_total_duration_seconds_bucket", type=kind, le="5.0")
    grown.is_by(between(2.2, 3.8), "call_total_duration_seconds_sum", type="sip_outbound")
    grown.is_by(between(0.9, 1.7), "call_duration_seconds_sum", type="sip_outbound")
    for kind, reason in (("outbound", "remote_bye"), ("outbound", "busy"), ("inbound", "api_hangup")):
        grown.is_by(1, "disconnect_reasons_total", type=f"sip_{kind}", reason=reason)
    grown.total_is_by(3, "disconnect_reasons_total")


async def _settled(world: World, before: Samples, jobs: int, within_s: float) -> _Growth:
    """Waits until as many webhook jobs have an outcome, and a moment for one too many."""
    wanted = before.total("webhook_deliveries_total") + jobs
    for _ in range(int(within_s / 0.1)):
        await trio.sleep(0.1)
        if (await world.metrics()).total("webhook_deliveries_total") >= wanted:
            break
    await trio.sleep(0.2)
    return _Growth(before, await world.metrics())


@scenario(
    "Every webhook job has one outcome: delivered, given up after three attempts, or never possible",
    env={"VB_STOP_TIMEOUT": "500ms"},
)
async def hook_outcomes(world: World) -> None:
    before = await world.metrics()
    world.sink.fail_next("/hook/500", *[500] * 5)
    world.sink.move("/hook/away", "ftp://127.0.0.1/hook")
    rooms = {"/hook/500": 1, "/hook/away": 2, "/hook/good": 4}
    for path, count in rooms.items():
        for number in range(count):
            room: dict[str, object] = {"id": f"sc{number}{path[6:]}", "webhook_url": world.sink.url(path)}
            await world.rest("POST", "/v1/rooms", room, status=201)
    grown = await _settled(world, before, 7, 15)
    for outcome, count in zip(OUTCOMES, (4, 1, 0, 2), strict=True):
        grown.is_by(count, "webhook_deliveries_total", outcome=outcome)
    grown.total_is_by(7, "webhook_deliveries_total")
    grown.is_by(7, "webhook_enqueued_total")
    grown.is_by(0, "webhook_dropped_total")
    check("attempts at the one that fails", len(world.sink.order("/hook/500")), 3)


@scenario(
    "A receiver that takes nothing: its queue has an end, and what does not fit is counted as dropped",
    env={"VB_STOP_TIMEOUT": "500ms"},
)
async def hook_queue_full(world: World) -> None:
    before = await world.metrics()
    world.sink.delay("/hook/hang", 60.0)
    room: dict[str, object] = {"id": "sc-full", "webhook_url": world.sink.url("/hook/hang")}
    await world.rest("POST", "/v1/rooms", room, status=201)
    published, dropped = 1, 0.0
    for _ in range(MAX_BATCHES):
        for number in range(published, published + BATCH):
            change = {"room_id": "sc-full", "matrix": {"x": [str(number)]}}
            await world.vsi.send({"type": "room_routing_set", "request_id": f"q{number}", "payload": change})
        published += BATCH
        for _ in range(BATCH):
            await world.vsi.frame("room_routing_set.result")
        after = await world.metrics()
        dropped = after.get("webhook_dropped_total") - before.get("webhook_dropped_total")
        if dropped:
            break
    require(dropped > 0, f"dropped of {published} events", "some", 0)
    _Growth(before, after).is_by(published - dropped, "webhook_enqueued_total")
    await world.rest("POST", "/v1/rooms", {"id": "sc-other"}, status=201)
    await world.sink.delivery("room.created", room_id="sc-other")


@scenario("Without a hook nothing is queued, delivered or dropped", env={"WEBHOOK_URL": "(unset)"})
async def hook_none(world: World) -> None:
    phone = await answered(world)
    await phone.join("sc-none")
    await phone.hang_up()
    await trio.sleep(0.2)
    after = await world.metrics()
    for name in ("webhook_enqueued_total", "webhook_dropped_total", "webhook_deliveries_total"):
        check(name, after.total(name), 0)
    check("deliveries", world.sink.deliveries.items(), [])
