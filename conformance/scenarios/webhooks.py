"""Webhooks: who gets which event, in what shape and order, and what happens when the receiver fails."""

from __future__ import annotations

import trio

from conformance.expect import ABSENT, TIME, UUID, between, check, require
from conformance.peers.webhook_sink import Delivery
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World


async def _delivered(world: World, kind: str, path: str, secret: str | None, **fields: str) -> Delivery:
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
        delivery = await _delivered(world, kind, "/hook", secret)
        same = next(f for f in world.vsi.frames.items() if f.get("event_id") == delivery.event["event_id"])
        check(f"{kind} on VSI and webhook", delivery.event, same)
    order = world.sink.order("/hook")
    check("order of deliveries", order[: len(expected)], expected)
    check("deliveries at the end", sorted(order[len(expected) :]), sorted(ending))
    last = [kind for kind in order if kind in ("leg.left_room", "room.deleted", "leg.disconnected")]
    check("order at the end", last, ["leg.left_room", "room.deleted", "leg.disconnected"])
    on_vsi = [str(f["type"]) for f in world.vsi.frames.items() if "event_id" in f and f["type"] != "ping"]
    check("order on webhook and VSI", order, on_vsi)


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
        return await _delivered(self.world, kind, path, self.secrets[path], **fields)

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
