"""Proxies and servers that ask who is calling: the digest credentials of a call (RFC 3261 §22)."""

from __future__ import annotations

from conformance.peers.sip_call import Call
from conformance.peers.sip_ua import SipUa
from interop.proxy_config import PASSWORD
from interop.proxy_transports import FILLER
from interop.proxy_world import Scenario, World, answer, answer_sdp, insist, own_proxy, takes_bye

GOOD = {"username": "west", "password": PASSWORD}
LOOP_S = 2.0
MOST_TRIES = 10
NEARLY_FULL = dict(list(FILLER.items())[:2])


async def _invites(world: World, user: str) -> list[tuple[int, str]]:
    """Sequence number and transport of every INVITE that the proxy got for a user."""
    await world.kamailio.catch_up()
    return [(seen.cseq, seen.transport) for seen in world.kamailio.to_user(user, "INVITE")]


async def _connect(
    world: World, ua: SipUa, does: str, transport: str, **fields: object
) -> tuple[str, str, Call]:
    user, uri = world.proxied(does, ua.local[1], transport=transport)
    leg_id = await world.west.dial(uri, auth=GOOD, **fields)
    call = await ua.next_call(10)
    await answer(call)
    await world.west.event(leg_id, "leg.connected")
    return user, leg_id, call


async def right(world: World) -> None:
    """The INVITE, and every later request that is challenged, is sent again with credentials."""
    report, west = world.report, world.west
    async with world.phone() as ua:
        for transport in ("udp", "tls"):
            what = f"407 over {transport.upper()}"
            user, leg_id, call = await _connect(world, ua, "auth", transport)
            report.equal(await _invites(world, user), [(1, transport), (2, transport)], f"{what}: INVITEs")
            await west.app.command("hold_leg", id=leg_id)
            again = await call.request("INVITE", 4)
            await call.reply(again, 200, sdp=answer_sdp(ua))
            await call.request("ACK", 4)
            await west.event(leg_id, "leg.hold")
            report.equal(again.cseq[0], 4, f"{what}: a challenged re-INVITE has number")
            await west.app.command("delete_leg", id=leg_id)
            bye = await takes_bye(call)
            report.equal(bye.cseq[0], 6, f"{what}: a challenged BYE has number")
            report.equal(await west.end(leg_id), "api_hangup", f"{what}: the call ends")
            report.equal(
                [name for name, _ in bye.headers if name.lower() == "proxy-authorization"],
                [],
                f"{what}: credentials that reach the phone",
            )


async def reliable(world: World) -> None:
    """A reliable 180 behind a 407; Kamailio never challenges a PRACK."""
    async with world.phone() as ua:
        _, uri = world.proxied("auth", ua.local[1])
        leg_id = await world.west.dial(uri, auth=GOOD)
        call = await ua.next_call(5)
        assert call.invite is not None
        reliable_headers = [("Require", "100rel"), ("RSeq", "7")]
        prack = await insist(call, call.invite, 180, "PRACK", headers=reliable_headers)
        await call.reply(prack, 200)
        world.report.equal(prack.must("RAck").split()[0], "7", "407, then a reliable 180: PRACK of")
        await answer(call)
        await world.west.event(leg_id, "leg.connected")
        await world.west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        world.report.equal(
            await world.west.end(leg_id), "api_hangup", "407, then a reliable 180: the call ends"
        )
        await world.kamailio.catch_up()
        pracks = [seen.transport for seen in world.kamailio.of_call(call.call_id, "PRACK")]
        world.report.equal(pracks, ["tls"], "407, then a reliable 180: PRACK by its route")


async def grown(world: World) -> None:
    """With credentials the INVITE is too long for UDP and moves to TCP."""
    async with world.phone() as ua:
        user, leg_id, call = await _connect(world, ua, "auth", "udp", headers=NEARLY_FULL)
        await world.kamailio.catch_up()
        sizes = [seen.size for seen in world.kamailio.to_user(user, "INVITE")]
        world.report.equal(
            await _invites(world, user),
            [(1, "udp"), (2, "tcp")],
            f"407, {sizes} bytes: INVITEs",
        )
        await world.west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        world.report.equal(await world.west.end(leg_id), "api_hangup", "407, grown: the call ends")


async def wrong(world: World) -> None:
    """A wrong password is tried once, and no credentials at all are none."""
    report, west = world.report, world.west
    for what, fields, tries in (
        ("a wrong password", {"auth": GOOD | {"password": "open barley"}}, 2),
        ("no credentials", {}, 1),
    ):
        user, uri = world.proxied("auth", 9)
        leg_id = await west.dial(uri, **fields)
        report.equal(await west.end(leg_id), "unauthorized", f"{what}: the call ends")
        report.equal(len(await _invites(world, user)), tries, f"{what}: INVITEs")


async def stale(world: World) -> None:
    """A nonce that has become too old is replaced, and the credentials are given again."""
    async with own_proxy(world) as here, here.phone() as ua:
        user, leg_id, call = await _connect(here, ua, "stale", "tcp")
        numbers = [number for number, _ in await _invites(here, user)]
        world.report.equal(numbers, [1, 2, 3], "a stale nonce: INVITEs")
        await world.west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        world.report.equal(await world.west.end(leg_id), "api_hangup", "a stale nonce: the call ends")


async def never(world: World) -> None:
    """A proxy that calls every nonce stale is not asked for ever."""
    report, west, what = world.report, world.west, "every nonce stale"
    user, uri = world.proxied("never")
    leg_id = await west.dial(uri, auth=GOOD)
    event = await west.app.wait_for(leg_id, "leg.disconnected", LOOP_S)
    sent = len(await _invites(world, user))
    if not report.check(event is not None, f"{what}: the call ends", f"{sent} INVITEs in {LOOP_S:g} s"):
        await west.app.command("delete_leg", id=leg_id)
        return
    report.equal(await west.end(leg_id), "unauthorized", f"{what}: the call ends")
    report.check(sent <= MOST_TRIES, f"{what}: at most {MOST_TRIES} INVITEs", sent)


async def _satisfied(world: World, does: str, what: str) -> None:
    """Two realms ask one after the other: the third INVITE has credentials for both."""
    report = world.report
    async with world.phone() as ua:
        user, uri = world.proxied(does, ua.local[1])
        leg_id = await world.west.dial(uri, auth=GOOD)
        await world.kamailio.wait(lambda: len(world.kamailio.to_user(user, "INVITE")) > 3, LOOP_S)
        sent = len(await _invites(world, user))
        if not report.check(sent == 3, f"{what}: three INVITEs", f"{sent} so far"):
            await world.west.app.command("delete_leg", id=leg_id)
            await world.west.end(leg_id)
            return
        call = await ua.next_call(5)
        await answer(call)
        await world.west.event(leg_id, "leg.connected")
        await world.west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        report.equal(await world.west.end(leg_id), "api_hangup", f"{what}: the call ends")


async def twice(world: World) -> None:
    """A proxy asks (407), then the server behind it (401).  Spec: RFC 3261 §22.2, §22.3."""
    await _satisfied(world, "twice", "407 and then 401")


async def chain(world: World) -> None:
    """Two proxies ask one after the other, each for its realm.  Spec: RFC 3261 §22.3."""
    await _satisfied(world, "chain", "407 of two realms")


SCENARIOS: dict[str, Scenario] = {
    "auth": right,
    "auth-prack": reliable,
    "auth-grown": grown,
    "auth-wrong": wrong,
    "auth-stale": stale,
    "auth-never": never,
    "auth-twice": twice,
    "auth-chain": chain,
}
