"""What is known of kept speech: what an utterance is called, what its file says, and what goes first."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import numpy as np

from vb.codecs.pcm import pcm_bytes
from vb.media.wav import MAX_RATE_HZ, MIN_RATE_HZ
from vb.tts.base import Audio
from vb.tts.speech import Speech

NAME: Final = re.compile(r"[0-9a-f]{64}")
PART_SUFFIX: Final = ".part"
MAX_ENTRY_BYTES: Final = 16 * 1024 * 1024
_HEADER: Final = re.compile(rb"audio/pcm;rate=(\d{4,6});length=(\d{1,9})\n")
_MAX_HEADER: Final = 64


def key_of(speech: Speech, *, with_api_key: bool) -> str:
    """Return the name of an utterance: of everything that makes it sound as it does, and of no secret.

    Args:
        speech: the utterance.
        with_api_key: whether it also depends on who asks; the key cannot be read back from the name.
    """
    voice = speech.voice
    parts = [speech.provider.name, voice.voice, voice.model_id, voice.language, voice.prompt, speech.text]
    if with_api_key:
        parts.append(voice.api_key.get_secret_value())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def pack(audio: Iterable[Audio], rate_hz: int) -> bytes:
    """Return the content of a file: a line with type, rate and length, then the samples."""
    samples = b"".join(pcm_bytes(piece.pcm) for piece in audio)
    return b"audio/pcm;rate=%d;length=%d\n%b" % (rate_hz, len(samples), samples)


def unpack(content: bytes) -> Audio | None:
    """Return what a file holds; None when it is not whole."""
    match = _HEADER.match(content[:_MAX_HEADER])
    if match is None:
        return None
    rate_hz, length = int(match[1]), int(match[2])
    if len(content) != match.end() + length or length % 2 or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        return None
    return Audio(np.frombuffer(content, "<i2", offset=match.end()).astype(np.int16, copy=False), rate_hz)


class CacheIndex:
    """Which utterances are kept, how large they are, and in which order they were used.

    Args:
        max_bytes: size of all together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self.size = 0

    def __contains__(self, key: str) -> bool:
        return key in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def use(self, key: str) -> None:
        """Remember that an utterance was used just now."""
        if key in self._sizes:
            self._sizes.move_to_end(key)

    def add(self, key: str, size: int) -> list[str]:
        """Enter an utterance; returns those that have to go for it."""
        self.drop(key)
        self._sizes[key] = size
        self.size += size
        gone = []
        while self.size > self._max_bytes:
            oldest = next(iter(self._sizes))
            self.drop(oldest)
            gone.append(oldest)
        return gone

    def drop(self, key: str) -> None:
        """Forget an utterance; harmless when it is not there."""
        self.size -= self._sizes.pop(key, 0)
