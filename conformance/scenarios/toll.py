"""Where calls may go, and how many of them an application may place."""

from __future__ import annotations

import trio

from conformance.expect import TEXT, check, containing, require
from conformance.phones import answered, dialled, picked_up
from conformance.registry import scenario
from conformance.targets import run_to_end
from conformance.world import World


async def _refused(
    world: World, to: str, status: int, error: object, app_id: str | None = None
) -> str | None:
    """A call that the server will not place, over REST and VSI; returns Retry-After."""
    body: dict[str, object] = {"type": "sip", "to": to, **({"app_id": app_id} if app_id else {})}
    reply = await world.http.ask("POST", "/v1/legs", body)
    check(f"POST /v1/legs to {to}", reply.status, status)
    check(f"POST /v1/legs to {to}: body", World.json_of(reply), {"error": error, "instance_id": TEXT})
    await world.command_fails("create_leg", body, status)
    return reply.header("retry-after")


async def _nothing_dialled(world: World) -> None:
    await world.no_event("leg.ringing", for_s=0.1)
    legs = (await world.http.ask("GET", "/v1/legs")).body
    require(b"sip_outbound" not in legs, "legs", "no outgoing one", legs)


@scenario(
    "VB_DIAL_ALLOW: the longest rule decides; what it refuses gets 403, on create, transfer and REFER",
    env={"VB_DIAL_ALLOW": "+49,!+49900,@pbx.example", "SIP_REFER_AUTO_DIAL": "true"},
)
async def dial_allow(world: World) -> None:
    host = world.ua.host_port
    for user in ("+1555", "+49900123", "+49-900-123", "%2B49900123", "004930123", "anna"):
        await _refused(world, f"sip:{user}@{host}", 403, containing("to:", "not allowed"))
    port = host.rpartition(":")[2]
    await _refused(world, f"sip:anna@pbx.example:{port};maddr=127.0.0.1", 403, TEXT)
    await _nothing_dialled(world)
    phone = await answered(world)
    path = f"{phone.path}/transfer"
    reply = await world.http.ask("POST", path, {"target": "sip:+1900@carrier.example"})
    check("transfer to what is not allowed", reply.status, 403)
    await phone.call.refer(f"<sip:+1900@{host}>")
    await phone.call.response(403, "REFER")
    await world.event("leg.transfer_requested", leg_id=phone.leg_id)
    await world.event("leg.transfer_failed", leg_id=phone.leg_id, status_code=403)
    await _nothing_dialled(world)
    await phone.hang_up()
    allowed, _ = await dialled(world, user="+4930123")
    await picked_up(allowed)
    await allowed.hang_up()


@scenario("VB_DIAL_ALLOW that cannot be read: the start ends with one line that names it", needs=("servers",))
async def dial_allow_malformed(world: World) -> None:
    code, output = await run_to_end(world.home / "refused", {"VB_DIAL_ALLOW": "+49,a@b@c"})
    check("exit code", code, 1)
    require("VB_DIAL_ALLOW" in output, "output", "a line naming VB_DIAL_ALLOW", output[-300:])


@scenario(
    "VB_APP_MAX_CALLS: one call more of the same app_id gets 429 with Retry-After; others do not notice",
    env={"VB_APP_MAX_CALLS": "1"},
)
async def app_max_calls(world: World) -> None:
    first, _ = await dialled(world, {"app_id": "shop"})
    retry = await _refused(
        world, f"sip:eve@{world.ua.host_port}", 429, containing("the application has 1 calls"), "shop"
    )
    require((retry or "").isdigit() and int(retry or 0) > 0, "Retry-After", "seconds", retry)
    other, _ = await dialled(world, {"app_id": "bank"}, user="carol")
    incoming = await answered(world, headers=[("X-App-ID", "shop")])
    await picked_up(first)
    await first.hang_up()
    again, _ = await dialled(world, {"app_id": "shop"})
    for phone in (other, again):
        await picked_up(phone)
        await phone.hang_up()
    await incoming.hang_up()


@scenario(
    "VB_APP_MAX_CPS: a call of the same app_id that comes too soon gets 429; a second later it may come",
    env={"VB_APP_MAX_CPS": "1"},
)
async def app_max_calls_per_second(world: World) -> None:
    first, _ = await dialled(world, {"app_id": "shop"})
    retry = await _refused(
        world, f"sip:eve@{world.ua.host_port}", 429, containing("too many calls a second"), "shop"
    )
    check("Retry-After", retry, "1")
    await trio.sleep(1.1)
    second, _ = await dialled(world, {"app_id": "shop"}, user="carol")
    for phone in (first, second):
        await picked_up(phone)
        await phone.hang_up()


@scenario(
    "VB_APP_MAX_MINUTES: once the calls of an app_id have lasted that long, 429 until midnight (UTC)",
    env={"VB_APP_MAX_MINUTES": "1"},
    timeout_s=90,
)
async def app_max_minutes(world: World) -> None:
    phones = [(await dialled(world, {"app_id": "shop"}, user=f"bob{number}"))[0] for number in range(20)]
    for phone in phones:
        await picked_up(phone)
    await trio.sleep(3.2)  # 20 calls of 3 seconds make a minute
    to = f"sip:eve@{world.ua.host_port}"
    retry = await _refused(world, to, 429, containing("minutes of today"), "shop")
    require(0 < int(retry or 0) <= 86_400, "Retry-After", "seconds to midnight", retry)
    for phone in phones:
        await phone.hang_up()
    await _refused(world, to, 429, containing("minutes of today"), "shop")
    other, _ = await dialled(world, {"app_id": "bank"})
    await picked_up(other)
    await other.hang_up()
