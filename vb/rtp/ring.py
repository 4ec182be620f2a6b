"""Sample rings addressed by stream position: the jitter buffer's memory, one row per leg.

A packet's audio is written at its RTP timestamp for its own length and a tick reads the samples at the play
position, so 10, 20, 30, 40 and 60 ms packets and odd last ones need no case of their own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from vb.rtp.masks import some

Pcm = NDArray[np.int16]
Ints = NDArray[np.int64]

_PADDING_SAMPLES: Final = 32

HOLE: Final = -32768
"""Marks a sample that did not arrive. No G.711 code decodes to it and `write` keeps other audio off it."""


class PcmRings:
    """The rings of all legs of one sample rate.

    Rows are allocated as address space only: a row costs memory from the first packet of its leg on. What
    nobody wrote is silence.

    Args:
        capacity: number of rows.
        min_samples: shortest length; rounded up to a power of two.
    """

    def __init__(self, capacity: int, min_samples: int) -> None:
        self.size = 1 << (min_samples - 1).bit_length()
        self._mask = self.size - 1
        # Rows a power of two apart would all compete for the same few lines of the cache.
        self._pcm = np.zeros((capacity, self.size + _PADDING_SAMPLES), np.int16)[:, : self.size]
        self._windows: dict[int, Pcm] = {}
        # What is known to be silent of each row: from one position to before another.
        self._silent_from = np.zeros(capacity, np.int64)
        self._silent_to = np.zeros(capacity, np.int64)

    def _window_view(self, width: int) -> Pcm:
        """Return every run of `width` samples that does not wrap: (rows, size − width + 1, width)."""
        view = self._windows.get(width)
        if view is None:
            pcm = self._pcm
            shape = (pcm.shape[0], self.size - width + 1, width)
            view = as_strided(pcm, shape, (pcm.strides[0], pcm.itemsize, pcm.itemsize))
            if len(self._windows) < 64:
                self._windows[width] = view
        return view

    def write(self, rows: Ints, positions: Ints, frames: Pcm) -> None:
        """Store frames of one length; a position may lie anywhere, also behind an earlier one.

        Args:
            rows: (n,) distinct rows.
            positions: (n,) position of each frame's first sample.
            frames: (n, width) samples.
        """
        width = frames.shape[1]
        self._silent_to[rows] = self._silent_from[rows]
        start = positions & self._mask
        wraps = start > self.size - width
        if not some(wraps):
            self._window_view(width)[rows, start] = frames
            return
        whole = ~wraps
        self._window_view(width)[rows[whole], start[whole]] = frames[whole]
        columns = (start[wraps, None] + np.arange(width)) & self._mask
        self._pcm[rows[wraps, None], columns] = frames[wraps]

    def write_silence(self, rows: Ints, positions: Ints, width: int) -> None:
        """Store `width` zeros in distinct rows; where a row holds nothing else already, nothing is done."""
        begun, ended = self._silent_from[rows], self._silent_to[rows]
        goes_on = (positions == ended) & (begun < ended)
        begun = np.where(goes_on, begun, positions)
        fresh = positions - begun < self.size
        if some(fresh):
            chosen = rows[fresh]
            self.write(chosen, positions[fresh], np.zeros((chosen.size, width), np.int16))
        self._silent_from[rows], self._silent_to[rows] = begun, positions + width

    def read(self, rows: Ints, positions: Ints, width: int) -> Pcm:
        """Return (n, width) samples from each position on, whatever they hold."""
        start = positions & self._mask
        wraps = start > self.size - width
        if not some(wraps):
            whole: Pcm = self._window_view(width)[rows, start]
            return whole
        frames: Pcm = self._window_view(width)[rows, np.where(wraps, 0, start)]
        columns = (start[wraps, None] + np.arange(width)) & self._mask
        frames[wraps] = self._pcm[rows[wraps, None], columns]
        return frames

    def pick(self, rows: Ints, positions: Ints) -> Pcm:
        """Return single samples: `positions` is (n, k), row i of it taken from ring `rows[i]`."""
        picked: Pcm = self._pcm[rows[:, None], positions & self._mask]
        return picked

    def clear(self, row: int) -> None:
        """Forget all audio of a row: nobody is to hear that of whoever had its place before."""
        self._pcm[row] = 0
        self._silent_to[row] = self._silent_from[row]

    def punch(self, row: int, start: int, stop: int) -> None:
        """Mark the samples from `start` to before `stop` as not arrived."""
        if stop <= start:
            return
        self._silent_to[row] = self._silent_from[row]
        ring = self._pcm[row]
        if stop - start >= self.size:
            ring[:] = HOLE
            return
        first, last = start & self._mask, stop & self._mask
        if first < last:
            ring[first:last] = HOLE
        else:
            ring[first:] = HOLE
            ring[:last] = HOLE
