"""G.711 µ-law and A-law as look-up tables.

A whole batch of frames is coded by one fancy index: `ULAW_TO_PCM[payload]` and
`PCM_TO_ULAW[pcm.view(np.uint16)]`. The tables follow the segment formulas of the Recommendation on 16-bit
samples; a negative sample is mirrored by its one's complement, as the range of two's-complement numbers is.

Spec: ITU-T G.711 tables 1 and 2.
"""

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import FadingConcealer, Pcm

RATE_HZ: Final = 8000

_ULAW_BIAS = 33
"""Added to a 14-bit magnitude, so that every segment starts at a power of two."""
_ULAW_MAX = 8191
_ALAW_TOGGLE = 0x55
"""A-law sends every second bit inverted."""


def _decode_ulaw() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    segment, step = code >> 4 & 7, code & 0xF
    magnitude = ((2 * step + _ULAW_BIAS) << segment) - _ULAW_BIAS
    return np.where(code & 0x80, -4 * magnitude, 4 * magnitude).astype(np.int16)


def _decode_alaw() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ _ALAW_TOGGLE
    segment, step = code >> 4 & 7, code & 0xF
    # In units of half a step of the first segment; segments 0 and 1 share the same step size.
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, 8 * magnitude, -8 * magnitude).astype(np.int16)


def _samples() -> NDArray[np.int32]:
    """All 16-bit samples in the order of their unsigned view."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


def _log2(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The position of the highest set bit of each positive value."""
    return (np.frexp(values)[1] - 1).astype(np.int32)


def _encode_ulaw() -> NDArray[np.uint8]:
    samples = _samples()
    magnitude = np.minimum((np.where(samples < 0, ~samples, samples) >> 2) + _ULAW_BIAS, _ULAW_MAX)
    segment = _log2(magnitude) - 5
    step = magnitude >> (segment + 1) & 0xF
    sign = np.where(samples < 0, 0x80, 0)
    code: NDArray[np.uint8] = (~(sign | segment << 4 | step) & 0xFF).astype(np.uint8)
    return code


def _encode_alaw() -> NDArray[np.uint8]:
    samples = _samples()
    magnitude = np.where(samples < 0, ~samples, samples) >> 4
    segment = np.maximum(_log2(np.maximum(magnitude, 1)) - 3, 0)
    step = magnitude >> np.maximum(segment - 1, 0) & 0xF
    sign = np.where(samples < 0, 0, 0x80)
    code: NDArray[np.uint8] = ((sign | segment << 4 | step) ^ _ALAW_TOGGLE).astype(np.uint8)
    return code


ULAW_TO_PCM: Final = _decode_ulaw()
"""int16 (256,): the sample of every µ-law byte."""
ALAW_TO_PCM: Final = _decode_alaw()
"""int16 (256,): the sample of every A-law byte."""
PCM_TO_ULAW: Final = _encode_ulaw()
"""uint8 (65536,): the µ-law byte of every sample, indexed by the sample's uint16 view."""
PCM_TO_ALAW: Final = _encode_alaw()
"""uint8 (65536,): the A-law byte of every sample, indexed by the sample's uint16 view."""
for _table in (ULAW_TO_PCM, ALAW_TO_PCM, PCM_TO_ULAW, PCM_TO_ALAW):
    _table.setflags(write=False)


class TableEncoder:
    """Encodes one stream by table; the batched media plane uses the tables themselves."""

    def __init__(self, table: NDArray[np.uint8]) -> None:
        self._table = table

    def encode(self, pcm: Pcm) -> bytes:
        """Return one byte per sample."""
        return self._table[np.ascontiguousarray(pcm).view(np.uint16)].tobytes()

    def copy_from(self, other: Self) -> None:
        """Go on where another encoder stands: there is no state to take over."""


class TableDecoder:
    """Decodes one stream by table and hides its losses by a fade."""

    def __init__(self, table: NDArray[np.int16]) -> None:
        self._table = table
        self._concealer = FadingConcealer(RATE_HZ)

    def decode(self, payload: bytes) -> Pcm:
        """Return one sample per byte; every payload is valid."""
        pcm: Pcm = self._table[np.frombuffer(payload, np.uint8)]
        self._concealer.remember(pcm)
        return pcm

    def conceal(self, samples: int) -> Pcm:
        """Return `samples` for audio that did not arrive."""
        return self._concealer.conceal(samples)
