"""What a program says, between the messages in which it comes and the ticks at which it is heard.

Without a lead, audio is played as it comes. With one, so much is held back once, and kept: where the level
has fallen or risen, quiet frames are played twice or left out, which nobody hears.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vb.codecs.pcm import VOICED_RMS, level_of
from vb.codecs.resample import StreamResampler
from vb.mixer.frames import TICKS_PER_S, Pcm
from vb.wsleg.wire import SAMPLE_BYTES

CAPACITY_MS: Final = 1000
FRAME_MS: Final = 1000 // TICKS_PER_S
QUIET_RMS: Final = VOICED_RMS
"""What is fainter may be played twice or left out."""
MAX_CONCEALED: Final = 2
"""Frames that stand in for missing audio, each fainter; then there is silence."""
UNDERFLOW_TICKS: Final = 5
"""A shorter pause is audio that came too late; a longer one is a program that has nothing to say."""
_FADE: Final = 0.5
"""What each frame that stands in is multiplied by, against the one before."""


class AudioIn:
    """The audio of one program, a source of frames.

    Args:
        rate_hz: its rate.
        lead_ms: how much is held back; 0 plays audio as it comes.

    Attributes:
        finished: always False; its owner takes it out.
        late_ticks: ticks that had nothing to play in the midst of audio.
    """

    def __init__(self, rate_hz: int, *, lead_ms: int = 0) -> None:
        self.finished = False
        self.late_ticks = 0
        self._rate_hz = rate_hz
        self._frame_bytes = rate_hz // TICKS_PER_S * SAMPLE_BYTES
        self._lead_bytes = self._frame_bytes * -(-max(0, lead_ms) // FRAME_MS)
        self._capacity = self._frame_bytes * (CAPACITY_MS // FRAME_MS) + self._lead_bytes
        self._held = bytearray()
        self._warm = not self._lead_bytes
        self._last: Pcm | None = None
        self._dry = UNDERFLOW_TICKS
        self._resampler: StreamResampler | None = None

    @property
    def waiting_ms(self) -> float:
        """How much waits to be heard."""
        return len(self._held) / (self._rate_hz * SAMPLE_BYTES) * 1000

    def duration_ms(self, pcm_bytes: int) -> int:
        """Return how long some audio lasts."""
        return pcm_bytes * 1000 // (self._rate_hz * SAMPLE_BYTES)

    def put(self, pcm: bytes) -> bool:
        """Take audio of any length; what has no room is dropped whole, and False returned."""
        if len(self._held) + len(pcm) > self._capacity:
            return False
        self._held += pcm
        return True

    def take(self, rate_hz: int) -> Pcm | None:
        """Return the next 20 ms at a rate, None while there is nothing to hear."""
        frame = self._next()
        if frame is None or rate_hz == self._rate_hz:
            return frame
        resampler = self._resampler
        if resampler is None or resampler.kernel.to_hz != rate_hz:
            resampler = self._resampler = StreamResampler(self._rate_hz, rate_hz)
        return resampler.process(frame)

    def _next(self) -> Pcm | None:
        level, size = len(self._held), self._frame_bytes
        if not self._warm:
            if level < self._lead_bytes:
                return None
            self._warm = True
        if level < size:
            return self._conceal()
        if 0 < self._dry < UNDERFLOW_TICKS:
            self.late_ticks += self._dry
        self._dry = 0
        frame = np.frombuffer(bytes(self._held[:size]), "<i2").astype(np.int16, copy=False)
        if not self._lead_bytes:
            del self._held[:size]
            return frame
        return self._keep_level(frame, level - size)

    def _keep_level(self, frame: Pcm, left: int) -> Pcm:
        """Play a frame: once, or twice to hold back more, or not at all to hold back less."""
        size, self._last = self._frame_bytes, frame
        off = left - self._lead_bytes
        if (off < -size or off > size) and level_of(frame) < QUIET_RMS:
            if off < 0:
                return frame  # it stays, and is played again
            del self._held[:size]
            frame = self._last = np.frombuffer(bytes(self._held[:size]), "<i2").astype(np.int16, copy=False)
        del self._held[:size]
        return frame

    def _conceal(self) -> Pcm | None:
        """Cover a gap for a moment if there is a lead, for then it is one."""
        self._dry += 1
        if self._last is None or self._dry > MAX_CONCEALED:
            self._last = None
            return None
        frame: Pcm = (self._last * _FADE**self._dry).astype(np.int16)
        return frame
