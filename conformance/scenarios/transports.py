"""SIP over TLS and TCP in both directions, an outbound proxy, and servers found by their domain."""

from __future__ import annotations

import socket
from functools import partial

import trio

from conformance.expect import check, containing, one_of, require
from conformance.peers.certificates import Authority
from conformance.peers.dns import open_dns_server
from conformance.peers.sip_stream import open_listener, open_tcp, open_tls
from conformance.peers.sip_ua import SipUa, open_udp
from conformance.phones import answered, dialled, picked_up, refused, ringing
from conformance.registry import scenario
from conformance.targets import run_to_end
from conformance.world import World


async def _authority(world: World) -> Authority:
    return await trio.to_thread.run_sync(Authority, world.home / f"ca-{world.name}")


def _settings(authority: Authority) -> dict[str, str]:
    certificate, key = authority.issue("127.0.0.1")
    return {"SIP_TLS_PORT": "0", "SIP_TLS_CERT": str(certificate), "SIP_TLS_KEY": str(key)}


@scenario(
    "A call over TLS: the certificate is right, Contact says so, hung up by the server; UDP goes on",
    needs=("servers",),
)
async def call_tls(world: World) -> None:
    authority = await _authority(world)
    async with world.server(_settings(authority)) as there:
        server = there.target.sip_address("tls")
        async with open_tls(server, authority.client_context()) as ua:
            phone = await answered(there, ua=ua)
            contact = next(m for m in phone.call.inbox.items() if m.status == 200).must("Contact").lower()
            secure = "transport=tls" in contact or "sips:" in contact
            require(secure and str(server[1]) in contact, "Contact", f"TLS and port {server[1]}", contact)
            (await phone.hears(300)).is_steady()
            await there.rest("DELETE", phone.path, status=202)
            await phone.is_hung_up("api_hangup")
        phone = await answered(there, "udp")
        await phone.hang_up()


@scenario(
    "Calls placed over TLS: trusted by the CA file; a name that differs and a stranger are refused",
    needs=("servers",),
)
async def out_tls(world: World) -> None:
    authority = await _authority(world)
    settings = {**_settings(authority), "SIP_TLS_CA_FILE": str(authority.ca_file)}
    home = world.home / f"stranger-{world.name}"
    stranger = await trio.to_thread.run_sync(partial(Authority, home, "somebody else"))
    async with world.server(settings) as there:
        server = there.target.sip_address("tls")
        async with open_listener(server, authority.server_context("127.0.0.1")) as ua:
            uri = f"sip:bob@{ua.host_port};transport=tls"
            phone, _ = await dialled(there, {"to": uri, "codecs": ["PCMU"]}, ua=ua, uri=uri)
            assert phone.call.invite is not None
            check("Via", phone.call.invite.header("Via"), containing("SIP/2.0/TLS"))
            check("Contact", phone.call.invite.must("Contact").lower(), containing("tls"))
            await picked_up(phone)
            await phone.hang_up()
        for context in (authority.server_context("other.example.com"), stranger.server_context("127.0.0.1")):
            async with open_listener(server, context) as ua:
                body: dict[str, object] = {"type": "sip", "to": f"sips:bob@{ua.host_port}", "ring_timeout": 5}
                view = await there.rest("POST", "/v1/legs", body, status=201)
                await there.disconnected(str(view["id"]), "invite_failed", within_s=6)
                await ua.no_call(0.1)


@scenario("SIP_TLS_INSECURE_SKIP_VERIFY accepts any certificate of a far end", needs=("servers",))
async def out_tls_unverified(world: World) -> None:
    authority = await _authority(world)
    settings = {**_settings(authority), "SIP_TLS_INSECURE_SKIP_VERIFY": "true"}
    async with world.server(settings) as there:
        context = authority.server_context("other.example.com")
        async with open_listener(there.target.sip_address("tls"), context) as ua:
            uri = f"sip:bob@{ua.host_port};transport=tls"
            phone, _ = await dialled(there, {"to": uri}, ua=ua, uri=uri)
            await refused(phone, 486, "busy")


@scenario(
    "TLS settings that cannot work end the start; without TLS sips: cannot be dialled",
    needs=("servers",),
    timeout_s=90,
)
async def tls_settings(world: World) -> None:
    authority = await _authority(world)
    good = _settings(authority)
    broken = world.home / f"broken-{world.name}.pem"
    await trio.Path(broken).write_text("no certificate")
    for change, name in (
        ({"SIP_TLS_CERT": "(unset)"}, "SIP_TLS_"),
        ({"SIP_TLS_KEY": "(unset)"}, "SIP_TLS_"),
        ({"SIP_TLS_CERT": str(broken)}, "SIP_TLS_CERT"),
        ({"SIP_TLS_KEY": "/nowhere/key.pem"}, "SIP_TLS_KEY"),
        ({"SIP_TLS_CA_FILE": str(broken)}, "SIP_TLS_CA_FILE"),
        ({"SIP_TLS_PORT": "x"}, "SIP_TLS_PORT"),
    ):
        code, output = await run_to_end(world.home / "refused", {**good, **change})
        check(f"exit code with {change}", code, 1)
        check(f"output with {change}", output, containing(name))
        require("Traceback" not in output, f"output with {change}", "no trace", output[-400:])
    require("tls" not in world.target.sip, "listeners without SIP_TLS_PORT", "no TLS", world.target.sip)
    reply = await world.http.ask("POST", "/v1/legs", {"type": "sip", "to": "sips:bob@127.0.0.1:9"})
    if reply.status == 201:
        answer = world.json_of(reply)
        assert isinstance(answer, dict)
        await world.disconnected(str(answer["id"]), "invite_failed")
    else:
        check("sips: without TLS", reply.status, one_of(400, 501, 503))


@scenario("A call placed over TCP: Via says so; the connection carries the whole dialog", needs=("servers",))
async def out_tcp(world: World) -> None:
    async with world.server({"SIP_TCP_ENABLED": "true"}) as there:
        async with open_listener(there.target.sip_address("tcp")) as ua:
            uri = f"sip:bob@{ua.host_port};transport=tcp"
            phone, _ = await dialled(there, {"to": uri, "codecs": ["PCMU"]}, ua=ua, uri=uri)
            assert phone.call.invite is not None
            check("Via", phone.call.invite.header("Via"), containing("SIP/2.0/TCP"))
            await picked_up(phone)
            await phone.hang_up()
        async with open_tcp(there.target.sip_address("tcp")) as ua:
            phone = await answered(there, ua=ua)
            await phone.hang_up()


@scenario(
    "A caller's TCP connection closes while its call rings: answered over another one, or cancelled without",
    needs=("servers",),
)
async def ringing_over_another(world: World) -> None:
    async with (
        world.server({"SIP_TCP_ENABLED": "true"}) as there,
        open_listener(there.target.sip_address("tcp")) as proxy,
    ):
        async with open_tcp(there.target.sip_address("tcp")) as first:
            first.local, first.calls = proxy.local, proxy.calls  # its Via names where the proxy listens
            caller = await ringing(there, ua=first)
            await there.rest("POST", f"{caller.path}/ring", status=202)
            await caller.call.response(180)
        caller.call.ua = proxy
        with trio.fail_after(5):
            await proxy.connected.wait()
        await caller.answer()
        (await caller.hears(300)).is_steady()
        await there.rest("DELETE", caller.path, status=202)
        await caller.is_hung_up("api_hangup")

        async with open_tcp(there.target.sip_address("tcp")) as gone:
            vanished = await ringing(there, "gone", ua=gone)
        await there.disconnected(vanished.leg_id, "caller_cancel")


@scenario(
    "A TCP connection that has died unnoticed: the next INVITE and the BYE go again over another one",
    needs=("servers",),
)
async def dead_connection(world: World) -> None:
    async with (
        world.server({"SIP_TCP_ENABLED": "true"}) as there,
        open_listener(there.target.sip_address("tcp")) as ua,
    ):
        uri = f"sip:bob@{ua.host_port};transport=tcp"
        body: dict[str, object] = {"to": uri, "codecs": ["PCMU"]}
        for first in (True, False):
            ua.drops_next = not first
            phone, _ = await dialled(there, body, ua=ua, uri=uri)
            await picked_up(phone)
            ua.drops_next = True
            await there.rest("DELETE", phone.path, status=202)
            await phone.is_hung_up("api_hangup")


@scenario(
    "SIP_OUTBOUND_PROXY gets every call, with its Route; a call may name its own; a bad one ends the start",
    needs=("servers",),
)
async def out_proxy(world: World) -> None:
    proxy, other = world.ua, await world.another_ua()
    settings = {"SIP_OUTBOUND_PROXY": f"sip:{proxy.host_port};lr"}
    async with world.server(settings) as there:
        for ua, named in ((proxy, None), (other, f"sip:{other.host_port};lr")):
            uri = "sip:carol@203.0.113.9"
            body: dict[str, object] = {"to": uri, "codecs": ["PCMU"]}
            body |= {"outbound_proxy": named} if named else {}
            phone, _ = await dialled(there, body, ua=ua, uri=uri)
            invite = phone.call.invite
            assert invite is not None
            check("Request-URI", invite.request_uri, uri)
            check("Route", invite.header("Route"), f"<sip:{ua.host_port};lr>")
            check("To", invite.header("To"), "<sip:carol@203.0.113.9>")
            await refused(phone, 486, "busy")
        for bad in ("nonsense", "http://x/", "sip:", 5, "sip:a@b\r\nX: y"):
            body = {"type": "sip", "to": "sip:carol@203.0.113.9", "outbound_proxy": bad}
            await there.rest("POST", "/v1/legs", body, status=400)
    code, output = await run_to_end(world.home / "refused", {"SIP_OUTBOUND_PROXY": "http://x/"})
    check("exit code", code, 1)
    check("output", output, containing("SIP_OUTBOUND_PROXY"))


async def _overloaded(ua: SipUa) -> None:
    """Refuses the next call with 503."""
    call = await ua.next_call()
    assert call.invite is not None
    await call.reply(call.invite, 503)
    await call.request("ACK")


@scenario(
    "A domain's SRV records name its servers: a dead one and an overloaded one are passed over, in order",
    needs=("servers",),
)
async def out_srv(world: World) -> None:
    uri = "sip:bob@carrier.example"
    records: dict[tuple[str, str], list[str]] = {
        ("carrier.example", "NAPTR"): ['10 10 "s" "SIP+D2U" "" _sip._udp.carrier.example.'],
        ("edge.carrier.example", "A"): ["127.0.0.1"],
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        dead = probe.getsockname()[1]
    async with (
        open_dns_server(records) as names,
        world.server({"VB_DNS_SERVERS": names.address}) as there,
        open_udp(there.target.sip_address("udp")) as full,
        open_udp(there.target.sip_address("udp")) as spare,
    ):
        records["_sip._udp.carrier.example", "SRV"] = [
            f"{priority} 100 {port} edge.carrier.example."
            for priority, port in enumerate((dead, full.local[1], spare.local[1]))
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_overloaded, full)
            phone, _ = await dialled(there, {"to": uri, "codecs": ["PCMU"]}, ua=spare, uri=uri)
        assert phone.call.invite is not None
        check("Request-URI", phone.call.invite.request_uri, uri)
        await picked_up(phone)
        await phone.hang_up()
        await full.no_call(0.2)
        # A port in the URI leaves nothing to look up but the address.
        names.asked.clear()
        uri = f"sip:bob@edge.carrier.example:{spare.local[1]}"
        phone, _ = await dialled(there, {"to": uri, "codecs": ["PCMU"]}, ua=spare, uri=uri)
        await refused(phone, 486, "busy")
        kinds = {question.split()[1] for question in names.asked}
        require(kinds <= {"A", "AAAA"}, "questions", "A, AAAA", names.asked)
    code, output = await run_to_end(world.home / "refused", {"VB_DNS_SERVERS": "ns.example"})
    check("exit code", code, 1)
    check("output", output, containing("VB_DNS_SERVERS"))
