"""Delay through the server and the wholeness of what arrives, from bursts of a tone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.tones import FRAME, RATE_HZ, ULAW_LEVELS, Bytes, in_order

BLOCK: Final = 80
"""Samples in which level and phase of a tone are read: 10 ms."""
MAX_PHASE_STEP: Final = 0.25
"""Radians by which the phase of an unbroken tone may differ between two blocks."""
QUIET: Final = 0.25
"""Share of the sent level under which a packet is not voiced."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """All packets of one listener in the order in which they came.

    Attributes:
        arrival_ns: kernel time stamps, shape (packets,).
        stamps: RTP times, shape (packets,).
        payloads: shape (packets, 160).
    """

    arrival_ns: NDArray[np.int64]
    stamps: NDArray[np.uint32]
    payloads: Bytes


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of one burst: its delay, None when it never came, and whether it came whole."""

    delay_ms: float | None
    unbroken: bool


def is_unbroken(samples: NDArray[np.int16], frequency: int, amplitude: float) -> bool:
    """Tell whether a tone runs through all samples with one level and one phase.

    The first and the last block are left out: the tone may begin and end inside them.
    """
    blocks = len(samples) // BLOCK
    if blocks < 4:
        return False
    clock = np.arange(blocks * BLOCK) / RATE_HZ
    turned = samples[: blocks * BLOCK] * np.exp(-2j * np.pi * frequency * clock)
    phasors = turned.reshape(blocks, BLOCK).mean(axis=1)[1:-1] * 2
    if np.abs(phasors).min() < amplitude / 2:
        return False
    steps = np.angle(phasors[1:] * np.conj(phasors[:-1]))
    return bool(np.abs(steps).max() < MAX_PHASE_STEP)


def read_bursts(
    listener: Arrivals, sent_ns: NDArray[np.int64], *, frequency: int, amplitude: float, burst_ms: int
) -> list[Burst]:
    """Follow every burst of one talker at its listener.

    Args:
        listener: everything that the listener received.
        sent_ns: wall time at which the first voiced packet of each burst was sent.
        frequency: the talker's tone in Hz.
        amplitude: its level.
        burst_ms: the length of every burst.
    """
    voiced = np.abs(ULAW_LEVELS[listener.payloads]).max(axis=1) > amplitude * QUIET
    bursts = []
    for sent in sent_ns:
        first = np.flatnonzero(voiced & (listener.arrival_ns >= sent))
        if not first.size or listener.arrival_ns[first[0]] > sent + burst_ms * 1_000_000:
            bursts.append(Burst(None, unbroken=False))
            continue
        delay_ms = (int(listener.arrival_ns[first[0]]) - int(sent)) / 1e6
        bursts.append(Burst(delay_ms, _came_whole(listener, int(first[0]), frequency, amplitude, burst_ms)))
    return bursts


def _came_whole(listener: Arrivals, first: int, frequency: int, amplitude: float, burst_ms: int) -> bool:
    count = burst_ms * RATE_HZ // 1000 // FRAME + 2
    frames, there = in_order(listener.stamps[first : first + count], listener.payloads[first : first + count])
    samples = ULAW_LEVELS[frames.ravel()]
    loud = np.flatnonzero(np.abs(samples) > amplitude * QUIET)
    begin, end = int(loud[0]), int(loud[-1]) + 1
    long_enough = abs((end - begin) * 1000 / RATE_HZ - burst_ms) < 10
    return long_enough and bool(there.all()) and is_unbroken(samples[begin:end], frequency, amplitude)
