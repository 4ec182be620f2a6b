"""MoQ legs: calls over WebTransport."""

from __future__ import annotations

import base64
from functools import partial

import trio

from conformance.expect import Difference, check, regex, require
from conformance.peers.certificates import Authority
from conformance.peers.moq_peer import (
    PATH,
    SERVER_SETUP,
    SUBSCRIBE_DONE,
    SUBSCRIBE_ERROR,
    SUBSCRIBE_OK,
    VERSION,
    MoqPeer,
    open_moq,
)
from conformance.peers.webtransport import HeaderList, open_webtransport
from conformance.phones import answered
from conformance.registry import scenario
from conformance.world import World, leg_view

TOKEN = "moq-" + 30 * "t"
ON = {"MOQ_ENABLED": "true", "MOQ_LISTEN_ADDR": "127.0.0.1:0"}


def listener_of(world: World) -> tuple[str, int]:
    """Where the server takes sessions."""
    if world.target.moq is None:
        raise Difference("target", "a WebTransport listener", None)
    return world.target.moq


async def _leg(
    world: World, query: str = "", headers: HeaderList = (), *, hear: bool = True
) -> tuple[MoqPeer, str]:
    """A program that is a leg, and the leg's id."""
    peer = await world.open(open_moq(listener_of(world), query, headers))
    connected = await world.event("leg.connected", leg_type="moq_in")
    peer.set_up(0xFF00000A, VERSION)
    setup = await peer.message(SERVER_SETUP)
    check("version that the server chose", setup.number(), VERSION)
    peer.announce()
    if hear:
        peer.ask(b"audio", alias=7)
        await peer.message(SUBSCRIBE_OK)
    await peer.until(lambda: b"audio" in peer.wanted)
    world.worked("POST /v1/legs/moq")
    return peer, str(connected["leg_id"])


@scenario(
    "MoQ leg: audio both ways with a SIP call in a room, what it cannot do, headers, DELETE closes it", env=ON
)
async def moq_leg(world: World) -> None:
    phone = await answered(world, tone=500.0)
    await phone.join("sc-moq")
    headers = (("x-key", "k"), ("other", "o"), ("p-id", "7"), ("authorization", "Bearer mine"))
    peer, leg_id = await _leg(world, "room_id=sc-moq&app_id=shop&sample_rate=48000", headers)
    await world.event("leg.joined_room", leg_id=leg_id, room_id="sc-moq", app_id="shop")
    await world.no_event("leg.ringing", leg_id=leg_id, for_s=0.1)
    await world.leg_state(
        leg_id,
        **leg_view(type="moq_in", state="connected", room_id="sc-moq", app_id="shop"),
        headers={"X-Key": "k", "P-Id": "7", "Authorization": "Bearer mine"},
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.talk, 900.0)
        await peer.hears([500])
        heard = await phone.hears()
        found = list(heard.tones)
        require(len(found) == 1 and abs(found[0] - 900) <= 10, "tones at the phone", [900], found)
        nursery.cancel_scope.cancel()
    path = f"/v1/legs/{leg_id}"
    await world.rest("POST", f"{path}/rtt", {"text": "x"}, status=409)
    await world.rest("POST", f"{path}/dtmf", {"digits": "1"}, status=500, expect={"error": regex(".*DTMF.*")})
    await world.rest("POST", f"{path}/hold", status=400)
    await world.rest("POST", f"{path}/answer", status=400)
    await world.rest("POST", f"{path}/transfer", {"target": "sip:x@example.com"}, status=409)
    await world.rest("DELETE", path, status=202, expect={"status": "hanging_up"})
    await world.event("leg.left_room", leg_id=leg_id, room_id="sc-moq")
    await world.disconnected(leg_id, "api_hangup", answered=True)
    done = await peer.message(SUBSCRIBE_DONE)
    check("subscription that is done", (done.number(), done.number()), (2, 2))
    check("close code", await peer.wait_closed(), 0)
    await world.leg_is_gone(leg_id)


@scenario(
    "MoQ leg: text both ways, playback, recording, the end of a subscription, hang-up by the program",
    env=ON,
    needs=("recordings",),
)
async def moq_text(world: World) -> None:
    peer, leg_id = await _leg(world, "rtt=true")
    path = f"/v1/legs/{leg_id}"
    await peer.until(lambda: b"text" in peer.wanted)
    await world.rest("POST", f"{path}/rtt", {"text": "too early"}, status=409)
    peer.ask(b"text", alias=9)
    await peer.message(SUBSCRIBE_OK)
    peer.put(b"text", "héllo".encode())
    await world.event("rtt.received", {"text": "héllo", "seq": 1}, leg_id=leg_id)
    await world.rest("POST", f"{path}/rtt", {"text": "yo"}, status=200, expect={"status": "sent"})
    await peer.until(lambda: peer.texts() == ["yo"])
    play = await world.rest("POST", f"{path}/play", {"tone": "de_dial"}, status=200)
    await world.event("playback.started", leg_id=leg_id, playback_id=str(play["playback_id"]))
    pcm = await peer.listen()
    require(bool(pcm.any()), "what is played", "audio", "silence")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.talk, 700.0)
        await world.rest("POST", f"{path}/record", status=200, expect={"status": "recording"})
        await trio.sleep(0.6)
        await world.rest("DELETE", f"{path}/record", status=200)
        await world.event("recording.finished", leg_id=leg_id)
        nursery.cancel_scope.cancel()
    peer.put(b"text", b"\xff\xfe")
    lost = await world.event("leg.audio_dropped", leg_id=leg_id, within_s=8.0)
    check("leg.audio_dropped", lost, {"direction": "in", "reason": "malformed", "count": 1})
    peer.unsubscribe(2)
    await trio.sleep(0.2)
    await peer.hears_nothing()
    peer.close_session(0, "bye")
    await world.disconnected(leg_id, "hangup", answered=True)
    await world.leg_is_gone(leg_id)


@scenario("MoQ leg that sends audio and text as datagrams: heard and read; one of no type ends it", env=ON)
async def moq_datagrams(world: World) -> None:
    phone = await answered(world, tone=500.0)
    await phone.join("sc-datagrams")
    peer, leg_id = await _leg(world, "room_id=sc-datagrams&rtt=true")
    await peer.until(lambda: b"text" in peer.wanted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(peer.talk, 900.0, datagrams=True))
        await peer.hears([500])
        heard = await phone.hears()
        found = list(heard.tones)
        require(len(found) == 1 and abs(found[0] - 900) <= 10, "tones at the phone", [900], found)
        nursery.cancel_scope.cancel()
    peer.put_datagram(b"text", b"short")
    await world.event("rtt.received", {"text": "short", "seq": 1}, leg_id=leg_id)
    peer.send_datagram(b"\x3f")
    check("close code of an unknown datagram", await peer.wait_closed(), 3)
    await world.disconnected(leg_id, "moq_error", answered=True)


@scenario(
    "MoQ legs refused: parameters, the cap on legs, other tracks, another draft, a plain request",
    env={**ON, "VB_MAX_LEGS": "1"},
)
async def moq_refused(world: World) -> None:
    address = listener_of(world)
    for query, status, words in (
        ("sample_rate=16000", 400, "sample_rate: must be 48000"),
        ("rtt=maybe", 400, "rtt: must be true or false"),
        ("room_id=a%2Fb", 400, "room_id: .*"),
        ("webhook_url=ftp://x/", 400, "webhook_url: .*"),
    ):
        async with open_webtransport(*address) as client:
            check(f"status of {query}", await client.open_session(f"{PATH}?{query}"), status)
            answer = (await client.body(client.session_id)).decode()
            check(f"answer to {query}", answer, regex(f'.*"error": "{words}.*'))
    async with open_webtransport(*address) as client:
        check("plain GET", (await client.request("GET", PATH))[0], 405)
        check("another path", (await client.request("GET", "/v1/legs"))[0], 404)
    await world.rest("POST", PATH, status=405, expect={"error": regex(".*MOQ_LISTEN_ADDR.*")})
    await world.no_legs()
    peer, leg_id = await _leg(world)
    request = peer.ask(b"video", alias=8)
    refused = await peer.message(SUBSCRIBE_ERROR)
    check("a track that is not there", (refused.number(), refused.number()), (request, 4))
    async with open_webtransport(*address) as client:
        check("status beyond the cap", await client.open_session(PATH), 503)
    peer.send(peer.open_stream(bidirectional=False), b"\x3f")
    check("close code of an unknown stream", await peer.wait_closed(), 3)
    await world.disconnected(leg_id, "moq_error", answered=True)
    async with open_moq(address) as other:
        leg_id = str((await world.event("leg.connected", leg_type="moq_in"))["leg_id"])
        other.set_up(0xFF00000E)
        check("close code of another draft", await other.wait_closed(), 0x15)
        await world.disconnected(leg_id, "moq_error", answered=True)


@scenario(
    "MoQ leg whose program vanishes: the leg ends with moq_error, its room mate goes on",
    env=ON,
    timeout_s=90.0,
)
async def moq_lost(world: World) -> None:
    stays, stays_id = await _leg(world, "room_id=sc-lost")
    gone, gone_id = await _leg(world, "room_id=sc-lost")
    gone.vanish()
    await world.disconnected(gone_id, "moq_error", answered=True, within_s=60.0)
    await world.leg_state(stays_id, state="connected")
    await stays.listen()


@scenario(
    "MoQ with tokens: none, a wrong one, one in a header, one among the protocols, pages of other sites",
    env={**ON, "VB_API_TOKENS": TOKEN},
)
async def moq_access(world: World) -> None:
    address = listener_of(world)
    bearer = ("authorization", f"Bearer {TOKEN}")
    offer = "vb.token." + base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
    for status, *headers in (
        (401,),
        (401, ("authorization", "Bearer wrong")),
        (401, ("wt-available-protocols", '"moq-00"')),
        (403, bearer, ("origin", "https://elsewhere.example")),
    ):
        async with open_webtransport(*address) as client:
            check(f"status with {headers}", await client.open_session(PATH, headers), status)
    await world.no_legs()
    for allowed in (
        (bearer,),
        (("wt-available-protocols", f'"moq-00", "{offer}"'),),
        (bearer, ("origin", "https://localhost:8080")),
    ):
        peer, leg_id = await _leg(world, "", allowed)
        leg = await world.leg_state(leg_id, state="connected")
        check("headers of the leg", leg.get("headers"), None)
        peer.close_session()
        await world.disconnected(leg_id, "hangup", answered=True)


@scenario("MoQ settings: off it is 503, with a certificate of one's own, at its bit rate", needs=("servers",))
async def moq_settings(world: World) -> None:
    await world.rest("POST", PATH, status=503, expect={"error": regex(".*MOQ_ENABLED.*")})
    certificate, key = Authority(world.home / "moq").issue("localhost")
    sizes = {}
    for bit_rate in (8000, 96000):
        settings = {
            **ON,
            "MOQ_TLS_CERT_FILE": str(certificate),
            "MOQ_TLS_KEY_FILE": str(key),
            "MOQ_OPUS_BITRATE": str(bit_rate),
        }
        async with world.server(settings) as other:
            talker, _ = await _leg(other, "room_id=r", hear=False)
            peer, _ = await _leg(other, "room_id=r")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talker.talk, 900.0)
                await peer.hears([900])
                count = len(peer.objects)
                await trio.sleep(1.0)
                sizes[bit_rate] = sum(len(item.payload) for item in peer.objects[count:])
                nursery.cancel_scope.cancel()
    require(sizes[96000] > 2 * sizes[8000], "bytes of a second at two bit rates", "far apart", sizes)
