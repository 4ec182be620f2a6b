"""What is said over an audio WebSocket: messages in, audio and control out, and the other way round."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from vb.web.message import Message

WireFormat = Literal["binary", "json_base64"]
SampleRate = Literal[8000, 16000, 24000, 48000]

WIRE_FORMATS: Final[tuple[WireFormat, ...]] = get_args(WireFormat)
SAMPLE_RATES_HZ: Final[tuple[SampleRate, ...]] = get_args(SampleRate)
DEFAULT_RATE_HZ: Final = 16000
PCM_NAME: Final = "pcm_s16le"
SAMPLE_BYTES: Final = 2
MAX_TEXT_CHARS: Final = 262_144
"""Of JSON: two seconds of audio at the highest rate, and little enough to be read between two ticks."""
_STOPS: Final = frozenset({"hangup", "stop"})
_MAX_ID_CHARS: Final = 128
_MAX_ID: Final = 2**63


@dataclass(frozen=True, slots=True)
class Text:
    """Text of the far end."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The far end asks whether we are there; it wants its id back."""

    event_id: int | float | str | None


@dataclass(frozen=True, slots=True)
class Stop:
    """The far end hangs up."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A message that asks for nothing: a pong, or a type that is not known."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A message that cannot be used.

    Attributes:
        problem: what is wrong with it, for the log.
    """

    problem: str


Control: TypeAlias = Text | Ping | Stop | Nothing | Unusable
_STOP: Final = Stop()
_NOTHING: Final = Nothing()
_TOO_LONG: Final = Unusable("too long")
_NOT_JSON: Final = Unusable("not a JSON object")
_WRONG_MODE: Final = Unusable("audio in the other format")
_ODD: Final = Unusable("half a sample")
_NOT_BASE64: Final = Unusable("not Base64")


def read_message(message: Message, wire_format: WireFormat) -> bytes | Control:
    """Return the audio that a message holds, s16le, or what else it says."""
    if isinstance(message, bytes):
        if wire_format != "binary":
            return _WRONG_MODE
        return _ODD if len(message) % SAMPLE_BYTES else message
    if len(message) > MAX_TEXT_CHARS:
        return _TOO_LONG
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return _NOT_JSON
    if not isinstance(found, dict):
        return _NOT_JSON
    kind = found.get("type")
    if kind == "audio" or (kind is None and "audio" in found):
        return _read_audio(found.get("audio")) if wire_format == "json_base64" else _WRONG_MODE
    return _read_control(kind, found)


def _read_audio(value: object) -> bytes | Control:
    if not isinstance(value, str):
        return _NOT_BASE64
    try:
        pcm = binascii.a2b_base64(value, strict_mode=True)
    except ValueError:  # not ASCII, or no Base64
        return _NOT_BASE64
    return _ODD if len(pcm) % SAMPLE_BYTES else pcm


def _read_control(kind: object, fields: Mapping[str, Any]) -> Control:
    if kind == "text":
        text = fields.get("text")
        return Text(_whole(text)) if isinstance(text, str) and text else _NOTHING
    if kind == "ping":
        return Ping(_event_id(fields.get("event_id")))
    return _STOP if isinstance(kind, str) and kind in _STOPS else _NOTHING


def _whole(text: str) -> str:
    """Return text without halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _event_id(value: object) -> int | float | str | None:
    """Return an id that can be sent back."""
    if isinstance(value, str):
        return _whole(value[:_MAX_ID_CHARS])
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_ID:
        return value  # NaN is not less than anything
    return None


# -- what we say ---------------------------------------------------------------------------------------------


def audio_message(pcm: bytes, wire_format: WireFormat) -> Message:
    """Return the message of some audio, s16le."""
    if wire_format == "binary":
        return pcm
    return f'{{"audio":"{binascii.b2a_base64(pcm, newline=False).decode("ascii")}"}}'


def connected_message(participant_id: str, rate_hz: int, *, leg_id: str | None = None) -> str:
    """Return the first message that a client gets."""
    legs = {} if leg_id is None else {"leg_id": leg_id}
    return _dump(
        {
            "type": "connected",
            **legs,
            "participant_id": participant_id,
            "sample_rate": rate_hz,
            "format": PCM_NAME,
        }
    )


def text_message(text: str) -> str:
    """Return text for the far end."""
    return _dump({"type": "text", "text": _whole(text)})


def ping_message(number: int) -> str:
    """Return a question whether the far end is there."""
    return _dump({"type": "ping", "event_id": number})


def pong_message(event_id: int | float | str | None) -> str:
    """Return the answer to a ping."""
    return _dump({"type": "pong"} if event_id is None else {"type": "pong", "event_id": event_id})


def dropped_message(direction: str, reason: str, count: int, duration_ms: int) -> str:
    """Return the news that some of the audio was lost."""
    return _dump(
        {
            "type": "audio_dropped",
            "direction": direction,
            "reason": reason,
            "count": count,
            "duration_ms": duration_ms,
        }
    )


def _dump(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
