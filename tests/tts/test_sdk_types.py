"""Messages of voices over WebSockets, ours and those of our services, are as the libraries have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from deepgram.speak.v1 import types as speak
from elevenlabs import types as eleven
from pydantic import BaseModel

from conformance.peers.voice_services import VOICE
from conformance.peers.voice_talk import DeepgramSpeak, ElevenLabsMulti, Message
from tests.tts.codecs import voice
from vb.tts.base import Audio, Done, Mark, Spoken
from vb.tts.deepgram_stream import DeepgramStream
from vb.tts.elevenlabs_stream import ElevenLabsStream
from vb.tts.stream import StreamCodec

DEEPGRAM: dict[str, type[BaseModel]] = {
    "Speak": speak.SpeakV1Text,
    "Flush": speak.SpeakV1Flush,
    "Clear": speak.SpeakV1Clear,
    "Close": speak.SpeakV1Close,
    "Metadata": speak.SpeakV1Metadata,
    "Flushed": speak.SpeakV1Flushed,
    "Cleared": speak.SpeakV1Cleared,
}
ELEVENLABS: dict[str, type[BaseModel]] = {
    "begin": eleven.InitializeConnectionMulti,
    "text": eleven.SendTextMulti,
    "flush": eleven.FlushContext,
    "close_context": eleven.CloseContext,
    "keep_alive": eleven.KeepContextAlive,
    "close_socket": eleven.WebsocketTtsClientMessageMulti,
    "audio": eleven.AudioOutputMulti,
    "final": eleven.FinalOutputMulti,
}


def deepgram_kind(message: dict[str, Any]) -> str:
    return str(message["type"])


def elevenlabs_kind(message: dict[str, Any]) -> str:
    if message.get("isFinal"):
        return "final"
    for kind in ("close_socket", "close_context", "flush", "audio"):
        if message.get(kind):
            return kind
    return {" ": "begin", "": "keep_alive"}.get(message["text"], "text")


def codecs() -> dict[str, tuple[StreamCodec, Any, dict[str, type[BaseModel]], Any]]:
    asked = voice(VOICE, model_id="eleven_flash_v2_5")
    return {
        "deepgram": (
            DeepgramStream("deepgram", "https://api.example", asked),
            DeepgramSpeak({"model": "m", "encoding": "linear16", "sample_rate": "16000"}),
            DEEPGRAM,
            deepgram_kind,
        ),
        "elevenlabs": (
            ElevenLabsStream("elevenlabs", "https://api.example", VOICE, asked),
            ElevenLabsMulti({"output_format": "pcm_16000", "auto_mode": "true"}),
            ELEVENLABS,
            elevenlabs_kind,
        ),
    }


@pytest.mark.parametrize("name", ["deepgram", "elevenlabs"])
def test_every_message_of_a_conversation_is_as_the_library_has_it(name: str) -> None:
    codec, talk, models, kind_of = codecs()[name]
    seen: set[str] = set()
    spoken: list[Spoken] = []

    def judge(message: Message) -> None:
        if isinstance(message, str):
            found = json.loads(message)
            seen.add(kind_of(found))
            model = models[kind_of(found)]
            known = {field.alias or key for key, field in model.model_fields.items()} | set(
                model.model_fields
            )
            model.model_validate({key: value for key, value in found.items() if value is not None})
            if message in sent:
                assert set(found) <= known, found

    sent: list[Message] = []

    def exchange() -> None:
        for message in codec.take():
            sent.append(message)
            judge(message)
            for answer in talk.take(message):
                judge(answer)
                spoken.extend(codec.receive(answer))

    for message in talk.greet():
        judge(message)
    steps: tuple[Callable[[], None], ...] = (
        lambda: codec.feed("Good morning. "),
        codec.keep_alive,
        codec.finalize,
        lambda: codec.feed("Never heard. "),
        codec.clear,
        lambda: codec.feed("Zulu"),
        codec.finalize,
        codec.close,
    )
    for step in steps:
        step()
        exchange()
    assert seen == set(models)
    assert sum(isinstance(item, Done) for item in spoken) == 2
    assert any(isinstance(item, Audio) for item in spoken)
    words = [item.text for item in spoken if isinstance(item, Mark)]
    assert words == (["Good", "morning.", "Never", "heard.", "Zulu"] if name == "elevenlabs" else [])


def test_a_connection_is_asked_for_as_the_provider_documents_it() -> None:
    asked = voice(VOICE, model_id="m-1", language="pt-BR")
    dial = ElevenLabsStream("elevenlabs", "https://api.example/", VOICE, asked).dial()
    assert dial.url == (
        f"wss://api.example/v1/text-to-speech/{VOICE}/multi-stream-input?model_id=m-1&output_format=pcm_16000"
        "&auto_mode=true&sync_alignment=true&inactivity_timeout=60&language_code=pt"
    )
    assert dial.headers == {"xi-api-key": "k-1"}
    dial = DeepgramStream("deepgram", "http://127.0.0.1:7", voice("aura-2-thalia-en")).dial()
    assert dial.url == (
        "ws://127.0.0.1:7/v1/speak?model=aura-2-thalia-en&encoding=linear16&sample_rate=16000"
    )
    assert dial.headers == {"Authorization": "Token k-1"}
    assert "k-1" not in repr(dial)
