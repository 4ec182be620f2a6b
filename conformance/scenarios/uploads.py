"""Recordings with a channel for each participant, with names of their own, and kept in an object store."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import trio

from conformance.expect import ABSENT, between, check, containing, regex, require
from conformance.peers.bucket import Bucket, open_bucket
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.scenarios.recording import read_recording
from conformance.targets import run_to_end
from conformance.world import World

ROOM = "/v1/rooms/sc-multi"


async def _member(world: World, name: str, tone: float) -> Phone:
    phone = await answered(world, name, tone=tone)
    await phone.join("sc-multi")
    return phone


@scenario(
    "A room with one channel per participant: early leaver, late joiner, pause over VSI, the leg beside it",
    needs=("recordings",),
)
async def rec_multi_channel(world: World) -> None:
    first, second = await _member(world, "call1", 500.0), await _member(world, "call2", 800.0)
    leg_answer = await world.rest("POST", f"{first.path}/record", status=200)
    answer = await world.rest("POST", f"{ROOM}/record", {"multi_channel": True}, status=200)
    file = str(answer["file"])
    await world.event("recording.started", room_id="sc-multi", file=file)
    await trio.sleep(0.7)
    third = await _member(world, "call3", 1100.0)
    await trio.sleep(0.5)
    for action, status in (("pause", "paused"), ("resume", "resumed")):
        await world.command(f"room_record_{action}", {"id": "sc-multi"}, {"status": status})
        await world.event(f"recording.{status}", room_id="sc-multi", file=file)
    await world.rest("DELETE", f"{first.path}/record", status=200)
    await world.event("recording.finished", leg_id=first.leg_id, multi_channel_file=ABSENT, channels=ABSENT)
    await world.rest("DELETE", f"{ROOM}/legs/{second.leg_id}", status=200)
    await trio.sleep(0.3)
    stopped = await world.command("room_record_stop", {"id": "sc-multi"}, {"status": "stopped", "file": file})
    assert isinstance(stopped, dict)
    event = await world.event("recording.finished", room_id="sc-multi", file=file)
    for key in ("multi_channel_file", "channels"):
        check(f"{key} of event and answer", event[key], stopped[key])
    _check_channels(stopped, first, second, third)
    read_recording(str(leg_answer["file"]), 2, 16000).has(0, 500)
    await world.command_fails("room_record_stop", {"id": "sc-multi"}, 404)
    for phone in (first, second, third):
        await phone.hang_up()


def _check_channels(stopped: dict[str, object], first: Phone, second: Phone, third: Phone) -> None:
    """Checks the file with three channels, its map, and the mono file beside it."""
    multi = str(stopped["multi_channel_file"])
    check("its name", Path(multi).name, regex(r"\d{8}_\d{6}_multichannel_[0-9a-f]{8}\.wav"))
    sound = read_recording(multi, 3, 16000)
    mono = read_recording(str(stopped["file"]), 1, 16000)
    total_ms = round(sound.seconds * 1000)
    check("length of both files", mono.seconds, between(sound.seconds - 0.1, sound.seconds + 0.1))
    mono.has(0, 500, 800, 1100)
    channels = stopped["channels"]
    check(
        "channels",
        channels,
        {
            first.leg_id: {
                "channel": 0,
                "start_ms": between(0, 60),
                "end_ms": between(total_ms - 80, total_ms),
            },
            second.leg_id: {
                "channel": 1,
                "start_ms": between(0, 60),
                "end_ms": between(1000, total_ms - 200),
            },
            third.leg_id: {
                "channel": 2,
                "start_ms": between(600, 1000),
                "end_ms": between(total_ms - 80, total_ms),
            },
        },
    )
    for channel, tone in enumerate((500, 800, 1100)):
        sound.has(channel, tone)
    before = sound.channels[2][: int(0.5 * 16000)]
    require(not before.any(), "channel of the late joiner before it came", "silence", "sound")


@scenario(
    "filename: used as given, .wav added, taken names 409 on legs and rooms, odd ones 400",
    needs=("recordings",),
)
async def rec_filename(world: World) -> None:
    phone = await answered(world, tone=700.0)
    await phone.join("sc-name")
    record, room = f"{phone.path}/record", "/v1/rooms/sc-name/record"
    answer = await world.rest("POST", record, {"filename": "call.v1-final"}, status=200)
    check("file", Path(str(answer["file"])).name, "call.v1-final.wav")
    for taken in ("call.v1-final", "call.v1-final.wav"):
        await world.rest("POST", room, {"filename": taken}, status=409)
    await trio.sleep(0.3)
    await world.rest("DELETE", record, status=200, expect={"file": answer["file"]})
    read_recording(str(answer["file"]), 2, 16000).has(0, 700)
    await world.rest("POST", record, {"filename": "call.v1-final"}, status=409)
    odd = ("../x", "a/b", "/etc/x", "..", ".hidden", "x.", "a b", "a\0b", "ü", "x" * 126, "a\\b", "a..b")
    for name in odd:
        body: dict[str, object] = {"filename": name}
        await world.rest("POST", record, body, status=400, expect={"error": containing("filename")})
    await world.rest("POST", record, {"filename": 5}, status=400)
    await world.command_fails("room_record_start", {"id": "sc-name", "filename": "../y"}, 400)
    await world.no_event("recording.started", for_s=0.0, room_id="sc-name")
    folder = Path(str(answer["file"])).parent
    strays = [p for p in folder.parent.rglob("*") if p.name in ("x", "x.wav", "y.wav", "b.wav")]
    check("files outside", strays, [])
    await phone.hang_up()


def _s3(bucket: Bucket, **more: object) -> dict[str, object]:
    return {
        "storage": "s3",
        "s3_bucket": bucket.name,
        "s3_endpoint": bucket.endpoint,
        "s3_access_key": "AKIDEXAMPLE",
        "s3_secret_key": "very-secret",
        **more,
    }


def _is_stereo(data: bytes) -> None:
    with wave.open(io.BytesIO(data)) as sound:
        check("uploaded channels", sound.getnchannels(), 2)
        require(sound.getnframes() > 1000, "uploaded frames", "more than 1000", sound.getnframes())


@scenario(
    "storage s3 with settings of the request: uploaded once, told as s3://, the local file gone; over VSI"
)
async def rec_s3(world: World) -> None:
    bucket = await world.open(open_bucket("calls"))
    phone = await answered(world, tone=700.0)
    record = f"{phone.path}/record"
    answer = await world.rest(
        "POST", record, _s3(bucket, s3_prefix="day/", s3_region="eu-west-1"), status=200
    )
    local = Path(str(answer["file"]))
    await trio.sleep(0.4)
    stopped = await world.rest("DELETE", record, status=200)
    check("file", stopped["file"], f"s3://calls/day/{local.name}")
    await world.event("recording.finished", leg_id=phone.leg_id, file=stopped["file"])
    check("keys", list(bucket.objects), [f"day/{local.name}"])
    check("content type", bucket.types[f"day/{local.name}"], "audio/wav")
    check("signed as", bucket.credentials, {("AKIDEXAMPLE", "eu-west-1")})
    _is_stereo(bucket.objects[f"day/{local.name}"])
    check("uploads", bucket.puts, 1)
    check("the local file", await trio.Path(local).exists(), False)
    await world.command("leg_record_start", {"id": phone.leg_id, **_s3(bucket)}, {"status": "recording"})
    await trio.sleep(0.3)
    await phone.call.bye()
    finished = await world.event("recording.finished", leg_id=phone.leg_id, file=containing("s3://calls/"))
    await world.disconnected(phone.leg_id, "remote_bye", answered=True)
    check("uploads", bucket.puts, 2)
    world.order(("recording.finished", phone.leg_id), ("leg.disconnected", phone.leg_id))
    check("secret in the event", "very-secret" in str(finished), False)
    check("secret in the log", b"very-secret" in bytes(world.target.log), False)


@scenario(
    "storage s3 that fails: no such bucket 400, a refused upload keeps the file, a stuck store",
    needs=("recordings",),
)
async def rec_s3_fails(world: World) -> None:
    bucket = await world.open(open_bucket("calls"))
    phone = await answered(world, tone=700.0)
    record = f"{phone.path}/record"
    await world.rest("POST", record, {"storage": "s3"}, status=400)
    absent = _s3(bucket) | {"s3_bucket": "other-calls"}
    await world.rest("POST", record, absent, status=400)
    await world.rest("POST", record, _s3(bucket) | {"s3_endpoint": "http://example.com"}, status=400)
    await world.rest("POST", record, _s3(bucket) | {"s3_endpoint": "ftp://x"}, status=400)
    bucket.head_status = 403
    bucket.put_status = 403
    answer = await world.rest("POST", record, _s3(bucket), status=200)
    await trio.sleep(0.3)
    stopped = await world.rest("DELETE", record, status=200)
    check("file", stopped["file"], answer["file"])
    await world.event("recording.finished", leg_id=phone.leg_id, file=answer["file"])
    read_recording(str(answer["file"]), 2, 8000).has(0, 700)
    bucket.stuck = True
    start = trio.current_time()
    await world.rest("POST", record, _s3(bucket), status=200)
    check("seconds for the check of a stuck bucket", trio.current_time() - start, between(1.5, 3.0))
    (await phone.hears(200)).is_steady()
    bucket.stuck = False
    bucket.put_status = 200
    await world.rest("DELETE", record, status=200, expect={"file": containing("s3://")})
    await phone.hang_up()


@scenario(
    "VSI: a recording whose store is stuck starts within its time; events, other clients and audio go on"
)
async def rec_s3_stuck_vsi(world: World) -> None:
    bucket = await world.open(open_bucket("calls"))
    phone = await answered(world, tone=700.0)
    other = await world.another_vsi("other")
    bucket.stuck = True
    start = trio.current_time()
    payload = {"id": phone.leg_id, **_s3(bucket)}
    await world.vsi.send({"type": "leg_record_start", "request_id": "slow", "payload": payload})
    await world.vsi.send({"type": "list_rooms", "request_id": "behind"})
    await world.rest("POST", "/v1/rooms", {"id": "sc-meanwhile"}, status=201)
    await world.event("room.created", room_id="sc-meanwhile", within_s=1.0)
    reply = await other.command("list_rooms", within_s=1.0)
    check("list_rooms at the other client", reply, {"data": [{"id": "sc-meanwhile"}]})
    (await phone.hears(200)).is_steady()
    check("replies so far", [f for f in world.vsi.frames.items() if "request_id" in f], [])
    for request_id, kind in (("slow", "leg_record_start"), ("behind", "list_rooms")):
        answer = await world.vsi.frames.take(lambda frame: "request_id" in frame, 4.0)
        check("the next reply", answer, {"type": f"{kind}.result", "request_id": request_id})
        check(f"seconds until {kind}.result", trio.current_time() - start, between(1.5, 3.5))
    await world.event("recording.started", leg_id=phone.leg_id)
    bucket.stuck = False
    await trio.sleep(0.4)
    await world.command("leg_record_stop", {"id": phone.leg_id}, {"file": containing("s3://")})
    await phone.hang_up()


@scenario(
    "The server's own bucket from settings; a bucket that is not there ends the start", needs=("servers",)
)
async def rec_s3_settings(world: World) -> None:
    bucket = await world.open(open_bucket("house"))
    settings = {
        "S3_BUCKET": "house",
        "S3_REGION": "eu-north-1",
        "S3_ENDPOINT": bucket.endpoint,
        "S3_PREFIX": "vb-",
        "S3_PREFLIGHT_TIMEOUT": "2s",
        "S3_REQUEST_PREFLIGHT_TIMEOUT": "0",
        "S3_ALLOW_INSECURE_ENDPOINT": "true",
        "AWS_ACCESS_KEY_ID": "AKIDHOUSE",
        "AWS_SECRET_ACCESS_KEY": "house-secret",
        "AWS_SESSION_TOKEN": "house-token",
    }
    code, output = await run_to_end(world.home / "absent", {**settings, "S3_BUCKET": "nowhere"})
    check("exit code with a bucket that is not there", code, 1)
    check("output", output, containing("S3_BUCKET"))
    async with world.server(settings) as there:
        phone = await answered(there, tone=700.0)
        await there.rest("POST", f"{phone.path}/record", {"storage": "s3"}, status=200)
        await trio.sleep(0.3)
        stopped = await there.rest("DELETE", f"{phone.path}/record", status=200)
        check("file", stopped["file"], regex(r"s3://house/vb-.+\.wav"))
        check("signed as", bucket.credentials, {("AKIDHOUSE", "eu-north-1")})
        await phone.hang_up()
        check("secrets in the log", b"house-secret" in bytes(there.target.log), False)
