"""G.722 at 64 kbit/s: 16 kHz audio, two samples a byte, one state per stream and direction.

A fresh coder on every frame would turn the audio to noise, so the objects here live as long as their stream.
"""

from typing import Final

import numpy as np
from G722 import G722

from vb.codecs.pcm import CodecError, FadingConcealer, Pcm

RATE_HZ: Final = 16000
BIT_RATE: Final = 64000
DELAY_SAMPLES: Final = 22
"""Delay of encoder and decoder together: 1.4 ms."""


class G722Encoder:
    """Encodes one outgoing stream."""

    def __init__(self) -> None:
        self._coder = G722(RATE_HZ, BIT_RATE)

    def encode(self, pcm: Pcm) -> bytes:
        """Return one byte for two samples, of a frame of any even length.

        Raises:
            CodecError: the number of samples is odd.
        """
        if pcm.size % 2:
            raise CodecError(f"G.722 codes pairs of samples, not {pcm.size}")
        return self._coder.encode(pcm)


class G722Decoder:
    """Decodes one incoming stream; every payload is valid."""

    def __init__(self) -> None:
        self._coder = G722(RATE_HZ, BIT_RATE)
        self._concealer = FadingConcealer(RATE_HZ)

    def decode(self, payload: bytes) -> Pcm:
        """Return two samples for each byte."""
        pcm: Pcm = np.frombuffer(self._coder.decode(bytes(payload)), np.int16)
        self._concealer.remember(pcm)
        return pcm

    def conceal(self, samples: int) -> Pcm:
        """Return `samples` for audio that did not arrive: the last frame, fading."""
        return self._concealer.conceal(samples)
