"""From rings to this tick's frames: reading, covering gaps, and following the sender's clock."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.mixer.columns import GAP_CONCEAL, GAP_NOISE
from vb.mixer.core import PlaneCore
from vb.mixer.frames import Pcm, Slots
from vb.mixer.layout import Bank
from vb.mixer.noise import comfort_noise
from vb.rtp.masks import every, some, true_places
from vb.rtp.playout import DROP, INSERT
from vb.rtp.ring import HOLE, PcmRings

FADE_MS: Final = 60
"""Lost audio is covered up for this long, then there is silence."""
_QUIET: Final = 100
"""Mean amplitude below which nobody hears a frame go missing, about −50 dBFS."""
_INSERT_PATIENCE_S: Final = 0.5
_DROP_PATIENCE_S: Final = 5.0
"""How long a change of delay waits for a quiet frame before any frame will do."""


class Playback:
    """Reads each leg's next 20 ms.

    Args:
        core: the plane.
    """

    def __init__(self, core: PlaneCore) -> None:
        self._core = core

    def play(self, bank: Bank) -> None:
        """Fill `bank.heard` and `bank.nothing`, and move the bank's legs on by one tick."""
        playout, slots = self._core.playout, bank.slots
        started = playout.started[slots]
        if not some(started):
            self._play_nothing(bank)
            return
        ring = self._core.rings[bank.rate_hz]
        width = bank.heard.shape[1]
        first = playout.next[slots]
        last = first + width
        whole = (last <= playout.end[slots]) & (playout.holes_until[slots] <= first) & started
        self._core.columns.filled[slots] = False
        if every(whole):
            frames, bank.nothing = ring.read(slots, first, width), None
            playout.heard_end[slots] = last
        else:
            rows = true_places(~whole)
            playout.heard_end[slots[whole]] = last[whole]
            alive = self._alive(slots[rows], first[rows], width)
            frames = self._read(ring, bank, first, rows[~alive])
            rows = rows[alive]
            if rows.size:
                frames[rows] = self._cover(ring, slots[rows], first[rows], frames[rows])
        bank.heard = frames
        playout.advance(slots)
        shifting = true_places(playout.want[slots] != 0)
        for row in shifting.tolist():
            self._shift(ring, int(slots[row]), int(first[row]), frames[row], whole=bool(whole[row]))

    def _play_nothing(self, bank: Bank) -> None:
        """Move on a bank to whose legs nothing has come yet, as to those of calls that are only announced."""
        if bank.nothing is None or not every(bank.nothing):
            bank.heard = np.zeros(bank.heard.shape, np.int16)
            bank.nothing = np.ones(bank.slots.size, np.bool_)
        self._core.columns.filled[bank.slots] = False
        self._core.playout.advance(bank.slots)

    def _alive(self, slots: Slots, first: Slots, width: int) -> NDArray[np.bool_]:
        """Return which of some legs that miss audio have any, or had some until a moment ago.

        Most have had none for long: they are silent without further ado.
        """
        playout = self._core.playout
        fade = width * FADE_MS // 20
        alive: NDArray[np.bool_] = playout.started[slots] & (
            (playout.end[slots] > first)
            | (playout.heard_end[slots] > first - fade)
            | (self._core.columns.gap[slots] == GAP_NOISE)
        )
        return alive

    def _read(self, ring: PcmRings, bank: Bank, first: Slots, silent: Slots) -> Pcm:
        """Return what the rings hold for this tick, nothing for the rows that are silent, and note these."""
        before, width = bank.nothing, bank.heard.shape[1]
        bank.nothing = np.zeros(bank.slots.size, np.bool_)
        bank.nothing[silent] = True
        if 2 * silent.size < bank.slots.size:
            frames = ring.read(bank.slots, first, width)
            frames[silent] = 0
            return frames
        # Where most say nothing, the array of the last tick serves again: its other rows are zero already.
        frames = np.zeros_like(bank.heard) if before is None else bank.heard
        if before is not None:
            frames[~before] = 0
        rows = true_places(~bank.nothing)
        frames[rows] = ring.read(bank.slots[rows], first[rows], width)
        return frames

    def arrived(self, bank: Bank) -> NDArray[np.bool_]:
        """Whether each leg's frame of this tick holds audio that was received, (n,)."""
        playout, slots = self._core.playout, bank.slots
        begun = playout.next[slots] - bank.heard.shape[1]
        received: NDArray[np.bool_] = playout.started[slots] & (playout.heard_end[slots] > begun)
        return received

    def _cover(self, ring: PcmRings, slots: Slots, first: Slots, frames: Pcm) -> Pcm:
        """Return frames that were not received whole, their gaps covered up (media rule 7)."""
        playout, columns = self._core.playout, self._core.columns
        width = frames.shape[1]
        fade = width * FADE_MS // 20
        noisy = columns.gap[slots] == GAP_NOISE
        steps = np.arange(width)
        valid = (frames != HOLE) & (first[:, None] + steps < playout.end[slots][:, None])
        latest = np.maximum.accumulate(np.where(valid, steps, -1), axis=1)
        heard_end = playout.heard_end[slots] - first
        gap_start = np.where(latest >= 0, latest + 1, heard_end[:, None])
        distance = steps - gap_start
        # The last frame before the gap is repeated.
        origin = first[:, None] + gap_start - width + distance % width
        repeated = ring.pick(slots, origin).astype(np.float32)
        repeated[repeated == HOLE] = 0.0
        conceal = columns.gap[slots] == GAP_CONCEAL
        gain = np.clip(1.0 - (distance + 1) / fade, 0.0, 1.0) * conceal[:, None]
        columns.concealed[slots] += (~valid & (gain > 0)).any(axis=1)
        fill = (repeated * gain).astype(np.int16)
        if some(noisy):
            fill[noisy] = comfort_noise(slots[noisy], self._core.tick, width * 50)
            columns.filled[slots] = noisy & ~valid.any(axis=1)
        covered: Pcm = np.where(valid, frames, fill)
        newest = latest[:, -1]
        playout.heard_end[slots] = np.where(newest >= 0, first + newest + 1, playout.heard_end[slots])
        return covered

    def _shift(self, ring: PcmRings, slot: int, first: int, frame: Pcm, *, whole: bool) -> None:
        """Insert or drop one frame, cross-faded, once the leg is quiet or cannot wait (media rule 8)."""
        playout, now = self._core.playout, self._core.now
        width, want = frame.size, int(playout.want[slot])
        patience_s = _INSERT_PATIENCE_S if want == INSERT else _DROP_PATIENCE_S
        quiet = float(np.abs(frame.astype(np.float32)).mean()) < _QUIET
        if not whole or not (quiet or now - playout.want_since[slot] >= patience_s):
            return
        row = np.array([slot])
        if want == DROP:
            if first + 2 * width > playout.end[slot] or playout.holes_until[slot] > first:
                return
            other = ring.read(row, np.array([first + width]), width)[0]
            move = width
        else:
            other = ring.read(row, np.array([first - width]), width)[0]
            other[other == HOLE] = 0
            move = -width
        ramp = np.arange(1, width + 1, dtype=np.float32) / width
        frame[:] = (frame * (1 - ramp) + other * ramp).astype(np.int16)
        playout.next[slot] += move
        playout.heard_end[slot] = playout.next[slot]
        playout.shifted(slot, -move, now)
