"""Messages of ours and of the services in tests are as the providers' own libraries describe them."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from deepgram.listen.v1 import types as v1
from deepgram.listen.v2 import types as v2
from elevenlabs import types as eleven
from pydantic import BaseModel, ValidationError

from conformance.peers.stt_talk import TALKS, Talk
from conformance.peers.stt_words import WORDS
from tests.stt.test_codecs import make, url_of
from vb.stt.base import Codec, FinalText, Options, Read
from vb.web.message import Message

Models = dict[str, type[BaseModel]]

SENT: dict[str, Models] = {
    "deepgram": {
        "Finalize": v1.ListenV1Finalize,
        "KeepAlive": v1.ListenV1KeepAlive,
        "CloseStream": v1.ListenV1CloseStream,
    },
    "deepgram_flux": {"ForceEndTurn": v2.ListenV2ForceEndTurn, "CloseStream": v2.ListenV2CloseStream},
    "elevenlabs": {"input_audio_chunk": eleven.InputAudioChunkPayload},
}
TOLD: dict[str, Models] = {
    "deepgram": {
        "Results": v1.ListenV1Results,
        "UtteranceEnd": v1.ListenV1UtteranceEnd,
        "Metadata": v1.ListenV1Metadata,
    },
    "deepgram_flux": {"Connected": v2.ListenV2Connected, "TurnInfo": v2.ListenV2TurnInfo},
    "elevenlabs": {
        "session_started": eleven.SessionStartedPayload,
        "partial_transcript": eleven.PartialTranscriptPayload,
        "committed_transcript": eleven.CommittedTranscriptPayload,
    },
}
OPTIONS = {"deepgram": Options(utterance_end_ms=1000), "deepgram_flux": Options(eager_eot_threshold=0.4)}


class Judged:
    """A conversation between a codec and a service, each message of which is judged."""

    def __init__(self, name: str) -> None:
        self.codec: Codec = make(name, OPTIONS.get(name, Options()))
        place, query = url_of(self.codec)
        path = "/" + place.split("/", 3)[3]
        self.talk: Talk = TALKS[path](dict(query), 200)
        self.seen: set[str] = set()
        self.read: list[Read] = []
        self._sent, self._told = SENT[name], TOLD[name]
        self._hear(self.talk.greet())

    def send(self, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, str):
                self._judge(self._sent, message)
            self._hear(self.talk.take(message)[1])

    def _hear(self, messages: list[str]) -> None:
        for message in messages:
            self._judge(self._told, message)
            self.read += self.codec.receive(message)

    def _judge(self, models: Models, message: str) -> None:
        value = json.loads(message)
        kind = value.get("type") or value["message_type"]
        models[kind].model_validate(value)
        self.seen.add(kind)


def spoken(*words: str) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    tones = {word: hz for hz, word in WORDS.items()}
    steps = np.arange(2560) / 16000
    waves = [8000 * np.sin(2 * np.pi * tones[word] * steps) for word in words]
    return np.concatenate([*waves, np.zeros(8000)]).astype(np.int16)


@pytest.mark.parametrize("name", SENT)
def test_every_message_of_a_conversation_is_as_the_library_has_it(name: str) -> None:
    judged = Judged(name)
    for block in np.split(spoken("alpha", "bravo"), 40 if name == "elevenlabs" else 20):
        judged.send(judged.codec.audio(block))
    judged.send(judged.codec.audio(spoken("charlie")[:2560]))
    steps: list[Callable[[], list[Message]]] = [
        judged.codec.finalize,
        judged.codec.keep_alive,
        judged.codec.finish,
    ]
    for step in steps:
        judged.send(step())
    assert judged.seen == set(SENT[name]) | set(TOLD[name])
    finals = [read.text for read in judged.read if isinstance(read, FinalText) and read.text]
    assert finals == ["alpha bravo", "charlie"]


def test_the_judge_judges() -> None:
    with pytest.raises(ValidationError):
        v2.ListenV2TurnInfo.model_validate({"type": "TurnInfo"})
    with pytest.raises(ValidationError):
        eleven.InputAudioChunkPayload.model_validate({"message_type": "input_audio_chunk"})
