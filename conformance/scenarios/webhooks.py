"""Webhooks: who gets which event, in what shape and order, and what happens when the receiver fails."""

from __future__ import annotations

import os
import signal

import trio

from conformance.expect import ABSENT, TIME, UUID, between, check, require
from conformance.peers.webhook_sink import Delivery, WebhookSink
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.targets import SECRET
from conformance.world import World


async def delivered(world: World, kind: str, path: str, secret: str | None, **fields: str) -> Delivery:
    """The next delivery of an event: shape, headers and signature."""
    delivery = await world.sink.delivery(kind, path=path, within_s=3.0, **fields)
    where = f"webhook {path} {kind}"
    check(where, delivery.event, {"type": kind, "timestamp": TIME, "event_id": UUID})
    check(f"{where}: Content-Type", delivery.header("Content-Type"), "application/json")
    check(f"{where}: X-Event-Id", delivery.header("X-Event-Id"), delivery.event["event_id"])
    if secret is None:
        check(f"{where}: X-Signature-256", delivery.header("X-Signature-256"), None)
    else:
        require(
            delivery.is_signed_with(secret),
            f"{where}: X-Signature-256",
            "right",
            delivery.header("X-Signature-256"),
        )
    return delivery


@scenario("Global webhook of a call in a room: which events, in what shape and order", needs=("hooks",))
async def hook_call(world: World) -> None:
    secret = world.target.webhook_secret
    phone = await answered(world)
    await phone.join("sc-h")
    await world.rest("POST", f"{phone.path}/mute", status=200)
    await world.rest("POST", "/v1/rooms/sc-h/play", {"tone": "dial"}, status=200)
    await world.event("playback.started", room_id="sc-h")
    await trio.sleep(0.2)
    await world.rest("DELETE", "/v1/rooms/sc-h", status=200)
    await phone.is_hung_up("room_deleted")
    await world.event("playback.finished", room_id="sc-h", reason="stopped")
    expected = [
        "leg.ringing",
        "leg.connected",
        "room.created",
        "leg.joined_room",
        "leg.muted",
        "playback.started",
    ]
    ending = ["playback.finished", "leg.left_room", "room.deleted", "leg.disconnected"]
    for kind in [*expected, *ending]:
        delivery = await delivered(world, kind, "/hook", secret)
        same = next(f for f in world.vsi.frames.items() if f.get("event_id") == delivery.event["event_id"])
        check(f"{kind} on VSI and webhook", delivery.event, same)
    order = world.sink.order("/hook")
    check("order of deliveries", order[: len(expected)], expected)
    check("deliveries at the end", sorted(order[len(expected) :]), sorted(ending))
    last = [kind for kind in order if kind in ("leg.left_room", "room.deleted", "leg.disconnected")]
    check("order at the end", last, ["leg.left_room", "room.deleted", "leg.disconnected"])
    on_vsi = [str(f["type"]) for f in world.vsi.frames.items() if "event_id" in f and f["type"] != "ping"]
    check("order on webhook and VSI", order, on_vsi)
    ids = [f["event_id"] for f in world.vsi.frames.items() if isinstance(f.get("event_id"), str)]
    check("event_ids that are there twice", len(ids) - len(set(map(str, ids))), 0)


class _Hooks:
    """Where events go: each path with its own secret."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.secrets = {
            "/hook/room": "roomsecret",
            "/hook/leg": "legsecret",
            "/hook/header": "headersecret",
            "/hook": world.target.webhook_secret,
        }

    async def get(self, path: str, kind: str, **fields: str) -> Delivery:
        """Takes the next delivery of an event to a path, signed with the secret of that path."""
        return await delivered(self.world, kind, path, self.secrets[path], **fields)

    def of(self, path: str) -> dict[str, object]:
        """The fields of a request that set this hook."""
        return {"webhook_url": self.world.sink.url(path), "webhook_secret": self.secrets[path]}


async def _outbound_legs(world: World, hooks: _Hooks) -> tuple[Phone, Phone]:
    """A leg with a hook of its own, and one without; both in the room."""
    own, _ = await dialled(world, hooks.of("/hook/leg"))
    await hooks.get("/hook/leg", "leg.ringing", leg_id=own.leg_id)
    await picked_up(own)
    await hooks.get("/hook/leg", "leg.connected", leg_id=own.leg_id)
    await own.join("sc-hr")
    await hooks.get("/hook/leg", "leg.joined_room", leg_id=own.leg_id)

    plain, _ = await dialled(world, user="carol")
    await hooks.get("/hook", "leg.ringing", leg_id=plain.leg_id)
    await picked_up(plain)
    await plain.join("sc-hr")
    await hooks.get("/hook/room", "leg.joined_room", leg_id=plain.leg_id)
    await world.rest("POST", f"{plain.path}/mute", status=200)
    await hooks.get("/hook", "leg.muted", leg_id=plain.leg_id)
    return own, plain


async def _inbound_leg(world: World, hooks: _Hooks) -> Phone:
    """A caller that names its hook in the INVITE; the secret is shown to nobody."""
    headers = [("X-Webhook-URL", world.sink.url("/hook/header")), ("X-Webhook-Secret", "headersecret")]
    caller = await ringing(world, "call3", headers=headers)
    shown = await hooks.get("/hook/header", "leg.ringing", leg_id=caller.leg_id)
    require(b"headersecret" not in shown.raw, "leg.ringing", "no secret in it", shown.event)
    view = await world.leg_state(caller.leg_id)
    require("headersecret" not in str(view), "the leg over REST", "no secret in it", view)
    await caller.answer()
    await hooks.get("/hook/header", "leg.connected", leg_id=caller.leg_id)
    await caller.join("sc-hr")
    await hooks.get("/hook/header", "leg.joined_room", leg_id=caller.leg_id)
    return caller


@scenario(
    "Webhooks of a leg (create body, INVITE headers) and of a room, with their own secrets: who gets what",
    needs=("hooks",),
    timeout_s=60,
)
async def hook_routing(world: World) -> None:
    hooks = _Hooks(world)
    room: dict[str, object] = {"id": "sc-hr", **hooks.of("/hook/room")}
    await world.rest("POST", "/v1/rooms", room, status=201, expect={"webhook_secret": ABSENT})
    await hooks.get("/hook/room", "room.created", room_id="sc-hr")
    own, plain = await _outbound_legs(world, hooks)
    caller = await _inbound_leg(world, hooks)
    await world.rest("POST", "/v1/rooms/sc-hr/play", {"tone": "dial"}, status=200)
    await hooks.get("/hook/room", "playback.started", room_id="sc-hr")
    await plain.call.bye()
    await hooks.get("/hook/room", "leg.left_room", leg_id=plain.leg_id)
    await hooks.get("/hook", "leg.disconnected", leg_id=plain.leg_id)
    await world.rest("DELETE", "/v1/rooms/sc-hr", status=200)
    for phone in (own, caller):
        await phone.call.reply(await phone.call.request("BYE"), 200)
    await hooks.get("/hook/room", "playback.finished", room_id="sc-hr")
    await hooks.get("/hook/room", "room.deleted", room_id="sc-hr")
    await hooks.get("/hook/leg", "leg.disconnected", leg_id=own.leg_id)
    await hooks.get("/hook/header", "leg.disconnected", leg_id=caller.leg_id)


@scenario(
    "With VB_SIP_WEBHOOK_HEADER=false a caller cannot lead its events away, nor is what it names shown",
    needs=("hooks",),
    env={"VB_SIP_WEBHOOK_HEADER": "false"},
)
async def hook_header_off(world: World) -> None:
    hooks = _Hooks(world)
    headers = [("X-Webhook-URL", world.sink.url("/hook/header")), ("X-Webhook-Secret", "headersecret")]
    caller = await ringing(world, "call3", headers=headers)
    told = await hooks.get("/hook", "leg.ringing", leg_id=caller.leg_id)
    for hidden in (b"headersecret", b"/hook/header"):
        require(hidden not in told.raw, "leg.ringing", f"no {hidden!r} in it", told.event)
    await caller.answer()
    await caller.hang_up()
    await hooks.get("/hook", "leg.disconnected", leg_id=caller.leg_id)
    check("deliveries to the caller's address", world.sink.order("/hook/header"), [])


@scenario(
    "A failing receiver gets the same bytes at 0, 2 and 6 s; a slow one delays only itself",
    needs=("hooks",),
    timeout_s=60,
)
async def hook_retry(world: World) -> None:
    world.sink.fail_next("/hook/bad", 500, 503)
    await world.rest(
        "POST", "/v1/rooms", {"id": "sc-bad", "webhook_url": world.sink.url("/hook/bad")}, status=201
    )
    attempts = [await world.sink.delivery("room.created", path="/hook/bad", within_s=6) for _ in range(3)]
    check("the second attempt after", attempts[1].at - attempts[0].at, between(1.7, 2.6))
    check("the third attempt after", attempts[2].at - attempts[0].at, between(5.5, 7.0))
    for attempt in attempts[1:]:
        check("bytes of a later attempt", attempt.raw, attempts[0].raw)
        check("its X-Event-Id", attempt.header("X-Event-Id"), attempts[0].header("X-Event-Id"))
    check("signature without a secret", attempts[0].header("X-Signature-256"), None)

    world.sink.delay("/hook/slow", 3.0)
    slow: dict[str, object] = {"id": "sc-slow", "webhook_url": world.sink.url("/hook/slow")}
    await world.rest("POST", "/v1/rooms", slow, status=201)
    for number in range(20):
        await world.rest("POST", "/v1/rooms", {"id": f"sc-{number}"}, status=201)
    for number in range(20):
        await world.sink.delivery("room.created", room_id=f"sc-{number}", within_s=1.5)
    order = [d.event.get("room_id") for d in world.sink.deliveries.items() if d.path == "/hook"]
    check("order of deliveries to one target", order, [f"sc-{number}" for number in range(20)])


async def _rooms_told(world: World, sink: WebhookSink, names: range, path: str) -> list[Delivery]:
    return [
        await sink.delivery("room.created", path=path, room_id=f"sc-{number}", within_s=8.0)
        for number in names
    ]


async def _stopped_with_events_waiting(world: World, spool: dict[str, str], ending: int) -> dict[str, object]:
    """Ends a server by a signal while its receiver answers nothing; returns the event_id of each room."""
    world.sink.delay("/hook/spool", 60.0)
    sent: dict[str, object] = {}
    async with world.boot(spool) as target, world.beside(target) as there:
        for number in range(6):
            await there.rest("POST", "/v1/rooms", {"id": f"sc-{number}"}, status=201)
            event = await there.event("room.created", room_id=f"sc-{number}")
            sent[f"sc-{number}"] = event["event_id"]
        assert target.process is not None
        os.kill(target.process.pid, ending)
        with trio.fail_after(10):
            code = await target.process.wait()
        check("exit code", code, 0 if ending == signal.SIGTERM else -ending)
    check("deliveries before the end", len(world.sink.order("/hook/spool")), between(0, 1))
    world.sink.reset()
    return sent


async def _sent_after_the_restart(world: World, spool: dict[str, str], sent: dict[str, object]) -> None:
    """The next start delivers every event once, in order, under the same event_id."""
    sink = world.sink
    async with world.boot(spool):
        for number, delivery in enumerate(await _rooms_told(world, sink, range(6), "/hook/spool")):
            check("event_id after the restart", delivery.event["event_id"], sent[f"sc-{number}"])
            check("X-Event-Id", delivery.header("X-Event-Id"), sent[f"sc-{number}"])
            require(delivery.is_signed_with(SECRET), "signature", "right", "wrong")
    rooms = [d.event.get("room_id") for d in sink.deliveries.items() if d.event.get("type") == "room.created"]
    check("order after the restart", rooms, [f"sc-{number}" for number in range(6)])


def _spool(world: World) -> dict[str, str]:
    folder = str(world.home / f"spool-{world.name}")
    return {
        "WEBHOOK_URL": world.sink.url("/hook/spool"),
        "VB_SPOOL_DIR": folder,
        "VB_STOP_TIMEOUT": "500ms",
    }


@scenario(
    "Killed with events on their way: the spool sends them in order at the next start, same event_id",
    needs=("servers",),
    timeout_s=60,
)
async def hook_spool(world: World) -> None:
    spool = _spool(world)
    sent = await _stopped_with_events_waiting(world, spool, signal.SIGKILL)
    await _sent_after_the_restart(world, spool, sent)
    world.sink.reset()
    async with world.boot(spool):
        await trio.sleep(0.5)
    check("deliveries once all were made", world.sink.order("/hook/spool"), [])


@scenario(
    "Stopped by SIGTERM with events that nobody took: they stay in the spool and go out at the next start",
    needs=("servers",),
    timeout_s=60,
)
async def hook_spool_stop(world: World) -> None:
    spool = _spool(world)
    sent = await _stopped_with_events_waiting(world, spool, signal.SIGTERM)
    await _sent_after_the_restart(world, spool, sent)


@scenario(
    "Receivers that hang, answer 500, redirect or cannot be reached hold up neither calls nor others",
    needs=("hooks",),
)
async def hook_bad_receivers(world: World) -> None:
    world.sink.delay("/hook/hang", 60.0)
    world.sink.fail_next("/hook/500", *[500] * 50)
    targets = {
        "hang": world.sink.url("/hook/hang"),
        "500": world.sink.url("/hook/500"),
        "away": world.media.url("/moved/status/500"),
        "dead": "http://127.0.0.1:9/hook",
    }
    for name, url in targets.items():
        await world.rest("POST", "/v1/rooms", {"id": f"sc-{name}", "webhook_url": url}, status=201)
    phone = await answered(world, tone=500.0)
    for number in range(20):
        for name in targets:
            change = {"matrix": {"x": [str(number)]}}
            await world.rest("PUT", f"/v1/rooms/sc-{name}/routing", change, status=200)
    for number in range(10):
        await world.rest("POST", "/v1/rooms", {"id": f"sc-{number}"}, status=201)
    await _rooms_told(world, world.sink, range(10), "/hook")
    (await phone.hears(300)).is_steady()
    check("events at VSI", world.count("room.routing_changed"), 80)
    await phone.hang_up()
    check("deliveries to the one that hangs", len(world.sink.order("/hook/hang")), 1)


def _with_line_ends(url: str) -> list[str]:
    """A URL that would split the request which is sent to it, were it taken as it is."""
    inside = ("\r\nX-Evil: 1", "\nX-Evil: 1", "\r", " HTTP/1.1\r\nHost: evil\r\n\r\n", "\u0000")
    host = url.removeprefix("http://").partition("/")[0]
    return [
        *(url + odd for odd in inside),
        *(f"http://{host}{odd}/hook" for odd in inside),
        f"\r\n{url}",
        f"http:\r\n//{host}/hook",
    ]


@scenario("A webhook URL that is none, or holds line ends, is refused where it is given; nothing is created")
async def hook_malformed(world: World) -> None:
    for url in ("nonsense", "ftp://x/", "http://", 5, *_with_line_ends(world.sink.url("/hook/split"))):
        room: dict[str, object] = {"id": "sc-w", "webhook_url": url}
        await world.rest("POST", "/v1/rooms", room, status=400)
        await world.command_fails("create_room", room, 400)
        leg = {"type": "sip", "to": f"sip:bob@{world.ua.host_port}", "webhook_url": url}
        await world.rest("POST", "/v1/legs", leg, status=400)
        await world.command_fails("create_leg", leg, 400)
    await world.no_legs()
    check("rooms", await world.rest_list("/v1/rooms"), [])
    check("deliveries", world.sink.order("/hook/split"), [])
