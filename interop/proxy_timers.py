"""Session timers through the proxy: refreshed by either server as caller, and by one as callee."""

from __future__ import annotations

import trio

from conformance.peers.sip_ua import SipUa
from interop.proxy_dialogs import acknowledge
from interop.proxy_world import SESSION_S, End, Scenario, World, answer_sdp, takes_bye

REFRESH_WITHIN_S = SESSION_S / 2 + 6
AFTER_S = 2.0
TIMED = f"{SESSION_S};refresher"


async def _connect(caller: End, callee: End, to: str, name: str, **fields: object) -> tuple[str, str]:
    leg_id = await caller.dial(to, **fields)
    other = await callee.rung(name)
    await callee.app.command("answer_leg", id=other)
    await caller.event(leg_id, "leg.connected")
    return leg_id, other


async def _callee_refreshes(world: World, ua: SipUa) -> None:
    """A phone leaves the refreshing to the server that it calls."""
    report, west = world.report, world.west
    user, _ = world.proxied("tls", west.tls_port)
    call = ua.new_call("alice", user)
    headers = [
        ("Supported", "timer"),
        ("Session-Expires", f"{TIMED}=uas"),
        ("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE"),
    ]
    await call.send_invite(answer_sdp(ua), headers=headers)
    leg_id = await west.rung(user)
    await west.app.command("answer_leg", id=leg_id)
    answered = await call.response(200, within_s=4)
    report.equal(answered.header("Session-Expires"), f"{TIMED}=uas", "session timer: the answer says")
    routes = await acknowledge(call, answered)
    update = await call.request("UPDATE", REFRESH_WITHIN_S)
    expires = update.must("Session-Expires")
    report.equal(expires, f"{TIMED}=uac", "session timer: the callee refreshes with")
    report.equal(update.body, b"", "session timer: body of the UPDATE")
    await call.reply(update, 200, headers=[("Session-Expires", expires), ("Require", "timer")])
    await call.send_request("BYE", headers=routes)
    await call.response(200, "BYE", 4)
    report.equal(await west.end(leg_id), "remote_bye", "session timer: the phone hangs up")


def _check_refresh(world: World, what: str, name: str, transport: str) -> None:
    """One UPDATE came from the caller's side, and the callee answered it."""
    kamailio = world.kamailio
    call_id = kamailio.call_id(name)
    updates = [(seen.transport, bool(seen.route)) for seen in kamailio.of_call(call_id, "UPDATE")]
    world.report.equal(updates, [(transport, True)], f"session timer, {what}: UPDATE by its route")
    answers = [seen.what for seen in kamailio.of_call(call_id, kind="reply") if seen.uri == "UPDATE"]
    world.report.equal(answers, ["200"], f"session timer, {what}: answered")


async def refreshed(world: World) -> None:
    """Sessions of 90 s are refreshed by UPDATE, by its route, at half their time."""
    west, east, report = world.west, world.east, world.report
    to_east, to_west = world.name("east"), world.name("west")
    first, first_other = await _connect(
        west,
        east,
        f"sip:{to_east}@127.0.0.1:{east.tls_port};transport=tls",
        to_east,
        outbound_proxy=f"sip:{world.proxy('udp')};lr",
    )
    second, second_other = await _connect(
        east, west, f"sip:{to_west}@127.0.0.1:{west.server.sip_port}", to_west
    )
    async with world.phone() as ua:
        await _callee_refreshes(world, ua)
    await trio.sleep(AFTER_S)
    await world.kamailio.catch_up()
    _check_refresh(world, "west calls east", to_east, "udp")
    _check_refresh(world, "east calls west", to_west, "tls")
    for end, leg_id, other, other_id in (
        (west, first, east, first_other),
        (east, second, west, second_other),
    ):
        report.equal(end.leg_events(leg_id)[-1], "leg.connected", "session timer: last event")
        await end.app.command("delete_leg", id=leg_id)
        report.equal(await other.end(other_id), "remote_bye", "session timer: the call ends")


async def small_interval(world: World) -> None:
    """A phone that wants longer sessions says 422 through the proxy, and gets a second INVITE."""
    async with world.phone() as ua:
        _, uri = world.proxied("udp", ua.local[1])
        leg_id = await world.west.dial(uri)
        call = await ua.next_call(5)
        assert call.invite is not None
        await call.reply(call.invite, 422, headers=[("Min-SE", "180")])
        await call.request("ACK", 4)
        again = await call.request("INVITE", 4)
        found = (again.header("Session-Expires"), again.header("Min-SE"))
        world.report.equal(found, ("180", "180"), "422: the second INVITE asks for")
        headers = [("Session-Expires", "180;refresher=uas"), ("Supported", "timer")]
        await call.reply(again, 200, sdp=answer_sdp(ua), headers=headers)
        await call.request("ACK", 4)
        await world.west.event(leg_id, "leg.connected")
        await world.west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        world.report.equal(await world.west.end(leg_id), "api_hangup", "422: the call ends")


SCENARIOS: dict[str, Scenario] = {"session-timers": refreshed, "small-interval": small_interval}
