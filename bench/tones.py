"""One tone per talker, and what each listener must have heard.

Every talker has a frequency of whole, odd hertz: in one second of audio it falls exactly on one bin of the
Fourier transform, and shifting it by whole frames moves its phase, so that a lost or repeated frame shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8000
FRAME: Final = 160
FRAMES_PER_S: Final = 50
SILENCE: Final = 0xFF
LOWEST_HZ: Final = 311
BAND_HZ: Final = 2980
MAX_TALKERS: Final = BAND_HZ // 2
HEARD: Final = 0.5
"""Least share of its sent level at which a room mate counts as heard."""
LEAKED: Final = 0.1
"""Most share of its sent level at which anybody else may be in the signal."""

_STRIDE: Final = 617
"""Keeps room mates, who have neighbouring numbers, apart in frequency."""

_ROOMY_HZ: Final = 8

Bytes = NDArray[np.uint8]
Samples = NDArray[np.int16]


def _levels() -> Samples:
    inverted = ~np.arange(256) & 0xFF
    exponent, mantissa = inverted >> 4 & 7, inverted & 15
    magnitude = ((mantissa << 3) + 132 << exponent) - 132
    return np.where(inverted & 0x80, -magnitude, magnitude).astype(np.int16)


ULAW_LEVELS: Final = _levels()
"""The sample that each mu-law byte stands for."""
_ORDER: Final = np.argsort(ULAW_LEVELS, kind="stable").astype(np.uint8)
_SORTED: Final = ULAW_LEVELS[_ORDER].astype(np.float64)
_MIDDLES: Final = (_SORTED[1:] + _SORTED[:-1]) / 2


def encode_ulaw(samples: NDArray[np.float64]) -> Bytes:
    """Return the nearest mu-law byte of every sample."""
    codes: Bytes = _ORDER[np.searchsorted(_MIDDLES, samples)]
    return codes


def tone_frequencies(talkers: int) -> NDArray[np.int64]:
    """Return a distinct odd frequency in Hz for each talker.

    Where there is room, none is so near to a multiple of the frame rate that a shift by a frame stays hidden.

    Raises:
        ValueError: more talkers than bins.
    """
    if not 0 < talkers <= MAX_TALKERS:
        raise ValueError(f"1 to {MAX_TALKERS} talkers, not {talkers}")
    step = 2 * (BAND_HZ // (2 * talkers)) if talkers < MAX_TALKERS else 2
    places = np.arange(talkers) * _STRIDE % talkers if talkers % _STRIDE else np.arange(talkers)
    frequencies = LOWEST_HZ + min(step, 200) * places
    if step >= _ROOMY_HZ:
        frequencies[np.isin(frequencies % FRAMES_PER_S, (1, FRAMES_PER_S - 1))] += 4
    return frequencies


def tone_frames(talkers: int, amplitude: float, *, same_phase: bool) -> Bytes:
    """Return one second of every talker's tone as mu-law frames, shape (talkers, 50, 160).

    Args:
        talkers: how many.
        amplitude: peak level of each.
        same_phase: start every tone at its peak, so that its first packet is loud; otherwise phases are
            spread, so that many tones together do not overload.
    """
    clock = np.arange(RATE_HZ) / RATE_HZ
    random = np.random.default_rng(1)
    frames = np.empty((talkers, FRAMES_PER_S, FRAME), np.uint8)
    if not talkers:
        return frames
    for number, frequency in enumerate(tone_frequencies(talkers)):
        phase = 0.0 if same_phase else random.uniform(0, 2 * np.pi)
        wave = amplitude * np.cos(2 * np.pi * frequency * clock + phase)
        frames[number] = encode_ulaw(wave).reshape(FRAMES_PER_S, FRAME)
    return frames


def in_order(stamps: NDArray[np.uint32], payloads: Bytes) -> tuple[Bytes, NDArray[np.bool_]]:
    """Lay frames of one stream out by their RTP time.

    Args:
        stamps: RTP time of each frame, shape (frames,).
        payloads: shape (frames, 160).

    Returns:
        All frames from the first to the last, silence where one is missing, and which of them were there.
    """
    if not len(stamps):
        return np.empty((0, FRAME), np.uint8), np.empty(0, np.bool_)
    offsets = (stamps - stamps[0]).astype(np.int32).astype(np.int64)
    places = (offsets - offsets.min()) // FRAME
    frames = np.full((int(places.max()) + 1, FRAME), SILENCE, np.uint8)
    there = np.zeros(len(frames), np.bool_)
    frames[places] = payloads
    there[places] = True
    return frames, there


@dataclass(frozen=True, slots=True)
class ToneCheck:
    """What all listeners heard.

    Attributes:
        wrong: one line per listener that heard anything else than its room mates.
        weakest_mate: lowest level of a room mate, as a share of what was sent.
        loudest_other: highest level of the listener itself or of a stranger.
    """

    wrong: tuple[str, ...]
    weakest_mate: float
    loudest_other: float


def tone_levels(second: Bytes, frequencies: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the peak level of each frequency in one second of mu-law audio."""
    window = np.hanning(RATE_HZ + 1)[:-1]
    spectrum = np.fft.rfft(ULAW_LEVELS[second.ravel()] * window)
    levels: NDArray[np.float64] = np.abs(spectrum[frequencies]) * 2 / window.sum()
    return levels


def check_tones(
    heard: list[tuple[Bytes, NDArray[np.bool_]]], rooms: NDArray[np.int64], amplitude: float
) -> ToneCheck:
    """Compare what each listener heard in its last second with who was in its room.

    Args:
        heard: per listener its frames and which were there, from `in_order`.
        rooms: the room of each listener.
        amplitude: the level at which everybody talked.
    """
    frequencies = tone_frequencies(len(heard))
    wrong: list[str] = []
    weakest, loudest = np.inf, 0.0
    for number, (frames, there) in enumerate(heard):
        if len(frames) < FRAMES_PER_S or not there[-FRAMES_PER_S:].all():
            wrong.append(f"listener {number}: no unbroken second of audio")
            continue
        levels = tone_levels(frames[-FRAMES_PER_S:], frequencies) / amplitude
        mates = rooms == rooms[number]
        mates[number] = False
        missing = np.flatnonzero(mates & (levels < HEARD))
        extra = np.flatnonzero(~mates & (levels > LEAKED))
        if missing.size or extra.size:
            wrong.append(f"listener {number}: misses {missing[:5].tolist()}, hears {extra[:5].tolist()}")
        weakest = min(weakest, float(levels[mates].min(initial=np.inf)))
        loudest = max(loudest, float(levels[~mates].max(initial=0.0)))
    return ToneCheck(tuple(wrong), float(weakest), loudest)
