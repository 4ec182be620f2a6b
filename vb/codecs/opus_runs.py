"""Opus packets of many streams at once, some of them at a time by any thread.

libopus writes to where audio or payload is wanted, and the loop over the streams is one of the interpreter's
own iterators: between two calls of the library, which give the interpreter's lock up, nothing else is done
that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

from vb.codecs.opus import OpusDecoder, OpusEncoder
from vb.codecs.pcm import CodecError, Pcm

MOST_BYTES: Final = 1276
"""libopus makes no longer payload of a frame, whatever room it is given (RFC 6716 §3.2.1)."""
_REFUSED: Final = -1
_FORWARD: Final = 0
"""Decode what the packet holds, not the copy of what was before it."""


class DecodeRun:
    """One packet of each of some streams, decoded to the rows of an array.

    Args:
        decoders: of the streams, none twice.
        payloads: their packets.
        pcm: (n, samples) where the audio goes, without gaps; as many samples as each packet holds.

    Attributes:
        counts: of each packet the samples it gave, or a number below zero where it is damaged.
    """

    def __init__(self, decoders: Sequence[OpusDecoder], payloads: Sequence[bytes], pcm: Pcm) -> None:
        samples, start = pcm.shape[1], pcm.ctypes.data
        self._kept = decoders, pcm  # whoever decodes has nothing but addresses of them
        self._decode = decoders[0].library.decode
        self._states = [decoder.address for decoder in decoders]
        self._payloads = payloads
        self._sizes = list(map(len, payloads))
        self._places = range(start, start + pcm.nbytes, 2 * samples)
        self._samples = samples
        self.counts = [0] * len(payloads)

    def run(self, start: int, stop: int) -> None:
        """Decode the packets from `start` to before `stop`."""
        self.counts[start:stop] = map(
            self._decode,
            self._states[start:stop],
            self._payloads[start:stop],
            self._sizes[start:stop],
            self._places[start:stop],
            repeat(self._samples),
            repeat(_FORWARD),
        )


class EncodeRun:
    """One frame of each of some streams, encoded from where it lies to where its payload is wanted.

    All memory has to stay where it is, and may serve for any number of frames.

    Args:
        encoders: of the streams, none twice.
        samples: length of every frame.
        frames: address of each frame.
        places: where each payload goes; `MOST_BYTES` of room.

    Attributes:
        sizes: of each payload, or a number below zero where the frame could not be encoded.
    """

    def __init__(
        self, encoders: Sequence[OpusEncoder], samples: int, frames: Sequence[int], places: Sequence[int]
    ) -> None:
        self._library = encoders[0].library
        self._encoders = encoders
        self._states = [encoder.address for encoder in encoders]
        self._samples = samples
        self._frames = frames
        self._places = places
        self.sizes = [0] * len(encoders)
        self._errors: dict[int, CodecError] = {}

    def begin(self, levels: Sequence[int]) -> None:
        """Say how much work goes into each of the next frames."""
        self._errors.clear()
        for place, (encoder, level) in enumerate(zip(self._encoders, levels, strict=True)):
            if encoder.complexity != level:
                try:
                    encoder.set_complexity(level)
                except CodecError as error:
                    self._errors[place] = error

    def run(self, start: int, stop: int) -> None:
        """Encode the frames from `start` to before `stop`."""
        self.sizes[start:stop] = map(
            self._library.encode,
            self._states[start:stop],
            self._frames[start:stop],
            repeat(self._samples),
            self._places[start:stop],
            repeat(MOST_BYTES),
        )

        for place in self._errors:
            if start <= place < stop:
                self.sizes[place] = _REFUSED

    def error(self, place: int) -> CodecError:
        """Return why a frame could not be encoded."""
        return self._errors.get(place) or self._library.error(self.sizes[place], "Opus encoding")
