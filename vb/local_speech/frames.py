"""Frames on the pipes between the server and its helper process.

A frame is a message of `vb.children.framing`. Ids name utterances, transcripts and batches, and are never
used twice while a helper lives. Numbers are big-endian, audio is little-endian as numpy has it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from vb.children.framing import Garbage, Splitter, fields_of, pack
from vb.codecs.pcm import Pcm, pcm_bytes

_RATE: Final = struct.Struct(">I")

MAX_BODY_BYTES: Final = 1_048_576
AUDIO_BODY_BYTES: Final = 32_768
"""Longer audio is several frames, so that a cancel finds its end soon."""


class Kind(IntEnum):
    """What a frame says; those below 64 go to the helper."""

    VOICE = 1
    """Begin an utterance: JSON of voice, language, ahead."""
    TEXT = 2
    """More of its text, UTF-8."""
    END = 3
    """Its text is complete."""
    MORE = 4
    """So many samples of it were taken."""
    CANCEL = 5
    """Drop an utterance or a transcript; nothing follows."""
    STREAM = 6
    """Begin a transcript: JSON of model, language, partials."""
    AUDIO = 7
    """More of what is to be written down: int16 at 16 kHz."""
    FLUSH = 8
    """What was said up to here is complete."""
    CLOSE = 9
    """As FLUSH, and nothing follows it but DONE."""
    FRAMES = 10
    """Frames of 32 ms of several rows, to tell speech from noise."""
    PING = 11
    TURN = 12
    """The end of what somebody said, int16 at 16 kHz: is that all?"""

    READY = 65
    """The first frame: JSON of what the helper can do."""
    SOUND = 66
    """A rate, then int16 samples of an utterance."""
    SAID = 67
    """A part of the text and where it lies in the utterance: JSON."""
    DONE = 68
    """An utterance or transcript is complete."""
    FAILED = 69
    """It ends here: JSON of category and text."""
    HEARD = 70
    """Something of a transcript: JSON."""
    ODDS = 71
    """Probabilities of speech, float32, one for each row."""
    PONG = 72
    """JSON of rss_kb, busy_s and waiting."""
    FINISHED = 73
    """The probability that it is: one float32."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        kind: what it says.
        id: which utterance, transcript or batch it is about; 0 for none.
        body: as `Kind` says.
    """

    kind: Kind
    id: int
    body: bytes = b""

    def encode(self) -> bytes:
        """Return its bytes."""
        return pack(self.kind, self.id, self.body)

    @property
    def fields(self) -> dict[str, Any]:
        """Return a JSON body.

        Raises:
            Garbage: the body is no JSON object.
        """
        return fields_of(self.body, f"{self.kind.name} is no JSON object")

    @property
    def text(self) -> str:
        """Return a body of text.

        Raises:
            Garbage: it is not UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise Garbage(f"{self.kind.name} is not UTF-8") from None

    @property
    def number(self) -> int:
        """Return a body of one number.

        Raises:
            Garbage: it is anything else.
        """
        if len(self.body) != _RATE.size:
            raise Garbage(f"{self.kind.name} is not four bytes")
        (value,) = _RATE.unpack(self.body)
        return int(value)


def with_fields(kind: Kind, number: int, /, **fields: Any) -> Frame:
    """Return a frame with a JSON body."""
    return Frame(kind, number, json.dumps(fields).encode())


def with_number(kind: Kind, number: int, value: int) -> Frame:
    """Return a frame whose body is one number."""
    return Frame(kind, number, _RATE.pack(value))


def with_audio(number: int, pcm: Pcm) -> Iterator[Frame]:
    """Return audio for a transcript, in frames of a bearable size."""
    raw = pcm_bytes(pcm)
    for start in range(0, len(raw), AUDIO_BODY_BYTES):
        yield Frame(Kind.AUDIO, number, raw[start : start + AUDIO_BODY_BYTES])


def with_sound(number: int, rate_hz: int, pcm: Pcm) -> Iterator[Frame]:
    """Return audio of an utterance, in frames of a bearable size."""
    raw, rate = pcm_bytes(pcm), _RATE.pack(rate_hz)
    for start in range(0, len(raw), AUDIO_BODY_BYTES):
        yield Frame(Kind.SOUND, number, rate + raw[start : start + AUDIO_BODY_BYTES])


def samples_of(body: bytes) -> Pcm:
    """Return the audio of a body.

    Raises:
        Garbage: it is half a sample too long.
    """
    if len(body) % 2:
        raise Garbage("audio ends in mid-sample")
    return np.frombuffer(body, "<i2").astype(np.int16)


def sound_of(frame: Frame) -> tuple[int, Pcm]:
    """Return rate and samples of a SOUND.

    Raises:
        Garbage: it is malformed.
    """
    if len(frame.body) < _RATE.size:
        raise Garbage("SOUND has no rate")
    (rate_hz,) = _RATE.unpack_from(frame.body)
    if not 8000 <= rate_hz <= 48000:
        raise Garbage("SOUND has an impossible rate")
    return int(rate_hz), samples_of(frame.body[_RATE.size :])


class FrameReader:
    """Finds frames in bytes as they come."""

    def __init__(self) -> None:
        self._messages = Splitter(Kind, MAX_BODY_BYTES)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that end in `data`.

        Raises:
            Garbage: no frame begins like that; the pipe is of no more use.
        """
        return [Frame(Kind(kind), number, body) for kind, number, body in self._messages.feed(data)]
