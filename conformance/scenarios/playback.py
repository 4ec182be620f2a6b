"""Playback of files and tones, on legs and in rooms."""

from __future__ import annotations

import gzip
import struct
import time

import trio

from conformance.expect import ABSENT, PLAYBACK_ID, TEXT, between, check, require
from conformance.peers.hostile_http import Paced, open_hostile
from conformance.peers.media_server import tone, wav
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.world import World


async def _play(world: World, path: str, body: dict[str, object], **scope: object) -> str:
    """Starts a playback and waits for playback.started."""
    answer = await world.rest(
        "POST", f"{path}/play", body, status=200, expect={"playback_id": PLAYBACK_ID, "status": "playing"}
    )
    playback_id = str(answer["playback_id"])
    await world.event("playback.started", scope, playback_id=playback_id)
    return playback_id


async def _on(phone: Phone, body: dict[str, object]) -> str:
    return await _play(phone.world, phone.path, body, leg_id=phone.leg_id, room_id=ABSENT)


async def _finished(
    phone: Phone, playback_id: str, reason: str, low: int, high: int, within_s: float = 3.0
) -> None:
    await phone.world.event(
        "playback.finished",
        within_s=within_s,
        playback_id=playback_id,
        leg_id=phone.leg_id,
        room_id=ABSENT,
        reason=reason,
        played_ms=between(low, high),
    )


async def _stop(phone: Phone, playback_id: str) -> None:
    await phone.world.rest(
        "DELETE", f"{phone.path}/play/{playback_id}", status=200, expect={"status": "stopped"}
    )
    await _finished(phone, playback_id, "stopped", 20, 10_000)


@scenario("Playback of a WAV on a leg: once, repeated, other rates, volume, stopped; fetch count")
async def play_leg(world: World) -> None:
    phone = await answered(world)
    short = world.media.url("/tone/600/400/8000/x.wav")
    playback_id = await _on(phone, {"url": short})
    (await phone.rtp.listen(250, settle_ms=80)).has_tones(600, level=-18)
    await _finished(phone, playback_id, "completed", 400, 420)

    start, fetched = time.monotonic(), world.media.fetched["/tone/600/400/8000/x.wav"]
    playback_id = await _on(phone, {"url": short, "repeat": 3})
    await _finished(phone, playback_id, "completed", 1200, 1240)
    check("seconds for three times 400 ms", time.monotonic() - start, between(1.15, 1.7))
    check("fetches of it", world.media.fetched["/tone/600/400/8000/x.wav"] - fetched, 1)
    for rate in (16000, 44100, 48000, 192000):
        playback_id = await _on(phone, {"url": world.media.url(f"/tone/1000/600/{rate}/x.wav")})
        (await phone.rtp.listen(300, settle_ms=80)).has_tones(1000, level=-18)
        await _finished(phone, playback_id, "completed", 600, 640)

    playback_id = await _on(phone, {"url": short, "repeat": -1, "mime_type": "audio/wav"})
    for volume, level in ((4, -6), (-8, -42), (0, -18)):
        await world.rest(
            "PATCH",
            f"{phone.path}/play/{playback_id}",
            {"volume": volume},
            status=200,
            expect={"status": "ok"},
        )
        (await phone.hears(300)).has_tones(600, level=level)
    for bad in ({"volume": 9}, {"volume": -9}, {"volume": "1"}, "{"):
        assert isinstance(bad, dict | str)
        await world.rest("PATCH", f"{phone.path}/play/{playback_id}", bad, status=400)
    await _stop(phone, playback_id)
    await world.rest("DELETE", f"{phone.path}/play/{playback_id}", status=404)
    await world.rest("PATCH", f"{phone.path}/play/{playback_id}", {"volume": 1}, status=404)
    quiet = await phone.hears(200)
    quiet.is_steady()
    quiet.is_quiet()
    await phone.hang_up()


@scenario("Tones: by country, upper case, uk alias; two at once; the leg hangs up while they play")
async def play_tones(world: World) -> None:
    phone = await answered(world)
    for name, tones, level in (
        ("dial", (350, 440), -9),
        ("US_Dial", (350, 440), -9),
        ("uk_ringback", (400, 450), -9.5),
        ("de_busy", (425,), -6),
        ("jp_dial", (400,), -6),
        ("au_dial", (400, 450), -9),
        ("fr_dial", (440,), -6),
    ):
        playback_id = await _on(phone, {"tone": name})
        heard = await phone.rtp.listen(260, settle_ms=60)
        heard.is_steady()
        heard.has_tones(*tones, level=level)
        await _stop(phone, playback_id)
    first = await _on(phone, {"tone": "de_dial", "volume": -3})
    data = await world.command(
        "leg_play_start",
        {"id": phone.leg_id, "tone": "us_dial", "volume": -4},
        {"playback_id": PLAYBACK_ID, "status": "playing"},
    )
    assert isinstance(data, dict)
    second = str(data["playback_id"])
    await world.event("playback.started", playback_id=second)
    (await phone.hears()).has_tones(350, 425)
    await phone.call.bye()
    for playback_id in (first, second):
        await _finished(phone, playback_id, "stopped", 100, 5000)
    await world.disconnected(phone.leg_id, "remote_bye", answered=True)
    world.order(("playback.finished", first), ("leg.disconnected", phone.leg_id))
    check("playback.error", world.count("playback.error"), 0)


async def _play_by_command(world: World, owner: str, owner_id: str) -> str:
    """Starts a quiet de_dial over VSI and returns its id."""
    payload: dict[str, object] = {"id": owner_id, "tone": "de_dial", "volume": -4}
    data = await world.command(f"{owner}_play_start", payload, {"playback_id": PLAYBACK_ID})
    assert isinstance(data, dict)
    playback_id = str(data["playback_id"])
    scope = {f"{owner}_id": owner_id, "room_id" if owner == "leg" else "leg_id": ABSENT}
    await world.event("playback.started", scope, playback_id=playback_id)
    return playback_id


@scenario("Playback into a room: all hear it, at its volume; the leg that was there first leaves meanwhile")
async def play_room(world: World) -> None:
    first = await answered(world, "call1", tone=500.0)
    await first.join("sc-play")
    second = await answered(world, "call2", tone=800.0)
    await second.join("sc-play")
    room, only_room = "/v1/rooms/sc-play", {"room_id": "sc-play", "leg_id": ABSENT}
    playback_id = await _play(world, room, {"tone": "de_dial", "volume": -4}, **only_room)
    (await first.hears()).has_tones(425, 800)
    (await second.hears()).has_tones(425, 500)
    playback = f"{room}/play/{playback_id}"
    for phone in (first, second):
        phone.rtp.talk(None)
    for volume, level in ((None, -18), (-6, -24), (0, -6), (-8, -30)):
        if volume is not None:
            await world.rest("PATCH", playback, {"volume": volume}, status=200, expect={"status": "ok"})
        (await second.hears(300)).has_tones(425, level=level)
    (await first.rtp.listen(200, settle_ms=0)).has_tones(425, level=-30)
    await world.rest("DELETE", playback, status=200, expect={"status": "stopped"})
    await world.event("playback.finished", only_room, playback_id=playback_id, reason="stopped")

    playback_id = await _play_by_command(world, "room", "sc-play")
    await first.hang_up()
    (await second.hears()).has_tones(425, level=-18)
    quieter: dict[str, object] = {"id": "sc-play", "playback_id": playback_id, "volume": -8}
    await world.command("room_play_volume", quieter, {"status": "ok"})
    (await second.hears()).has_tones(425, level=-30)
    stop: dict[str, object] = {"id": "sc-play", "playback_id": playback_id}
    await world.command("room_play_stop", stop, {"status": "stopped"})
    await world.event("playback.finished", only_room, playback_id=playback_id, reason="stopped")
    await second.hang_up()


@scenario("Playback on one leg of a room: only that leg hears it, also after a move to another room")
async def play_leg_in_room(world: World) -> None:
    first = await answered(world, "call1", tone=500.0)
    await first.join("sc-play")
    second = await answered(world, "call2", tone=800.0)
    await second.join("sc-play")
    playback_id = await _play_by_command(world, "leg", first.leg_id)
    (await first.hears()).has_tones(425, 800)
    (await second.hears()).has_tones(500, level=-18)
    moved: dict[str, object] = {"leg_id": first.leg_id}
    await world.rest("POST", "/v1/rooms/sc-play2/legs", moved, status=200, expect={"status": "moved"})
    (await first.hears()).has_tones(425)
    (await second.hears()).is_quiet()
    stop: dict[str, object] = {"id": first.leg_id, "playback_id": playback_id}
    await world.command("leg_play_volume", {**stop, "volume": -6}, {"status": "ok"})
    (await first.hears()).has_tones(425, level=-24)
    await world.command("leg_play_stop", stop, {"status": "stopped"})
    await _finished(first, playback_id, "stopped", 100, 10_000)
    for phone in (first, second):
        await phone.hang_up()


@scenario(
    "WAV of every kind, MP3 and raw PCM; formats that are refused end as playback.error without a start"
)
async def play_formats(world: World) -> None:
    phone = await answered(world)
    for path, fields, level in (
        ("/ulaw/700/500/8000/x.wav", {}, -18),
        ("/alaw/700/500/8000/x.wav", {}, -18),
        ("/stereo/700/500/8000/x.wav", {}, -18),
        ("/extra/700/500/16000/x.wav", {}, -18),
        ("/short/700/900/8000/x.wav", {}, -18),
        ("/untyped/700/500/8000/sound", {}, -18),
        ("/raw/700/500/16000/x", {"mime_type": "audio/pcm;rate=16000"}, -18),
        ("/moved/tone/700/500/8000/x.wav", {}, -18),
        ("/mp3/700/600/44100/x.mp3", {}, -18),
        ("/mp3/700/600/16000/x", {"mime_type": "audio/mpeg"}, -18),
    ):
        playback_id = await _on(phone, {"url": world.media.url(path), **fields})
        (await phone.rtp.listen(300, settle_ms=100)).has_tones(700, level=level)
        await _finished(phone, playback_id, "completed", 400, 800)
    bad: tuple[dict[str, object], ...] = (
        {"url": world.media.url("/status/404")},
        {"url": world.media.url("/status/500")},
        {"url": world.media.url("/text")},
        {"url": world.media.url("/bits24/700/400/8000/x.wav")},
        {"url": world.media.url("/tone/700/400/4000/x.wav")},
        {"url": world.media.url("/tone/700/400/192001/x.wav")},
        {"url": world.media.url("/tone/700/400/384000/x.wav")},
        {"tone": "xx_dial"},
        {"tone": "pl_busy"},
        {"url": "http://127.0.0.1:9/x.wav"},
    )
    for body in bad:
        answer = await world.rest("POST", f"{phone.path}/play", body, status=200)
        playback_id = str(answer["playback_id"])
        await world.event(
            "playback.error", playback_id=playback_id, leg_id=phone.leg_id, error=TEXT, within_s=5
        )
        check(f"playback.started for {body}", world.count("playback.started", playback_id=playback_id), 0)
    await phone.hang_up()


@scenario(
    "Play requests that are refused: both or neither of url and tone, volume, types, unknown leg, empty room"
)
async def play_refused(world: World) -> None:
    phone = await answered(world)
    for body in (
        {},
        {"tone": "dial", "url": "http://x/"},
        {"tone": "dial", "volume": 9},
        {"tone": 5},
        {"tone": "dial", "volume": "1"},
        "{",
    ):
        assert isinstance(body, dict | str)
        await world.rest("POST", f"{phone.path}/play", body, status=400)
    nobody = "/v1/legs/00000000-0000-4000-8000-000000000000"
    await world.rest(
        "POST", f"{nobody}/play", {"tone": "dial"}, status=404, expect={"error": "leg not found"}
    )
    await world.rest("POST", "/v1/rooms/sc-none/play", {"tone": "dial"}, status=404)
    await world.rest("POST", "/v1/rooms", {"id": "sc-empty"}, status=201)
    await world.rest("POST", "/v1/rooms/sc-empty/play", {"tone": "dial"}, status=409)
    await world.command_fails("leg_play_start", {"id": phone.leg_id}, 400)
    await world.command_fails("leg_play_stop", {"id": phone.leg_id, "playback_id": "pb-00000000"}, 404)
    await phone.hang_up()


@scenario(
    "A file on a loopback host is not fetched unless VB_FETCH_ALLOW names it",
    env={"VB_FETCH_ALLOW": "(unset)"},
)
async def play_fetch_policy(world: World) -> None:
    phone = await answered(world)
    before = world.media.fetched.total()
    for url in (
        world.media.url("/tone/700/400/8000/x.wav"),
        f"http://localhost:{world.media.port}/tone/700/400/8000/x.wav",
    ):
        reply = await world.http.ask("POST", f"{phone.path}/play", {"url": url})
        require(
            reply.status in (200, 400, 403),
            "play of a loopback URL",
            "200 with playback.error, 400 or 403",
            reply.status,
        )
        if reply.status == 200:
            await world.event("playback.error", leg_id=phone.leg_id, within_s=5)
    await trio.sleep(0.2)
    check("fetches", world.media.fetched.total() - before, 0)
    await phone.hang_up()


@scenario("Several repeats without a gap: three times 400 ms of a tone are one tone")
async def play_gapless(world: World) -> None:
    phone = await answered(world)
    playback_id = await _on(phone, {"url": world.media.url("/tone/500/400/8000/x.wav"), "repeat": 3})
    heard = await phone.rtp.listen(1000, settle_ms=60)
    heard.is_steady()
    heard.has_tones(500, level=-18, within_db=0.7)
    await _finished(phone, playback_id, "completed", 1200, 1240)
    await phone.hang_up()


@scenario(
    "A WAV at twice real time is played while it comes; one that breaks off is an error; one is stopped"
)
async def play_streamed(world: World) -> None:
    server = await world.open(open_hostile())
    body = wav(tone(600, 4000, 8000).astype("<i2").tobytes(), 8000)
    server.paced["/slow.wav"] = Paced(body, 32_000)
    server.paced["/cut.wav"] = Paced(body, 32_000, len(body) // 2)
    phone = await answered(world)

    start = time.monotonic()
    playback_id = await _on(phone, {"url": server.url("/slow.wav"), "repeat": 2})
    check("seconds until it starts", time.monotonic() - start, between(0.0, 1.6))
    require(server.sent["/slow.wav"] < len(body), "bytes that were sent by then", "not all", server.sent)
    (await phone.rtp.listen(250, settle_ms=80)).has_tones(600, level=-18)
    await _finished(phone, playback_id, "completed", 8000, 8100, within_s=10)
    check("fetches", server.asked["/slow.wav"], 1)

    playback_id = await _on(phone, {"url": server.url("/cut.wav")})
    await world.event("playback.error", playback_id=playback_id, leg_id=phone.leg_id, error=TEXT, within_s=5)
    await world.no_event("playback.finished", for_s=0.2)

    playback_id = await _on(phone, {"url": server.url("/slow.wav")})
    (await phone.rtp.listen(200, settle_ms=80)).has_tones(600, level=-18)
    await _stop(phone, playback_id)
    await server.all_gone(within_s=1.0)
    await phone.hang_up()


@scenario(
    "What storages and writers send plays: a Content-Encoding that is none, blanks in a URL and a Location, "
    "header lines with impossible names, WAV of unknown length or with a chunk that is not padded; "
    "compressed is refused"
)
async def play_as_sent(world: World) -> None:
    phone, media = await answered(world), world.media
    sound = tone(600, 400, 8000).astype("<i2").tobytes()
    file, head = wav(sound, 8000), len(wav(b"", 8000))
    for number, coding in enumerate(("UTF-8", "aws-chunked", "binary", "identity", "")):
        media.add(f"/coding{number}", file, headers=(("Content-Encoding", coding),))
    media.add("/a%20b.wav", file)
    media.add("/names", file, headers=(("get-ban/forum.php", "no"), ("X Y", "z"), ("", "z")))
    media.add("/blank", b"", status=302, headers=(("Location", "/a b.wav"),))
    for name, riff, data in (
        ("zero", 0, 0),
        ("python", 36, 0),
        ("known", 36 + len(sound), 0),
        ("full", -1, -1),
    ):
        sizes = struct.pack("<i", riff), struct.pack("<i", data)
        streamed = file[:4] + sizes[0] + file[8 : head - 4] + sizes[1] + sound
        media.add(f"/{name}.wav", streamed)
    padded = wav(sound, 8000, extra=True)
    media.add("/unpadded.wav", padded.replace(b"INFOx\0", b"INFOx"))
    coded = [f"/coding{number}" for number in range(5)]
    plain = ["/a b.wav", "/a%20b.wav", "/blank", "/zero.wav", "/python.wav", "/known.wav", "/full.wav"]
    for path in (*coded, *plain, "/names", "/unpadded.wav"):
        playback_id = await _on(phone, {"url": media.url(path)})
        (await phone.rtp.listen(200, settle_ms=80)).has_tones(600, level=-18)
        await _finished(phone, playback_id, "completed", 400, 420)
    media.add("/gzip", gzip.compress(file), headers=(("Content-Encoding", "gzip"),))
    answer = await world.rest("POST", f"{phone.path}/play", {"url": media.url("/gzip")}, status=200)
    await world.event("playback.error", playback_id=answer["playback_id"], error=TEXT, within_s=5)
    await phone.hang_up()
