"""Over what calls run, as the history tells it."""

from __future__ import annotations

from typing import Any, Literal

from vb.history.base import Duration, Model, omitted


class EnabledDataMessages(Model):
    """Which data messages are sent."""

    pong: bool | None = omitted()
    state: bool | None = omitted()
    transcript: bool | None = omitted()
    client_tool_invocation: bool | None = omitted()
    data_connection_tool_invocation: bool | None = omitted()
    playback_clear_buffer: bool | None = omitted()
    call_started: bool | None = omitted()
    debug: bool | None = omitted()
    call_event: bool | None = omitted()
    tool_used: bool | None = omitted()
    user_started_speaking: bool | None = omitted()
    user_stopped_speaking: bool | None = omitted()
    invoking_tool: bool | None = omitted()


class CallMediumDtmfUserTextMessage(Model):
    """Digits told to the agent as text."""

    text: str | None = omitted()
    urgency: Literal["URGENCY_UNSPECIFIED", "URGENCY_IMMEDIATE", "URGENCY_SOON", "URGENCY_LATER"] | None = (
        omitted()
    )


class CallMediumDtmfHandling(Model):
    """What becomes of digits."""

    ignore: bool | None = omitted()
    user_text_message: CallMediumDtmfUserTextMessage | None = omitted()


class TwilioMediumOutgoingRequestParams(Model):
    """How Twilio is asked to place a call."""

    to: str | None = omitted()
    from_: str | None = omitted(alias="from")
    additional_params: dict[str, Any] | None = omitted()


class TelnyxMediumOutgoingRequestParams(Model):
    """How Telnyx is asked to place a call."""

    to: str | None = omitted()
    from_: str | None = omitted(alias="from")
    additional_params: dict[str, Any] | None = omitted()


class PlivoMediumOutgoingRequestParams(Model):
    """How Plivo is asked to place a call."""

    to: str | None = omitted()
    from_: str | None = omitted(alias="from")
    additional_params: dict[str, Any] | None = omitted()


class SipMediumSipIncoming(Model):
    """An incoming SIP call."""


class SipMediumSipOutgoing(Model):
    """An outgoing SIP call."""

    to: str | None = omitted()
    from_: str | None = omitted(alias="from")
    username: str | None = omitted()
    password: str | None = omitted()


class CallMediumWebRtcMedium(Model):
    """A WebRTC call."""

    data_messages: EnabledDataMessages | None = omitted()


class CallMediumTwilioMedium(Model):
    """A Twilio media stream."""

    outgoing: TwilioMediumOutgoingRequestParams | None = omitted()
    dtmf_handling: CallMediumDtmfHandling | None = omitted()


class CallMediumWebSocketMedium(Model):
    """A plain WebSocket call."""

    input_sample_rate: int | None = omitted()
    output_sample_rate: int | None = omitted()
    client_buffer_size_ms: int | None = omitted()
    data_messages: EnabledDataMessages | None = omitted()
    media_idle_timeout: Duration | None = omitted()


class CallMediumTelnyxMedium(Model):
    """A Telnyx media stream."""

    outgoing: TelnyxMediumOutgoingRequestParams | None = omitted()
    dtmf_handling: CallMediumDtmfHandling | None = omitted()


class CallMediumPlivoMedium(Model):
    """A Plivo audio stream."""

    outgoing: PlivoMediumOutgoingRequestParams | None = omitted()
    dtmf_handling: CallMediumDtmfHandling | None = omitted()


class CallMediumExotelMedium(Model):
    """An Exotel voice bot stream."""

    dtmf_handling: CallMediumDtmfHandling | None = omitted()


class CallMediumSipMedium(Model):
    """A SIP call: exactly one of both is set."""

    incoming: SipMediumSipIncoming | None = omitted()
    outgoing: SipMediumSipOutgoing | None = omitted()


class CallMedium(Model):
    """Over what the call runs: at most one is set."""

    web_rtc: CallMediumWebRtcMedium | None = omitted()
    twilio: CallMediumTwilioMedium | None = omitted()
    server_web_socket: CallMediumWebSocketMedium | None = omitted()
    telnyx: CallMediumTelnyxMedium | None = omitted()
    plivo: CallMediumPlivoMedium | None = omitted()
    exotel: CallMediumExotelMedium | None = omitted()
    sip: CallMediumSipMedium | None = omitted()


class DataConnectionAudioConfig(Model):
    """Audio that goes over a data connection."""

    sample_rate: int | None = omitted()
    channel_mode: (
        Literal["CHANNEL_MODE_UNSPECIFIED", "CHANNEL_MODE_MIXED", "CHANNEL_MODE_SEPARATED"] | None
    ) = omitted()


class DataConnectionConfig(Model):
    """A further WebSocket that gets data of the call."""

    websocket_url: str | None = omitted()
    audio_config: DataConnectionAudioConfig | None = omitted()
    data_messages: EnabledDataMessages | None = omitted()
    headers: dict[str, str] | None = omitted()
