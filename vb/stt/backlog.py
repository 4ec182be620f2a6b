"""Audio of one leg on its way to a provider: what was heard and not yet sent, and what was just sent.

The media plane pushes frames of 20 ms and never waits; whoever sends is told of each block. Both
halves are bounded: of what cannot be sent the newest five seconds are kept, what is to be sent again
included, and as much of what was sent, so that it can be sent again to the next provider when this one
cannot have heard it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from vb.codecs.pcm import Pcm
from vb.media.one_rate import OneRate
from vb.stt.base import RATE_HZ

FRAME_MS: Final = 20
FRAME_SAMPLES: Final = RATE_HZ * FRAME_MS // 1000
KEPT_MS: Final = 5000
"""How much is kept of what could not be sent, and of what was sent."""
_KEPT_FRAMES: Final = KEPT_MS // FRAME_MS
_KEPT_SAMPLES: Final = KEPT_MS * RATE_HZ // 1000
_AUDIBLE: Final = 400
"""A block with a sample so far from zero may be speech: 38 dB below full scale."""


def is_audible(pcm: Pcm) -> bool:
    """Whether there is more in a block than the hiss of a silent line."""
    return bool(pcm.size) and bool(
        np.maximum.reduce(pcm) > _AUDIBLE or np.minimum.reduce(pcm) < -_AUDIBLE  # half the time of `max`
    )


class Backlog:
    """The audio of one leg, at the rate of providers.

    Args:
        block_ms: length of a block; a multiple of 20.
        phase: number by which blocks of several legs are cut at different times.
        on_block: told when a block is ready; must not wait.

    Attributes:
        position_samples: where in the audio the next block begins, counted from the first sample heard.
        dropped_frames: frames that were given up because there was too much.
        open: whether audio is taken.
    """

    def __init__(self, *, block_ms: int, phase: int = 0, on_block: Callable[[], None]) -> None:
        self._block_frames = block_ms // FRAME_MS
        self._wanted_frames = 1 + phase % self._block_frames  # of the first block, which may be shorter
        self._on_block = on_block
        self._frames: deque[tuple[Pcm, int]] = deque()
        self._again: deque[Pcm] = deque()
        self._again_samples = 0
        self._sent: deque[Pcm] = deque()
        self._sent_samples = 0
        self._rate = OneRate(RATE_HZ)
        self.position_samples = 0
        self.dropped_frames = 0
        self.open = True

    @property
    def has_block(self) -> bool:
        """Whether a whole block can be taken."""
        return bool(self._again) or len(self._frames) >= self._wanted_frames

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms from the mixer; the oldest gives way when there is too much."""
        if not self.open:
            return
        frames = self._frames
        frames.append((frame.copy(), rate_hz))
        if len(frames) * FRAME_SAMPLES + self._again_samples > _KEPT_SAMPLES:
            self._drop_oldest()
        if len(frames) == self._wanted_frames or len(frames) == _KEPT_FRAMES:
            self._on_block()

    def take(self, *, rest: bool = False) -> Pcm | None:
        """Return the next block, which counts as sent; None when there is none yet.

        Args:
            rest: take what there is, even if it is less than a block.
        """
        if self._again:
            block = self._pop_again()
        else:
            count = min(self._wanted_frames, len(self._frames))
            if not count or (count < self._wanted_frames and not rest):
                return None
            block = self._convert(count)
            self._wanted_frames = self._block_frames
        self.position_samples += block.size
        self._sent.append(block)
        self._sent_samples += block.size
        while self._sent_samples - self._sent[0].size > _KEPT_SAMPLES:
            self._sent_samples -= self._sent.popleft().size
        return block

    def put_back(self, samples: int) -> None:
        """Let the newest of what was sent be sent again, because nobody can have heard it.

        Only whole blocks are; together with what waits they are no more than is kept.
        """
        free = _KEPT_SAMPLES - len(self._frames) * FRAME_SAMPLES - self._again_samples
        left = min(samples, self._sent_samples)
        while self._sent and self._sent[-1].size <= min(left, free):
            block = self._sent.pop()
            self._sent_samples -= block.size
            self._again.appendleft(block)
            self._again_samples += block.size
            self.position_samples -= block.size
            left -= block.size
            free -= block.size
        self.dropped_frames += left // FRAME_SAMPLES
        self.forget()

    def forget(self) -> None:
        """Keep nothing of what was sent: it belongs to a provider that is gone."""
        self._sent.clear()
        self._sent_samples = 0

    def close(self) -> None:
        """Take no more audio; what waits can still be taken."""
        self.open = False

    def _pop_again(self) -> Pcm:
        block = self._again.popleft()
        self._again_samples -= block.size
        return block

    def _drop_oldest(self) -> None:
        if self._again:
            samples = self._pop_again().size
        else:
            self._frames.popleft()
            samples = FRAME_SAMPLES
        self.dropped_frames += samples // FRAME_SAMPLES
        self.position_samples += samples

    def _convert(self, count: int) -> Pcm:
        """Return the oldest frames at the rate of providers, those of one rate all at once."""
        taken = [self._frames.popleft() for _ in range(count)]
        rate_hz = taken[0][1]
        if all(rate == rate_hz for _, rate in taken):
            joined = taken[0][0] if count == 1 else np.concatenate([pcm for pcm, _ in taken])
            return self._rate.convert(joined, rate_hz)
        return np.concatenate([self._rate.convert(pcm, rate) for pcm, rate in taken])
