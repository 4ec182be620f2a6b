"""What services that transcribe say and take, without their sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from conformance.peers.stt_words import Utterance, WordEngine

Message = str | bytes
REQUEST_ID = "5f3c1a52-6c1e-4a0e-9d55-1b6f3a7e0c11"


class Talk:
    """One connection; subclasses speak one protocol each.

    Attributes:
        over: whether everything is said and the socket is to be closed.
    """

    def __init__(self, query: Mapping[str, str], pause_ms: int) -> None:
        self.query = query
        self.engine = WordEngine(pause_ms)
        self.over = False

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        """Whether a handshake brings the key."""
        raise NotImplementedError

    def greet(self) -> list[str]:
        """What is said first."""
        return []

    def take(self, message: Message) -> tuple[bytes, list[str]]:
        """Takes a message; returns the audio in it and what is answered."""
        raise NotImplementedError

    def hear(self, audio: bytes) -> list[str]:
        """Listens, and tells what was heard."""
        more, ended = self.engine.hear(audio)
        told = [text for utterance in ended for text in self.final(utterance)]
        return told + (self.partial(self.engine.current) if more else [])

    def partial(self, utterance: Utterance) -> list[str]:
        """Messages that tell what may still change."""
        raise NotImplementedError

    def final(self, utterance: Utterance) -> list[str]:
        """Messages that tell what was said."""
        raise NotImplementedError


class Deepgram(Talk):
    """`/v1/listen`."""

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "token" and value == key

    def take(self, message: Message) -> tuple[bytes, list[str]]:
        if isinstance(message, bytes):
            return message, self.hear(message)
        kind = json.loads(message)["type"]
        if kind == "KeepAlive":
            return b"", []
        if kind == "Finalize":
            return b"", self._results(self.engine.commit(), final=True, from_finalize=True)
        assert kind == "CloseStream", message
        self.over = True
        ended = self.engine.commit()
        told = self._results(ended, final=True) if ended.words else []
        return b"", [*told, self._metadata()]

    def partial(self, utterance: Utterance) -> list[str]:
        if self.query.get("interim_results") != "true":
            return []
        return self._results(utterance, final=False)

    def final(self, utterance: Utterance) -> list[str]:
        told = self._results(utterance, final=True)
        if "utterance_end_ms" in self.query:
            end = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": utterance.end_ms / 1000}
            told.append(json.dumps(end))
        return told

    def _results(self, utterance: Utterance, *, final: bool, from_finalize: bool = False) -> list[str]:
        info = {"name": "general", "version": "1", "arch": "nova-3"}
        alternative = {"transcript": utterance.text, "confidence": 0.98, "words": []}
        return [
            json.dumps(
                {
                    "type": "Results",
                    "channel_index": [0, 1],
                    "duration": (utterance.end_ms - utterance.start_ms) / 1000,
                    "start": utterance.start_ms / 1000,
                    "is_final": final,
                    "speech_final": final and not from_finalize,
                    "channel": {"alternatives": [alternative]},
                    "metadata": {"request_id": REQUEST_ID, "model_info": info, "model_uuid": REQUEST_ID},
                    "from_finalize": from_finalize,
                }
            )
        ]

    def _metadata(self) -> str:
        return json.dumps(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": REQUEST_ID,
                "sha256": "0" * 64,
                "created": "2026-01-01T00:00:00Z",
                "duration": self.engine.position_ms / 1000,
                "channels": 1,
            }
        )


class Flux(Talk):
    """`/v2/listen`."""

    def __init__(self, query: Mapping[str, str], pause_ms: int) -> None:
        super().__init__(query, pause_ms)
        self._sequence = 0
        self._turn = 0

    knows = staticmethod(Deepgram.knows)

    def greet(self) -> list[str]:
        return [self._numbered({"type": "Connected", "request_id": REQUEST_ID})]

    def take(self, message: Message) -> tuple[bytes, list[str]]:
        if isinstance(message, bytes):
            return message, self.hear(message)
        kind = json.loads(message)["type"]
        if kind == "ForceEndTurn":
            return b"", self.final(self.engine.commit())
        assert kind == "CloseStream", message
        self.over = True
        ended = self.engine.commit()
        return b"", self.final(ended) if ended.words else []

    def partial(self, utterance: Utterance) -> list[str]:
        first = len(utterance.words) == 1
        return [self._info("StartOfTurn", utterance)] * first + [self._info("Update", utterance)]

    def final(self, utterance: Utterance) -> list[str]:
        told = [self._info("EagerEndOfTurn", utterance)] if "eager_eot_threshold" in self.query else []
        told.append(self._info("EndOfTurn", utterance, trigger="model"))
        self._turn += 1
        return told

    def _info(self, event: str, utterance: Utterance, **more: str) -> str:
        count = max(1, len(utterance.words))
        step = (utterance.end_ms - utterance.start_ms) / 1000 / count
        begin = utterance.start_ms / 1000
        words = [
            {"word": word, "confidence": 0.9, "start": begin + n * step, "end": begin + (n + 1) * step}
            for n, word in enumerate(utterance.words)
        ]
        return self._numbered(
            {
                "type": "TurnInfo",
                "request_id": REQUEST_ID,
                "event": event,
                "turn_index": self._turn,
                "audio_window_start": begin,
                "audio_window_end": utterance.end_ms / 1000,
                "transcript": utterance.text,
                "words": words,
                "end_of_turn_confidence": 0.95 if event == "EndOfTurn" else 0.3,
                **more,
            }
        )

    def _numbered(self, message: dict[str, Any]) -> str:
        number, self._sequence = self._sequence, self._sequence + 1
        return json.dumps({**message, "sequence_id": number})


class ElevenLabs(Talk):
    """`/v1/speech-to-text/realtime`."""

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        return headers.get("xi-api-key") == key

    def greet(self) -> list[str]:
        config = {
            "sample_rate": 16000,
            "audio_format": self.query.get("audio_format", "pcm_16000"),
            "model_id": self.query.get("model_id"),
            "language_code": self.query.get("language_code", "en"),
            "commit_strategy": self.query.get("commit_strategy", "manual"),
        }
        return [json.dumps({"message_type": "session_started", "session_id": REQUEST_ID, "config": config})]

    def take(self, message: Message) -> tuple[bytes, list[str]]:
        assert isinstance(message, str), "audio comes in text messages"
        chunk = json.loads(message)
        assert (chunk["message_type"], chunk["sample_rate"]) == ("input_audio_chunk", 16000), message
        audio = base64.b64decode(chunk["audio_base_64"], validate=True)
        told = self.hear(audio) if audio else []
        if chunk["commit"]:
            ended = self.engine.commit()
            told += self.final(ended)
        return audio, told

    def partial(self, utterance: Utterance) -> list[str]:
        return [json.dumps({"message_type": "partial_transcript", "text": utterance.text})]

    def final(self, utterance: Utterance) -> list[str]:
        return [json.dumps({"message_type": "committed_transcript", "text": utterance.text})]


class Azure(Talk):
    """`/speech/recognition/conversation/cognitiveservices/v1`."""

    def __init__(self, query: Mapping[str, str], pause_ms: int) -> None:
        super().__init__(query, pause_ms)
        self._request_id = ""
        self._paths: list[str] = []

    @staticmethod
    def knows(headers: Mapping[str, str], key: str) -> bool:
        return headers.get("ocp-apim-subscription-key") == key and len(headers["x-connectionid"]) == 32

    def take(self, message: Message) -> tuple[bytes, list[str]]:
        if isinstance(message, str):
            head, _, body = message.partition("\r\n\r\n")
            fields = _fields(head)
            json.loads(body)
            assert fields["x-timestamp"].endswith("Z"), head
            self._paths.append(fields["path"])
            return b"", []
        size = int.from_bytes(message[:2], "big")
        fields, audio = _fields(message[2 : 2 + size].decode("ascii")), message[2 + size :]
        assert (fields["path"], self._paths[:1]) == ("audio", ["speech.config"]), fields
        told: list[str] = []
        if fields["x-requestid"] != self._request_id:
            assert (audio[:4], audio[36:40]) == (b"RIFF", b"data"), "a turn begins with a header"
            audio = audio[44:]
            self._request_id = fields["x-requestid"]
            told.append(self._message("turn.start", {"context": {"serviceTag": REQUEST_ID}}))
        if audio:
            return audio, told + self.hear(audio)
        ended = self.engine.commit()
        self.over = True
        told += self.final(ended) if ended.words else []
        return b"", [*told, self._message("turn.end", {})]

    def partial(self, utterance: Utterance) -> list[str]:
        return [self._message("speech.hypothesis", {"Text": utterance.text, **_ticks(utterance)})]

    def final(self, utterance: Utterance) -> list[str]:
        best = {
            "Confidence": 0.9,
            "Lexical": utterance.text,
            "ITN": utterance.text,
            "MaskedITN": utterance.text,
            "Display": utterance.text,
        }
        phrase = {"RecognitionStatus": "Success", **_ticks(utterance), "NBest": [best]}
        return [self._message("speech.phrase", phrase)]

    def _message(self, path: str, body: object) -> str:
        head = (
            f"X-RequestId:{self._request_id}\r\nContent-Type:application/json; charset=utf-8\r\nPath:{path}"
        )
        return f"{head}\r\n\r\n{json.dumps(body)}"


def _fields(head: str) -> dict[str, str]:
    lines = [line.partition(":") for line in head.split("\r\n") if line]
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _ticks(utterance: Utterance) -> dict[str, int]:
    length_ms = utterance.end_ms - utterance.start_ms
    return {"Offset": utterance.start_ms * 10_000, "Duration": length_ms * 10_000}


TALKS: dict[str, type[Talk]] = {
    "/v1/listen": Deepgram,
    "/v2/listen": Flux,
    "/v1/speech-to-text/realtime": ElevenLabs,
    "/speech/recognition/conversation/cognitiveservices/v1": Azure,
}
