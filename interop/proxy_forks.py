"""Forks and failures: who answers first, who is cancelled, and what a proxy's refusals come to."""

from __future__ import annotations

from contextlib import AsyncExitStack

from conformance.peers.sip_call import Call
from conformance.peers.sip_ua import SipUa
from interop.proxy_world import Scenario, World, answer, answer_sdp, takes_bye


async def _cancelled(call: Call) -> None:
    """A phone is told that it need not ring any more."""
    cancel = await call.request("CANCEL", 4)
    await call.reply(cancel, 200)
    assert call.invite is not None
    await call.reply(call.invite, 487)
    await call.request("ACK", 4)


async def _two_phones(world: World, stack: AsyncExitStack) -> tuple[SipUa, SipUa]:
    return await stack.enter_async_context(world.phone()), await stack.enter_async_context(world.phone())


async def _hang_up(world: World, what: str, leg_id: str, call: Call, events: list[str]) -> None:
    """The server hangs up; the leg told exactly these events."""
    await world.west.app.command("delete_leg", id=leg_id)
    await takes_bye(call)
    world.report.equal(await world.west.end(leg_id), "api_hangup", f"{what}: the call ends")
    world.report.equal(world.west.leg_events(leg_id), events, f"{what}: events")


async def parallel(world: World) -> None:
    """Two phones ring at once, one with early media; the other answers and the first is cancelled."""
    what = "parallel fork"
    async with AsyncExitStack() as stack:
        first, second = await _two_phones(world, stack)
        _, uri = world.proxied("par", first.local[1], second.local[1])
        leg_id = await world.west.dial(uri)
        loser, winner = await first.next_call(5), await second.next_call(5)
        assert loser.invite is not None
        assert winner.invite is not None
        await winner.reply(winner.invite, 180)
        await loser.reply(loser.invite, 180)
        await loser.reply(loser.invite, 183, sdp=answer_sdp(first))
        await world.west.event(leg_id, "leg.early_media")
        await answer(winner)
        await _cancelled(loser)
        await world.west.event(leg_id, "leg.connected")
        events = ["leg.ringing", "leg.early_media", "leg.connected", "leg.disconnected"]
        await _hang_up(world, what, leg_id, winner, events)


async def race(world: World) -> None:
    """Both phones answer at the same time: the first has the call, the other is acknowledged and hung up."""
    what = "two 200 of a fork"
    async with AsyncExitStack() as stack:
        first, second = await _two_phones(world, stack)
        _, uri = world.proxied("par", first.local[1], second.local[1])
        leg_id = await world.west.dial(uri)
        winner, late = await first.next_call(5), await second.next_call(5)
        assert late.invite is not None
        assert winner.invite is not None
        await late.reply(late.invite, 180)
        await winner.reply(winner.invite, 200, sdp=answer_sdp(first))
        await late.request("CANCEL", 4)
        await late.reply(late.invite, 200, sdp=answer_sdp(second))  # its user was faster than the CANCEL
        await winner.request("ACK", 4)
        await late.request("ACK", 4)
        bye = await takes_bye(late)
        world.report.check(bool(bye.to_tag), f"{what}: the second is acknowledged and hung up")
        await world.west.event(leg_id, "leg.connected")
        await _hang_up(world, what, leg_id, winner, ["leg.ringing", "leg.connected", "leg.disconnected"])


async def serial(world: World) -> None:
    """The first phone refuses or is silent, after ringing or not; the proxy goes on to the second."""
    for status, early in ((486, True), (503, False), (None, False)):
        what = f"serial fork after {status or 'silence'}"
        async with AsyncExitStack() as stack:
            first, second = await _two_phones(world, stack)
            _, uri = world.proxied("ser", first.local[1], second.local[1])
            leg_id = await world.west.dial(uri)
            refuser = await first.next_call(5)
            assert refuser.invite is not None
            if early:
                await refuser.reply(refuser.invite, 183, sdp=answer_sdp(first))
                await world.west.event(leg_id, "leg.early_media")
            if status is not None:
                await refuser.reply(refuser.invite, status)
                await refuser.request("ACK", 4)
            call = await second.next_call(5)
            assert call.invite is not None
            await call.reply(call.invite, 180)
            await answer(call)
            await world.west.event(leg_id, "leg.connected")
            media = ["leg.early_media"] if early else []
            events = ["leg.ringing", *media, "leg.connected", "leg.disconnected"]
            await _hang_up(world, what, leg_id, call, events)


async def refusals(world: World) -> None:
    """Final answers of the phone, and of the proxy itself, come out as the reason that they stand for."""
    report, west = world.report, world.west
    async with world.phone() as ua:
        for status, reason in (
            (404, "not_found"),
            (480, "unavailable"),
            (486, "busy"),
            (488, "not_acceptable"),
            (603, "declined"),
            (500, "sip_500"),
        ):
            _, uri = world.proxied("udp", ua.local[1])
            leg_id = await west.dial(uri)
            call = await ua.next_call(5)
            assert call.invite is not None
            await call.reply(call.invite, status)
            await call.request("ACK", 4)
            report.equal(await west.end(leg_id), reason, f"the phone says {status}")
        for does, reason in (
            ("code.503", "service_unavailable"),
            ("code.484", "sip_484"),
            ("moved", "invite_failed"),
        ):
            _, uri = world.proxied(does, transport="udp")
            report.equal(await west.end(await west.dial(uri)), reason, f"the proxy says {does}")
        _, uri = world.proxied("mute", ua.local[1])
        leg_id = await west.dial(uri)
        await ua.next_call(5)
        report.equal(await west.end(leg_id), "timeout", "the proxy's 408 for a phone that is silent")


async def _given_up(world: World, ua: SipUa, transport: str, ring_timeout: int) -> None:
    """One call that rings until the server cancels it, by order or, if there is one, by the time-out."""
    west, kamailio = world.west, world.kamailio
    what = f"CANCEL over {transport.upper()} by {'ring_timeout' if ring_timeout else 'DELETE'}"
    _, uri = world.proxied("udp", ua.local[1], transport=transport)
    leg_id = await west.dial(uri, ring_timeout=ring_timeout)
    call = await ua.next_call(5)
    assert call.invite is not None
    await call.reply(call.invite, 180)
    await kamailio.wait(lambda: bool(kamailio.of_call(call.call_id, "180", kind="reply")))
    if not ring_timeout:
        await west.app.command("delete_leg", id=leg_id)
    await _cancelled(call)
    reason = "ring_timeout" if ring_timeout else "api_hangup"
    world.report.equal(await west.end(leg_id), reason, what)
    await kamailio.wait(lambda: bool(kamailio.of_call(call.call_id, "ACK")))
    acks = [seen.transport for seen in kamailio.of_call(call.call_id, "ACK")]
    world.report.equal(acks, [transport], f"{what}: ACKs of the 487")


async def cancel_out(world: World) -> None:
    """The server gives up a call that rings: by order, and by its ring_timeout."""
    async with world.phone() as ua:
        for transport in ("udp", "tls"):
            for ring_timeout in (0, 1):
                await _given_up(world, ua, transport, ring_timeout)


async def cancel_in(world: World) -> None:
    """A phone gives up its call to the server, which rings; and the server refuses one."""
    report, west = world.report, world.west
    ports = (("udp", west.server.sip_port), ("tcp", west.server.sip_port), ("tls", west.tls_port))
    async with world.phone() as ua:
        for does, port in ports:
            user, _ = world.proxied(does, port)
            call = ua.new_call("alice", user)
            await call.send_invite(answer_sdp(ua))
            leg_id = await west.rung(user)
            await west.app.command("leg_ring", id=leg_id)
            await call.response(180, within_s=4)
            await call.cancel()
            await call.response(200, "CANCEL", 4)
            await call.ack(await call.response(487, within_s=4))
            report.equal(await west.end(leg_id), "caller_cancel", f"CANCEL from a phone, by {does.upper()}")

            user, _ = world.proxied(does, port)
            call = ua.new_call("alice", user)
            await call.send_invite(answer_sdp(ua))
            leg_id = await west.rung(user)
            await west.app.command("delete_leg", id=leg_id, reason="busy")
            await call.ack(await call.response(486, within_s=4))
            report.equal(await west.end(leg_id), "busy", f"the server is busy, by {does.upper()}")


SCENARIOS: dict[str, Scenario] = {
    "fork-parallel": parallel,
    "fork-race": race,
    "fork-serial": serial,
    "refusals": refusals,
    "cancel-out": cancel_out,
    "cancel-in": cancel_in,
}
