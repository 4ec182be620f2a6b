"""What commands take: path, query and body merged into one model each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from vb.choices import KNOWN_CODECS, MIXING_RATES_HZ, CodecName
from vb.commands.registry import shown_as_required, unbuilt
from vb.legs.cdr import REJECTIONS
from vb.rooms.bridge import Direction
from vb.rooms.routing import MAX_ROLE_CHARS, MAX_ROWS, MAX_SOURCES

_CODEC_NAMES = {name.lower(): name for name in KNOWN_CODECS}


def _canonical_codec(value: object) -> object:
    return _CODEC_NAMES.get(value.lower(), value) if isinstance(value, str) else value


AnyCaseCodecName = Annotated[CodecName, BeforeValidator(_canonical_codec)]
Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=3_600_000)]
Url = Annotated[str, Field(max_length=4096, json_schema_extra={"format": "uri"})]

Role = Annotated[str, Field(max_length=MAX_ROLE_CHARS)]
Sources = Annotated[list[Role], Field(max_length=MAX_SOURCES)]


class Params(BaseModel):
    """Base of all parameters: exact types, unknown keys ignored, null counts as absent."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None}


class NoParams(Params):
    """Nothing to say."""


class LegRef(Params):
    """Names a leg."""

    id: str = Field(description="leg id")


class RoomRef(Params):
    """Names a room."""

    id: str = Field(description="room id")


class SipAuth(Params):
    """Digest credentials."""

    username: str = ""
    password: str


class AmdParams(Params):
    """How an answering machine is told from a person, in milliseconds; 0 is the default."""

    initial_silence_timeout: Milliseconds = Field(
        default=2500, description="silence from the start after which nobody is there"
    )
    greeting_duration: Milliseconds = Field(default=1500, description="speech that makes it a machine")
    after_greeting_silence: Milliseconds = Field(
        default=800, description="silence after less speech that makes it a person"
    )
    total_analysis_time: Milliseconds = Field(default=5000, description="when to give up as not_sure")
    minimum_word_length: Milliseconds = Field(default=100, description="shorter sounds are no speech")
    beep_timeout: Milliseconds = Field(
        default=0, description="how long to wait for the beep of a machine; 0 = not at all"
    )


class CreateLeg(Params):
    """An outgoing call."""

    type: Literal["sip", "whatsapp", "websocket", "livekit_room"] = Field(description="kind of leg")
    to: str | None = Field(default=None, description="where to call: a SIP URI", max_length=2048)
    uri: str | None = Field(default=None, description="older name of `to`", max_length=2048)
    from_: str | None = Field(default=None, alias="from", description="caller: a user, number or SIP URI")
    privacy: str | None = Field(default=None, description="Privacy header, for example id or none")
    ring_timeout: Seconds = Field(default=0, description="seconds until the call is given up; 0 = never")
    max_duration: Seconds = Field(default=0, description="seconds from the answer to the hang-up; 0 = never")
    codecs: list[str] | None = Field(
        default=None,
        description="codecs to offer, in order",
        json_schema_extra={"items": {"type": "string", "enum": list(KNOWN_CODECS)}},
    )
    headers: dict[str, str] | None = Field(default=None, description="extra headers of the INVITE")
    room_id: str | None = Field(default=None, description="room to join once media flows; made when missing")
    auth: SipAuth | None = Field(default=None, description="credentials for a digest challenge")
    webhook_url: Url | None = Field(default=None, description="receives this leg's events")
    webhook_secret: str | None = Field(default=None, description="signs them")
    amd: AmdParams | None = Field(
        default=None, description="tells answering machines from people once the call is answered"
    )
    accept_dtmf: bool = Field(default=True, description="whether digits of room mates are sent to it")
    app_id: str | None = Field(default=None, description="word to filter events by", max_length=256)
    speech_detection: bool | None = Field(
        default=None, description="whether to tell when the far end speaks; absent: as the server is set"
    )
    rtt: bool = Field(default=False, description="whether the call asks for real-time text beside audio")
    url: Url | None = unbuilt("WebSocket address")
    sample_rate: Literal[8000, 16000, 24000, 48000] | None = unbuilt("rate of a WebSocket leg")
    wire_format: Literal["binary", "json_base64"] | None = unbuilt("framing of a WebSocket leg")
    sample_format: Literal["s16le"] | None = unbuilt("samples of a WebSocket leg")
    outbound_proxy: str | None = Field(
        default=None, description="next hop of this call: a SIP URI", max_length=2048
    )
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class AnswerLeg(LegRef):
    """How to answer."""

    speech_detection: bool | None = Field(
        default=None, description="whether to tell when the far end speaks; absent: as the server is set"
    )
    codec: AnyCaseCodecName | None = Field(
        default=None, description="codec of the answer; must have been offered"
    )
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class EarlyMedia(LegRef):
    """How to start media before the answer."""

    codec: AnyCaseCodecName | None = Field(
        default=None, description="codec of the answer; must have been offered"
    )


class DeleteLeg(LegRef):
    """How to hang up."""

    reason: str | None = Field(
        default=None,
        description="final answer to an unanswered incoming call",
        json_schema_extra={"enum": list(REJECTIONS)},
    )


class CreateRoom(Params):
    """A new room."""

    id: str | None = Field(default=None, description="identifier; drawn when absent")
    app_id: str | None = Field(default=None, description="word to filter events by", max_length=256)
    sample_rate: int | None = Field(
        default=None,
        description="mixing rate in Hz",
        json_schema_extra={"enum": list(MIXING_RATES_HZ), "default": 16000},
    )
    webhook_url: Url | None = Field(default=None, description="receives this room's events")
    webhook_secret: str | None = Field(default=None, description="signs them")


class AddLeg(Params):
    """A leg that joins or moves into a room."""

    room_id: str = Field(description="room id")
    leg_id: str = Field(description="leg id")
    mute: bool | None = Field(default=None, description="set before the leg is heard")
    deaf: bool | None = Field(default=None, description="set before the leg hears")
    accept_dtmf: bool | None = Field(default=None, description="whether digits of room mates are sent to it")
    role: Role | None = Field(
        default=None, description="routing role, taken with the join; empty for none, absent for no change"
    )
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")


class RemoveLeg(Params):
    """A leg that leaves a room."""

    room_id: str = Field(description="room id")
    leg_id: str = Field(description="leg id")


class Play(Params):
    """What to play: a URL or a tone."""

    id: str = Field(description="id of the leg or room")
    url: Url | None = Field(default=None, description="WAV, MP3 or raw audio over http or https")
    tone: str | None = Field(default=None, description="for example us_ringback, busy or de_dial")
    mime_type: str | None = Field(default=None, description="format of the URL when it does not tell")
    repeat: Annotated[int, Field(ge=-1, le=1_000_000)] = Field(
        default=0, description="how often; 0 = once, -1 = until stopped"
    )
    volume: int = Field(
        default=0, description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8}
    )


class PlaybackRef(Params):
    """Names a playback on a leg or room."""

    id: str = Field(description="id of the leg or room")
    playback_id: str = Field(description="playback id")


class PlaybackVolume(PlaybackRef):
    """A new volume."""

    volume: int = Field(description="steps of 3 dB", json_schema_extra={"minimum": -8, "maximum": 8})


class Record(Params):
    """How to record."""

    id: str = Field(description="id of the leg or room")
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


class SetLegRole(Params):
    """A routing role."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("leg_id", "role"))

    leg_id: str = Field(description="leg id")
    role: Role = Field(default="", description="for example customer, agent or supervisor; empty for none")


class RoutingSet(Params):
    """A whole routing matrix."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("room_id", "matrix"))

    room_id: str = Field(description="room id")
    matrix: Annotated[dict[Role, Sources], Field(max_length=MAX_ROWS)] = Field(
        default_factory=dict,
        description="listener role to the roles that it hears; a role without a row hears everybody",
    )


class RoutingRowUpdate(Params):
    """One row of a routing matrix."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("listener_role", "sources"))

    listener_role: Role = Field(default="", description="who listens")
    sources: Sources | None = Field(
        default=None, description="roles that it hears: none of them for [], everybody for null"
    )


class RoutingUpdate(Params):
    """Rows to replace; the others stay."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("room_id", "updates"))

    room_id: str = Field(description="room id")
    updates: Annotated[list[RoutingRowUpdate], Field(max_length=MAX_ROWS)] = Field(
        default_factory=list, description="rows, applied together"
    )


class BridgeCreate(Params):
    """A bridge to another room."""

    room_id: str = Field(description="room id")
    peer_room_id: str = Field(description="the room at the other end")
    bridge_id: str | None = Field(default=None, description="identifier; drawn when absent")
    direction: Direction = Field(
        default="bidirectional", description="where audio goes, as seen from the room of the request"
    )


class BridgeList(Params):
    """Names the room whose bridges are meant."""

    room_id: str = Field(description="room id")


class BridgeRef(Params):
    """Names a bridge of a room."""

    room_id: str = Field(description="room id")
    bridge_id: str = Field(description="bridge id")


class BridgeUpdate(BridgeRef):
    """Where a bridge carries audio."""

    model_config = ConfigDict(json_schema_extra=shown_as_required("room_id", "bridge_id", "direction"))

    direction: Direction | None = Field(
        default=None, description="where audio goes, as seen from the room of the request"
    )
