"""Recording of legs and rooms, checked by reading the files."""

from __future__ import annotations

import stat
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio

from conformance.expect import ABSENT, Difference, between, check, require
from conformance.peers.measure import QUIET_DB, Pcm, level_db, tones_of
from conformance.peers.sdp_text import audio_sdp
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.world import World


@dataclass
class Recorded:
    """A recording as read from disk."""

    path: Path
    rate_hz: int
    seconds: float
    channels: list[Pcm]
    mode: int

    def has(self, channel: int, *tones: int, level: float | None = None) -> None:
        """Checks the tones of a channel, and its level in dBFS if given.

        Raises:
            Difference: when they differ.
        """
        pcm = self.channels[channel]
        found = tones_of(pcm, self.rate_hz)
        near = len(found) == len(tones) and all(
            abs(a - b) <= 8 for a, b in zip(found, sorted(tones), strict=True)
        )
        if not near:
            raise Difference(f"{self.path.name}: tones of channel {channel}", sorted(tones), found)
        if level is not None:
            check(
                f"{self.path.name}: level of channel {channel}", level_db(pcm), between(level - 3, level + 3)
            )

    def is_quiet(self, channel: int) -> None:
        """Checks that a channel holds no more than comfort noise.

        Raises:
            Difference: when it does.
        """
        got = level_db(self.channels[channel])
        require(got <= QUIET_DB, f"{self.path.name}: channel {channel}", "quiet", f"{got:.1f} dBFS")


def read_recording(path: str, channels: int, rate_hz: int) -> Recorded:
    """Reads a finished recording and checks its format.

    Raises:
        Difference: when it is missing or has another format.
    """
    file = Path(path)
    require(file.is_absolute(), "recording.file", "an absolute path", path)
    require(file.exists(), "recording.file", "a file", f"{path} is missing")
    with wave.open(path) as sound:
        check(
            "recording",
            {"channels": sound.getnchannels(), "rate": sound.getframerate(), "bytes": sound.getsampwidth()},
            {"channels": channels, "rate": rate_hz, "bytes": 2},
        )
        data = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, channels)
    columns = [np.ascontiguousarray(data[:, index]).astype(np.int16) for index in range(channels)]
    return Recorded(file, rate_hz, len(data) / rate_hz, columns, stat.S_IMODE(file.stat().st_mode))


async def _record(world: World, path: str, body: dict[str, object] | None = None, **scope: object) -> str:
    answer = await world.rest("POST", f"{path}/record", body, status=200, expect={"status": "recording"})
    file = str(answer["file"])
    event = await world.event("recording.started", scope)
    check("recording.started.file", event["file"], file)
    return file


async def _stopped(world: World, path: str, file: str, **scope: object) -> None:
    await world.rest("DELETE", f"{path}/record", status=200, expect={"status": "stopped", "file": file})
    await world.event("recording.finished", {**scope, "file": file})


def _check_paused_file(file: str) -> None:
    """Checks the recording of ``rec_leg``: both tones, silence in the pause, nothing left beside it."""
    sound = read_recording(file, 2, 8000)
    check("mode", oct(sound.mode), "0o644")
    check("seconds", sound.seconds, between(1.7, 3.5))
    sound.has(0, 700)
    sound.has(1, 425)
    pause = level_db(sound.channels[0][int(0.75 * 8000) : int(0.95 * 8000)])
    require(pause < -50, "the pause", "silence", f"{pause:.1f} dBFS")
    left = [p.name for p in Path(file).parent.iterdir() if p.suffix == ".tmp"]
    check("temporary files left", left, [])


async def _refused_recordings(world: World, record: str) -> None:
    """Stop, pause and resume without a recording, and bodies that start none."""
    nothing = {"error": "no recording in progress"}
    await world.rest("DELETE", record, status=404, expect=nothing)
    for action in ("pause", "resume"):
        await world.rest("POST", f"{record}/{action}", status=404, expect=nothing)
    for body in ({"storage": "tape"}, {"storage": "s3"}, {"storage": "gcs"}, {"filename": "../x"}):
        await world.rest("POST", record, body, status=400)
    await world.rest("POST", record, "{", status=400)


@scenario(
    "Recording of a leg alone: stereo, pause and resume, stop twice, start twice, options",
    needs=("recordings",),
)
async def rec_leg(world: World) -> None:
    phone = await answered(world, tone=700.0)
    leg: dict[str, object] = {"leg_id": phone.leg_id, "room_id": ABSENT}
    record = f"{phone.path}/record"
    await world.rest("POST", f"{phone.path}/play", {"tone": "de_dial"}, status=200)
    file = await _record(world, phone.path, {}, **leg)
    await trio.sleep(0.6)
    for action, first, second in (("pause", "paused", "already_paused"), ("resume", "resumed", "not_paused")):
        await world.rest("POST", f"{record}/{action}", status=200, expect={"status": first})
        await world.event(f"recording.{first}", leg, file=file)
        await world.rest("POST", f"{record}/{action}", status=200, expect={"status": second})
        await world.no_event(f"recording.{first}", for_s=0.4)
    require(not await trio.Path(file).exists(), "the path while recording", "absent", "there")
    await world.rest("POST", record, status=409)
    await world.command_fails("leg_record_start", {"id": phone.leg_id}, 409)
    await trio.sleep(0.5)
    await _stopped(world, phone.path, file, **leg)
    _check_paused_file(file)
    await _refused_recordings(world, record)
    file = await _record(world, phone.path, None, **leg)
    await trio.sleep(0.5)
    await phone.call.bye()
    await world.event("recording.finished", leg, file=file)
    await world.disconnected(phone.leg_id, "remote_bye", answered=True)
    world.order(("recording.finished", phone.leg_id), ("leg.disconnected", phone.leg_id))
    read_recording(file, 2, 8000).has(0, 700)


@scenario("Recording over VSI: start, pause, resume, stop; unknown ids", needs=("recordings",))
async def rec_vsi(world: World) -> None:
    phone = await answered(world, tone=700.0)
    data = await world.command("leg_record_start", {"id": phone.leg_id}, {"status": "recording"})
    assert isinstance(data, dict)
    await trio.sleep(0.4)
    for command, status in (
        ("pause", "paused"),
        ("pause", "already_paused"),
        ("resume", "resumed"),
        ("resume", "not_paused"),
    ):
        await world.command(f"leg_record_{command}", {"id": phone.leg_id}, {"status": status})
    await world.command("leg_record_stop", {"id": phone.leg_id}, {"status": "stopped", "file": data["file"]})
    await world.command_fails("leg_record_stop", {"id": phone.leg_id}, 404)
    await world.command_fails("leg_record_start", {"id": "nobody"}, 404, "leg not found")
    await world.command_fails("room_record_start", {"id": "nowhere"}, 404)
    read_recording(str(data["file"]), 2, 8000)
    await phone.hang_up()


@scenario(
    "Recording of a leg in a room: left what it says though muted, right what it hears, at the room's rate",
    needs=("recordings",),
)
async def rec_leg_in_room(world: World) -> None:
    phone = await answered(world, "call1", tone=700.0)
    other = await answered(world, "call2", tone=1000.0)
    for each in (phone, other):
        await each.join("sc-rec")
    await world.rest("POST", f"{phone.path}/mute", status=200)
    await trio.sleep(0.2)
    file = await _record(world, phone.path, None, leg_id=phone.leg_id, room_id=ABSENT)
    await trio.sleep(0.8)
    await _stopped(world, phone.path, file, leg_id=phone.leg_id)
    sound = read_recording(file, 2, 16000)
    sound.has(0, 700, level=-18)
    sound.has(1, 1000, level=-18)
    await phone.hang_up()
    await other.hang_up()


@scenario(
    "Recording of a room: mono, full mix without muted ones; ends when the last leg leaves or the room goes",
    needs=("recordings",),
)
async def rec_room(world: World) -> None:
    await world.rest("POST", "/v1/rooms", {"id": "sc-rec", "app_id": "shop"}, status=201)
    await world.rest("POST", "/v1/rooms/sc-rec/record", status=409)
    first = await answered(world, "call1", tone=700.0)
    second = await answered(world, "call2", tone=1000.0)
    for phone in (first, second):
        await phone.join("sc-rec")
    await trio.sleep(0.2)
    room = "/v1/rooms/sc-rec"
    scope: dict[str, object] = {"room_id": "sc-rec", "leg_id": ABSENT, "app_id": "shop"}
    file = await _record(world, room, None, **scope)
    await world.rest("POST", f"{room}/record", status=409)
    await trio.sleep(0.7)
    await _stopped(world, room, file, **scope)
    sound = read_recording(file, 1, 16000)
    sound.has(0, 700, 1000, level=-15)
    check("seconds", sound.seconds, between(0.6, 1.2))

    await world.rest("POST", f"{first.path}/mute", status=200)
    await trio.sleep(0.2)
    data = await world.command("room_record_start", {"id": "sc-rec", "storage": "file"})
    assert isinstance(data, dict)
    file = str(data["file"])
    await world.event("recording.started", scope, file=file)
    await trio.sleep(0.5)
    for action, status in (("pause", "paused"), ("resume", "resumed")):
        await world.rest("POST", f"{room}/record/{action}", status=200, expect={"status": status})
        await world.event(f"recording.{status}", scope, file=file)
    await second.hang_up()
    await trio.sleep(0.3)
    await world.rest("DELETE", f"{room}/legs/{first.leg_id}", status=200)
    await world.event("recording.finished", scope, file=file)
    world.order(("leg.left_room", first.leg_id), ("recording.finished", "sc-rec"))
    sound = read_recording(file, 1, 16000)
    sound.has(0, 1000)
    await world.rest("DELETE", f"{room}/record", status=404)

    await first.join("sc-rec")
    file = await _record(world, room, None, **scope)
    await trio.sleep(0.4)
    await world.rest("DELETE", room, status=200)
    await world.event("recording.finished", scope, file=file)
    await first.is_hung_up("room_deleted")
    read_recording(file, 1, 16000)


@scenario(
    "A recording follows its leg into and out of rooms and stays aligned while the peer sends nothing",
    needs=("recordings",),
)
async def rec_follows(world: World) -> None:
    phone = await answered(world, "call1", tone=700.0)
    other = await answered(world, "call2", tone=1000.0)
    await other.join("sc-rec")
    file = await _record(world, phone.path, None, leg_id=phone.leg_id)
    await trio.sleep(0.5)
    await phone.join("sc-rec")
    await trio.sleep(0.6)
    phone.rtp.stop_talking()
    await trio.sleep(0.5)
    phone.rtp.talk(700.0)
    await trio.sleep(0.5)
    await world.rest("DELETE", f"/v1/rooms/sc-rec/legs/{phone.leg_id}", status=200)
    await trio.sleep(0.4)
    await _stopped(world, phone.path, file, leg_id=phone.leg_id)
    sound = read_recording(file, 2, 8000)
    check("seconds", sound.seconds, between(2.4, 3.2))
    sound.has(0, 700)
    sound.has(1, 1000)
    stalled = sound.channels[0][int(1.35 * 8000) : int(1.5 * 8000)]
    require(
        level_db(stalled) < -50,
        "left channel while the peer stalls",
        "silence",
        f"{level_db(stalled):.1f} dBFS",
    )
    await phone.hang_up()
    await other.hang_up()


def _size_of(file: str) -> int:
    return Path(file).stat().st_size


async def _left(phone: Phone, how: str) -> None:
    """The last leg goes from its room."""
    world, room = phone.world, "/v1/rooms/sc-rec"
    if how == "removed":
        await world.rest("DELETE", f"{room}/legs/{phone.leg_id}", status=200)
    elif how == "moved away":
        body: dict[str, object] = {"leg_id": phone.leg_id}
        await world.rest("POST", "/v1/rooms/sc-away/legs", body, status=200, expect={"status": "moved"})
    elif how == "moved away over VSI":
        payload: dict[str, object] = {"leg_id": phone.leg_id, "room_id": "sc-away"}
        await world.command("add_leg_to_room", payload, {"status": "moved"})
    elif how == "deleted":
        await world.rest("DELETE", phone.path, status=202)
        await phone.call.reply(await phone.call.request("BYE"), 200)
    else:
        await phone.call.bye()


@scenario(
    "A room's recording is finished when the last leg is removed, moved away, deleted or hangs up",
    needs=("recordings",),
)
async def rec_room_emptied(world: World) -> None:
    room = "/v1/rooms/sc-rec"
    await world.rest("POST", "/v1/rooms", {"id": "sc-rec", "app_id": "shop"}, status=201)
    scope: dict[str, object] = {"room_id": "sc-rec", "leg_id": ABSENT, "app_id": "shop"}
    sizes: dict[str, int] = {}
    for how in ("removed", "moved away", "moved away over VSI", "deleted", "hung up"):
        phone = await answered(world, "call1", tone=700.0)
        await phone.join("sc-rec")
        await trio.sleep(0.2)
        file = await _record(world, room, None, **scope)
        await trio.sleep(0.4)
        await _left(phone, how)
        await world.event("recording.finished", {**scope, "file": file})
        await world.rest("DELETE", f"{room}/record", status=404)
        read_recording(file, 1, 16000).has(0, 700, level=-18)
        sizes[file] = _size_of(file)
        if how in ("deleted", "hung up"):
            phone.rtp.stop_talking()
            reason = "api_hangup" if how == "deleted" else "remote_bye"
            await world.disconnected(phone.leg_id, reason, answered=True)
        else:
            await phone.hang_up()
    await trio.sleep(0.3)
    check("sizes later", {file: _size_of(file) for file in sizes}, sizes)


@scenario(
    "A room's recording is finished when its last leg fails: a far end that sends nothing more",
    env={"VB_RTP_TIMEOUT": "1s"},
    needs=("recordings",),
)
async def rec_room_leg_fails(world: World) -> None:
    phone = await answered(world, tone=700.0)
    await phone.join("sc-rec")
    file = await _record(world, "/v1/rooms/sc-rec", None, room_id="sc-rec", leg_id=ABSENT)
    await trio.sleep(0.5)
    phone.rtp.stop_talking()
    await phone.is_hung_up("rtp_timeout", within_s=5.0)
    await world.event("recording.finished", room_id="sc-rec", file=file)
    world.order(("recording.finished", "sc-rec"), ("leg.disconnected", phone.leg_id))
    await world.rest("DELETE", "/v1/rooms/sc-rec/record", status=404)
    read_recording(file, 1, 16000).has(0, 700)


def _silences(pcm: Pcm, rate_hz: int) -> list[tuple[float, float]]:
    """Begin and end in seconds of every stretch of at least 200 ms without sound."""
    step = rate_hz // 50
    quiet = [level_db(pcm[at : at + step]) < QUIET_DB for at in range(0, len(pcm) - step + 1, step)]
    found: list[tuple[float, float]] = []
    begin: int | None = None
    for index, is_quiet in enumerate([*quiet, False]):
        if is_quiet and begin is None:
            begin = index
        elif not is_quiet and begin is not None:
            if index - begin >= 10:
                found.append((begin / 50, index / 50))
            begin = None
    return found


@scenario(
    "Recording of a leg that is held meanwhile: real-time length, and what it hears goes on at its place",
    needs=("recordings",),
)
async def rec_held(world: World) -> None:
    phone = await answered(world, tone=700.0)
    await world.rest("POST", f"{phone.path}/play", {"tone": "de_dial"}, status=200)
    await world.event("playback.started", leg_id=phone.leg_id)
    await trio.sleep(0.2)
    file = await _record(world, phone.path, None, leg_id=phone.leg_id)
    start = time.monotonic()
    await trio.sleep(0.7)
    await phone.reinvite(audio_sdp(phone.rtp.port, direction="sendonly", version=2))
    await world.event("leg.hold", leg_id=phone.leg_id)
    begin = time.monotonic() - start
    await trio.sleep(0.8)
    await phone.reinvite(audio_sdp(phone.rtp.port, version=3))
    await world.event("leg.unhold", leg_id=phone.leg_id)
    end = time.monotonic() - start
    await trio.sleep(0.7)
    await _stopped(world, phone.path, file, leg_id=phone.leg_id)
    lasted = time.monotonic() - start
    sound = read_recording(file, 2, 8000)
    check("seconds", sound.seconds, between(lasted - 0.3, lasted + 0.3))
    sound.has(0, 700)
    sound.has(1, 425)
    silences = _silences(sound.channels[1], 8000)
    require(len(silences) == 1, "silences on the right", "one, while it is held", silences)
    for name, got, wanted in zip(("begin", "end"), silences[0], (begin, end), strict=True):
        check(f"{name} of the hold on the right", got, between(wanted - 0.25, wanted + 0.25))
    await phone.hang_up()
