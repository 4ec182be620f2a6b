"""Packets of codecs with state that this tick plays: decoded by all hands, and written to their rings.

Nearly all of them are plain: nothing is to be done with them but to decode them. These are told apart first,
and then decoded straight into the rows of one array, with hardly anything in between that needs the
interpreter. The others are left to their streams, one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vb.codecs.opus_runs import DecodeRun
from vb.mixer.core import PlaneCore
from vb.mixer.frames import Pcm
from vb.mixer.hands import LEAST_CALLS, portions
from vb.mixer.layout import Bank
from vb.mixer.streams import PlainPacket, StreamReceiver
from vb.rtp.ring import HOLE

_LOWEST: Final = np.int16(HOLE + 1)


@dataclass(slots=True)
class _Plain:
    """Plain packets of distinct legs, all of one length."""

    slots: list[int] = field(default_factory=list)
    packets: list[PlainPacket] = field(default_factory=list)


class _PlainRun:
    """Such packets on their way to the rings.

    Args:
        plain: the packets.
        samples: length of each.
    """

    def __init__(self, plain: _Plain, samples: int) -> None:
        self._plain = plain
        self._samples = samples
        packets = plain.packets
        self._pcm = np.empty((len(packets), samples), np.int16)
        self.run = DecodeRun(
            [decoder for _, _, _, decoder in packets],
            [payload for _, _, payload, _ in packets],
            self._pcm,
        )

    def write(self, core: PlaneCore, bank: Bank) -> None:
        """Write to the rings what was decoded; legs whose codec cannot cover a damaged one up have failed."""
        plain, counts = self._plain, self.run.counts
        slots = np.array(plain.slots)
        positions = np.array([position for position, _, _, _ in plain.packets])
        pcm = self._pcm
        if counts.count(self._samples) != len(counts):
            good = np.array([self._mend(core, at) for at in range(len(counts))])
            slots, positions, pcm = slots[good], positions[good], pcm[good]
        core.rings[bank.rate_hz].write(slots, positions, np.maximum(pcm, _LOWEST, out=pcm))

    def _mend(self, core: PlaneCore, at: int) -> bool:
        """Cover up a packet if it was damaged; says whether there is audio in its place."""
        if self.run.counts[at] == self._samples:
            return True
        slot, packet = self._plain.slots[at], self._plain.packets[at]
        stream = core.streams[slot]
        if stream is None:
            return False
        try:
            self._pcm[at] = stream.mend(packet)
        except Exception as error:  # the named boundary: one leg's codec must not stop the tick
            core.fault_at(slot, error)
            return False
        return True


def decode_due(core: PlaneCore, bank: Bank) -> None:
    """Decode the waiting packets of a bank's legs that this tick plays; a failing codec ends its leg."""
    if not bank.decoded.size:
        return
    playout, width, streams = core.playout, bank.heard.shape[1], core.streams
    # Legs that rest or pause are left out as columns: in a large room they are nearly all.
    playing = bank.decoded[playout.started[bank.decoded] & ~core.resting.legs[bank.decoded]]
    until = playout.next[playing] + width
    together = playing.size >= LEAST_CALLS
    due: list[tuple[int, StreamReceiver, int]] = []
    by_length: dict[int, _Plain] = {}
    for slot, end in zip(playing.tolist(), until.tolist(), strict=True):
        stream = streams[slot]
        if stream is None or not stream.waits:
            continue
        packet = stream.take_plain(end) if together else None
        if packet is None:
            due.append((slot, stream, end))
            continue
        plain = by_length.get(packet[1])
        if plain is None:
            plain = by_length[packet[1]] = _Plain()
        plain.slots.append(slot)
        plain.packets.append(packet)
    if not (due or by_length):
        return
    runs = [_PlainRun(plain, samples) for samples, plain in by_length.items()]
    _decode(core, bank, due, runs)
    for run in runs:
        run.write(core, bank)


def _decode(
    core: PlaneCore, bank: Bank, due: list[tuple[int, StreamReceiver, int]], runs: list[_PlainRun]
) -> None:
    """Have all hands decode what is due, and write to the rings what was not plain."""
    outcomes: list[list[tuple[int, Pcm]] | Exception] = [[]] * len(due)
    spans = [(one.run, start, stop) for one in runs for start, stop in portions(len(one.run.counts))]

    def decode(piece: int) -> None:
        if piece >= len(due):
            run, start, stop = spans[piece - len(due)]
            run.run(start, stop)
            return
        _, stream, end = due[piece]
        try:
            outcomes[piece] = stream.advance(end)
        except Exception as error:  # the named boundary: one leg's codec must not stop the tick
            outcomes[piece] = error

    rested = sum(stream.rested for _, stream, _ in due)
    core.hands.share(len(due) + len(spans), decode)
    core.statistics.rested += sum(stream.rested for _, stream, _ in due) - rested
    frames: dict[int, tuple[list[int], list[int], list[Pcm]]] = {}
    ring = core.rings[bank.rate_hz]
    for (slot, _, _), outcome in zip(due, outcomes, strict=True):
        if isinstance(outcome, Exception):
            core.fault_at(slot, outcome)
            continue
        for at, (position, pcm) in enumerate(outcome):
            if not pcm.size:
                continue
            if at:  # rows of one writing must be distinct
                ring.write(np.array([slot]), np.array([position]), _without_holes(pcm[None, :]))
                continue
            slots, positions, parts = frames.setdefault(pcm.size, ([], [], []))
            slots.append(slot)
            positions.append(position)
            parts.append(pcm)
    for slots, positions, parts in frames.values():
        pcm = np.concatenate(parts).reshape(len(parts), -1)
        ring.write(np.array(slots), np.array(positions), _without_holes(pcm))


def _without_holes(pcm: Pcm) -> Pcm:
    """Keep decoded audio off the value that marks what has not arrived."""
    return np.maximum(pcm, _LOWEST)
