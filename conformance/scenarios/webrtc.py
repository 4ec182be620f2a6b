"""WebRTC: an offer becomes a leg, candidates go both ways, and what such legs cannot do."""

from __future__ import annotations

import trio

from conformance.expect import TEXT, UUID, check, regex, require
from conformance.peers.udp_relay import Network, open_relay
from conformance.peers.webrtc_peer import WebRtcPeer, open_stun, open_webrtc
from conformance.phones import answered
from conformance.registry import scenario
from conformance.world import World, leg_view

BROWSER_HZ, PHONE_HZ = 440.0, 1000.0


def _near(tones: list[object], pitch_hz: float) -> bool:
    return len(tones) == 1 and isinstance(tones[0], int) and abs(tones[0] - pitch_hz) < 15


async def _offered(world: World, peer: WebRtcPeer, **fields: object) -> str:
    """Calls by REST with everything in the offer; returns the leg's id."""
    body = {"sdp": peer.offer, **fields}
    reply = await world.rest("POST", "/v1/webrtc/offer", body, status=200, expect={"leg_id": UUID})
    await peer.say(answer=reply["sdp"])
    return str(reply["leg_id"])


async def hears(peer: WebRtcPeer, pitch_hz: float) -> None:
    """Waits until a peer hears one tone."""
    tones: list[object] = []
    for _ in range(8):
        tones = await peer.hears()
        if _near(tones, pitch_hz):
            return
    check("tones that the WebRTC peer hears", tones, [pitch_hz])


@scenario(
    "A WebRTC leg joins a room at once, connects without leg.ringing, is heard, hears, and ends with its peer"
)
async def webrtc_call(world: World) -> None:
    shop = await world.another_vsi("shop", "?app_id=%5Eshop%24")
    toys = await world.another_vsi("toys", "?app_id=toys")
    peer = await world.open(open_webrtc(BROWSER_HZ))
    leg_id = await _offered(world, peer, app_id="shop")
    await world.leg_state(leg_id, **{**leg_view(app_id="shop"), "type": "webrtc"})
    await world.rest("POST", "/v1/rooms/web/legs", {"leg_id": leg_id}, status=200, expect={"status": "added"})
    await world.event("leg.connected", {"leg_type": "webrtc", "app_id": "shop"}, leg_id=leg_id)
    await world.event("leg.connected", vsi=shop, leg_id=leg_id)
    await world.no_event("leg.connected", vsi=toys, leg_id=leg_id)
    await world.leg_state(leg_id, state="connected", room_id="web")
    phone = await answered(world, tone=PHONE_HZ)
    await phone.join("web")
    await trio.sleep(0.5)
    heard = await phone.hears(600)
    require(_near(list(heard.tones), BROWSER_HZ), "tones of the phone", [BROWSER_HZ], heard.tones)
    await hears(peer, PHONE_HZ)
    check("leg.ringing of a WebRTC leg", world.count("leg.ringing", leg_id=leg_id), 0)
    await peer.say(close=True)
    await world.disconnected(leg_id, "ice_failure", answered=True, within_s=5.0)
    await world.leg_is_gone(leg_id)
    await phone.hang_up()


@scenario("VSI: an offer that trickles, with us as the DTLS client; hanging up ends the peer's connection")
async def webrtc_trickle(world: World) -> None:
    peer = await world.open(open_webrtc(BROWSER_HZ))
    offer, candidates = peer.without_candidates()
    offer = offer.replace("a=setup:actpass", "a=setup:passive")
    reply = await world.command("webrtc_offer", {"sdp": offer}, {"leg_id": UUID})
    assert isinstance(reply, dict)
    leg_id, sdp = reply["leg_id"], reply["sdp"]
    check("our part in the handshake", "a=setup:active" in sdp, True)
    kept = [line for line in sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
    await peer.say(answer="".join(f"{line}\r\n" for line in kept))
    found = await world.command(
        "webrtc_get_candidates",
        {"id": leg_id},
        {"candidates": [{"candidate": regex("candidate:.* typ host"), "sdpMLineIndex": 0}], "done": True},
    )
    assert isinstance(found, dict)
    for item in found["candidates"]:
        await peer.say(candidate=item["candidate"], mid=item.get("sdpMid", "0"))
    empty = {"candidates": [], "done": True}
    await world.rest("GET", f"/v1/legs/{leg_id}/ice-candidates", status=200, expect=empty)
    added = {"status": "added"}
    for text in candidates:
        payload = {"id": leg_id, "candidate": {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}}
        await world.command("webrtc_add_candidate", payload, added)
    path = f"/v1/legs/{leg_id}/ice-candidates"
    await world.rest("POST", path, {"candidate": ""}, status=200, expect=added)
    await world.event("leg.connected", {"leg_type": "webrtc"}, leg_id=leg_id)
    await peer.reaches("connected")
    await world.rest("DELETE", f"/v1/legs/{leg_id}", status=202)
    await world.disconnected(leg_id, "api_hangup", answered=True)
    await peer.reaches("closed")


@scenario(
    "Candidates with all their fields, speaking on request, a further offer for the same leg, unknown legs"
)
async def webrtc_fields(world: World) -> None:
    peer = await world.open(open_webrtc(BROWSER_HZ))
    offer, candidates = peer.without_candidates()
    asked = {"sdp": offer, "speech_detection": True, "app_id": "shop", "max_playback_rate": 16000}
    reply = await world.rest("POST", "/v1/webrtc/offer", asked, status=200, expect={"leg_id": UUID})
    leg_id, sdp = str(reply["leg_id"]), str(reply["sdp"])
    check("asks for no more than is heard", "maxplaybackrate=16000" in sdp, True)
    kept = [line for line in sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of"))]
    await peer.say(answer="".join(f"{line}\r\n" for line in kept))
    path = f"/v1/legs/{leg_id}/ice-candidates"
    ours = {"sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": _fragment(sdp)}
    found = await world.rest("GET", path, status=200, expect={"candidates": [ours], "done": True})
    for item in found["candidates"]:  # type: ignore[attr-defined]  # a list
        await peer.say(candidate=item["candidate"], mid=item["sdpMid"])
    for text in candidates:
        theirs = {**ours, "candidate": text, "usernameFragment": _fragment(offer)}
        await world.rest("POST", path, theirs, status=200, expect={"status": "added"})
    await world.event("leg.connected", {"leg_type": "webrtc", "app_id": "shop"}, leg_id=leg_id)
    await world.event("speaking.started", {"app_id": "shop"}, leg_id=leg_id, within_s=6.0)
    again = {"sdp": peer.offer, "leg_id": leg_id}
    await world.rest("POST", "/v1/webrtc/offer", again, status=200, expect={"leg_id": leg_id, "sdp": TEXT})
    higher = {**again, "max_playback_rate": 48000}
    reply = await world.rest("POST", "/v1/webrtc/offer", higher, status=200, expect={"leg_id": leg_id})
    check("asks for all of it", "maxplaybackrate" in str(reply["sdp"]), False)
    await world.rest("POST", "/v1/webrtc/offer", {**again, "max_playback_rate": 11025}, status=400)
    await world.leg_state(leg_id, state="connected")
    await world.rest("POST", "/v1/webrtc/offer", {**again, "leg_id": "nobody"}, status=404)
    for method, body in (("GET", None), ("POST", {"candidate": ""})):
        await world.rest(method, "/v1/legs/nobody/ice-candidates", body, status=404)
    await world.rest("DELETE", f"/v1/legs/{leg_id}", status=202)
    await world.disconnected(leg_id, "api_hangup", answered=True)


def _fragment(sdp: str) -> str:
    """The user name of ICE in a description."""
    return next(line.partition(":")[2] for line in sdp.splitlines() if line.startswith("a=ice-ufrag:"))


@scenario("A WebRTC peer whose NAT gives it another port in mid call, which it does not know, is found there")
async def webrtc_moved(world: World) -> None:
    peer = await world.open(open_webrtc(BROWSER_HZ))
    offer, _ = peer.without_candidates()
    reply = await world.rest("POST", "/v1/webrtc/offer", {"sdp": offer}, status=200)
    leg_id, sdp = str(reply["leg_id"]), str(reply["sdp"])
    candidate = next(line for line in sdp.splitlines() if line.startswith("a=candidate:"))
    host, port = candidate.split()[4:6]
    nat = await world.open(open_relay((host, int(port)), Network()))
    seen = candidate.replace(f" {host} {port} ", f" {nat.address[0]} {nat.address[1]} ")
    await peer.say(answer=sdp.replace(candidate, seen))
    await world.event("leg.connected", leg_id=leg_id)
    await world.rest("POST", "/v1/rooms/web/legs", {"leg_id": leg_id}, status=200)
    phone = await answered(world, tone=PHONE_HZ)
    await phone.join("web")
    await hears(peer, PHONE_HZ)
    await nat.move()
    with trio.move_on_after(20):
        await trio.sleep(1.0)  # what was on its way
        while not _near(await peer.hears(), PHONE_HZ):
            pass
    await hears(peer, PHONE_HZ)
    heard = await phone.hears(600)
    require(_near(list(heard.tones), BROWSER_HZ), "tones of the phone", [BROWSER_HZ], heard.tones)
    await world.leg_state(leg_id, state="connected")
    await phone.hang_up()
    await world.rest("DELETE", f"/v1/legs/{leg_id}", status=202)
    await world.disconnected(leg_id, "api_hangup", answered=True)


@scenario(
    "WebRTC: a line of video that comes first in the bundle stays, silent, as the audio uses its transport"
)
async def webrtc_video_first(world: World) -> None:
    peer = await world.open(open_webrtc(BROWSER_HZ))
    head, audio = peer.offer.split("m=audio ", 1)
    mid = next(line.partition(":")[2] for line in audio.splitlines() if line.startswith("a=mid:"))
    head = head.replace(f"a=group:BUNDLE {mid}", f"a=group:BUNDLE video {mid}")
    kept = ("c=", "a=ice-", "a=fingerprint", "a=setup", "a=candidate", "a=end-of", "a=rtcp-mux")
    shared = [line for line in audio.splitlines() if line.startswith(kept)]
    video = ["m=video 9 UDP/TLS/RTP/SAVPF 96", *shared, "a=mid:video", "a=recvonly", "a=rtpmap:96 VP8/90000"]
    offer = head + "".join(f"{line}\r\n" for line in video) + "m=audio " + audio
    reply = await world.rest("POST", "/v1/webrtc/offer", {"sdp": offer}, status=200)
    leg_id = str(reply["leg_id"])
    first, ours = str(reply["sdp"]).split("m=")[1:]
    check("BUNDLE", f"a=group:BUNDLE video {mid}\r\n" in str(reply["sdp"]), True)
    for line in ("a=inactive", "a=mid:video", "a=rtpmap:96 VP8/90000", f"a=ice-ufrag:{_fragment(ours)}"):
        require(line in first.splitlines(), "line of video", f"one with {line}", first)
    check("format of the video", first.splitlines()[0].split()[2:], ["UDP/TLS/RTP/SAVPF", "96"])
    path = f"/v1/legs/{leg_id}/ice-candidates"
    await world.rest(
        "GET", path, status=200, expect={"candidates": [{"sdpMid": "video", "sdpMLineIndex": 0}]}
    )
    await world.rest("DELETE", f"/v1/legs/{leg_id}", status=202)
    await world.disconnected(leg_id, "api_hangup")


@scenario("WebRTC: offers and candidates that cannot be used, other legs, and what such a leg has no way for")
async def webrtc_refused(world: World) -> None:
    peer = await world.open(open_webrtc(BROWSER_HZ))
    for name, sdp in {
        "no SDP": "hello",
        "no Opus": peer.offer.replace("opus/48000/2", "speex/16000"),
        "no audio": peer.offer.replace("m=audio", "m=video"),
        "no fingerprint": peer.offer.replace("a=fingerprint:", "a=fingermark:"),
        "no rtcp-mux": peer.offer.replace("a=rtcp-mux\r\n", ""),
        "nothing": "",
    }.items():
        reply = await world.rest("POST", "/v1/webrtc/offer", {"sdp": sdp}, status=400)
        require("sdp" in str(reply["error"]), f"error for {name}", "one that names sdp", reply["error"])
    await world.rest("POST", "/v1/webrtc/offer", {}, status=400, expect={"error": "sdp: is required"})
    await world.command_fails("webrtc_offer", {"sdp": "hello"}, 400)
    await world.no_legs()
    for name, fields in {
        "webrtc_add_candidate": {"candidate": {"candidate": ""}},
        "webrtc_get_candidates": {},
    }.items():
        await world.command_fails(name, {"id": "nobody", **fields}, 404, "leg not found")
    phone = await answered(world)
    candidates = f"{phone.path}/ice-candidates"
    await world.rest("GET", candidates, status=400)
    await world.rest("POST", candidates, {"candidate": ""}, status=400)
    await phone.hang_up()
    leg_id = await _offered(world, peer)
    await world.event("leg.connected", leg_id=leg_id)
    path = f"/v1/legs/{leg_id}"
    for method, action, body, status in (
        ("POST", "hold", None, 400),
        ("DELETE", "hold", None, 400),
        ("POST", "answer", None, 400),
        ("POST", "ring", None, 400),
        ("POST", "transfer", {"target": "sip:somebody@127.0.0.1"}, 409),
        ("POST", "rtt", {"text": "hello"}, 409),
        ("POST", "dtmf", {"digits": "1"}, 500),
        ("POST", "amd", {}, 400),
        ("POST", "ice-candidates", {"candidate": "nonsense"}, 400),
        ("POST", "ice-candidates", {"candidate": 5}, 400),
        ("POST", "ice-candidates", {}, 400),
    ):
        await world.rest(method, f"{path}/{action}", body, status=status)
    await world.leg_state(leg_id, state="connected", held=False)
    await peer.say(close=True)
    await world.disconnected(leg_id, "ice_failure", answered=True, within_s=5.0)


@scenario(
    "WebRTC: STUN servers are asked, and addresses outside take the place of our own", needs=("servers",)
)
async def webrtc_addresses(world: World) -> None:
    peer = await world.open(open_webrtc(BROWSER_HZ))
    stun = await world.open(open_stun(("203.0.113.9", 40_404)))
    url = f"stun:127.0.0.1:{stun.port}"
    for settings, wanted in (
        ({"ICE_SERVERS": url}, (" 203.0.113.9 40404 typ srflx raddr 127.0.0.1 ", " 127.0.0.1 ")),
        ({"ICE_SERVERS": "none", "WEBRTC_EXTERNAL_IPS": "198.51.100.7"}, (" 198.51.100.7 ",)),
        ({"ICE_SERVERS": url, "WEBRTC_EXTERNAL_IPS": "auto"}, (" 203.0.113.9 ",)),
    ):
        async with world.server(settings) as other:
            reply = await other.rest("POST", "/v1/webrtc/offer", {"sdp": peer.offer}, status=200)
            lines: list[str] = []
            with trio.move_on_after(5):
                while True:
                    path = f"/v1/legs/{reply['leg_id']}/ice-candidates"
                    found = await other.rest("GET", path, status=200)
                    assert isinstance(found["candidates"], list)
                    lines += [str(item["candidate"]) for item in found["candidates"]]
                    if found["done"]:
                        break
                    await trio.sleep(0.1)
            for text in wanted:
                require(any(text in line for line in lines), "candidates", f"one with {text}", lines)
            await other.rest("DELETE", f"/v1/legs/{reply['leg_id']}", status=202)
    require(stun.asked >= 2, "requests of the STUN server", "two at least", stun.asked)


@scenario(
    "WebRTC: packets whose level says silence are not decoded, and Opus takes as much work as it is told to",
    env={"VB_OPUS_COMPLEXITY": "1"},
)
async def webrtc_silence(world: World) -> None:
    silent = await world.open(open_webrtc(0.0))
    speaks = await world.open(open_webrtc(BROWSER_HZ))
    check("complexity", (await world.metrics()).find("opus_complexity"), 1)
    speaker_id = await _offered(world, speaks)
    await world.rest("POST", "/v1/rooms/web/legs", {"leg_id": speaker_id}, status=200)
    await world.event("leg.connected", leg_id=speaker_id)
    await trio.sleep(1)
    check("packets at rest while one speaks", (await world.metrics()).find("opus_packets_rested"), 0)
    silent_id = await _offered(world, silent)
    await world.rest("POST", "/v1/rooms/web/legs", {"leg_id": silent_id}, status=200)
    await world.event("leg.connected", leg_id=silent_id)
    await hears(silent, BROWSER_HZ)
    await trio.sleep(1)
    rested = (await world.metrics()).get("opus_packets_rested")
    require(rested > 20, "packets at rest while one is silent", "more than 20", rested)
    for peer, leg_id in ((silent, silent_id), (speaks, speaker_id)):
        await peer.say(close=True)
        await world.disconnected(leg_id, "ice_failure", answered=True, within_s=5.0)
