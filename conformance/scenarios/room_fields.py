"""Fields of requests about rooms that no other scenario sends, and of recordings and playback in rooms."""

from __future__ import annotations

from pathlib import Path

import trio

from conformance.expect import ABSENT, PLAYBACK_ID, TEXT, between, check, containing, regex
from conformance.peers.bucket import open_bucket
from conformance.peers.vsi import Frame
from conformance.phones import Phone, answered, dialled, refused
from conformance.registry import scenario
from conformance.scenarios.recording import read_recording
from conformance.world import World

_FLOWS = {"bidirectional": "bidirectional", "send": "a_to_b", "receive": "b_to_a", "none": "none"}


@scenario("Bridges made in each direction, heard so, and changed into each other one; app_id of the rooms")
async def bridge_directions(world: World) -> None:
    first, second = await answered(world, "call1", tone=500.0), await answered(world, "call2", tone=900.0)
    for phone, room in ((first, "sc-bx"), (second, "sc-by")):
        body: Frame = {"id": room, "sample_rate": 8000, "app_id": "shop"}
        await world.rest(
            "POST", "/v1/rooms", body, status=201, expect={"sample_rate": 8000, "app_id": "shop"}
        )
        await phone.join(room)
    path = "/v1/rooms/sc-bx/bridges"
    told = {"room_a_id": "sc-bx", "room_b_id": "sc-by", "bridge_id": "x", "app_id": "shop"}
    for direction in ("bidirectional", "send", "receive", "none"):
        made: Frame = {"id": "x", "room_id": "sc-by", "direction": direction}
        await world.rest("POST", path, made, status=201, expect={**made, "sample_rate": 8000})
        await world.event("room.bridged", {**told, "direction": _FLOWS[direction]})
        (await first.hears(300)).has_tones(*(900,) if direction in ("bidirectional", "receive") else ())
        (await second.hears(300)).has_tones(*(500,) if direction in ("bidirectional", "send") else ())
        for other in ("none", "receive", "bidirectional", "send"):
            await world.rest(
                "PATCH", f"{path}/x", {"direction": other}, status=200, expect={"direction": other}
            )
            await world.event("room.bridge_updated", {**told, "direction": _FLOWS[other]})
        await world.rest("DELETE", f"{path}/x", status=200)
        await world.event("room.unbridged", told)
    for phone in (first, second):
        await phone.hang_up()


@scenario("Playback of files in a room and on a leg: type, repeat, volume; what is refused")
async def play_fields(world: World) -> None:
    phone = await answered(world)
    await phone.join("sc-pf")
    url = world.media.url("/tone/600/300/8000/x.wav")
    for owner, path in (("leg_id", phone.path), ("room_id", "/v1/rooms/sc-pf")):
        body: Frame = {"url": url, "mime_type": "audio/wav", "repeat": 2, "volume": -2}
        answer = await world.rest(
            "POST", f"{path}/play", body, status=200, expect={"playback_id": PLAYBACK_ID, "status": "playing"}
        )
        scope = {owner: phone.leg_id if owner == "leg_id" else "sc-pf"}
        await world.event("playback.started", scope, playback_id=answer["playback_id"])
        (await phone.rtp.listen(200, settle_ms=60)).has_tones(600, level=-24)
        done = {"reason": "completed", "played_ms": between(580, 640)}
        await world.event("playback.finished", {**scope, **done}, playback_id=answer["playback_id"])
        for bad in ({"url": url, "tone": "dial"}, {"tone": "dial", "volume": 9}, {}, {"tone": 5}):
            await world.rest("POST", f"{path}/play", bad, status=400)
        unknown = await world.rest("POST", f"{path}/play", {"tone": "mars_dial"}, status=200)
        await world.event("playback.error", scope, playback_id=unknown["playback_id"], error=TEXT)
        playing = await world.rest("POST", f"{path}/play", {"tone": "us_dial"}, status=200)
        one = f"{path}/play/{playing['playback_id']}"
        await world.rest("PATCH", one, {"volume": 9}, status=400)
        await world.rest("PATCH", one, {"volume": 2}, status=200)
        await world.rest("DELETE", one, status=200)
        await world.rest("PATCH", one, {"volume": 2}, status=404)
    silent, _ = await dialled(world)
    for path in (f"{silent.path}/play", f"{silent.path}/record"):
        await world.rest("POST", path, {"tone": "dial"}, status=409)
    await refused(silent, 486, "busy")
    await phone.hang_up()


async def _recorded(world: World, phone: Phone, path: str, body: Frame, name: str) -> None:
    """Records for a moment under a name of one's own."""
    answer = await world.rest("POST", f"{path}/record", body, status=200)
    check("file", Path(str(answer["file"])).name, name)
    await trio.sleep(0.4)
    stopped = await world.rest("DELETE", f"{path}/record", status=200, expect={"status": "stopped"})
    owner = {"leg_id": phone.leg_id} if "legs" in path else {"room_id": "sc-rf"}
    check(
        "channels of a leg's recording",
        "channels" in stopped,
        body.get("multi_channel") is True and "rooms" in path,
    )
    await world.event("recording.finished", {**owner, "file": stopped["file"], "error": ABSENT})
    if body["storage"] == "file":
        sound = read_recording(str(stopped["file"]), 2 if "legs" in path else 1, 16000)
        sound.has(0, 700)


@scenario(
    "Recordings with every field, of legs and of rooms: to a file, to a bucket, and what is refused",
    needs=("recordings",),
)
async def rec_fields(world: World) -> None:
    phone = await answered(world, tone=700.0)
    await phone.join("sc-rf")
    bucket = await world.open(open_bucket("calls"))
    keys: Frame = {
        "s3_bucket": "calls",
        "s3_region": "eu-west-1",
        "s3_endpoint": bucket.endpoint,
        "s3_prefix": "kept/",
        "s3_access_key": "AK",
        "s3_secret_key": "SK",
    }
    for path in (phone.path, "/v1/rooms/sc-rf"):
        name = f"{path.split('/')[2]}-{phone.leg_id}"  # its twin may have recorded on the same server before
        body: Frame = {"storage": "file", "filename": f"{name}-file", "multi_channel": True}
        await _recorded(world, phone, path, body, f"{name}-file.wav")
        body = {**keys, "storage": "s3", "filename": f"{name}-s3"}
        answer = await world.rest("POST", f"{path}/record", body, status=200)
        await trio.sleep(0.3)
        await world.rest("DELETE", f"{path}/record", status=200)
        owner = {"leg_id": phone.leg_id} if "legs" in path else {"room_id": "sc-rf"}
        await world.event("recording.finished", {**owner, "file": f"s3://calls/kept/{name}-s3.wav"})
        check("local file", await trio.Path(str(answer["file"])).exists(), False)
        check("signed as", bucket.credentials, {("AK", "eu-west-1")})
        for bad, field in (
            ({"storage": "tape"}, "storage"),
            ({"storage": "s3", "s3_access_key": "AK"}, "s3"),
            ({"filename": "../x"}, "filename"),
        ):
            await world.rest("POST", f"{path}/record", bad, status=400, expect={"error": containing(field)})
        gcs: Frame = {"storage": "gcs", "gcs_bucket": "calls", "gcs_object_name_prefix": "kept/"}
        not_here = {"error": regex("not available: .*")}
        await world.rest("POST", f"{path}/record", gcs, status=501, expect=not_here)
    await phone.hang_up()
