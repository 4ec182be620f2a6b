"""Dialogs over TLS through the proxy: who is trusted, and how requests of a call find their way back."""

from __future__ import annotations

import trio

from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call, sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.peers.sip_ua import SipUa
from interop.application import application
from interop.proxy_kamailio import free_port
from interop.proxy_world import (
    Scenario,
    World,
    answer,
    answer_sdp,
    routes_of,
    takes_bye,
)
from interop.server import running_server

Routes = list[tuple[str, str]]
DIGIT = b"Signal=5\r\nDuration=160\r\n"


async def _hold(world: World, what: str, leg_id: str, call: Call) -> None:
    """The server holds the call and takes it back; the phone answers both."""
    west = world.west
    for command, event, offered, mirrored in (
        ("hold_leg", "leg.hold", "sendonly", "recvonly"),
        ("unhold_leg", "leg.unhold", "sendrecv", "sendrecv"),
    ):
        await west.app.command(command, id=leg_id)
        again = await call.request("INVITE", 4)
        world.report.equal(sdp_of(again).audio.direction, offered, f"{what}: {command} offers")
        sdp = audio_sdp(call.ua.local[1] ^ 1, direction=mirrored, version=2)
        await call.reply(again, 200, sdp=sdp)
        await call.request("ACK", 4)
        await west.event(leg_id, event)


async def _digit(world: World, what: str, leg_id: str, call: Call, routes: Routes) -> None:
    """The phone sends a digit by INFO, and the server takes it."""
    headers = [*routes, ("Content-Type", "application/dtmf-relay")]
    await call.send_request("INFO", headers=headers, body=DIGIT)
    await call.response(200, "INFO", 4)
    event = await world.west.event(leg_id, "dtmf.received")
    world.report.equal(event.get("digit"), "5", f"{what}: digit by INFO")


async def _routed(world: World, what: str, call_id: str, contact: str, most: int) -> None:
    """Every request of the server to the phone's Contact came over TLS, by that side of the route.

    The proxy does not use a connection that it accepted for requests of its own: a call that the server
    placed may have two.
    """
    await world.kamailio.catch_up()
    seen = [seen for seen in world.kamailio.of_call(call_id) if seen.transport == "tls"]
    later = [item for item in seen if item.uri == contact]
    wanted = f"<sip:127.0.0.1:{world.kamailio.ports.tls};transport=tls"
    astray = [(item.what, item.route) for item in later if not item.route.startswith(wanted)]
    methods = sorted({item.what for item in later})
    world.report.check(
        bool(later) and not astray,
        f"{what}: {', '.join(methods)} go to the TLS side of the double Record-Route",
        astray or seen,
    )
    connections = {item.connection for item in seen} | {
        item.connection for item in world.kamailio.of_call(call_id, kind="reply") if item.transport == "tls"
    }
    world.report.check(
        0 < len(connections) <= most, f"{what}: at most {most} TLS connections, one by each side", connections
    )


async def _dialled(world: World, ua: SipUa, what: str) -> tuple[str, Call]:
    _, uri = world.proxied("udp", ua.local[1])
    leg_id = await world.west.dial(uri)
    call = await ua.next_call(5)
    assert call.invite is not None
    await call.reply(call.invite, 180)
    await answer(call)
    await world.west.event(leg_id, "leg.connected")
    recorded = [value.partition(";")[0] for value in call.invite.all("Record-Route")]
    ports = world.kamailio.ports
    wanted = [f"<sip:127.0.0.1:{ports.plain}", f"<sip:127.0.0.1:{ports.tls}"]
    world.report.equal(recorded, wanted, f"{what}: both sides of the proxy are recorded")
    return leg_id, call


async def outbound(world: World) -> None:
    """The server calls a UDP phone over TLS: hold, INFO, BYE of either side, REFER."""
    report, west, what = world.report, world.west, "TLS out"
    async with world.phone() as ua:
        contact = f"sip:bob@{ua.host_port}"
        leg_id, call = await _dialled(world, ua, what)
        assert call.invite is not None
        routes = routes_of(call.invite)
        await _hold(world, what, leg_id, call)
        await _digit(world, what, leg_id, call, routes)
        await west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        report.equal(await west.end(leg_id), "api_hangup", f"{what}: the server hangs up")
        await _routed(world, what, call.call_id, contact, 2)

        leg_id, call = await _dialled(world, ua, what)
        assert call.invite is not None
        await call.send_request("BYE", headers=routes_of(call.invite))
        await call.response(200, "BYE", 4)
        report.equal(await west.end(leg_id), "remote_bye", f"{what}: the phone hangs up")

        leg_id, call = await _dialled(world, ua, what)
        await _transferred(world, what, leg_id, call)
        await _routed(world, f"{what}, transfer", call.call_id, contact, 2)


async def _transferred(world: World, what: str, leg_id: str, call: Call) -> None:
    west = world.west
    await west.app.command("leg_transfer", id=leg_id, target="sip:carol@127.0.0.1:9")
    refer = await call.request("REFER", 4)
    await call.reply(refer, 202)
    assert call.invite is not None
    headers = [
        *routes_of(call.invite),
        ("Event", "refer"),
        ("Subscription-State", "terminated;reason=noresource"),
        ("Content-Type", "message/sipfrag;version=2.0"),
    ]
    await call.send_request("NOTIFY", headers=headers, body=b"SIP/2.0 200 OK\r\n")
    await call.response(200, "NOTIFY", 4)
    await takes_bye(call)
    world.report.equal(await west.end(leg_id), "transfer_completed", f"{what}: a transfer by REFER")


async def acknowledge(call: Call, response: SipMessage) -> Routes:
    """Acknowledge a 200 by its route, and return the route for what follows (RFC 3261 §12.1.2)."""
    routes = [("Route", value) for value in reversed(response.all("Record-Route"))]
    await call.send_request("ACK", cseq=response.cseq[0], headers=routes)
    return routes


async def _calls_in(world: World, ua: SipUa, does: str, port: int) -> tuple[str, Call, Routes]:
    user, _ = world.proxied(does, port)
    call = ua.new_call("alice", user)
    await call.send_invite(answer_sdp(ua))
    leg_id = await world.west.rung(user)
    await world.west.app.command("leg_ring", id=leg_id)
    await call.response(180, within_s=4)
    await world.west.app.command("answer_leg", id=leg_id)
    routes = await acknowledge(call, await call.response(200, within_s=4))
    await world.west.event(leg_id, "leg.connected")
    return leg_id, call, routes


async def inbound(world: World) -> None:
    """A UDP phone calls the server, to which the proxy goes over TLS, and over TCP."""
    report, west, what = world.report, world.west, "TLS in"
    async with world.phone() as ua:
        contact = f"sip:alice@{ua.host_port}"
        leg_id, call, routes = await _calls_in(world, ua, "tls", west.tls_port)
        report.check(
            call.remote_target == f"sip:127.0.0.1:{west.tls_port};transport=tls",
            f"{what}: Contact names the TLS port",
            call.remote_target,
        )
        await _hold(world, what, leg_id, call)
        await _digit(world, what, leg_id, call, routes)
        await call.send_invite(
            audio_sdp(ua.local[1] ^ 1, direction="sendonly", version=3), headers=routes, within_dialog=True
        )
        held = await call.response(200, within_s=4)
        report.equal(sdp_of(held).audio.direction, "recvonly", f"{what}: the phone holds, answered")
        await acknowledge(call, held)
        await west.app.command("delete_leg", id=leg_id)
        await takes_bye(call)
        report.equal(await west.end(leg_id), "api_hangup", f"{what}: the server hangs up")
        await _routed(world, what, call.call_id, contact, 1)
        for does, port in (("tls", west.tls_port), ("tcp", west.server.sip_port)):
            leg_id, call, routes = await _calls_in(world, ua, does, port)
            await call.send_request("BYE", headers=routes)
            await call.response(200, "BYE", 4)
            reason = await west.end(leg_id)
            report.equal(reason, "remote_bye", f"{does.upper()} in: the phone hangs up")


async def wrong_certificates(world: World) -> None:
    """A proxy that is not who it should be gets no call, and neither does a server."""
    report, west, ports = world.report, world.west, world.kamailio.ports
    for kind, port, problem in (
        ("another host's", ports.misnamed, "names somebody else"),
        ("an unknown authority's", ports.forged, "certificate verify failed"),
    ):
        user = world.name("nobody")
        leg_id = await west.dial(f"sip:{user}@localhost:{port};transport=tls")
        report.equal(await west.end(leg_id), "invite_failed", f"{kind} certificate: the call fails")
        refused = [str(line.get("problem")) for line in west.logged("sip_tls_refused")]
        report.check(
            any(problem in said for said in refused), f"{kind} certificate: the log says why", refused
        )
        await world.kamailio.catch_up()
        report.equal(world.kamailio.to_user(user), [], f"{kind} certificate: requests sent")


async def forged_server(world: World) -> None:
    """The proxy refuses a server whose certificate is forged: the phone hears so, the server nothing."""
    folder, port = world.folder / "forged", free_port()
    await trio.Path(folder).mkdir()
    settings = {
        "SIP_TLS_PORT": str(port),
        "SIP_TLS_CERT": str(world.identities.forged.certificate),
        "SIP_TLS_KEY": str(world.identities.forged.key),
    }
    async with (
        running_server(folder, settings) as server,
        application(server.vsi_url, {}) as app,
        world.phone() as ua,
    ):
        user, _ = world.proxied("tls", port)
        call = ua.new_call("alice", user)
        await call.send_invite(answer_sdp(ua))
        response = await call.any_response("INVITE", 10)
        await call.ack(response)
        world.report.check(response.status >= 400, "forged server: the proxy gives up", response.start_line)
        world.report.equal(app.events, [], "forged server: events")


SCENARIOS: dict[str, Scenario] = {
    "tls-out": outbound,
    "tls-in": inbound,
    "certificates": wrong_certificates,
    "forged-server": forged_server,
}
