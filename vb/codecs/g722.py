"""G.722 at 64 kbit/s: 16 kHz audio, two samples a byte, one state per stream and direction.

A fresh coder on every frame would turn the audio to noise, so the objects here live as long as their stream.
"""

from typing import Final

import numpy as np

from vb.codecs.g722_state import can_copy, copy_encoder, new_coder
from vb.codecs.pcm import CodecError, FadingConcealer, Pcm

RATE_HZ: Final = 16000
DELAY_SAMPLES: Final = 22
"""Delay of encoder and decoder together: 1.4 ms."""


class G722Encoder:
    """Encodes one outgoing stream."""

    def __init__(self) -> None:
        self._coder = new_coder()

    def encode(self, pcm: Pcm) -> bytes:
        """Return one byte for two samples, of a frame of any even length.

        Raises:
            CodecError: the number of samples is odd.
        """
        if pcm.size % 2:
            raise CodecError(f"G.722 codes pairs of samples, not {pcm.size}")
        return self._coder.encode(pcm)


class CopyableG722Encoder(G722Encoder):
    """An encoder that can go on where another one stands."""

    def copy_from(self, other: G722Encoder) -> None:
        """Take over the whole state of another encoder."""
        copy_encoder(other._coder, self._coder)


def make_g722_encoder() -> G722Encoder:
    """Return an encoder, one that can be copied where this machine allows it."""
    return CopyableG722Encoder() if can_copy() else G722Encoder()


class G722Decoder:
    """Decodes one incoming stream; every payload is valid."""

    def __init__(self) -> None:
        self._coder = new_coder()
        self._concealer = FadingConcealer(RATE_HZ)

    def decode(self, payload: bytes) -> Pcm:
        """Return two samples for each byte."""
        pcm: Pcm = np.frombuffer(self._coder.decode(bytes(payload)), np.int16)
        self._concealer.remember(pcm)
        return pcm

    def conceal(self, samples: int) -> Pcm:
        """Return `samples` for audio that did not arrive: the last frame, fading."""
        return self._concealer.conceal(samples)
