"""Requests and servers that mean harm: URLs into private networks, endless bodies, secrets, broken media."""

from __future__ import annotations

import shutil
import struct
import time
from pathlib import Path

import trio

from conformance.expect import TEXT, Difference, check, one_of, require
from conformance.peers.hostile_http import HostileServer, open_hostile
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_message import SipMessage
from conformance.phones import Phone, answered, dialled, picked_up
from conformance.registry import scenario
from conformance.scenarios.recording import read_recording
from conformance.world import World


def _private_urls(port: int) -> list[str]:
    hosts = (
        "127.0.0.1", "localhost", "LOCALHOST.", "127.1", "0x7f000001", "2130706433", "0177.0.0.1",
        "127.0.0.1.", "127.0.0.2", "0.0.0.0", "user:pass@127.0.0.1", "１２７.0.0.1",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]",
    )  # fmt: skip
    return [f"http://{host}:{port}/x.wav" for host in hosts]


ELSEWHERE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/x",
    "http://10.0.0.1/x",
    "http://192.168.0.1/x",
    "http://100.64.0.1/x",
)
SCHEMES = (
    "file:///etc/passwd",
    "gopher://127.0.0.1/x",
    "ftp://127.0.0.1/x",
    "data:audio/wav;base64,AAAA",
    "//x/y",
    "x",
)


async def _fails(world: World, phone: Phone, url: str, within_s: float = 5.0) -> float:
    """Plays a URL that must not play; returns how long it took to say so."""
    start = time.monotonic()
    reply = await world.http.ask("POST", f"{phone.path}/play", {"url": url})
    check(f"status for {url}", reply.status, one_of(200, 400, 403))
    if reply.status == 200:
        answer = reply.json
        assert isinstance(answer, dict)
        playback_id = str(answer["playback_id"])
        await world.event("playback.error", leg_id=phone.leg_id, playback_id=playback_id, within_s=within_s)
        check(f"starts of {url}", world.count("playback.started", playback_id=playback_id), 0)
    return time.monotonic() - start


@scenario(
    "URLs into private networks in every spelling, other schemes, redirects there: never asked for",
    needs=("servers",),
)
async def fetch_private(world: World) -> None:
    trap = await world.open(open_hostile())
    async with world.server({"VB_FETCH_ALLOW": "(unset)"}) as there:
        phone = await answered(there)
        for url in (*_private_urls(trap.port), *ELSEWHERE, *SCHEMES):
            await _fails(there, phone, url)
        for url in (*_private_urls(trap.port)[:3], *ELSEWHERE[:2], *SCHEMES[:2]):
            room: dict[str, object] = {"webhook_url": url}
            reply = await there.http.ask("POST", "/v1/rooms", room)
            check(f"room with webhook {url}", reply.status, one_of(201, 400, 403))
        await trio.sleep(0.5)
        await phone.hang_up()
    check("requests that came", dict(trap.asked), {})
    async with world.server({"VB_FETCH_ALLOW": "127.0.0.1/32"}) as there:
        phone = await answered(there)
        for target in ("http://127.0.0.2:9/x", "http://169.254.169.254/x", "file:///etc/passwd"):
            await _fails(there, phone, trap.url(f"/to/{target}"))
        for malformed in ("http://[bad", "//[x", "http://a]b/"):
            await _fails(there, phone, trap.url(f"/to/{malformed}"))
        await _fails(there, phone, trap.url("/loop"))
        require(1 < trap.asked["/loop"] <= 21, "redirects that were followed", "2 to 21", trap.asked["/loop"])
        await phone.hang_up()


async def _bomb(world: World, server: HostileServer, phone: Phone, path: str, within_s: float) -> None:
    await _fails(world, phone, server.url(path), within_s)
    if server.sent[path] > 600 << 20:
        raise Difference(f"bytes taken of {path}", "at most 600 MiB", server.sent[path])


async def _taken(world: World, wanted: list[tuple[str, object]]) -> dict[str, object] | None:
    return await world.vsi.frames.take(lambda f: (f.get("type"), f.get("playback_id")) in wanted, 3.0)


@scenario(
    "Playback of bodies without end, of 10 GB, at a byte a second, that hang or lie: errors, the call lives",
    timeout_s=75,
)
async def fetch_bombs(world: World) -> None:
    server = await world.open(open_hostile())
    phone, other = await answered(world, "call1"), await answered(world, "call2", tone=600.0)
    for each in (phone, other):
        await each.join("sc-bomb")
    async with trio.open_nursery() as nursery:
        for path, within_s in (("/endless", 40.0), ("/huge", 5.0), ("/crawl", 60.0), ("/hang", 60.0)):
            nursery.start_soon(_bomb, world, server, phone, path, within_s)
    (await phone.hears(300)).has_tones(600, level=-18)
    for lie in (0xFFFFFFFF, 0x7FFFFFFF, 0):
        head = (
            b"RIFF"
            + struct.pack("<I", lie)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        )
        world.media.add(f"/lie-{lie}", head + b"data" + struct.pack("<I", lie) + bytes(3200), "audio/wav")
        answer = await world.rest(
            "POST", f"{phone.path}/play", {"url": world.media.url(f"/lie-{lie}")}, status=200
        )
        ends = ("playback.finished", "playback.error")
        wanted = [(kind, answer["playback_id"]) for kind in ends]
        found = await _taken(world, wanted)
        require(found is not None, f"a WAV that says it has {lie} bytes", "an end", "none within 3 s")
    (await other.hears(200)).is_steady()
    for each in (phone, other):
        await each.hang_up()


@scenario(
    "The folder of a recording vanishes while it runs: it ends, says where it is, and the call lives",
    needs=("servers",),
)
async def recording_dir_vanishes(world: World) -> None:
    async with world.server({}) as there:
        phone = await answered(there, tone=700.0)
        answer = await there.rest("POST", f"{phone.path}/record", status=200)
        await trio.sleep(0.5)
        folder = Path(str(answer["file"])).parent
        await trio.to_thread.run_sync(shutil.rmtree, folder)
        await trio.sleep(0.5)
        stopped = await there.rest("DELETE", f"{phone.path}/record", status=200)
        event = await there.event("recording.finished", leg_id=phone.leg_id, file=stopped["file"])
        if stopped["file"]:
            read_recording(str(stopped["file"]), 2, 8000).has(0, 700)
        else:
            check("error of a lost recording", event, {"error": TEXT})
        (await phone.hears(200)).is_steady()
        await phone.hang_up()


SECRETS = {
    "password": "sip-password-7f3a",
    "webhook_secret": "hook-secret-7f3a",
    "header": "header-secret-7f3a",
    "text": "typed-secret-7f3a",
    "query": "url-secret-7f3a",
}


@scenario(
    "Secrets show nowhere: passwords, hook secrets, digits, text and URL queries in log, events, metrics",
    needs=("servers",),
)
async def secrets_stay_hidden(world: World) -> None:
    async with world.server({"LOG_LEVEL": "info", "SIP_DEBUG": "true"}) as there:
        body: dict[str, object] = {
            "codecs": ["PCMU"],
            "auth": {"username": "u1", "password": SECRETS["password"]},
            "webhook_url": there.sink.url(f"/hook/secret?key={SECRETS['query']}"),
            "webhook_secret": SECRETS["webhook_secret"],
        }
        phone, _ = await dialled(there, body)
        await picked_up(phone)
        headers = [
            ("X-Webhook-URL", there.sink.url("/hook/h")),
            ("X-Webhook-Secret", SECRETS["header"]),
        ]
        caller = await answered(there, headers=headers)
        await there.rest("POST", f"{caller.path}/dtmf", {"digits": "9137"}, status=200)
        for digit in "4862":
            await caller.rtp.send_digit(digit)
            await there.event("dtmf.received", leg_id=caller.leg_id, digit=digit)
        await there.http.ask("POST", f"{caller.path}/rtt", {"text": SECRETS["text"]})
        url = there.media.url(f"/status/404?key={SECRETS['query']}")
        await there.rest("POST", f"{caller.path}/play", {"url": url}, status=200)
        await there.event("playback.error", leg_id=caller.leg_id)
        for each in (phone, caller):
            await each.hang_up()
        metrics = (await there.http.ask("GET", "/metrics")).body
        seen = {
            "the log": bytes(there.target.log),
            "the events": str(there.vsi.frames.items()).encode(),
            "the metrics": metrics,
        }
        for place, content in seen.items():
            for name, secret in SECRETS.items():
                require(secret.encode() not in content, place, f"no {name}", "it is there")
        for digits in (b"9137", b'"digit'):
            require(digits not in seen["the log"], "the log", "no digits", digits)


async def _garbage(phone: Phone) -> None:
    """Packets that no codec can take, in the stream of the call itself."""
    for payload in (b"", b"\xff", b"\0" * 3, bytes(range(256)) * 5, b"\xfc" + b"\xff" * 40):
        for _ in range(3):
            await phone.rtp.send_payload(payload)
            await trio.sleep(0.02)


@scenario(
    "Garbage in the media of one leg, in every codec: that leg and the others live, and are heard again"
)
async def media_garbage(world: World) -> None:
    listener = await answered(world, "call0", tone=600.0)
    await listener.join("sc-garbage")
    for name in ("PCMU", "G722", "opus"):
        phone, _ = await dialled(world, {"codecs": [name]})
        await _picked_up_with(phone, name)
        await phone.join("sc-garbage")
        await _garbage(phone)
        (await listener.hears(200)).is_steady()
        phone.rtp.talk(900.0, codec=name)
        (await listener.rtp.listen(300, settle_ms=400)).has_tones(900, level=-18, within_db=3)
        await phone.hang_up()
    await listener.hang_up()


async def _picked_up_with(phone: Phone, codec: str) -> SipMessage:
    ack = await picked_up(phone, audio_sdp(phone.rtp.port, codecs=[codec], telephone_event=None))
    phone.rtp.talk(None, codec=codec)
    return ack
