"""What goes to providers and comes from them, without sockets."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from pydantic import SecretStr

from vb.config.providers import AzureSpeechConfig, DeepgramConfig, ElevenLabsConfig
from vb.stt.azure import azure, locale, riff_header
from vb.stt.base import Codec, Failed, FinalText, Options, PartialText, Service, Stamps, Turn
from vb.stt.deepgram import deepgram
from vb.stt.deepgram_flux import deepgram_flux
from vb.stt.elevenlabs import elevenlabs

KEY = "sk-very-secret"
PCM = np.arange(-320, 320, dtype=np.int16)


class Counter:
    """Ids and a clock that stands."""

    def __init__(self) -> None:
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return f"{self._count:032x}"

    @staticmethod
    def utc_now() -> str:
        return "2026-01-02T03:04:05.678Z"


SERVICES: dict[str, Callable[[], Service]] = {
    "deepgram": lambda: deepgram(DeepgramConfig(api_key=SecretStr(KEY))),
    "deepgram_flux": lambda: deepgram_flux(DeepgramConfig(api_key=SecretStr(KEY))),
    "elevenlabs": lambda: elevenlabs(ElevenLabsConfig(api_key=SecretStr(KEY))),
    "azure": lambda: azure(AzureSpeechConfig(api_key=SecretStr(KEY), region="westeurope")),
}


def make(name: str, options: Options | None = None) -> Codec:
    counter = Counter()
    return SERVICES[name]().codec(options or Options(), KEY, Stamps(counter.new_id, counter.utc_now))


def is_over(codec: Codec) -> bool:
    return codec.over


def is_ready(codec: Codec) -> bool:
    return codec.ready


def url_of(codec: Codec) -> tuple[str, list[tuple[str, str]]]:
    parts = urlsplit(codec.dial().url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}", parse_qsl(parts.query)


@pytest.mark.parametrize("name", SERVICES)
def test_a_key_is_never_shown(name: str) -> None:
    codec = make(name)
    assert KEY in str(dict(codec.dial().headers))
    assert KEY not in repr(codec.dial())
    assert KEY not in codec.dial().url
    assert KEY not in repr(SERVICES[name]())
    assert KEY not in codec.closed(1008, f"bad key {KEY}\r\n").text


@pytest.mark.parametrize("name", ["deepgram", "deepgram_flux", "elevenlabs"])
@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "3",
        "null",
        '{"type":"Results"}',
        b"\x00\x01",
        '{"type":"Results","channel":{"alternatives":[{"transcript":1}]},"start":"x","duration":1}',
        '{"type":"Results","channel":{"alternatives":[{"transcript":"a"}]},"start":1e999,"duration":1}',
        '{"type":"UtteranceEnd","last_word_end":NaN}',
        '{"type":"TurnInfo","event":"Update"}',
        '{"message_type":"partial_transcript"}',
        "[" * 5000,
    ],
)
def test_what_makes_no_sense_is_a_failure_and_nothing_worse(name: str, message: str | bytes) -> None:
    for read in make(name).receive(message):
        assert isinstance(read, Failed)
        assert read == Failed("retryable", f"{name}: sent what makes no sense")


@pytest.mark.parametrize("name", ["deepgram", "deepgram_flux", "elevenlabs"])
def test_unknown_messages_mean_nothing(name: str) -> None:
    assert make(name).receive('{"type":"New","message_type":"new"}') == []


@pytest.mark.parametrize(
    ("code", "category"),
    [(1000, "retryable"), (1006, "retryable"), (1011, "retryable"), (1008, "permanent_input"),
     (1013, "service_unavailable")],
)  # fmt: skip
@pytest.mark.parametrize("name", SERVICES)
def test_close_codes_are_judged(name: str, code: int, category: str) -> None:
    failed = make(name).closed(code, "why")
    assert (failed.category, failed.text) == (category, f"{name}: closed the connection: {code} why")


# -- Deepgram ----------------------------------------------------------------------------------------------


def test_deepgram_is_asked_for_what_was_wanted() -> None:
    options = Options(keyterms=("a b", "c"), endpointing_ms=300, utterance_end_ms=1000, language="es")
    codec = make("deepgram", options)
    assert url_of(codec) == (
        "wss://api.deepgram.com/v1/listen",
        [
            ("encoding", "linear16"),
            ("sample_rate", "16000"),
            ("channels", "1"),
            ("model", "nova-3"),
            ("language", "es"),
            ("interim_results", "true"),
            ("endpointing", "300"),
            ("utterance_end_ms", "1000"),
            ("keyterm", "a b"),
            ("keyterm", "c"),
        ],
    )
    assert codec.dial().headers == {"Authorization": f"Token {KEY}"}
    assert is_ready(codec)
    assert codec.audio(PCM) == [PCM.tobytes()]
    assert [codec.begin(), codec.finalize(), codec.keep_alive(), codec.finish()] == [
        [],
        ['{"type":"Finalize"}'],
        ['{"type":"KeepAlive"}'],
        ['{"type":"CloseStream"}'],
    ]


def results(text: str, **more: Any) -> str:
    return json.dumps(
        {
            "type": "Results",
            "start": 1.5,
            "duration": 0.25,
            "channel": {"alternatives": [{"transcript": text}]},
            **more,
        }
    )


def test_deepgram_results_become_text() -> None:
    codec = make("deepgram")
    assert codec.receive(results("hel", is_final=False)) == [PartialText("hel", 1500, 1750)]
    assert codec.receive(results("hello ", is_final=True, speech_final=True)) == [
        FinalText("hello", True, 1500, 1750)
    ]
    assert codec.receive(results("", is_final=False)) == []
    assert codec.receive(results("", is_final=True)) == [FinalText("", None, 1500, 1750)]
    end = '{"type":"UtteranceEnd","channel":[0,1],"last_word_end":2.395}'
    assert codec.receive(end) == [Turn("utterance_end", last_word_end_ms=2395)]
    unknown = '{"type":"UtteranceEnd","channel":[0,1],"last_word_end":-1}'
    assert codec.receive(unknown) == [Turn("utterance_end", last_word_end_ms=None)]
    assert codec.receive('{"type":"SpeechStarted","channel":[0],"timestamp":1}') == []
    assert not is_over(codec)
    assert codec.receive('{"type":"Metadata"}') == []
    assert not is_over(codec)
    codec.finish()
    assert codec.receive('{"type":"Metadata"}') == []
    assert is_over(codec)


@pytest.mark.parametrize(
    ("error", "category"),
    [
        ({"variant": "SchemaError", "description": "SchemaError: x"}, "permanent_input"),
        ({"description": "slow down", "code": "TOO_MANY_REQUESTS"}, "rate_limited"),
        ({"description": "no", "code": "INVALID_AUTH"}, "permanent_auth"),
        ({"description": "broken"}, "service_unavailable"),
    ],
)
def test_deepgram_errors_have_categories(error: dict[str, str], category: str) -> None:
    (failed,) = make("deepgram").receive(json.dumps({"type": "Error", **error}))
    assert isinstance(failed, Failed)
    assert failed.category == category


# -- Flux --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "model", "hints"),
    [
        (Options(), "flux-general-en", []),
        (Options(language="en-GB"), "flux-general-en", []),
        (Options(language="es"), "flux-general-multi", ["es"]),
        (Options(language_hints=("en", "es")), "flux-general-multi", ["en", "es"]),
        (Options(language="de", language_hints=("en",)), "flux-general-multi", ["de", "en"]),
        (Options(model="flux-general-multi"), "flux-general-multi", []),
    ],
)
def test_flux_picks_the_model_that_knows_the_languages(
    options: Options, model: str, hints: list[str]
) -> None:
    place, query = url_of(make("deepgram_flux", options))
    assert place == "wss://api.deepgram.com/v2/listen"
    assert dict(query)["model"] == model
    assert [value for key, value in query if key == "language_hint"] == hints


def test_flux_is_asked_for_what_was_wanted() -> None:
    options = Options(eot_threshold=0.7, eager_eot_threshold=0.4, eot_timeout_ms=5000, keyterms=("x",))
    codec = make("deepgram_flux", options)
    assert url_of(codec)[1] == [
        ("model", "flux-general-en"),
        ("encoding", "linear16"),
        ("sample_rate", "16000"),
        ("eot_threshold", "0.7"),
        ("eager_eot_threshold", "0.4"),
        ("eot_timeout_ms", "5000"),
        ("keyterm", "x"),
    ]
    assert not is_ready(codec)
    assert codec.receive('{"type":"Connected","request_id":"r","sequence_id":0}') == []
    assert is_ready(codec)
    assert codec.keep_alive() == [bytes(2560)]
    assert codec.finalize() == ['{"type":"ForceEndTurn"}']
    assert codec.finish() == ['{"type":"CloseStream"}']


def turn_info(event: str, text: str = "hi", **more: Any) -> str:
    return json.dumps(
        {
            "type": "TurnInfo",
            "event": event,
            "turn_index": 3,
            "audio_window_start": 1.0,
            "audio_window_end": 2.0,
            "transcript": text,
            "words": [{"word": "hi", "confidence": 0.9, "start": 1.1, "end": 1.4}] if text else [],
            "end_of_turn_confidence": 0.5,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("StartOfTurn", "start_of_turn"),
        ("Update", "update"),
        ("EagerEndOfTurn", "eager_end_of_turn"),
        ("TurnResumed", "turn_resumed"),
        ("EndOfTurn", "end_of_turn"),
    ],
)
def test_flux_events_become_turns(event: str, told: str) -> None:
    turn, *text = make("deepgram_flux").receive(turn_info(event))
    assert isinstance(turn, Turn)
    assert (turn.event, turn.turn_index, turn.text, turn.last_word_end_ms) == (told, 3, "hi", 1400)
    assert (turn.audio_window_start_ms, turn.audio_window_end_ms) == (1000, 2000)
    expected: dict[str, list[object]] = {
        "update": [PartialText("hi", 1000, 2000)],
        "end_of_turn": [FinalText("hi", True, 1000, 2000)],
    }
    assert text == expected.get(told, [])


def test_flux_words_without_times_lie_in_the_window() -> None:
    (turn, _) = make("deepgram_flux").receive(
        turn_info("Update", words=[{"word": "hi", "confidence": 1}], languages=["en"])
    )
    assert isinstance(turn, Turn)
    assert (turn.words[0].start_ms, turn.words[0].end_ms, turn.languages) == (1000, 2000, ("en",))


def test_flux_errors_and_unknown_events() -> None:
    codec = make("deepgram_flux")
    assert codec.receive(turn_info("Pondering")) == []
    error = '{"type":"Error","sequence_id":1,"code":"INTERNAL_SERVER_ERROR","description":"oh"}'
    assert codec.receive(error) == [Failed("service_unavailable", "deepgram_flux: oh")]


# -- ElevenLabs --------------------------------------------------------------------------------------------


def test_elevenlabs_is_asked_for_what_was_wanted() -> None:
    options = Options(language="en-US", endpointing_ms=500, keyterms=("x",), language_hints=("de",))
    codec = make("elevenlabs", options)
    assert url_of(codec) == (
        "wss://api.elevenlabs.io/v1/speech-to-text/realtime",
        [
            ("model_id", "scribe_v2_realtime"),
            ("language_code", "en"),
            ("audio_format", "pcm_16000"),
            ("commit_strategy", "vad"),
            ("vad_silence_threshold_secs", "0.5"),
            ("secondary_languages", "de"),
            ("keyterms", "x"),
        ],
    )
    assert codec.dial().headers == {"xi-api-key": KEY}
    (chunk,) = codec.audio(PCM)
    assert json.loads(chunk) == {
        "message_type": "input_audio_chunk",
        "audio_base_64": base64.b64encode(PCM.tobytes()).decode(),
        "commit": False,
        "sample_rate": 16000,
    }
    (commit,) = codec.finalize()
    assert (json.loads(commit)["audio_base_64"], json.loads(commit)["commit"]) == ("", True)
    (silence,) = codec.keep_alive()
    assert base64.b64decode(json.loads(silence)["audio_base_64"]) == bytes(3200)


def test_elevenlabs_transcripts_become_text() -> None:
    codec = make("elevenlabs")
    assert codec.receive('{"message_type":"session_started","session_id":"s"}') == []
    assert codec.receive('{"message_type":"partial_transcript","text":"hel"}') == [PartialText("hel")]
    assert codec.receive('{"message_type":"partial_transcript","text":""}') == []
    assert codec.receive('{"message_type":"committed_transcript","text":"hello"}') == [FinalText("hello")]
    twice = '{"message_type":"committed_transcript_with_timestamps","text":"hello","words":[]}'
    assert codec.receive(twice) == []
    assert codec.receive('{"message_type":"commit_throttled","error":"x"}') == []
    assert not is_over(codec)
    codec.finish()
    codec.receive('{"message_type":"committed_transcript","text":""}')
    assert is_over(codec)


@pytest.mark.parametrize(
    ("kind", "category"),
    [
        ("auth_error", "permanent_auth"),
        ("unaccepted_terms", "permanent_auth"),
        ("quota_exceeded", "rate_limited"),
        ("rate_limited", "rate_limited"),
        ("queue_overflow", "service_unavailable"),
        ("resource_exhausted", "service_unavailable"),
        ("session_time_limit_exceeded", "retryable"),
        ("insufficient_audio_activity", "retryable"),
        ("input_error", "permanent_input"),
        ("invalid_request", "permanent_input"),
        ("chunk_size_exceeded", "permanent_input"),
    ],
)
def test_elevenlabs_errors_have_categories(kind: str, category: str) -> None:
    message = json.dumps({"message_type": kind, "error": f"{kind} for {KEY}"})
    assert make("elevenlabs").receive(message) == [Failed(category, f"elevenlabs: {kind} for ***")]  # type: ignore[arg-type]  # by name
    assert make("elevenlabs").receive('{"message_type":"warning","warning":"x"}') == []


# -- Azure -------------------------------------------------------------------------------------------------


def azure_message(path: str, body: object) -> str:
    return f"X-RequestId:1\r\nPath:{path}\r\nContent-Type:application/json\r\n\r\n{json.dumps(body)}"


@pytest.mark.parametrize(
    ("language", "found"),
    [("", "en-US"), ("en", "en-US"), ("de", "de-DE"), ("ja", "ja-JP"), ("en-GB", "en-GB")],
)
def test_azure_wants_a_region_with_a_language(language: str, found: str) -> None:
    assert locale(language) == found


def test_azure_speaks_in_turns() -> None:
    codec = make("azure", Options(language="de", keyterms=("Wien",)))
    place = "wss://westeurope.stt.speech.microsoft.com/speech/recognition/conversation/cognitiveservices/v1"
    assert url_of(codec) == (place, [("language", "de-DE"), ("format", "detailed")])
    assert codec.dial().headers["Ocp-Apim-Subscription-Key"] == KEY
    config, context = codec.begin()
    assert isinstance(config, str)
    assert isinstance(context, str)
    assert config.startswith("Path: speech.config\r\nX-RequestId: ")
    assert json.loads(config.partition("\r\n\r\n")[2])["context"]["audio"]["source"]["samplerate"] == 16000
    assert json.loads(context.partition("\r\n\r\n")[2]) == {
        "dgi": {"Groups": [{"Type": "Generic", "Items": [{"Text": "Wien"}]}]}
    }
    (first,), (second,) = codec.audio(PCM), codec.audio(PCM)
    assert body_of(first) == riff_header() + PCM.tobytes()
    assert body_of(second) == PCM.tobytes()
    codec.receive(azure_message("turn.end", {}))
    (third,) = codec.audio(PCM)
    assert body_of(third) == riff_header() + PCM.tobytes()
    assert id_of(second) != id_of(third)
    assert not is_over(codec)
    (last,) = codec.finish()
    assert body_of(last) == b""
    codec.receive(azure_message("turn.end", {}))
    assert is_over(codec)


def body_of(message: str | bytes) -> bytes:
    assert isinstance(message, bytes)
    (size,) = struct.unpack(">H", message[:2])
    head = message[2 : 2 + size].decode()
    assert head.startswith("Path: audio\r\n")
    assert head.endswith("\r\n")
    return message[2 + size :]


def id_of(message: str | bytes) -> bytes:
    assert isinstance(message, bytes)
    return message.partition(b"X-RequestId: ")[2][:32]


def test_azure_without_audio_has_nothing_to_end() -> None:
    codec = make("azure")
    assert codec.keep_alive() == []
    assert codec.finish() == []
    assert is_over(codec)


def test_azure_phrases_become_text() -> None:
    codec = make("azure")
    hypothesis = {"Text": "hel", "Offset": 5_000_000, "Duration": 2_500_000}
    assert codec.receive(azure_message("speech.hypothesis", hypothesis)) == [PartialText("hel", 500, 750)]
    phrase = {
        "RecognitionStatus": "Success",
        "NBest": [{"Display": "Hello."}],
        "Offset": 5_000_000,
        "Duration": 10_000_000,
    }
    assert codec.receive(azure_message("speech.phrase", phrase)) == [FinalText("Hello.", None, 500, 1500)]
    simple = {"RecognitionStatus": "Success", "DisplayText": "Hi.", "Offset": 0, "Duration": 0}
    assert codec.receive(azure_message("speech.phrase", simple)) == [FinalText("Hi.", None, 0, 0)]
    for status in ("NoMatch", "InitialSilenceTimeout", "EndOfDictation"):
        (nothing,) = codec.receive(azure_message("speech.phrase", {"RecognitionStatus": status}))
        assert nothing == FinalText("")
    broken = azure_message("speech.phrase", {"RecognitionStatus": "Error"})
    assert codec.receive(broken) == [Failed("service_unavailable", "azure: cannot recognize speech now")]
    assert codec.receive(azure_message("speech.startDetected", {"Offset": 1})) == []


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "Path:speech.phrase\r\n\r\nno",
        "Path:speech.phrase\r\n\r\n{}",
        "Path:speech.hypothesis\r\n\r\n[]",
    ],
)
def test_azure_nonsense_is_a_failure(message: str) -> None:
    assert make("azure").receive(message) == [Failed("retryable", "azure: sent what makes no sense")]


def test_times_of_later_azure_turns_count_from_the_first_audio() -> None:
    codec = make("azure")
    codec.audio(np.zeros(16000, np.int16))
    codec.receive(azure_message("turn.end", {}))
    hypothesis = {"Text": "hel", "Offset": 1_000_000, "Duration": 1_000_000}
    assert codec.receive(azure_message("speech.hypothesis", hypothesis)) == [PartialText("hel", 1100, 1200)]
