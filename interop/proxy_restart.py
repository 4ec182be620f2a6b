"""Connections to the proxy: shared by calls, broken by its crash, opened again when they are needed."""

from __future__ import annotations

from contextlib import suppress

import trio

from interop.application import CommandFailed
from interop.proxy_world import Scenario, World, own_proxy

CALLS = 40
AWAY_S = 1.0
IDLE_S = 35
"""Above the 30 s after which we show life where a call of ours rings, below the minute of repeated 180s."""
RINGING_S = 45
NOTICED_S = 6.0
"""How long a request to a proxy that is down may take to fail: well below the 32 s of timer B and F."""


async def _pair(world: World, proxy: str) -> tuple[str, str]:
    """A connected call from west to east through a proxy's URI."""
    name = world.name("east")
    to = f"sip:{name}@127.0.0.1:{world.east.tls_port};transport=tls"
    leg_id = await world.west.dial(to, outbound_proxy=proxy)
    other = await world.east.rung(name)
    await world.east.app.command("answer_leg", id=other)
    await world.west.event(leg_id, "leg.connected")
    return leg_id, other


async def shared(world: World) -> None:
    """Many calls at once share one TLS connection; half of them are ended by each side."""
    report, west, east = world.report, world.west, world.east
    async with own_proxy(world) as here:
        proxy = f"sip:localhost:{here.kamailio.ports.tls};transport=tls;lr"
        pairs: list[tuple[str, str]] = []

        async def call() -> None:
            pairs.append(await _pair(here, proxy))

        async with trio.open_nursery() as nursery:
            for _ in range(CALLS):
                nursery.start_soon(call)
        await here.kamailio.catch_up()
        await here.kamailio.catch_up()
        invites = [seen for seen in here.kamailio.seen if seen.what == "INVITE"]
        report.equal(len(invites), CALLS, "shared connection: INVITEs")
        connections = {(seen.source, seen.connection) for seen in invites}
        report.equal(len(connections), 1, f"shared connection: TLS connections of {CALLS} calls")
        reasons = set()
        for number, (leg_id, other) in enumerate(pairs):
            ends = ((west, leg_id), (east, other))
            (ending, ours), (waiting, theirs) = ends if number % 2 else ends[::-1]
            await ending.app.command("delete_leg", id=ours)
            reasons.add(await waiting.end(theirs))
        report.equal(reasons, {"remote_bye"}, "shared connection: the calls end")
        await here.kamailio.catch_up()
        await here.kamailio.catch_up()
        byes = [seen for seen in here.kamailio.seen if seen.what == "BYE"]
        report.equal(len(byes), CALLS, "shared connection: BYEs")


async def crash(world: World) -> None:
    """The proxy is killed under calls over TLS and TCP, is away for a while, and comes back."""
    report, west, east = world.report, world.west, world.east
    async with own_proxy(world) as here:
        ports = here.kamailio.ports
        proxies = {
            "tls": f"sip:localhost:{ports.tls};transport=tls;lr",
            "tcp": f"sip:127.0.0.1:{ports.plain};transport=tcp;lr",
            "tls by name": f"sip:localhost:{ports.named};transport=tls;lr",
        }
        pairs = {name: await _pair(here, proxy) for name, proxy in proxies.items()}
        await _killed_under_a_ringing_call(here, proxies["tls"])
        await trio.sleep(AWAY_S)
        for what, (leg_id, other) in pairs.items():
            last = [west.leg_events(leg_id)[-1], east.leg_events(other)[-1]]
            report.equal(last, ["leg.connected"] * 2, f"crash, {what}: last events")
        await here.kamailio.start()
        for what, (leg_id, other) in pairs.items():
            await west.app.command("hold_leg", id=leg_id)
            await west.event(leg_id, "leg.hold")
            await east.event(other, "leg.hold")
            await east.app.command("delete_leg", id=other)
            report.equal(await west.end(leg_id), "remote_bye", f"crash, {what}: hold and BYE afterwards")
        leg_id, other = await _pair(here, proxies["tls"])
        await west.app.command("delete_leg", id=leg_id)
        report.equal(await east.end(other), "remote_bye", "crash: a new call afterwards")


async def _killed_under_a_ringing_call(here: World, proxy: str) -> None:
    """A call that rings ends on both sides, and one that is placed now fails at once."""
    report, west, east = here.report, here.west, here.east
    name = here.name("east")
    leg_id = await west.dial(f"sip:{name}@127.0.0.1:{east.tls_port};transport=tls", outbound_proxy=proxy)
    other = await east.rung(name)
    await here.kamailio.kill()
    report.equal(await west.end(leg_id, NOTICED_S), "invite_failed", "crash: the ringing call's caller")
    report.equal(await east.end(other, NOTICED_S), "caller_cancel", "crash: the ringing call's callee")
    started = trio.current_time()
    leg_id = await west.dial("sip:nobody@127.0.0.1:9", outbound_proxy=proxy)
    reason = await west.end(leg_id, NOTICED_S)
    took_s = trio.current_time() - started
    report.check(
        reason == "invite_failed" and took_s < 2, "crash: a new call fails at once", (reason, took_s)
    )


async def away(world: World) -> None:
    """A request in a dialog whose proxy is down is found out at once, whatever the proxy calls itself."""
    report, west, east = world.report, world.west, world.east
    async with own_proxy(world) as here:
        ports = here.kamailio.ports
        pairs = {
            "by address": await _pair(here, f"sip:localhost:{ports.tls};transport=tls;lr"),
            "by name": await _pair(here, f"sip:localhost:{ports.named};transport=tls;lr"),
        }
        await here.kamailio.kill()
        for what, (leg_id, other) in pairs.items():
            await west.app.command("hold_leg", id=leg_id)

            def told(leg_id: str = leg_id) -> bool:
                return bool({"leg.command_failed", "leg.disconnected"} & set(west.leg_events(leg_id)))

            noticed = await west.app.wait(told, NOTICED_S)
            report.check(noticed, f"proxy down, {what}: a hold is told to have failed in {NOTICED_S:g} s")
            for end, ours in ((west, leg_id), (east, other)):
                with suppress(CommandFailed):  # the leg may have ended by itself
                    await end.app.command("delete_leg", id=ours)
                await end.end(ours)


async def idle(world: World) -> None:
    """The proxy closes connections that carry nothing; a call rings for longer than that over two of them."""
    report, west, east = world.report, world.west, world.east
    async with own_proxy(world, idle_s=IDLE_S) as here:
        name = here.name("east")
        to = f"sip:{name}@127.0.0.1:{east.server.sip_port};transport=tcp"
        proxy = f"sip:127.0.0.1:{here.kamailio.ports.plain};transport=tcp;lr"
        leg_id = await west.dial(to, outbound_proxy=proxy)
        other = await east.rung(name)
        await east.app.command("leg_ring", id=other)
        await trio.sleep(RINGING_S)
        await east.app.command("answer_leg", id=other)
        for end, ours in ((west, leg_id), (east, other)):
            await end.event(ours, "leg.connected")
        await west.app.command("delete_leg", id=leg_id)
        report.equal(await east.end(other), "remote_bye", "idle connections: the call's end")


SCENARIOS: dict[str, Scenario] = {
    "shared-connection": shared,
    "crash": crash,
    "proxy-down": away,
    "idle-connection": idle,
}
