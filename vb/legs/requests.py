"""What may be asked of a new leg: the one record that a request stays from the client to the leg's kind."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from vb.choices import KNOWN_CODECS, SrtpKeying, SrtpPolicy
from vb.errors import InvalidField
from vb.parameters import Milliseconds, Params, Seconds, Url, unbuilt


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


SIP_FIELDS: Final = frozenset({"codecs", "privacy", "auth", "amd", "outbound_proxy", "srtp", "srtp_keying"})
"""Fields of `CreateLeg` that mean nothing to a leg that does not speak SIP."""
PLAIN_SIP_FIELDS: Final = frozenset({"codecs", "privacy", "outbound_proxy", "srtp", "srtp_keying", "rtt"})
"""Fields of `CreateLeg` that mean nothing where SIP carries the media of WebRTC."""
WEBSOCKET_FIELDS: Final = frozenset({"url", "sample_rate", "wire_format", "sample_format"})
"""Fields of `CreateLeg` that mean nothing to a leg that is no WebSocket."""


class CreateLeg(Params):
    """An outgoing call."""

    type: Literal["sip", "whatsapp", "websocket", "livekit_room"] = Field(description="kind of leg")
    to: str | None = Field(
        default=None, description="where to call: a SIP URI, or a phone number of WhatsApp", max_length=2048
    )
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
    headers: dict[str, str] | None = Field(
        default=None, description="extra headers of the INVITE, or of the request for a WebSocket"
    )
    room_id: str | None = Field(default=None, description="room to join once media flows; made when missing")
    auth: SipAuth | None = Field(default=None, description="credentials for a digest challenge")
    webhook_url: Url | None = Field(default=None, description="receives this leg's events")
    webhook_secret: str | None = Field(default=None, description="signs them")
    amd: AmdParams | None = Field(
        default=None, description="tells answering machines from people once the call is answered"
    )
    accept_dtmf: bool = Field(default=True, description="whether digits of room mates are sent to it")
    app_id: str | None = Field(default=None, description="word to filter events by", max_length=256)
    metadata: dict[str, str] | None = Field(
        default=None,
        max_length=64,
        description="what the call history stores with the call, to be searched by",
    )
    retention_policy: Literal["retain", "auto_delete"] | None = Field(
        default=None, description="whether the call history keeps the call once it is over"
    )
    speech_detection: bool | None = Field(
        default=None, description="whether to tell when the far end speaks; absent: as the server is set"
    )
    rtt: bool = Field(default=False, description="whether there is to be text beside audio")
    url: Url | None = Field(default=None, description="where to connect a WebSocket leg: a ws or wss URL")
    sample_rate: Literal[8000, 16000, 24000, 48000] = Field(
        default=16000, description="samples a second that a WebSocket leg speaks and hears"
    )
    wire_format: Literal["binary", "json_base64"] = Field(
        default="binary", description="audio of a WebSocket leg: binary messages, or Base64 in JSON"
    )
    sample_format: Literal["s16le"] = Field(default="s16le", description="samples of a WebSocket leg")
    outbound_proxy: str | None = Field(
        default=None, description="next hop of this call: a SIP URI", max_length=2048
    )
    srtp: SrtpPolicy | None = Field(
        default=None,
        description="whether the call is offered SRTP, and whether plain audio will do; absent: VB_SIP_SRTP",
    )
    srtp_keying: SrtpKeying | None = Field(
        default=None,
        description="how offered SRTP gets its keys: sdes in the description, dtls by a handshake; absent: "
        "VB_SIP_SRTP_KEYING",
    )
    streams: list[dict[str, Any]] | None = unbuilt("further audio streams")

    def refuse(self, fields: frozenset[str], kind: str) -> None:
        """Refuse fields that mean nothing to this kind of leg.

        Args:
            fields: those of other kinds.
            kind: what they are for.

        Raises:
            InvalidField: one of them is set; a default or empty value asks for nothing.
        """
        for name in sorted(fields & self.model_fields_set):
            value = getattr(self, name)
            if (value or isinstance(value, Params)) and value != type(self).model_fields[name].default:
                raise InvalidField(name, f"is for {kind} legs only")
