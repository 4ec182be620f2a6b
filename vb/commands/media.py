"""Commands that play into and record legs and rooms."""

from __future__ import annotations

from vb.commands.params import LegRef, Play, PlaybackRef, PlaybackVolume, Record, RoomRef
from vb.commands.registry import Route, command
from vb.commands.views import PlaybackStart, RecordingStart, RecordingStop, RoomRecordingStop, Status
from vb.engine import Engine
from vb.errors import BadRequest, Conflict
from vb.features.owner import Owner
from vb.features.playback import check_volume
from vb.features.recording import check_name
from vb.features.recording_task import RecordingOptions
from vb.features.storage import S3Choice
from vb.legs.state import LegState
from vb.media.player import PlaybackRequest


def _leg(engine: Engine, leg_id: str) -> Owner:
    return Owner(leg=engine.legs.get(leg_id))


def _room(engine: Engine, room_id: str) -> Owner:
    return Owner(room=engine.rooms.get(room_id))


def _start_playback(engine: Engine, owner: Owner, p: Play) -> PlaybackStart:
    if bool(p.url) == bool(p.tone):
        raise BadRequest("exactly one of url and tone is required")
    check_volume(p.volume)
    if owner.room is not None and not owner.room.members:
        raise Conflict("room has no participants")
    leg = owner.leg
    if leg is not None and leg.state is LegState.RINGING and leg.type != "sip_inbound":
        raise Conflict("leg has no audio yet")
    request = PlaybackRequest(
        url=p.url or None, tone=p.tone or None, mime_type=p.mime_type, repeat=p.repeat, volume=p.volume
    )
    playback_id = engine.players.start(owner, request)
    return PlaybackStart(status="playing", playback_id=playback_id)


@command("leg_play_start", rest=Route("POST", "/v1/legs/{id}/play", body=True), errors=(400, 404, 409))
async def leg_play_start(engine: Engine, p: Play) -> PlaybackStart:
    """Play a URL or a tone to a leg; others in its room do not hear it."""
    return _start_playback(engine, _leg(engine, p.id), p)


@command("room_play_start", rest=Route("POST", "/v1/rooms/{id}/play", body=True), errors=(400, 404, 409))
async def room_play_start(engine: Engine, p: Play) -> PlaybackStart:
    """Play a URL or a tone to everybody in a room."""
    return _start_playback(engine, _room(engine, p.id), p)


@command(
    "leg_play_stop",
    rest=Route("DELETE", "/v1/legs/{id}/play/{playbackID}", names={"playbackID": "playback_id"}),
    errors=(404,),
)
async def leg_play_stop(engine: Engine, p: PlaybackRef) -> Status:
    """Stop a playback on a leg."""
    engine.players.stop(_leg(engine, p.id), p.playback_id)
    return Status(status="stopped")


@command(
    "room_play_stop",
    rest=Route("DELETE", "/v1/rooms/{id}/play/{playbackID}", names={"playbackID": "playback_id"}),
    errors=(404,),
)
async def room_play_stop(engine: Engine, p: PlaybackRef) -> Status:
    """Stop a playback in a room."""
    engine.players.stop(_room(engine, p.id), p.playback_id)
    return Status(status="stopped")


@command(
    "leg_play_volume",
    rest=Route("PATCH", "/v1/legs/{id}/play/{playbackID}", names={"playbackID": "playback_id"}, body=True),
    errors=(400, 404),
)
async def leg_play_volume(engine: Engine, p: PlaybackVolume) -> Status:
    """Change the volume of a playback on a leg while it plays."""
    check_volume(p.volume)
    engine.players.set_volume(_leg(engine, p.id), p.playback_id, p.volume)
    return Status(status="ok")


@command(
    "room_play_volume",
    rest=Route("PATCH", "/v1/rooms/{id}/play/{playbackID}", names={"playbackID": "playback_id"}, body=True),
    errors=(400, 404),
)
async def room_play_volume(engine: Engine, p: PlaybackVolume) -> Status:
    """Change the volume of a playback in a room while it plays."""
    check_volume(p.volume)
    engine.players.set_volume(_room(engine, p.id), p.playback_id, p.volume)
    return Status(status="ok")


def _recording_options(engine: Engine, p: Record) -> RecordingOptions:
    """Read where a recording goes and what it is called.

    Raises:
        BadRequest: a storage that is unknown or not set up, or a name that cannot be one.
        NotAvailable: a storage whose package is not installed.
    """
    storage = p.storage or "file"
    if storage == "gcs":
        raise BadRequest("GCS storage not configured")
    if storage not in ("file", "s3"):
        raise BadRequest(f"unknown storage type: {storage}")
    target = engine.recorders.storage.s3_target(_s3_choice(p)) if storage == "s3" else None
    return RecordingOptions(target=target, name=check_name(p.filename), multi_channel=p.multi_channel)


def _s3_choice(p: Record) -> S3Choice:
    return S3Choice(
        bucket=p.s3_bucket,
        region=p.s3_region,
        endpoint=p.s3_endpoint,
        prefix=p.s3_prefix,
        access_key=p.s3_access_key.get_secret_value(),
        secret_key=p.s3_secret_key.get_secret_value(),
    )


@command(
    "leg_record_start",
    rest=Route("POST", "/v1/legs/{id}/record", body=True),
    errors=(400, 404, 409, 500, 501),
)
async def leg_record_start(engine: Engine, p: Record) -> RecordingStart:
    """Record a leg in stereo: left what it says, right what it hears."""
    options = _recording_options(engine, p)
    owner = _leg(engine, p.id)
    assert owner.leg is not None
    if owner.leg.state is LegState.RINGING:
        raise Conflict("leg has no audio yet")
    return RecordingStart(status="recording", file=await engine.recorders.start(owner, options))


@command(
    "room_record_start",
    rest=Route("POST", "/v1/rooms/{id}/record", body=True),
    errors=(400, 404, 409, 500, 501),
)
async def room_record_start(engine: Engine, p: Record) -> RecordingStart:
    """Record the full mix of a room in mono, and on request each participant on a channel of its own."""
    options = _recording_options(engine, p)
    owner = _room(engine, p.id)
    assert owner.room is not None
    if not owner.room.members:
        raise Conflict("room has no participants")
    return RecordingStart(status="recording", file=await engine.recorders.start(owner, options))


@command("leg_record_stop", rest=Route("DELETE", "/v1/legs/{id}/record"), errors=(404,))
async def leg_record_stop(engine: Engine, p: LegRef) -> RecordingStop:
    """Finish a leg's recording; answered when its file is safe."""
    outcome = await engine.recorders.stop(_leg(engine, p.id))
    return RecordingStop(status="stopped", file=outcome.file, error=outcome.error)


@command("room_record_stop", rest=Route("DELETE", "/v1/rooms/{id}/record"), errors=(404,))
async def room_record_stop(engine: Engine, p: RoomRef) -> RoomRecordingStop:
    """Finish a room's recording; answered when its files are safe."""
    outcome = await engine.recorders.stop(_room(engine, p.id))
    return RoomRecordingStop(
        status="stopped",
        file=outcome.file,
        multi_channel_file=outcome.multi_channel_file,
        channels=outcome.channels,
        omitted_legs=outcome.omitted_legs,
        error=outcome.error,
    )


@command("leg_record_pause", rest=Route("POST", "/v1/legs/{id}/record/pause"), errors=(404,))
async def leg_record_pause(engine: Engine, p: LegRef) -> Status:
    """Record silence until the recording is resumed."""
    changed = engine.recorders.pause(_leg(engine, p.id))
    return Status(status="paused" if changed else "already_paused")


@command("room_record_pause", rest=Route("POST", "/v1/rooms/{id}/record/pause"), errors=(404,))
async def room_record_pause(engine: Engine, p: RoomRef) -> Status:
    """Record silence until the recording is resumed."""
    changed = engine.recorders.pause(_room(engine, p.id))
    return Status(status="paused" if changed else "already_paused")


@command("leg_record_resume", rest=Route("POST", "/v1/legs/{id}/record/resume"), errors=(404,))
async def leg_record_resume(engine: Engine, p: LegRef) -> Status:
    """Record audio again."""
    changed = engine.recorders.resume(_leg(engine, p.id))
    return Status(status="resumed" if changed else "not_paused")


@command("room_record_resume", rest=Route("POST", "/v1/rooms/{id}/record/resume"), errors=(404,))
async def room_record_resume(engine: Engine, p: RoomRef) -> Status:
    """Record audio again."""
    changed = engine.recorders.resume(_room(engine, p.id))
    return Status(status="resumed" if changed else "not_paused")
