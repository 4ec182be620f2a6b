"""Utterances inside the helper: which piece of which is spoken next.

After each piece comes the utterance whose listener will run out of audio first, so that the first word of one
need not wait for the last of another. One whose audio is not taken waits until it is, and holds up nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vb.codecs.pcm import Pcm
from vb.local_speech.frames import Frame, Kind, with_fields, with_sound
from vb.local_speech.sentences import Sentences

MAX_TEXT: Final = 20_000
"""Characters of one utterance that wait at most."""
_LEAD_S: Final = 0.04
_QUIET: Final = 200
"""What is no louder is no speech yet."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What an engine is to speak.

    Attributes:
        id: of the utterance.
        text: of the piece.
        voice: name of the voice; "" for the first there is.
        language: such as en-US; "" for the voice's own.
    """

    id: int
    text: str
    voice: str
    language: str


@dataclass(slots=True)
class _Utterance:
    id: int
    voice: str
    language: str
    ahead: int
    """Samples that may be made before one of them is taken."""
    sentences: Sentences = field(default_factory=Sentences)
    pieces: deque[str] = field(default_factory=deque)
    chars: int = 0
    made: int = 0
    taken: int = 0
    complete: bool = False

    @property
    def ready(self) -> bool:
        return bool(self.pieces) and self.made - self.taken < self.ahead


class Speaking:
    """The utterances of one helper."""

    def __init__(self) -> None:
        self._utterances: dict[int, _Utterance] = {}
        self._speaking: set[int] = set()
        """Those of which an engine speaks a piece now."""

    def __len__(self) -> int:
        return len(self._utterances)

    def take(self, frame: Frame) -> list[Frame]:
        """Take a frame about an utterance and return what is to be answered."""
        if frame.kind is Kind.VOICE:
            fields = frame.fields
            self._utterances[frame.id] = _Utterance(
                frame.id,
                str(fields.get("voice", "")),
                str(fields.get("language", "")),
                int(fields.get("ahead", 0)) or 1,
            )
            return []
        utterance = self._utterances.get(frame.id)
        if utterance is None:  # cancelled or failed before
            return []
        if frame.kind is Kind.TEXT:
            return self._text(utterance, frame.text)
        if frame.kind is Kind.END:
            utterance.pieces.extend(utterance.sentences.end())
            utterance.complete = True
            return self._end(utterance)
        if frame.kind is Kind.MORE:
            utterance.taken += frame.number
        else:
            del self._utterances[frame.id]
        return []

    def _text(self, utterance: _Utterance, text: str) -> list[Frame]:
        utterance.chars += len(text)
        if utterance.chars > MAX_TEXT:
            del self._utterances[utterance.id]
            return [failure(utterance.id, "permanent_input", "the text is too long")]
        utterance.pieces.extend(utterance.sentences.feed(text))
        return []

    def next(self) -> Piece | None:
        """Return the piece that is to be spoken next; None when all wait for text or a listener."""
        ready = [each for each in self._utterances.values() if each.ready and each.id not in self._speaking]
        if not ready:
            return None
        utterance = min(ready, key=lambda each: each.made - each.taken)
        del self._utterances[utterance.id]  # the others come first from now on
        self._utterances[utterance.id] = utterance
        self._speaking.add(utterance.id)
        return Piece(utterance.id, utterance.pieces.popleft(), utterance.voice, utterance.language)

    def wanted(self, piece: Piece) -> bool:
        """Return whether anybody still listens to a piece."""
        return piece.id in self._utterances

    def said(self, piece: Piece, rate_hz: int, pcm: Pcm) -> Iterable[Frame]:
        """Return the frames of a piece that was spoken; none if nobody wants it any more."""
        self._speaking.discard(piece.id)
        utterance = self._utterances.get(piece.id)
        if utterance is None:
            return []
        if not utterance.made:
            pcm = without_lead(rate_hz, pcm)
        start = utterance.made
        utterance.made += len(pcm)
        utterance.chars -= len(piece.text)
        mark = with_fields(
            Kind.SAID,
            piece.id,
            text=piece.text,
            start_ms=start * 1000 // rate_hz,
            end_ms=utterance.made * 1000 // rate_hz,
        )
        return [*with_sound(piece.id, rate_hz, pcm), mark, *self._end(utterance)]

    def failed(self, piece: Piece, category: str, text: str) -> list[Frame]:
        """Return what is to be said of a piece that could not be spoken; its utterance ends."""
        self._speaking.discard(piece.id)
        if self._utterances.pop(piece.id, None) is None:
            return []
        return [failure(piece.id, category, text)]

    def _end(self, utterance: _Utterance) -> list[Frame]:
        if not utterance.complete or utterance.pieces or utterance.id in self._speaking:
            return []
        self._utterances.pop(utterance.id, None)
        return [Frame(Kind.DONE, utterance.id)]


def without_lead(rate_hz: int, pcm: Pcm) -> Pcm:
    """Return the first audio of an utterance without the silence before it: voices take a third of a second.

    Between pieces it stays, as the pause that it is.
    """
    loud = np.abs(pcm.astype(np.int32)) > _QUIET
    return pcm[max(0, int(loud.argmax()) - int(_LEAD_S * rate_hz)) :] if loud.any() else pcm


def failure(number: int, category: str, text: str) -> Frame:
    """Return what ends an utterance or transcript that failed."""
    return with_fields(Kind.FAILED, number, category=category, text=text)
