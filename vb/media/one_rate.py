"""Audio whose rate changes, brought to one rate: a leg's frames have that of the room it is in."""

from __future__ import annotations

from vb.codecs.pcm import Pcm
from vb.codecs.resample import StreamResampler


class OneRate:
    """Converts one stream, frame by frame, whatever rate each frame has.

    Args:
        rate_hz: of what comes out; one of `RATES_HZ`, as are those of what goes in.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = self._from_hz = rate_hz
        self._resampler: StreamResampler | None = None

    def convert(self, pcm: Pcm, from_hz: int) -> Pcm:
        """Return audio at the one rate: the array itself where it has that, which may only be lent.

        What was heard at another rate is forgotten when the rate changes.

        Raises:
            ValueError: there is no such rate, or `pcm` does not become a whole number of samples.
        """
        if from_hz != self._from_hz:
            self._from_hz = from_hz
            self._resampler = None if from_hz == self._rate_hz else StreamResampler(from_hz, self._rate_hz)
        return pcm if self._resampler is None else self._resampler.process(pcm)
