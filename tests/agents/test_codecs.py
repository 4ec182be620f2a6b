"""What each provider's codec makes of messages, right and wrong ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vb.agents.base import (
    AgentCodec,
    CannotInject,
    Corrected,
    Heard,
    Interrupted,
    NotReady,
    Over,
    Ready,
    Responded,
    Spoke,
)
from vb.agents.deepgram import DeepgramCodec, DeepgramOptions
from vb.agents.elevenlabs import ElevenLabsCodec, ElevenLabsOptions
from vb.agents.pipecat import PipecatCodec
from vb.agents.protobuf import read_fields, write_bytes, write_number, write_varint
from vb.agents.ultravox import UltravoxCodec, UltravoxOptions
from vb.agents.vapi import VapiCodec, VapiOptions
from vb.providers.failure import ProviderFailed

BASE = "https://api.example"


def elevenlabs(key: str = "k") -> ElevenLabsCodec:
    return ElevenLabsCodec(ElevenLabsOptions("a 1", key, BASE))


def deepgram(**options: Any) -> DeepgramCodec:
    return DeepgramCodec(DeepgramOptions("k", BASE, **options))


def vapi() -> VapiCodec:
    return VapiCodec(VapiOptions("a", "k", BASE))


def ultravox(**options: Any) -> UltravoxCodec:
    return UltravoxCodec(UltravoxOptions("k", BASE, **options))


def pipecat() -> PipecatCodec:
    return PipecatCodec("ws://bot")


CODECS: dict[str, Callable[[], AgentCodec]] = {
    "elevenlabs": elevenlabs,
    "deepgram": deepgram,
    "vapi": vapi,
    "ultravox": ultravox,
    "pipecat": pipecat,
}


def take(codec: AgentCodec, **message: Any) -> list[object]:
    return list(codec.receive(json.dumps(message)))


def rtvi(codec: PipecatCodec, kind: str, **data: Any) -> list[object]:
    text = json.dumps({"label": "rtvi-ai", "type": kind, "data": data})
    return list(codec.receive(write_bytes(4, write_bytes(1, text.encode()))))


def test_a_public_agent_of_elevenlabs_needs_no_signed_url() -> None:
    codec = elevenlabs(key="")
    assert codec.prepare() is None
    assert codec.prepared(0, b"").url == "wss://api.example/v1/convai/conversation?agent_id=a%201"


def test_a_server_without_signed_urls_gets_the_key_in_a_header() -> None:
    address = elevenlabs().prepared(404, b"{}")
    assert address.headers == {"xi-api-key": "k"}


@pytest.mark.parametrize(
    ("status", "category"), [(401, "permanent_auth"), (429, "rate_limited"), (500, "service_unavailable")]
)
@pytest.mark.parametrize("name", ["elevenlabs", "vapi", "ultravox"])
def test_a_refused_request_has_the_category_of_its_status(name: str, status: int, category: str) -> None:
    with pytest.raises(ProviderFailed) as failed:
        CODECS[name]().prepared(status, b"{}")
    assert failed.value.category == category


@pytest.mark.parametrize("name", ["elevenlabs", "vapi", "ultravox"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b"{}", b'{"signed_url": 5, "joinUrl": null}', b"[" * 5000]
)
def test_an_answer_without_an_address_is_a_failure(name: str, body: bytes) -> None:
    with pytest.raises(ProviderFailed):
        CODECS[name]().prepared(200, body)


def test_metadata_of_elevenlabs_names_both_formats() -> None:
    codec = elevenlabs()
    event = {
        "conversation_id": "c",
        "agent_output_audio_format": "ulaw_8000",
        "user_input_audio_format": "pcm_48000",
    }
    found = take(codec, type="conversation_initiation_metadata", conversation_initiation_metadata_event=event)
    assert found == [Ready("c")]
    assert (codec.says.encoding, codec.says.rate_hz, codec.hears.rate_hz) == ("ulaw", 8000, 48000)


def test_a_format_that_cannot_be_read_ends_the_conversation_with_a_reason() -> None:
    event = {"agent_output_audio_format": "opus_48000"}
    (over,) = take(
        elevenlabs(), type="conversation_initiation_metadata", conversation_initiation_metadata_event=event
    )
    assert isinstance(over, Over)
    assert (over.reason, over.category) == ("unsupported_format", "permanent_input")


def test_top_level_metadata_of_elevenlabs_is_understood_too() -> None:
    assert take(elevenlabs(), type="conversation_initiation_metadata", conversation_id="c") == [Ready("c")]


def test_tool_calls_are_answered_so_that_the_agent_does_not_wait() -> None:
    codec = elevenlabs()
    take(codec, type="client_tool_call", client_tool_call={"tool_name": "x", "tool_call_id": "t"})
    (reply,) = codec.replies()
    assert json.loads(reply) == {
        "type": "client_tool_result",
        "tool_call_id": "t",
        "result": "this client has no tools",
        "is_error": True,
    }
    assert codec.replies() == []


def test_an_interruption_of_elevenlabs_covers_the_events_up_to_its_own() -> None:
    found = take(elevenlabs(), type="interruption", interruption_event={"event_id": 9})
    assert found == [Interrupted(9)]


def test_partial_words_are_told_from_final_ones() -> None:
    found = take(
        elevenlabs(),
        type="tentative_user_transcript",
        tentative_user_transcription_event={"user_transcript": "he"},
    )
    assert found == [Heard("he", is_final=False)]
    assert take(vapi(), type="transcript", role="assistant", transcript="x", transcriptType="partial") == [
        Responded("x", is_final=False)
    ]


def test_overrides_that_are_not_allowed_are_wrong_input() -> None:
    over = elevenlabs().closed(1008, "overrides")
    assert (over.reason, over.category) == ("refused", "permanent_input")


@pytest.mark.parametrize("code", [1001, 1005, 1006, 1011, 1013])
def test_elevenlabs_that_fails_before_its_metadata_has_refused_nothing(code: int) -> None:
    over = elevenlabs().closed(code, "")
    assert (over.reason, over.category) == ("connection_lost", "retryable")
    assert elevenlabs().closed(3000, "").reason == "refused"


def test_no_key_is_in_what_providers_say_of_their_failures() -> None:
    key = "s3cret" * 5
    told = [
        elevenlabs(key).closed(1008, f"wrong key {key}"),
        *take(elevenlabs(key), type="client_error", client_error_event={"message": f"wrong key {key}"}),
        *take(
            DeepgramCodec(DeepgramOptions(key, BASE)), type="Error", description=f"{'x' * 180} of\nkey {key}"
        ),
        VapiCodec(VapiOptions("a", key, BASE)).closed(4000, key),
        UltravoxCodec(UltravoxOptions(key, BASE)).closed(1011, key),
    ]
    for over in told:
        assert isinstance(over, Over)
        assert over.error is not None
        assert "s3c" not in over.error
        assert over.error.isprintable()


def test_an_address_that_only_begins_like_the_operators_is_judged() -> None:
    codec = ElevenLabsCodec(ElevenLabsOptions("a", "k", "http://127.0.0.1:80"))
    for url, foreign in (("ws://127.0.0.1:80/x", False), ("ws://127.0.0.1:8080/x", True)):
        assert codec.prepared(200, json.dumps({"signed_url": url}).encode()).foreign is foreign


@pytest.mark.parametrize("name", sorted(CODECS))
def test_a_connection_that_breaks_has_a_category_and_says_how(name: str) -> None:
    codec = CODECS[name]()
    if name == "elevenlabs":
        take(codec, type="conversation_initiation_metadata", conversation_id="c")
    over = codec.closed(1006, "")
    assert (over.reason, over.category) == ("connection_lost", "retryable")
    assert over.error == f"{name}: closed with 1006"


def test_a_bot_is_interrupted_by_a_frame_and_a_new_turn_begins() -> None:
    codec = PipecatCodec("ws://bot", interruption_ms=200)
    frame = write_bytes(2, write_bytes(3, b"ab") + write_number(4, 16000) + write_number(5, 1))
    assert list(codec.receive(frame))[-1] == Spoke(b"ab", 0)
    assert list(codec.clear(100)) == [write_bytes(5, b"")]
    assert list(codec.receive(frame)) == [Spoke(b"ab", 1)]


def test_a_stored_agent_of_deepgram_goes_by_its_id() -> None:
    (settings_text,) = deepgram(stored_agent="id-1", greeting="Hi").opened()
    assert json.loads(settings_text)["agent"] == "id-1"


def test_settings_of_deepgram_are_left_as_they_are_but_for_type_and_audio() -> None:
    given_settings = {"type": "x", "audio": 5, "tags": ["a"], "agent": {"think": {}}}
    (text,) = deepgram(settings=given_settings).opened()
    sent = json.loads(text)
    assert (sent["type"], sent["tags"], sent["agent"]) == ("Settings", ["a"], {"think": {}})
    assert given_settings["audio"] == 5


def test_deepgram_is_ready_when_its_settings_are_applied() -> None:
    codec = deepgram()
    assert take(codec, type="Welcome", session_id="s") == []
    with pytest.raises(NotReady):
        codec.inject("x", respond=False)
    assert take(codec, type="SettingsApplied") == [Ready("s")]
    assert take(codec, type="SettingsApplied") == []


def test_a_new_turn_of_deepgram_begins_when_the_user_speaks() -> None:
    codec = deepgram()
    assert list(codec.receive(b"ab")) == [Spoke(b"ab", 0)]
    assert take(codec, type="UserStartedSpeaking") == [Interrupted(0)]
    assert list(codec.receive(b"cd")) == [Spoke(b"cd", 1)]


def test_old_answers_of_vapi_are_understood_too() -> None:
    codec = vapi()
    body = {"id": "i", "listenUrl": "wss://l", "controlUrl": "https://c"}
    assert codec.prepared(201, json.dumps(body).encode()).url == "wss://l"
    assert list(codec.timed_out()) == [Ready("i")]
    call = codec.inject("x", respond=False)
    assert not isinstance(call, list)
    assert call.url == "https://c"  # type: ignore[union-attr]


def test_vapi_without_a_control_url_takes_no_text() -> None:
    codec = vapi()
    codec.prepared(201, b'{"id": "i", "listenUrl": "wss://l"}')
    with pytest.raises(NotReady):
        codec.inject("x", respond=False)
    list(codec.timed_out())
    with pytest.raises(CannotInject):
        codec.inject("x", respond=False)


@pytest.mark.parametrize(
    "message",
    [{"type": "user-interrupted"}, {"type": "speech-update", "role": "user", "status": "started"}],
)
def test_vapi_interrupts_by_either_message(message: dict[str, Any]) -> None:
    assert take(vapi(), **message) == [Interrupted(0)]


def test_parts_of_an_ultravox_transcript_are_joined() -> None:
    codec = ultravox()
    part = {"type": "transcript", "role": "agent", "ordinal": 1}
    assert take(codec, **part, delta="Good ", final=False) == [Responded("Good", is_final=False)]
    assert take(codec, **part, delta="day", final=False) == [Responded("Good day", is_final=False)]
    assert take(codec, **part, delta=".", final=True) == [Responded("Good day.")]


def test_a_bot_with_rtvi_is_ready_when_it_says_so_and_takes_text_for_its_model() -> None:
    codec = pipecat()
    (opening,) = codec.opened()
    assert (
        b'"client-ready"' in bytes(opening, "utf-8")
        if isinstance(opening, str)
        else b"client-ready" in opening
    )
    assert rtvi(codec, "bot-ready") == [Ready("ws://bot")]
    (message,) = codec.inject("vip", respond=True)  # type: ignore[misc]
    assert isinstance(message, bytes)
    assert b'"send-text"' in message


def test_a_bot_without_rtvi_is_ready_after_a_moment_and_says_what_it_is_told() -> None:
    codec = pipecat()
    list(codec.opened())
    assert list(codec.timed_out()) == [Ready("ws://bot")]
    (message,) = codec.inject("vip", respond=False)  # type: ignore[misc]
    assert message == write_bytes(1, write_bytes(3, b"vip"))


def test_words_that_a_bot_sends_twice_are_told_once() -> None:
    codec = pipecat()
    assert rtvi(codec, "user-input", text="ye", input_type="transcription", final=False) == [
        Heard("ye", is_final=False)
    ]
    assert rtvi(codec, "user-input", text="vip", input_type="chat", final=True) == []
    assert rtvi(codec, "user-input", text="yes") == [Heard("yes")]
    assert rtvi(codec, "user-transcription", text="yes", final=True) == []
    assert rtvi(codec, "bot-output", text="hm", spoken=True) == [Responded("hm")]
    assert rtvi(codec, "bot-transcription", text="hm") == []


def test_a_wav_header_before_a_piece_is_left_out_and_a_rate_is_honoured() -> None:
    codec = pipecat()
    audio = b"RIFF" + bytes(40) + b"\1\2"
    frame = write_bytes(2, write_bytes(3, audio) + write_number(4, 24000) + write_number(5, 1))
    assert list(codec.receive(frame)) == [Ready("ws://bot"), Spoke(b"\1\2", 0)]
    assert codec.says.rate_hz == 24000


def test_both_places_of_a_message_are_read() -> None:
    text = json.dumps({"type": "bot-interrupted"}).encode()
    for field in (1, 3):
        assert list(pipecat().receive(write_bytes(4, write_bytes(field, text)))) == [Interrupted(0)]


def test_corrections_tell_what_was_heard() -> None:
    event = {"original_agent_response": "a b", "corrected_agent_response": "a"}
    found = take(elevenlabs(), type="agent_response_correction", agent_response_correction_event=event)
    assert found == [Corrected("a b", "a")]


@given(st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_protobuf_fields_come_back_as_they_were(number: int, data: bytes) -> None:
    message = write_number(4, number) + write_bytes(3, data)
    assert list(read_fields(message)) == [(4, number), (3, data)]
    assert len(write_varint(number)) <= 10


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
_KINDS = st.sampled_from(
    (
        "conversation_initiation_metadata",
        "audio",
        "interruption",
        "user_transcript",
        "ping",
        "client_tool_call",
        "agent_response",
        "agent_response_correction",
        "client_error",
        "Welcome",
        "SettingsApplied",
        "Error",
        "ConversationText",
        "LatencyReport",
        "UserStartedSpeaking",
        "transcript",
        "speech-update",
        "status-update",
        "call_started",
        "playback_clear_buffer",
        "client_tool_invocation",
        "bot-ready",
        "user-input",
        "error",
    )
)
_KEYS = st.sampled_from(
    [
        "audio_event",
        "interruption_event",
        "ping_event",
        "client_tool_call",
        "role",
        "content",
        "data",
        "delta",
        "final",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(CODECS)),
    st.lists(
        st.binary(max_size=60)
        | st.text(max_size=60)
        | st.builds(
            lambda kind, fields: json.dumps({**fields, "type": kind}),
            _KINDS,
            st.dictionaries(_KEYS, _JSON, max_size=4),
        ),
        max_size=8,
    ),
)
def test_no_message_of_a_provider_harms_its_codec(name: str, messages: list[bytes | str]) -> None:
    codec = CODECS[name]()
    list(codec.opened())
    for message in messages:
        for event in codec.receive(message):
            if isinstance(event, Heard | Responded):
                event.text.encode()
        codec.replies()
        if isinstance(message, str):
            list(codec.receive(write_bytes(4, write_bytes(1, message.encode("utf-8", "replace")))))
