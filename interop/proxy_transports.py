"""Which transport a request takes: by its length, by its URI, by the proxy that a call or a server names."""

from __future__ import annotations

from conformance.peers.sip_call import Call
from conformance.peers.sip_ua import SipUa
from interop.proxy_kamailio import Seen
from interop.proxy_world import Scenario, World, answer, routes_of, takes_bye

UDP_LIMIT = 1300
FILLER = {f"X-Filler-{number}": "f" * 100 for number in range(12)}


async def _sent(world: World, call: Call, *methods: str) -> list[Seen]:
    """What the proxy got from the server, not from the phone."""
    await world.kamailio.catch_up()
    phone = f"127.0.0.1:{call.ua.local[1]}"
    return [seen for seen in world.kamailio.of_call(call.call_id, *methods) if seen.source != phone]


async def _connect(world: World, ua: SipUa, to: str, **fields: object) -> tuple[str, Call]:
    leg_id = await world.west.dial(to, **fields)
    call = await ua.next_call(5)
    await answer(call)
    await world.west.event(leg_id, "leg.connected")
    return leg_id, call


async def _hang_up(world: World, what: str, leg_id: str, call: Call, *, phone: bool = False) -> None:
    if phone:
        assert call.invite is not None
        await call.send_request("BYE", headers=routes_of(call.invite))
        await call.response(200, "BYE", 4)
    else:
        await world.west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
    reason = await world.west.end(leg_id)
    world.report.equal(reason, "remote_bye" if phone else "api_hangup", f"{what}: the call ends")


def _check_transport(world: World, what: str, seen: list[Seen], transport: str, *, long: bool) -> None:
    found = [(item.what, item.transport, item.size) for item in seen]
    holds = bool(seen) and all(
        item.transport == transport and (item.size > UDP_LIMIT) is long for item in seen
    )
    world.report.check(holds, f"{what}: {'long' if long else 'short'} by {transport.upper()}", found)


async def by_length(world: World) -> None:
    """UDP up to 1,300 bytes; beyond TCP, or UDP again where nobody takes TCP or where UDP was asked for."""
    ports = world.kamailio.ports
    async with world.phone() as ua:
        cases: tuple[tuple[str, str, dict[str, str], str], ...] = (
            ("a short INVITE", f"127.0.0.1:{ports.plain}", {}, "udp"),
            ("a long INVITE", f"127.0.0.1:{ports.plain}", FILLER, "tcp"),
            ("a long INVITE, TCP refused", f"127.0.0.1:{ports.udp_only}", FILLER, "udp"),
            ("a long INVITE, UDP asked for", f"127.0.0.1:{ports.plain};transport=udp", FILLER, "udp"),
        )
        for number, (what, proxy, headers, transport) in enumerate(cases):
            user, _ = world.proxied("udp", ua.local[1])
            leg_id, call = await _connect(world, ua, f"sip:{user}@{proxy}", headers=headers)
            assert call.invite is not None
            invites = await _sent(world, call, "INVITE")
            _check_transport(world, what, invites, transport, long=bool(headers))
            via = call.invite.all("Via")[1]
            world.report.check(via.startswith(f"SIP/2.0/{transport.upper()} "), f"{what}: Via says so", via)
            await _hang_up(world, what, leg_id, call, phone=bool(number % 2))


async def cancelled(world: World) -> None:
    """A long INVITE is cancelled where it went: over TCP, by its own branch."""
    what = "a long INVITE cancelled"
    async with world.phone() as ua:
        _, uri = world.proxied("udp", ua.local[1], transport="udp")
        leg_id = await world.west.dial(uri, headers=FILLER)
        call = await ua.next_call(5)
        assert call.invite is not None
        await call.reply(call.invite, 180)
        await world.kamailio.wait(lambda: bool(world.kamailio.of_call(call.call_id, "180", kind="reply")))
        await world.west.app.command("delete_leg", id=leg_id)
        cancel = await call.request("CANCEL", 4)
        await call.reply(cancel, 200)
        await call.reply(call.invite, 487)
        await call.request("ACK", 4)
        world.report.equal(await world.west.end(leg_id), "api_hangup", f"{what}: the call ends")
        await world.kamailio.wait(lambda: bool(world.kamailio.of_call(call.call_id, "ACK")))
        sent = [(seen.what, seen.transport) for seen in await _sent(world, call, "CANCEL", "ACK")]
        world.report.equal(sent, [("CANCEL", "tcp"), ("ACK", "tcp")], f"{what}: what follows the INVITE")


async def long_refer(world: World) -> None:
    """In a dialog over UDP a request that is too long goes to the proxy by TCP."""
    what = "a long REFER"
    async with world.phone() as ua:
        _, uri = world.proxied("udp", ua.local[1], transport="udp")
        leg_id, call = await _connect(world, ua, uri)
        await world.west.app.command("leg_transfer", id=leg_id, target=f"sip:{'c' * 1200}@127.0.0.1:9")
        refer = await call.request("REFER", 4)
        await call.reply(refer, 603)
        await world.west.event(leg_id, "leg.transfer_failed")
        _check_transport(world, what, await _sent(world, call, "REFER"), "tcp", long=True)
        _check_transport(world, f"{what}, its INVITE", await _sent(world, call, "INVITE"), "udp", long=False)
        await _hang_up(world, what, leg_id, call)


async def named_proxies(world: World) -> None:
    """The proxy of a call, and that of the server: its URI says how, and stands in Route."""
    ports = world.kamailio.ports
    async with world.phone() as ua:
        for transport, port in (("udp", ports.plain), ("tcp", ports.plain), ("tls", ports.tls)):
            for lr in ("", ";lr"):
                proxy = f"sip:localhost:{port};transport={transport}{lr}"
                name = world.name("bob")
                leg_id, call = await _connect(world, ua, f"sip:{name}@{ua.host_port}", outbound_proxy=proxy)
                what = f"outbound_proxy {transport}{lr}"
                first = (await _sent(world, call, "INVITE"))[0]
                world.report.equal(
                    (first.transport, first.uri, first.route),
                    (transport, f"sip:{name}@{ua.host_port}", f"<{proxy.removesuffix(';lr')};lr>"),
                    f"{what}: INVITE",
                )
                later = {seen.transport for seen in await _sent(world, call)}
                world.report.equal(later, {transport}, f"{what}: all requests by")
                await _hang_up(world, what, leg_id, call)


async def servers_proxy(world: World) -> None:
    """SIP_OUTBOUND_PROXY takes every call that names no proxy of its own; one that does goes there."""
    report, east, ports = world.report, world.east, world.kamailio.ports
    async with world.phone() as ua:
        for what, fields, transport in (
            ("SIP_OUTBOUND_PROXY", {}, "tls"),
            ("another proxy for one call", {"outbound_proxy": f"sip:127.0.0.1:{ports.plain};lr"}, "udp"),
        ):
            leg_id = await east.dial(f"sip:{world.name('bob')}@{ua.host_port}", **fields)
            call = await ua.next_call(5)
            await answer(call)
            await east.event(leg_id, "leg.connected")
            report.equal((await _sent(world, call, "INVITE"))[0].transport, transport, f"{what}: INVITE by")
            assert call.invite is not None
            await call.send_request("BYE", headers=routes_of(call.invite))
            await call.response(200, "BYE", 4)
            report.equal(await east.end(leg_id), "remote_bye", f"{what}: the call ends")


async def secure(world: World) -> None:
    """A SIPS URI keeps the call on TLS from end to end, with SIPS URIs in its route, to the other server."""
    report, west, east, what = world.report, world.west, world.east, "a SIPS URI"
    user = f"tls.{east.tls_port}.{world.name('east')}"
    leg_id = await west.dial(f"sips:{user}@localhost:{world.kamailio.ports.tls}")
    other = await east.rung(user)
    await east.app.command("answer_leg", id=other)
    await west.event(leg_id, "leg.connected")
    await west.app.command("hold_leg", id=leg_id)
    await west.event(leg_id, "leg.hold")
    await east.app.command("delete_leg", id=other)
    report.equal(await west.end(leg_id), "remote_bye", f"{what}: hold, and the callee hangs up")
    await world.kamailio.catch_up()
    seen = world.kamailio.of_call(world.kamailio.call_id(user))
    report.equal({item.transport for item in seen}, {"tls"}, f"{what}: all requests by")
    schemes = {(item.uri[:5], item.route[:6]) for item in seen if item.what != "INVITE" or item.cseq > 1}
    report.equal(schemes, {("sips:", "<sips:")}, f"{what}: targets and routes in the dialog")


SCENARIOS: dict[str, Scenario] = {
    "length": by_length,
    "cancelled": cancelled,
    "long-refer": long_refer,
    "named-proxies": named_proxies,
    "servers-proxy": servers_proxy,
    "sips": secure,
}
