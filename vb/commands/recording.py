"""Commands that record legs and rooms."""

from __future__ import annotations

from pydantic import Field, SecretStr

from vb.commands.owners import owner_command
from vb.commands.params import OwnerRef
from vb.commands.registry import Route
from vb.commands.views import RecordingStart, RecordingStop, RoomRecordingStop, Status
from vb.engine import Engine
from vb.errors import BadRequest
from vb.owner import Owner
from vb.parameters import unbuilt
from vb.recording.recorders import check_name
from vb.recording.recording_task import RecordingOptions
from vb.recording.storage import S3Choice


class Record(OwnerRef):
    """How to record."""

    storage: str | None = Field(
        default=None,
        description="where to keep it; file when absent",
        json_schema_extra={"enum": ["file", "s3", "gcs"]},
    )
    multi_channel: bool = Field(
        default=False, description="for a room: a second file with one channel for each participant"
    )
    s3_bucket: str = Field(default="", description="bucket; the server's when absent", max_length=255)
    s3_region: str = Field(default="", description="region of the bucket, else the server's", max_length=64)
    s3_endpoint: str = Field(
        default="",
        description="URL of an S3-compatible server, else the server's or Amazon's",
        max_length=2048,
    )
    s3_prefix: str = Field(
        default="", description="what the key begins with; no slash is added", max_length=512
    )
    s3_access_key: SecretStr = Field(
        default=SecretStr(""), description="access key; needed with s3_endpoint, else the server's"
    )
    s3_secret_key: SecretStr = Field(
        default=SecretStr(""), description="secret key; needed with s3_endpoint, else the server's"
    )
    gcs_bucket: str | None = unbuilt("bucket at Google")
    gcs_object_name_prefix: str | None = unbuilt("key prefix at Google")
    filename: str = Field(
        default="",
        description="name of the file: letters, digits and -_. ; drawn when absent",
        max_length=256,
    )


def _options(engine: Engine, p: Record) -> RecordingOptions:
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


@owner_command(
    "record_start",
    rest=Route("POST", "/v1/{owners}/{id}/record", body=True),
    errors=(400, 404, 409, 500, 501),
    leg="Record a leg in stereo: left what it says, right what it hears.",
    room="Record the full mix of a room in mono, and on request each participant on a channel of its own.",
    check=_options,
)
async def record_start(engine: Engine, owner: Owner, p: Record) -> RecordingStart:
    """Start a recording."""
    options = _options(engine, p)
    owner.check_recordable()
    return RecordingStart(status="recording", file=await engine.recorders.start(owner, options))


@owner_command(
    "record_stop",
    rest=Route("DELETE", "/v1/{owners}/{id}/record"),
    errors=(404,),
    leg="Finish a leg's recording; answered when its file is safe.",
    room="Finish a room's recording; answered when its files are safe.",
    room_result=RoomRecordingStop,
)
async def record_stop(engine: Engine, owner: Owner, p: OwnerRef) -> RecordingStop:
    """Finish a recording."""
    outcome = await engine.recorders.stop(owner)
    if owner.crowd is None:
        return RecordingStop(status="stopped", file=outcome.file, error=outcome.error)
    return RoomRecordingStop(
        status="stopped",
        file=outcome.file,
        multi_channel_file=outcome.multi_channel_file,
        channels=outcome.channels,
        omitted_legs=outcome.omitted_legs,
        error=outcome.error,
    )


_SILENT = "Record silence until the recording is resumed."
_AGAIN = "Record audio again."


@owner_command(
    "record_pause",
    rest=Route("POST", "/v1/{owners}/{id}/record/pause"),
    errors=(404,),
    leg=_SILENT,
    room=_SILENT,
)
async def record_pause(engine: Engine, owner: Owner, p: OwnerRef) -> Status:
    """Pause a recording."""
    return Status(status="paused" if engine.recorders.pause(owner) else "already_paused")


@owner_command(
    "record_resume",
    rest=Route("POST", "/v1/{owners}/{id}/record/resume"),
    errors=(404,),
    leg=_AGAIN,
    room=_AGAIN,
)
async def record_resume(engine: Engine, owner: Owner, p: OwnerRef) -> Status:
    """Resume a recording."""
    return Status(status="resumed" if engine.recorders.resume(owner) else "not_paused")
