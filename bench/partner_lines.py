"""What each kind of service says to agents, as cheap as can be: one object for each connection."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from bench.served import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    frame_of,
    headers_of,
    opening_of,
    take_masked,
)
from vb.agents.protobuf import write_bytes, write_number

RATE_HZ: Final = 16_000
AGENT_HZ: Final = 500
AMPLITUDE: Final = 8000.0
MODEL_MS: Final = 100.0
"""From the request to a model until its first words."""
VOICE_MS: Final = 100.0
"""From the request to a voice, or its first words, until its first sample."""
EARS_MS: Final = 50.0
"""From the question for final words until they come."""
REPLY_S: Final = 4.0
AHEAD_S: Final = 1.0
"""So much a partner sends at once when it begins to speak; the rest at the pace at which it is heard."""
TALK_S: Final = 3.0
PAUSE_S: Final = 0.6
"""After an interruption."""
WORDS: Final = "some words that were said"
FAULTS: Final = ("refuse", "drop", "stall", "garbage", "lose", "huge", "deaf", "none")
"""What may be wrong with a partner, by its number."""

Later = Callable[[float, Callable[[], None]], None]
"""Does something so many seconds from now."""


def tone_of(seconds: float) -> bytes:
    """Return what a partner says, s16le; repeated it has no seam."""
    steps = np.arange(int(RATE_HZ * seconds))
    pcm: bytes = (AMPLITUDE * np.sin(2 * np.pi * AGENT_HZ * steps / RATE_HZ)).astype("<i2").tobytes()
    return pcm


class Counted:
    """What all lines together have heard and said.

    Attributes:
        open: conversations that have begun and are not over.
        bytes: of audio.
        messages: of audio.
        cuts: number of the conversation and wall time of each interruption.
        asked: requests to models and voices.
    """

    def __init__(self) -> None:
        self.open = 0
        self.bytes = 0
        self.messages = 0
        self.cuts: list[tuple[int, int]] = []
        self.asked = 0


class Line:
    """One connection: HTTP until it becomes a WebSocket.

    Args:
        send: sends bytes, at once or as soon as it can.
        later: does something later, unless the connection is over by then.
        counted: the sum of all.
    """

    def __init__(self, send: Callable[[bytes], None], later: Later, counted: Counted) -> None:
        self.over = False
        self.deaf = False
        self._send = send
        self._later = later
        self._counted = counted
        self._data = bytearray()
        self._path = ""
        self._number = 0
        self._fault = "none"
        self._begun = False
        self._talk = 0
        self._context = ""

    def take(self, data: bytes) -> None:
        """Take what has come."""
        self._data += data
        while not self.over and (self._take_frame() if self._path else self._take_request()):
            pass

    # -- requests ------------------------------------------------------------------------------------------

    def _take_request(self) -> bool:
        head, end, _ = bytes(self._data).partition(b"\r\n\r\n")
        if not end:
            return False
        headers = headers_of(head)
        size = int(headers.get(b"content-length", b"0"))
        if len(self._data) < len(head) + 4 + size:
            return False
        body = bytes(self._data[len(head) + 4 : len(head) + 4 + size])
        del self._data[: len(head) + 4 + size]
        path = head.split(b" ", 2)[1].decode()
        if b"upgrade" in headers:
            self._open(path, headers)
        else:
            self._answer(path, body)
        return True

    def _open(self, path: str, headers: dict[bytes, bytes]) -> None:
        self._path, _, query = path.partition("?")
        fields = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
        self._number = int(fields.get("leg", "0"))
        self._fault = fields.get("fault", "none")
        if self._fault == "refuse":
            self._send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            self.over = True
        elif self._fault != "stall":
            self._send(opening_of(headers))
            self._counted.open += 1
            self._begun = True
            self.over = self._fault == "drop"
            self.deaf = self._fault == "deaf"

    def _answer(self, path: str, body: bytes) -> None:
        self._counted.asked += 1
        if "chat/completions" in path:
            fault = json.loads(body)["model"]
            if fault == "refuse":
                self._send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            elif fault == "drop":
                self.over = True
            elif fault != "stall":
                self._later(MODEL_MS / 1000, self._speak_words)
        else:
            self._later(VOICE_MS / 1000, lambda: self._send(_VOICE))

    def _speak_words(self) -> None:
        self._send(_ANSWER)

    # -- frames --------------------------------------------------------------------------------------------

    def _take_frame(self) -> bool:
        frame = take_masked(self._data, read=_READ)
        if frame is None:
            return False
        opcode, size, payload = frame
        if opcode == CLOSE:
            self._send(frame_of(CLOSE, b"\x03\xe8"))
            self.over = True
        elif opcode == PING:
            self._send(PONG)
        elif opcode == BINARY and (self._talk or self._path != "/bot"):
            self._counted.bytes += size
            self._counted.messages += 1
        elif opcode == BINARY:
            self._begin_bot()
        elif b'"Settings"' in payload:
            self._number = int(json.loads(payload)["tags"][0])
            for kind in ("Welcome", "SettingsApplied"):
                self._tell({"type": kind, "request_id": "r"})
            self._start(0.1)
        elif b"Finalize" in payload:
            self._later(EARS_MS / 1000, lambda: self._send(_RESULT))
        elif self._path.startswith(_VOICES):
            self._take_words(json.loads(payload))
        return True

    def _take_words(self, message: dict[str, str]) -> None:
        """Speak once for each context that has words, whatever they are."""
        context = message.get("context_id", "")
        if message.get("text", "").strip() and context != self._context:
            self._context = context
            self._counted.asked += 1
            self._later(VOICE_MS / 1000, lambda: self._send(_spoken(context)))

    def _tell(self, message: dict[str, str]) -> None:
        self._send(frame_of(TEXT, json.dumps(message).encode()))

    def _begin_bot(self) -> None:
        ready = b'{"label":"rtvi-ai","type":"bot-ready","data":{}}'
        self._send(frame_of(BINARY, write_bytes(4, write_bytes(1, ready))))
        self._start(0.04)

    # -- speech --------------------------------------------------------------------------------------------

    def _start(self, piece_s: float) -> None:
        """Begin to speak after a time of one's own, so that not all are interrupted at once."""
        self._talk = 1
        audio = tone_of(piece_s)
        if self._path == "/bot":
            audio = write_bytes(2, write_bytes(3, audio) + write_number(4, RATE_HZ) + write_number(5, 1))
        self._piece, self._piece_s = frame_of(BINARY, audio), piece_s
        if self._fault == "garbage":
            self._send(frame_of(TEXT, b"[" * 9000) + frame_of(BINARY, b"\xff" * 999) + b"\xff\xff\xff")
        elif self._fault == "huge":
            self._send(frame_of(BINARY, bytes(5 << 20)))
        else:
            self._later(0.37 * self._number % (TALK_S + PAUSE_S), self._begin_turn)

    def _begin_turn(self) -> None:
        self._send(self._piece * round(AHEAD_S / self._piece_s))
        self._ends_at = time.monotonic() + TALK_S
        self._next_at = time.monotonic()
        self._go_on()

    def _go_on(self) -> None:
        now = time.monotonic()
        if self._fault == "lose":
            self.over = True
        elif now >= self._ends_at:
            self._cut()
        else:
            self._send(self._piece)
            self._next_at += self._piece_s
            self._later(self._next_at - now, self._go_on)

    def _cut(self) -> None:
        self._counted.cuts.append((self._number, time.time_ns()))
        if self._path == "/bot":
            self._send(frame_of(BINARY, write_bytes(5, b"")))
        else:
            self._tell({"type": "UserStartedSpeaking"})
        self._later(PAUSE_S, self._begin_turn)

    def end(self) -> None:
        """Take note that the connection is over."""
        self.over = True
        self._counted.open -= self._begun
        self._begun = False


_READ: Final = frozenset({TEXT})
_VOICES: Final = "/v1/text-to-speech/"
_AUDIO: Final = tone_of(REPLY_S)
_PIECE: Final = base64.b64encode(tone_of(1.0)).decode()
_VOICE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nContent-Length: %d\r\n\r\n" % len(_AUDIO) + _AUDIO
)


def _spoken(context: str) -> bytes:
    """Return what a voice says over a WebSocket, in pieces of a second."""
    piece = frame_of(TEXT, f'{{"audio":"{_PIECE}","contextId":"{context}"}}'.encode())
    return piece * round(REPLY_S) + frame_of(TEXT, f'{{"contextId":"{context}","isFinal":true}}'.encode())


def _answer() -> bytes:
    delta = {"choices": [{"index": 0, "delta": {"content": "These are the words of an answer."}}]}
    body = f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


def _result() -> bytes:
    alternative = {"transcript": WORDS, "confidence": 0.9, "words": []}
    result = {
        "type": "Results",
        "channel_index": [0, 1],
        "start": 0.0,
        "duration": 1.0,
        "is_final": True,
        "speech_final": True,
        "from_finalize": True,
        "channel": {"alternatives": [alternative]},
        "metadata": {
            "request_id": "",
            "model_uuid": "",
            "model_info": {"name": "", "version": "", "arch": ""},
        },
    }
    return frame_of(TEXT, json.dumps(result).encode())


_ANSWER: Final = _answer()
_RESULT: Final = _result()
