"""What carriers, gateways and phones send that is not quite right: taken wherever nothing hangs on it."""

from __future__ import annotations

import trio

from conformance.expect import between, check, require
from conformance.peers.sdp_text import audio_sdp
from conformance.phones import Phone, answered, dialled, picked_up, refused, ringing
from conformance.registry import scenario
from conformance.world import World

UNNEEDED = [
    ("no colon in this one\r\nX Y", "z"),
    ("X-Bell", "ring\x07ring"),
    ("Expires", "in a while"),
    ("Max-Forwards", "69"),
    ("Session-Expires", "\x001800"),
]
"""Five lines; the second Max-Forwards takes the first with it."""


@scenario(
    "Header lines that nobody needs are ignored and counted (INVITE, 183, 200, 486); others are refused"
)
async def header_lines_ignored(world: World) -> None:
    before = await world.metrics()
    phone = await ringing(world, headers=[*UNNEEDED, ("X-Kept", "yes")])
    await world.leg_state(phone.leg_id, sip_headers={"X-Kept": "yes"})
    await phone.answer()
    await phone.hang_up()
    sick = world.ua.new_call("call2")
    await sick.send_invite(audio_sdp(4000), headers=[("Route\x01", "<sip:elsewhere.example;lr>")])
    await sick.ack(await sick.response(400))

    callee, _ = await dialled(world)
    assert callee.call.invite is not None
    await callee.call.reply(callee.call.invite, 183, sdp=audio_sdp(callee.rtp.port), headers=UNNEEDED)
    await world.event("leg.early_media", leg_id=callee.leg_id)
    await callee.call.reply(callee.call.invite, 200, sdp=audio_sdp(callee.rtp.port), headers=UNNEEDED)
    await callee.call.request("ACK")
    await world.event("leg.connected", leg_id=callee.leg_id)
    await callee.call.bye()
    await world.disconnected(callee.leg_id, "remote_bye", answered=True)
    busy, _ = await dialled(world)
    await refused(busy, 486, "busy", headers=UNNEEDED)

    after = await world.metrics()
    if after.lists("sip_header_lines_ignored"):
        ignored = after.get("sip_header_lines_ignored") - before.get("sip_header_lines_ignored")
        require(ignored >= 4 * 5, "header lines that were ignored", "twenty at least", ignored)
        check("malformed messages", after.get("sip_malformed") - before.get("sip_malformed"), 1)


@scenario("Expires of an INVITE: 487 and ring_timeout when nobody answers in time, nothing after an answer")
async def in_expires(world: World) -> None:
    phone = await ringing(world, headers=[("Expires", "1")])
    began = trio.current_time()
    await world.rest("POST", f"{phone.path}/ring", status=202)
    await phone.call.response(180)
    await phone.call.ack(await phone.call.response(487))
    check("seconds until the 487", trio.current_time() - began, between(0.8, 1.5))
    await world.disconnected(phone.leg_id, "ring_timeout")
    await world.rest("POST", f"{phone.path}/answer", status=404)

    kept = await answered(world, headers=[("Expires", "1")])
    await trio.sleep(1.3)
    await world.leg_state(kept.leg_id, state="connected")
    await kept.hang_up()


@scenario("Tags in another case belong to the same dialog")
async def tags_any_case(world: World) -> None:
    phone = await answered(world)
    phone.call.remote_tag = phone.call.remote_tag.swapcase()
    phone.call.local_tag = phone.call.local_tag.swapcase()
    await phone.hang_up()
    callee, _ = await dialled(world)
    await picked_up(callee)
    callee.call.remote_tag = callee.call.remote_tag.swapcase()
    callee.call.local_tag = callee.call.local_tag.swapcase()
    await callee.hang_up()


@scenario("A challenge with a tab, a fold or blanks behind its scheme is answered")
async def challenge_white_space(world: World) -> None:
    auth: dict[str, object] = {"auth": {"username": "al", "password": "pw"}}
    for challenge in (
        'Digest\trealm="t",\tnonce="n"',
        'Digest\r\n\trealm="t",\r\n\tnonce="n"',
        'Digest  realm="t" ,nonce="n"',
    ):
        phone, _ = await dialled(world, auth)
        assert phone.call.invite is not None
        await phone.call.reply(phone.call.invite, 401, headers=[("WWW-Authenticate", challenge)])
        await phone.call.request("ACK")
        second = await phone.call.request("INVITE")
        check(challenge, 'realm="t"' in second.must("Authorization"), True)
        phone.call.local_tag += "2"
        await refused(phone, 486, "busy")


@scenario("tel: as Request-URI and in Refer-To reaches the application; a raw # is dialled as %23")
async def bare_numbers(world: World) -> None:
    call = world.ua.new_call("call1")
    rtp = await world.rtp("call1")
    call.request_uri = "tel:+49-30-1234;phone-context=x.example"
    await call.send_invite(audio_sdp(rtp.port))
    await call.response(100)
    event = await world.event("leg.ringing", {"to": "+49301234", "from": "call1", "leg_type": "sip_inbound"})
    phone = Phone(world, call, rtp, str(event["leg_id"]), inbound=True)
    await phone.answer()
    await phone.call.refer("<tel:+4930777>")
    await world.event("leg.transfer_requested", leg_id=phone.leg_id, target="tel:+4930777", kind="blind")
    await world.rest("POST", f"{phone.path}/transfer/decline", {"code": 486}, status=202)
    await phone.call.response(486, "REFER")
    await phone.hang_up()

    callee, _ = await dialled(world, {"from": "*1#"}, user="*21#")
    assert callee.call.invite is not None
    check("Request-URI", callee.call.invite.request_uri, f"sip:*21%23@{world.ua.host_port}")
    for name in ("To", "From", "P-Asserted-Identity"):
        value = callee.call.invite.must(name)
        require("%23@" in value and "#" not in value, name, "an escaped #", value)
    await refused(callee, 404, "not_found")


@scenario("URIs as proxies and phones write them beyond the grammar are taken, and followed as they are")
async def odd_uris(world: World) -> None:
    written = ('thinfo="VG8+/=="', "thinfo=VG8+/==", "user=phone;phone-context=+33@x.example")
    for params in written:
        phone, _ = await dialled(world)
        phone.call.contact_params = f";{params};"
        await picked_up(phone)
        await world.rest("DELETE", phone.path, status=202)
        bye = await phone.call.request("BYE")
        check("Request-URI", bye.request_uri, f"sip:{phone.call.name}@{world.ua.host_port};{params}")
        await phone.call.reply(bye, 200)
        await world.disconnected(phone.leg_id, "api_hangup", answered=True)

    call = world.ua.new_call("call1")
    call.contact_params = f";{written[0]}"
    call.local_uri += ";x=y=z"
    plain, call.remote_uri = call.remote_uri, call.remote_uri + ";"
    rtp = await world.rtp("call1")
    await call.send_invite(audio_sdp(rtp.port), headers=[("Record-Route", f"<sip:{world.ua.host_port}>;lr;")])
    event = await world.event("leg.ringing", {"leg_type": "sip_inbound"})
    call.remote_uri = plain
    caller = Phone(world, call, rtp, str(event["leg_id"]), inbound=True)
    await caller.answer()
    dialog = "abc@10.0.0.1;to-tag=1;from-tag=2"
    for target in (f"<sip:carol@x.example?Replaces={dialog}>", f"sip:carol@x.example?Replaces={dialog}"):
        await call.refer(target)
        await world.event("leg.transfer_requested", leg_id=caller.leg_id, target="sip:carol@x.example")
        await world.rest("POST", f"{caller.path}/transfer/decline", {"code": 486}, status=202)
        await call.response(486, "REFER")
    await world.rest("DELETE", caller.path, status=202)
    bye = await call.request("BYE")
    check("Request-URI", bye.request_uri, f"sip:{call.name}@{world.ua.host_port};{written[0]}")
    check("Route", bye.all("Route"), [f"<sip:{world.ua.host_port}>;lr;"])
    await call.reply(bye, 200)
    await world.disconnected(caller.leg_id, "api_hangup", answered=True)


@scenario(
    "A damaged line of a description that decides nothing is left out, in offers and answers; others cost it"
)
async def sdp_damaged_lines(world: World) -> None:
    def damaged(sdp: bytes) -> bytes:
        lines = [b"o=- 1 1 IN IP4" if line.startswith(b"o=") else line for line in sdp.splitlines()]
        return b"\r\n".join([*lines, b"generation 0 svn 16", b"\0"])

    rtp = await world.rtp("call1")
    phone = await ringing(world, rtp=rtp, sdp=damaged(audio_sdp(rtp.port)))
    await phone.answer()
    callee, _ = await dialled(world)
    await picked_up(callee, damaged(audio_sdp(callee.rtp.port)))
    for each in (phone, callee):
        await each.hang_up()
    call = world.ua.new_call("call2")
    await call.send_invite(audio_sdp(4000).replace(b"m=audio", b" m=audio"))
    await call.ack(await call.response(400))


@scenario("A host name in c= is looked up in offer, answer and re-INVITE; one without an address gets 488")
async def media_host_names(world: World) -> None:
    named, nobody = "localhost", "no-such-host.invalid"
    rtp = await world.rtp("call1")
    phone = await ringing(
        world, rtp=rtp, sdp=audio_sdp(rtp.port, direction="recvonly", connection=named), tone=None
    )
    await phone.answer()
    other = await answered(world, "call2", tone=500.0)
    for each in (phone, other):
        await each.join("sc-names")
    (await phone.hears(300)).has_tones(500)
    phone.rtp.stop_talking()  # or the server would learn where the packets really come from
    elsewhere = await world.rtp("elsewhere")
    await phone.reinvite(audio_sdp(elsewhere.port, direction="recvonly", connection=named, version=2))
    (await elsewhere.listen(300)).has_tones(500)
    await phone.call.send_invite(
        audio_sdp(rtp.port, direction="recvonly", connection=nobody, version=3), within_dialog=True
    )
    await phone.call.ack(await phone.call.response(488, within_s=8))
    (await elsewhere.listen(300)).has_tones(500)
    await phone.hang_up()

    callee, _ = await dialled(world)
    sdp = audio_sdp(callee.rtp.port, direction="recvonly", connection=named)
    await picked_up(callee, sdp)
    await callee.join("sc-names")
    (await callee.hears(300)).has_tones(500)
    for each in (callee, other):
        await each.hang_up()

    refused_call = world.ua.new_call("call3")
    await refused_call.send_invite(audio_sdp(4000, connection=nobody))
    answer = await refused_call.response(488, within_s=8)
    check("Warning", answer.must("Warning")[:3], "301")
    await refused_call.ack(answer)
    await world.no_legs()


def _connected_at(sdp: bytes, connection: str) -> bytes:
    """A description with another connection line."""
    return sdp.replace(b"c=IN IP4 127.0.0.1", f"c={connection}".encode())


@scenario("c= with leading zeros or the wrong IP version is sent audio; one that cannot be sent to gets 488")
async def media_odd_addresses(world: World) -> None:
    other = await answered(world, "call2", tone=500.0)
    await other.join("sc-odd")
    for connection in ("IN IP4 127.000.000.001", "IN IP6 127.0.0.1", "in ip4 127.0.0.1/127"):
        rtp = await world.rtp(connection)
        sdp = _connected_at(audio_sdp(rtp.port, direction="recvonly"), connection)
        phone = await ringing(world, rtp=rtp, sdp=sdp)
        await phone.answer()
        await phone.join("sc-odd")
        (await phone.hears(300)).has_tones(500)
        await phone.hang_up()
    for connection in ("IN IP4 224.0.0.7/1", "IN IP6 2001:db8::1", "IN IP4 1.2.3", "TN RFC2543 +1555"):
        call = world.ua.new_call("call3")
        await call.send_invite(_connected_at(audio_sdp(4000), connection))
        await call.ack(await call.response(488))
    await other.hang_up()
    await world.no_legs()
