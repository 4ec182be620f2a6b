"""The server calls itself: both halves of each call are its own, and both tell the same story."""

from __future__ import annotations

from conformance.expect import UUID, check
from conformance.registry import scenario
from conformance.world import World


async def _calls_itself(world: World, body: dict[str, object] | None = None) -> tuple[str, str]:
    """Places a call to the server's own address; returns the calling and the called leg."""
    host, port = world.target.sip_address()
    to = f"sip:room@{host}:{port}"
    view = await world.rest("POST", "/v1/legs", {"type": "sip", "to": to, **(body or {})}, status=201)
    caller = str(view["id"])
    await world.event("leg.ringing", leg_id=caller, leg_type="sip_outbound")
    event = await world.event("leg.ringing", {"leg_id": UUID, "to": "room"}, leg_type="sip_inbound")
    names = [codec["name"] for codec in event["offered_codecs"]]  # type: ignore[attr-defined]
    check("offered codecs", names, (body or {}).get("codecs", ["opus", "G722", "PCMU", "PCMA"]))
    return caller, str(event["leg_id"])


async def _answered(world: World, caller: str, called: str) -> None:
    await world.rest("POST", f"/v1/legs/{called}/answer", status=202)
    for leg_id in (caller, called):
        await world.event("leg.connected", leg_id=leg_id)


@scenario("A call between two of our own legs: answered, held, resumed, hung up; both ends tell it")
async def self_call(world: World) -> None:
    for codec in ("opus", "PCMU"):
        caller, called = await _calls_itself(world, {"codecs": [codec]})
        await _answered(world, caller, called)
        await world.rest("POST", f"/v1/legs/{caller}/hold", status=202)
        for leg_id in (caller, called):
            await world.event("leg.hold", leg_id=leg_id)
            await world.leg_state(leg_id, state="held", held=True)
        await world.rest("DELETE", f"/v1/legs/{caller}/hold", status=202)
        for leg_id in (caller, called):
            await world.event("leg.unhold", leg_id=leg_id)
        await world.rest("POST", f"/v1/legs/{caller}/dtmf", {"digits": "42"}, status=200)
        for seq, digit in enumerate("42", 1):
            await world.event("dtmf.received", leg_id=called, digit=digit, seq=seq)
        await world.rest("DELETE", f"/v1/legs/{caller}", status=202)
        await world.disconnected(caller, "api_hangup", answered=True)
        await world.disconnected(called, "remote_bye", answered=True)
    await world.no_legs()


@scenario("Unanswered calls between our own legs: cancelled, timed out, refused, early media; both reasons")
async def self_call_unanswered(world: World) -> None:
    caller, called = await _calls_itself(world)
    await world.rest("DELETE", f"/v1/legs/{caller}", status=202)
    await world.disconnected(caller, "api_hangup")
    await world.disconnected(called, "caller_cancel")
    caller, called = await _calls_itself(world, {"ring_timeout": 1})
    await world.disconnected(caller, "ring_timeout")
    await world.disconnected(called, "caller_cancel")
    for reason, seen in (("busy", "busy"), ("declined", "declined"), ("not_found", "not_found")):
        caller, called = await _calls_itself(world)
        await world.rest("DELETE", f"/v1/legs/{called}", {"reason": reason}, status=202)
        await world.disconnected(called, reason)
        await world.disconnected(caller, seen)
    caller, called = await _calls_itself(world, {"room_id": "sc-self"})
    await world.rest("POST", f"/v1/legs/{called}/early-media", status=202)
    for leg_id in (caller, called):
        await world.event("leg.early_media", leg_id=leg_id)
    await world.event("leg.joined_room", leg_id=caller, room_id="sc-self")
    await world.rest("DELETE", f"/v1/legs/{called}", {"reason": "busy"}, status=202)
    await world.disconnected(called, "busy")
    await world.event("leg.left_room", leg_id=caller)
    await world.disconnected(caller, "busy")
    await world.no_legs()


@scenario(
    "Blind transfer between our own legs: REFER to ourselves is asked for, accepted and completed",
    timeout_s=30,
)
async def self_transfer(world: World) -> None:
    caller, called = await _calls_itself(world)
    await _answered(world, caller, called)
    await world.rest("POST", f"/v1/legs/{caller}/transfer", {"target": "sip:carol@127.0.0.1:9"}, status=202)
    await world.event("leg.transfer_initiated", leg_id=caller, kind="blind")
    await world.event("leg.transfer_requested", leg_id=called, target="sip:carol@127.0.0.1:9")
    await world.rest("POST", f"/v1/legs/{called}/transfer/accept", status=202)
    await world.event("leg.transfer_progress", leg_id=caller, status_code=100)
    await world.rest("POST", f"/v1/legs/{called}/transfer/complete", {"success": True}, status=202)
    for leg_id in (caller, called):
        await world.event("leg.transfer_completed", leg_id=leg_id, status_code=200)
    for leg_id in (caller, called):
        await world.event("leg.disconnected", leg_id=leg_id)
    await world.no_legs()


@scenario("Text between our own legs, both ways, with rtt in the create body")
async def self_text(world: World) -> None:
    caller, called = await _calls_itself(world, {"rtt": True})
    await _answered(world, caller, called)
    for sender, receiver in ((caller, called), (called, caller)):
        await world.rest("POST", f"/v1/legs/{sender}/rtt", {"text": "grüß dich"}, status=200)
        await world.event("rtt.received", leg_id=receiver, text="grüß dich", seq=1)
    await world.rest("DELETE", f"/v1/legs/{called}", status=202)
    await world.disconnected(called, "api_hangup", answered=True)
    await world.disconnected(caller, "remote_bye", answered=True)
